#include "model/pickle.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/size.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { GLOBAL_NAME = 127 };	/* bytes of "module name" */

/* ------------------------------------------------------------------ bytes */

static enum dpo_status
read_bytes(struct dpo_pickle *p, void *bytes, size_t n, struct dpo_error *err)
{
	uint8_t *to = bytes;
	enum dpo_status status;

	if (n > p->end - p->at)
		return dpo_fail(err, DPO_TRUNCATED, "the pickle ends within a value");
	while (n > 0) {
		size_t skip = p->at - p->window_at, some;

		if (p->at < p->window_at || skip >= p->window_n) {
			p->window_at = p->at;
			p->window_n = p->end - p->at < sizeof p->window ? p->end - p->at : sizeof p->window;
			skip = 0;
			if ((status = dpo_file_read_at(p->fd, p->at, p->window, p->window_n, err)) != DPO_OK)
				return status;
		}
		some = p->window_n - skip < n ? p->window_n - skip : n;
		memcpy(to, p->window + skip, some);
		to += some;
		p->at += some;
		n -= some;
	}
	return DPO_OK;
}

/* A little-endian number of n <= 4 bytes. */
static enum dpo_status
read_number(struct dpo_pickle *p, uint32_t *number, size_t n, struct dpo_error *err)
{
	uint8_t raw[4] = { 0 };
	enum dpo_status status = read_bytes(p, raw, n, err);

	*number = dpo_bytes_load32(raw);
	return status;
}

/* ------------------------------------------------------------------ values */

static enum dpo_status
too_much(struct dpo_error *err)
{
	return dpo_fail(err, DPO_LIMIT, "more values than a state dict has");
}

static size_t
budget(const struct dpo_pickle *p)
{
	return DPO_PICKLE_FREE + DPO_PICKLE_EACH * p->persistent;
}

/* A new value, named *id. */
static enum dpo_status
make(struct dpo_pickle *p, struct dpo_pickle_value value, uint32_t *id, struct dpo_error *err)
{
	void *values = p->values;

	if (p->n_values >= budget(p) || p->n_values >= DPO_PICKLE_NIL)
		return too_much(err);
	if (!dpo_size_grow(&values, &p->values_capacity, p->n_values + 1, sizeof value))
		return dpo_fail_memory(err);
	p->values = values;
	*id = (uint32_t)p->n_values;
	p->values[p->n_values++] = value;
	return DPO_OK;
}

static enum dpo_status
push_id(struct dpo_pickle *p, uint32_t id, struct dpo_error *err)
{
	void *stack = p->stack;

	if (p->n_stack >= DPO_PICKLE_STACK)
		return dpo_fail(err, DPO_LIMIT, "more than %d values on the stack", DPO_PICKLE_STACK);
	if (!dpo_size_grow(&stack, &p->stack_capacity, p->n_stack + 1, sizeof *p->stack))
		return dpo_fail_memory(err);
	p->stack = stack;
	p->stack[p->n_stack++] = id;
	return DPO_OK;
}

static enum dpo_status
push(struct dpo_pickle *p, struct dpo_pickle_value value, struct dpo_error *err)
{
	uint32_t id = 0;
	enum dpo_status status = make(p, value, &id, err);

	return status == DPO_OK ? push_id(p, id, err) : status;
}

/* What is above the last mark, or everything without one, must be at least n values. */
static enum dpo_status
need(const struct dpo_pickle *p, size_t n, struct dpo_error *err)
{
	size_t floor = p->n_marks ? p->marks[p->n_marks - 1] : 0;

	return p->n_stack - floor >= n ? DPO_OK :
	    dpo_fail(err, DPO_FORMAT, "a pickle that takes more from its stack than is there");
}

static struct dpo_pickle_value *
top(const struct dpo_pickle *p, size_t below)
{
	return &p->values[p->stack[p->n_stack - 1 - below]];
}

/* Put a value at the end of a container. */
static enum dpo_status
append(struct dpo_pickle *p, uint32_t container, uint32_t id, struct dpo_error *err)
{
	struct dpo_pickle_value *value = &p->values[container];
	uint32_t cell = (uint32_t)p->n_cells;
	void *cells = p->cells;

	if (p->n_cells >= budget(p) || p->n_cells >= DPO_PICKLE_NIL)
		return too_much(err);
	if (!dpo_size_grow(&cells, &p->cells_capacity, p->n_cells + 1, sizeof *p->cells))
		return dpo_fail_memory(err);
	p->cells = cells;
	p->cells[p->n_cells++] = (struct dpo_pickle_cell){ id, DPO_PICKLE_NIL };
	if (value->count++ == 0)
		value->items.first = cell;
	else
		p->cells[value->items.last].next = cell;
	value->items.last = cell;
	return DPO_OK;
}

