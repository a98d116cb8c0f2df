#include "rows/prompts.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "base/size.h"
#include "base/lines.h"
#include "stream/stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dpo_prompts {
	const struct dpo_tokenizer *tokenizer;
	const char *const *leave_out;
	struct dpo_lines *lines;	/* owned; one of lines and reader is NULL */
	struct dpo_reader *reader;	/* owned */
	struct dpo_value *values;	/* owned; of the reader's record */
	size_t id, prompt;		/* columns of the reader */
	uint64_t rows;
	struct dpo_buffer line;		/* a record as a line */
	struct dpo_buffer text;
};

/* ------------------------------------------------------------------ opening */

static enum dpo_status
open_stream(struct dpo_prompts *p, int fd, const void *head, size_t n_head, const char *name, struct dpo_error *err)
{
	const struct dpo_header *header;
	enum dpo_status status = dpo_reader_open_after(&p->reader, fd, head, n_head, name, err);

	if (status != DPO_OK)
		return status;
	header = dpo_reader_header(p->reader);
	if (strcmp(header->kind, "pairs") != 0 && strcmp(header->kind, "sft") != 0)
		return dpo_fail(err, DPO_FORMAT, "%s: a stream of kind \"%.60s\", not \"pairs\" or \"sft\"", name,
		    header->kind);
	if ((status = dpo_header_need(header, "id", DPO_STR, &p->id, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "prompt", DPO_I32S, &p->prompt, err)) != DPO_OK)
		return dpo_error_prefix(err, "%s", name);
	p->values = dpo_alloc(header->n_columns, sizeof *p->values);
	return p->values ? DPO_OK : dpo_fail_memory(err);
}

/* A stream begins with zstd's magic number, anything else is lines. */
static enum dpo_status
open_any(struct dpo_prompts *p, int fd, const char *name, struct dpo_error *err)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	enum dpo_status status = DPO_OK;
	uint8_t head[4];
	size_t n = 0, got = 1;

	while (status == DPO_OK && n < sizeof head && got > 0) {
		status = dpo_file_read_some(fd, head + n, sizeof head - n, &got, name, err);
		n += status == DPO_OK ? got : 0;
	}
	if (status != DPO_OK) {
		close(fd);
		return status;
	}
	if (n == sizeof head && memcmp(head, magic, n) == 0)
		return open_stream(p, fd, head, n, name, err);
	return dpo_lines_open_after(&p->lines, fd, DPO_LINE_MAX, head, n, name, err);
}

enum dpo_status
dpo_prompts_open(struct dpo_prompts **prompts, int fd, const char *name, const struct dpo_tokenizer *tokenizer,
    const char *const *leave_out, struct dpo_error *err)
{
	struct dpo_prompts *p = dpo_alloc(1, sizeof *p);
	enum dpo_status status;

	*prompts = NULL;
	if (!p) {
		close(fd);
		return dpo_fail_memory(err);
	}
	p->tokenizer = tokenizer;
	p->leave_out = leave_out;
	status = open_any(p, fd, name, err);
	if (status != DPO_OK)
		dpo_prompts_close(p);
	else
		*prompts = p;
	return status;
}

void
dpo_prompts_close(struct dpo_prompts *prompts)
{
	if (!prompts)
		return;
	dpo_lines_close(prompts->lines);
	dpo_reader_close(prompts->reader);
	free(prompts->values);
	dpo_buffer_free(&prompts->line);
	dpo_buffer_free(&prompts->text);
	free(prompts);
}

void
dpo_prompt_free(struct dpo_prompt *prompt)
{
	free(prompt->tokens.ids);
	dpo_buffer_free(&prompt->members);
	*prompt = (struct dpo_prompt){ 0 };
}

const struct dpo_header *
dpo_prompts_header(const struct dpo_prompts *prompts)
{
	return prompts->reader ? dpo_reader_header(prompts->reader) : NULL;
}

enum dpo_status
dpo_prompts_blame(const struct dpo_prompts *prompts, struct dpo_error *err)
{
	if (prompts->lines)
		return dpo_error_prefix(err, "%s:%" PRIu64, dpo_lines_name(prompts->lines),
		    dpo_lines_number(prompts->lines));
	return dpo_error_prefix(err, "%s: record %" PRIu64, dpo_reader_name(prompts->reader), prompts->rows - 1);
}

/* ------------------------------------------------------------------ a record as a line */

static void
put_ids(struct dpo_buffer *out, const int32_t *ids, size_t n)
{
	dpo_buffer_byte(out, '[');
	for (size_t i = 0; i < n; i++)
		dpo_buffer_printf(out, i ? ",%" PRId32 : "%" PRId32, ids[i]);
	dpo_buffer_byte(out, ']');
}

/* Columns of training, without meaning for a completion. */
static bool
is_of_training(const char *name)
{
	return strcmp(name, "weight") == 0 || strcmp(name, "margin") == 0 || strcmp(name, "label_prob") == 0;
}