/* The values from `from` on leave the stack for the container. */
static enum dpo_status
move(struct dpo_pickle *p, uint32_t container, size_t from, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t i = from; i < p->n_stack && status == DPO_OK; i++)
		status = append(p, container, p->stack[i], err);
	p->n_stack = from;
	return status;
}

static struct dpo_pickle_value
container(enum dpo_pickle_kind kind)
{
	return (struct dpo_pickle_value){ .kind = (uint8_t)kind, .items = { DPO_PICKLE_NIL, DPO_PICKLE_NIL } };
}

/* ------------------------------------------------------------------ opcodes: each reads its arguments and acts on the stack */

static enum dpo_status
op_protocol(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	uint32_t version;
	enum dpo_status status = read_number(p, &version, 1, err);

	(void)code;
	if (status == DPO_OK && version != 2)
		return dpo_fail(err, DPO_UNSUPPORTED, "pickle protocol %u; PyTorch writes 2", (unsigned)version);
	return status;
}

static enum dpo_status
op_mark(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	(void)code;
	if (p->n_marks == DPO_PICKLE_MARKS)
		return dpo_fail(err, DPO_LIMIT, "nested more than %d deep", DPO_PICKLE_MARKS);
	p->marks[p->n_marks++] = (uint32_t)p->n_stack;
	return DPO_OK;
}

static enum dpo_status
op_constant(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	if (code == 'N')
		return push(p, (struct dpo_pickle_value){ .kind = DPO_PICKLE_NONE }, err);
	return push(p, (struct dpo_pickle_value){ .kind = DPO_PICKLE_BOOL, .integer = code == 0x88 }, err);
}

/* BININT1, BININT2 without a sign; BININT with one. */
static enum dpo_status
op_integer(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	uint32_t number;
	enum dpo_status status = read_number(p, &number, code == 'K' ? 1 : code == 'M' ? 2 : 4, err);

	if (status != DPO_OK)
		return status;
	return push(p, (struct dpo_pickle_value){ .kind = DPO_PICKLE_INT, .integer = (int32_t)number }, err);
}

static enum dpo_status
op_long(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	uint8_t raw[8] = { 0 };
	uint32_t n;
	enum dpo_status status = read_number(p, &n, 1, err);

	(void)code;
	if (status == DPO_OK && n > sizeof raw)
		return dpo_fail(err, DPO_LIMIT, "an integer of %u bytes", (unsigned)n);
	if (status == DPO_OK)
		status = read_bytes(p, raw, n, err);
	if (status != DPO_OK)
		return status;
	if (n > 0 && raw[n - 1] & 0x80)
		memset(raw + n, 0xff, sizeof raw - n);
	return push(p, (struct dpo_pickle_value){ .kind = DPO_PICKLE_INT, .integer = (int64_t)dpo_bytes_load64(raw) }, err);
}

static enum dpo_status
op_string(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	struct dpo_pickle_value value = { .kind = DPO_PICKLE_STRING, .text = (uint32_t)p->text.len };
	uint8_t raw[DPO_PICKLE_TEXT];
	enum dpo_status status = read_number(p, &value.count, 4, err);

	(void)code;
	if (status == DPO_OK && value.count > DPO_PICKLE_TEXT)
		return dpo_fail(err, DPO_LIMIT, "a string of %u bytes", (unsigned)value.count);
	if (status == DPO_OK)
		status = read_bytes(p, raw, value.count, err);
	if (status != DPO_OK)
		return status;
	if (dpo_utf8_check(raw, value.count) != value.count || memchr(raw, 0, value.count))
		return dpo_fail(err, DPO_FORMAT, "a string that is no text");
	if ((status = push(p, value, err)) != DPO_OK)
		return status;
	dpo_buffer_append(&p->text, raw, value.count);
	dpo_buffer_byte(&p->text, 0);
	return p->text.failed ? dpo_fail_memory(err) : DPO_OK;
}

static enum dpo_status
op_empty(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	return push(p, container(code == ')' ? DPO_PICKLE_TUPLE : code == ']' ? DPO_PICKLE_LIST : DPO_PICKLE_DICT), err);
}

/* The n values on top become a tuple. */
static enum dpo_status
make_tuple(struct dpo_pickle *p, size_t n, struct dpo_error *err)
{
	enum dpo_status status;
	uint32_t tuple = 0;

	if ((status = need(p, n, err)) != DPO_OK ||
	    (status = make(p, container(DPO_PICKLE_TUPLE), &tuple, err)) != DPO_OK ||
	    (status = move(p, tuple, p->n_stack - n, err)) != DPO_OK)
		return status;
	return push_id(p, tuple, err);
}