/* The id, the prompt's ids, and what was kept of the row. */
static void
put_record(struct dpo_prompts *p)
{
	const struct dpo_header *header = dpo_reader_header(p->reader);
	struct dpo_buffer *out = &p->line;

	dpo_buffer_clear(out);
	for (size_t i = 0; i < header->n_columns; i++) {
		const struct dpo_column *column = &header->columns[i];
		const struct dpo_value *value = &p->values[i];

		if (i != p->prompt && ((column->type != DPO_STR && !dpo_type_scalar(column->type)) ||
		    is_of_training(column->name)))
			continue;
		dpo_buffer_byte(out, out->len ? ',' : '{');
		dpo_json_put_string(out, column->name, strlen(column->name));
		dpo_buffer_byte(out, ':');
		if (i == p->prompt)
			put_ids(out, value->data, value->count);
		else if (column->type == DPO_STR)
			dpo_json_put_string(out, value->data, value->count);
		else if (column->type == DPO_I64)
			dpo_buffer_printf(out, "%" PRId64, value->i64);
		else
			dpo_buffer_printf(out, "%.9g", (double)value->f32);
	}
	dpo_buffer_byte(out, '}');
}

static enum dpo_status
next_line(struct dpo_prompts *p, const char **line, size_t *n, struct dpo_error *err)
{
	enum dpo_status status;

	if (p->lines)
		return dpo_lines_next(p->lines, line, n, err);
	if ((status = dpo_reader_next(p->reader, p->values, err)) != DPO_OK)
		return status;
	put_record(p);
	*line = dpo_buffer_text(&p->line);
	*n = p->line.len;
	return p->line.failed ? dpo_fail_memory(err) : DPO_OK;
}

/* ------------------------------------------------------------------ a line as a prompt */

/* What a row says of its prompt. */
struct form {
	bool text;		/* it is one, to be kept as it is written */
	bool rendered;		/* its special tokens are in it */
};

static enum dpo_status
read_form(struct form *form, const cJSON *row, struct dpo_error *err)
{
	const cJSON *mark = dpo_json_get(row, "rendered");

	form->text = cJSON_IsString(dpo_json_get(row, "prompt"));
	form->rendered = cJSON_IsTrue(mark) || (cJSON_IsString(mark) && strcmp(mark->valuestring, "prompt") == 0);
	if (mark && !form->rendered && !cJSON_IsFalse(mark) && !cJSON_IsNull(mark))
		return dpo_fail(err, DPO_FORMAT, "\"rendered\" is none of true, false and \"prompt\"");
	return DPO_OK;
}

static enum dpo_status
read_tokens(struct dpo_prompts *p, struct dpo_prompt *prompt, const cJSON *row, const struct form *form, struct dpo_error *err)
{
	const cJSON *ids = dpo_json_get(row, "prompt_ids"), *item = dpo_json_get(row, "prompt");

	prompt->tokens.count = 0;
	if (ids && !cJSON_IsNull(ids))
		return dpo_json_ids(&prompt->tokens, ids, "prompt_ids", err);
	if (cJSON_IsArray(item) && cJSON_IsObject(item->child))
		return dpo_fail(err, DPO_FORMAT, "\"prompt\" is a list of objects; chat messages go first through "
		    "pipelines/dpo-chat");
	if (cJSON_IsArray(item))
		return dpo_json_ids(&prompt->tokens, item, "prompt", err);
	if (!item)
		return dpo_fail(err, DPO_FORMAT, "\"prompt\" is missing");
	if (!form->text)
		return dpo_fail(err, DPO_FORMAT, "\"prompt\" is neither a string nor a list of token ids");
	if (!p->tokenizer)
		return dpo_fail(err, DPO_FORMAT, "\"prompt\" is a text, and the model has no tokenizer");
	return dpo_tokenizer_encode(p->tokenizer, item->valuestring, strlen(item->valuestring), !form->rendered, &prompt->tokens,
	    err);
}

/* The next member of a line that is known to be an object: its name, and its value as start and length; DPO_END after the last. */
static enum dpo_status
next_member(struct dpo_json_lexer *lexer, struct dpo_buffer *name, struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);	/* { or , or } */

	if (token == DPO_JSON_CLOSE_OBJECT || dpo_json_next(lexer, err) != DPO_JSON_STRING)
		return DPO_END;
	dpo_buffer_clear(name);
	dpo_json_unescape(lexer, name);
	token = dpo_json_next(lexer, err);	/* : */
	return token == DPO_JSON_COLON ? dpo_json_skip(lexer, err) : DPO_END;
}

/* The id of a line that has a number there: as it is written, which a double may not hold. */
static enum dpo_status
read_number(struct dpo_prompts *p, const char *line, size_t n, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = line, .len = n };
	struct dpo_buffer name = { 0 };
	enum dpo_status status;
	int64_t ignored;

	do
		status = next_member(&lexer, &name, err);
	while (status == DPO_OK && strcmp(dpo_buffer_text(&name), "id") != 0 && !name.failed);
	if (name.failed)
		status = dpo_fail_memory(err);
	if (status == DPO_OK)
		status = dpo_json_digits(&ignored, line + lexer.start, lexer.length, "id", INT64_MIN, INT64_MAX, err);
	if (status == DPO_OK)
		dpo_buffer_append(&p->text, line + lexer.start, lexer.length);
	dpo_buffer_free(&name);
	return status;
}

static enum dpo_status
read_id(struct dpo_prompts *p, struct dpo_prompt *prompt, const cJSON *row, const char *line, size_t n, struct dpo_error *err)
{
	const cJSON *item = dpo_json_get(row, "id");
	enum dpo_status status = DPO_OK;

	/* Kept until the next row: the tree goes. */
	dpo_buffer_clear(&p->text);
	if (cJSON_IsString(item))
		dpo_buffer_string(&p->text, item->valuestring);
	else if (cJSON_IsNumber(item))
		status = read_number(p, line, n, err);
	else if (!item || cJSON_IsNull(item))
		dpo_buffer_printf(&p->text, "%" PRIu64, p->rows);
	else
		status = dpo_fail(err, DPO_FORMAT, "\"id\" is neither a string nor an integer");
	prompt->id = dpo_buffer_text(&p->text);
	return status == DPO_OK && p->text.failed ? dpo_fail_memory(err) : status;
}

static bool
is_left_out(const struct dpo_prompts *p, const char *name, bool text)
{
	for (size_t i = 0; p->leave_out[i]; i++)
		if (strcmp(p->leave_out[i], name) == 0)
			return true;
	return strcmp(name, "id") == 0 || strcmp(name, "rendered") == 0 || (!text && strcmp(name, "prompt") == 0);
}

/* Append the members of the line, which is known to be an object, as they are written there. */
static enum dpo_status
copy_members(const struct dpo_prompts *p, struct dpo_buffer *out, const char *line, size_t n, bool text,
    struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = line, .len = n };
	struct dpo_buffer name = { 0 };
	enum dpo_status status;

	while ((status = next_member(&lexer, &name, err)) == DPO_OK) {
		if (is_left_out(p, dpo_buffer_text(&name), text))
			continue;
		dpo_buffer_byte(out, ',');
		dpo_json_put_string(out, dpo_buffer_text(&name), name.len);
		dpo_buffer_byte(out, ':');
		dpo_buffer_append(out, line + lexer.start, lexer.length);
	}
	out->failed |= name.failed;
	dpo_buffer_free(&name);
	return status == DPO_END ? DPO_OK : status;
}

static enum dpo_status
put_members(const struct dpo_prompts *p, struct dpo_prompt *prompt, const char *line, size_t n, const struct form *form,
    struct dpo_error *err)
{
	struct dpo_buffer *out = &prompt->members, decoded = { 0 };
	bool decode = !form->text && p->tokenizer;
	enum dpo_status status = DPO_OK;

	dpo_buffer_clear(out);
	dpo_buffer_string(out, "\"id\":");
	dpo_json_put_string(out, prompt->id, strlen(prompt->id));
	if (decode) {
		status = dpo_tokenizer_decode(p->tokenizer, prompt->tokens.ids, prompt->tokens.count, &decoded, err);
		dpo_buffer_string(out, ",\"prompt\":");
		dpo_json_put_string(out, dpo_buffer_text(&decoded), decoded.len);
	}
	if (decode || form->rendered)
		dpo_buffer_string(out, ",\"rendered\":\"prompt\"");
	if (status == DPO_OK)
		status = copy_members(p, out, line, n, form->text, err);
	out->failed |= decoded.failed;
	dpo_buffer_free(&decoded);
	return status == DPO_OK && out->failed ? dpo_fail_memory(err) : status;
}

static enum dpo_status
read_row(struct dpo_prompts *p, struct dpo_prompt *prompt, const char *line, size_t n, struct dpo_error *err)
{
	enum dpo_status status;
	struct form form;
	cJSON *row;

	if ((status = dpo_json_parse(&row, line, n, err)) != DPO_OK)
		return status;
	if (!cJSON_IsObject(row))
		status = dpo_fail(err, DPO_FORMAT, "not a JSON object");
	else if ((status = read_form(&form, row, err)) == DPO_OK && (status = read_tokens(p, prompt, row, &form, err)) == DPO_OK &&
	    (status = read_id(p, prompt, row, line, n, err)) == DPO_OK)
		status = put_members(p, prompt, line, n, &form, err);
	cJSON_Delete(row);
	return status;
}

enum dpo_status
dpo_prompts_next(struct dpo_prompts *prompts, struct dpo_prompt *prompt, struct dpo_error *err)
{
	struct dpo_prompts *p = prompts;
	enum dpo_status status;
	const char *line;
	size_t n;

	if ((status = next_line(p, &line, &n, err)) != DPO_OK)
		return status;
	status = read_row(p, prompt, line, n, err);
	p->rows++;
	return status == DPO_OK ? DPO_OK : dpo_prompts_blame(p, err);
}