static enum dpo_status
op_small_tuple(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	return make_tuple(p, (size_t)code - 0x84, err);
}

/* The mark goes; *n values stand above it. */
static enum dpo_status
pop_mark(struct dpo_pickle *p, size_t *n, struct dpo_error *err)
{
	if (p->n_marks == 0)
		return dpo_fail(err, DPO_FORMAT, "a pickle without the mark it needs");
	*n = p->n_stack - p->marks[--p->n_marks];
	return DPO_OK;
}

static enum dpo_status
op_tuple(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	size_t n = 0;
	enum dpo_status status = pop_mark(p, &n, err);

	(void)code;
	return status == DPO_OK ? make_tuple(p, n, err) : status;
}

/* The n values on top go into the list or dict below them. */
static enum dpo_status
fill(struct dpo_pickle *p, size_t n, enum dpo_pickle_kind kind, struct dpo_error *err)
{
	enum dpo_status status = need(p, n + 1, err);

	if (status != DPO_OK)
		return status;
	if (top(p, n)->kind != kind || (kind == DPO_PICKLE_DICT && n % 2 != 0))
		return dpo_fail(err, DPO_FORMAT, "items for something that is no %s", kind == DPO_PICKLE_DICT ? "dict" : "list");
	return move(p, p->stack[p->n_stack - 1 - n], p->n_stack - n, err);
}

static enum dpo_status
op_item(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	return code == 'a' ? fill(p, 1, DPO_PICKLE_LIST, err) : fill(p, 2, DPO_PICKLE_DICT, err);
}

static enum dpo_status
op_items(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	size_t n = 0;
	enum dpo_status status = pop_mark(p, &n, err);

	return status == DPO_OK ? fill(p, n, code == 'e' ? DPO_PICKLE_LIST : DPO_PICKLE_DICT, err) : status;
}

/* "module\nname\n" as "module name". */
static enum dpo_status
read_global(struct dpo_pickle *p, char *name, struct dpo_error *err)
{
	size_t n = 0, lines = 0;
	enum dpo_status status;
	uint8_t byte;

	for (;;) {
		if ((status = read_bytes(p, &byte, 1, err)) != DPO_OK)
			return status;
		if (byte == '\n' && ++lines == 2)
			break;
		if (byte == '\n')
			byte = ' ';
		if (byte < ' ' || byte > '~' || n == GLOBAL_NAME)
			return dpo_fail(err, DPO_FORMAT, "a global without a proper name");
		name[n++] = (char)byte;
	}
	name[n] = '\0';
	return DPO_OK;
}

static enum dpo_status
op_global(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	char name[GLOBAL_NAME + 1];
	enum dpo_status status = read_global(p, name, err);

	(void)code;
	if (status != DPO_OK)
		return status;
	for (size_t i = 0; p->globals[i].name; i++)
		if (strcmp(p->globals[i].name, name) == 0)
			return push(p, (struct dpo_pickle_value){ .kind = DPO_PICKLE_GLOBAL, .integer = (int64_t)i }, err);
	return dpo_fail(err, DPO_UNSUPPORTED, "the global \"%s\", which no state dict needs", name);
}

static enum dpo_status
op_call(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	struct dpo_pickle_value value = { .kind = DPO_PICKLE_CALL };
	enum dpo_status status = need(p, 2, err);

	(void)code;
	if (status != DPO_OK)
		return status;
	if (top(p, 1)->kind != DPO_PICKLE_GLOBAL || top(p, 0)->kind != DPO_PICKLE_TUPLE)
		return dpo_fail(err, DPO_FORMAT, "a call of something that is no global");
	if (p->globals[top(p, 1)->integer].dict && top(p, 0)->count == 0)
		value = container(DPO_PICKLE_DICT);
	else
		value.call.arguments = p->stack[p->n_stack - 1], value.call.function = p->stack[p->n_stack - 2];
	p->n_stack -= 2;
	return push(p, value, err);
}

static enum dpo_status
op_persistent(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	struct dpo_pickle_value value = { .kind = DPO_PICKLE_PERSISTENT };
	enum dpo_status status = need(p, 1, err);

	(void)code;
	if (status != DPO_OK)
		return status;
	if (top(p, 0)->kind != DPO_PICKLE_TUPLE)
		return dpo_fail(err, DPO_FORMAT, "a persistent id that is no tuple");
	value.call.arguments = p->stack[--p->n_stack];
	p->persistent++;
	return push(p, value, err);
}

/* Attributes of a dict: PyTorch's _metadata. */
static enum dpo_status
op_build(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	enum dpo_status status = need(p, 2, err);

	(void)code;
	if (status != DPO_OK)
		return status;
	if (top(p, 1)->kind != DPO_PICKLE_DICT || top(p, 0)->kind != DPO_PICKLE_DICT)
		return dpo_fail(err, DPO_UNSUPPORTED, "attributes of something that is no dict");
	p->n_stack--;
	return DPO_OK;
}

/* Python numbers its memo from 0 upwards, which makes it a list. */
static enum dpo_status
op_put(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	uint32_t index;
	void *memo = p->memo;
	enum dpo_status status = read_number(p, &index, code == 'q' ? 1 : 4, err);

	if (status == DPO_OK)
		status = need(p, 1, err);
	if (status != DPO_OK)
		return status;
	if (index != p->n_memo || p->n_memo >= budget(p))
		return dpo_fail(err, DPO_LIMIT, "memo %u where %zu is next", (unsigned)index, p->n_memo);
	if (!dpo_size_grow(&memo, &p->memo_capacity, p->n_memo + 1, sizeof *p->memo))
		return dpo_fail_memory(err);
	p->memo = memo;
	p->memo[p->n_memo++] = p->stack[p->n_stack - 1];
	return DPO_OK;
}

static enum dpo_status
op_get(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	uint32_t index;
	enum dpo_status status = read_number(p, &index, code == 'h' ? 1 : 4, err);

	if (status != DPO_OK)
		return status;
	if (index >= p->n_memo)
		return dpo_fail(err, DPO_FORMAT, "memo %u of %zu", (unsigned)index, p->n_memo);
	return push_id(p, p->memo[index], err);
}

/* ------------------------------------------------------------------ the machine */

static const struct opcode {
	uint8_t code;
	enum dpo_status (*run)(struct dpo_pickle *pickle, uint8_t code, struct dpo_error *err);
} opcodes[] = {
	{ 0x80, op_protocol }, { '(', op_mark }, { 'N', op_constant }, { 0x88, op_constant }, { 0x89, op_constant },
	{ 'K', op_integer }, { 'M', op_integer }, { 'J', op_integer }, { 0x8a, op_long }, { 'X', op_string },
	{ ')', op_empty }, { ']', op_empty }, { '}', op_empty }, { 0x85, op_small_tuple }, { 0x86, op_small_tuple },
	{ 0x87, op_small_tuple }, { 't', op_tuple }, { 'a', op_item }, { 's', op_item }, { 'e', op_items },
	{ 'u', op_items }, { 'c', op_global }, { 'R', op_call }, { 'Q', op_persistent }, { 'b', op_build },
	{ 'q', op_put }, { 'r', op_put }, { 'h', op_get }, { 'j', op_get },
};

static enum dpo_status
step(struct dpo_pickle *p, uint8_t code, struct dpo_error *err)
{
	for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++)
		if (opcodes[i].code == code)
			return opcodes[i].run(p, code, err);
	return dpo_fail(err, DPO_UNSUPPORTED, "the opcode 0x%02x, which no state dict needs", code);
}

enum dpo_status
dpo_pickle_read(struct dpo_pickle *p, uint32_t *root, struct dpo_error *err)
{
	enum dpo_status status;
	uint8_t code;
	size_t at;

	for (;;) {
		at = p->at;
		if ((status = read_bytes(p, &code, 1, err)) != DPO_OK)
			break;
		if (code == '.')
			break;
		if ((status = step(p, code, err)) != DPO_OK)
			break;
	}
	if (status == DPO_OK && (p->n_stack != 1 || p->n_marks != 0))
		status = dpo_fail(err, DPO_FORMAT, "a pickle that leaves %zu values", p->n_stack);
	if (status != DPO_OK)
		return dpo_error_prefix(err, "byte %zu", at);
	*root = p->stack[0];
	return DPO_OK;
}

void
dpo_pickle_free(struct dpo_pickle *p)
{
	free(p->values);
	free(p->cells);
	free(p->stack);
	free(p->memo);
	dpo_buffer_free(&p->text);
	*p = (struct dpo_pickle){ .fd = -1 };
}

const char *
dpo_pickle_text(const struct dpo_pickle *p, uint32_t string)
{
	return (const char *)p->text.data + p->values[string].text;
}

bool
dpo_pickle_items(const struct dpo_pickle *p, uint32_t tuple, size_t least, size_t most, uint32_t *items)
{
	const struct dpo_pickle_value *value = &p->values[tuple];
	uint32_t cell = value->items.first;

	if (value->kind != DPO_PICKLE_TUPLE || value->count < least || value->count > most)
		return false;
	for (size_t i = 0; i < value->count; i++, cell = p->cells[cell].next)
		items[i] = p->cells[cell].value;
	return true;
}
