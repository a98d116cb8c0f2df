#include "rows/rows.h"

#include "base/json.h"
#include "base/size.h"
#include "base/utf8.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

/* The keys that mean something; the first are columns, and the last three mean a row that is not for us. */
enum key { ID, PROMPT, CHOSEN, REJECTED, WEIGHT, MARGIN, LABEL_PROB, COMPLETION, RENDERED, EOS, LABEL, IMAGE, IMAGES, KEYS };

static const char *const names[KEYS] = { "id", "prompt", "chosen", "rejected", "weight", "margin", "label_prob", "completion",
	"rendered", "eos", "label", "image", "images" };

/* A member of the row: where its value lies in the line. */
struct member {
	enum dpo_json_token token;	/* its first; DPO_JSON_END: absent */
	size_t start, length;
};

struct members {
	const char *line;
	struct member known[KEYS];
	struct member kept[DPO_ROW_KEPT_MAX];
};

/* ------------------------------------------------------------------ columns to keep */

static bool
can_keep(enum dpo_type type)
{
	return type == DPO_STR || type == DPO_F32 || type == DPO_I64 || type == DPO_I32S || type == DPO_I64S ||
	    type == DPO_F32S;
}

enum dpo_status
dpo_rows_keep(struct dpo_rows *rows, const char *asked, struct dpo_error *err)
{
	const char *colon = strrchr(asked, ':');
	enum dpo_type type = colon ? dpo_type_find(colon + 1) : DPO_TYPES;
	struct dpo_kept *kept = &rows->kept[rows->n_kept];
	size_t n = colon ? (size_t)(colon - asked) : 0;

	if (!colon || n == 0 || !can_keep(type))
		return dpo_fail(err, DPO_USAGE, "\"%s\" is not NAME:TYPE with a type of str, f32, i64, i32[], i64[], f32[]", asked);
	if (rows->n_kept == DPO_ROW_KEPT_MAX)
		return dpo_fail(err, DPO_USAGE, "more than %d columns to keep", DPO_ROW_KEPT_MAX);
	if (!(kept->name = dpo_size_copy(asked, n)))
		return dpo_fail_memory(err);
	kept->type = type;
	rows->n_kept++;
	for (size_t i = 0; i < COMPLETION; i++)
		if (strcmp(names[i], kept->name) == 0)
			return dpo_fail(err, DPO_USAGE, "\"%s\" is a column already", kept->name);
	for (size_t i = 0; i + 1 < rows->n_kept; i++)
		if (strcmp(rows->kept[i].name, kept->name) == 0)
			return dpo_fail(err, DPO_USAGE, "\"%s\" is asked for twice", kept->name);
	return DPO_OK;
}

void
dpo_rows_free(struct dpo_rows *rows)
{
	for (size_t i = 0; i < rows->n_kept; i++)
		free(rows->kept[i].name);
	for (size_t i = 0; i < rows->n_dropped; i++)
		free(rows->dropped[i].name);
	dpo_buffer_free(&rows->text);
	dpo_buffer_free(&rows->values);
	*rows = (struct dpo_rows){ 0 };
}

/* ------------------------------------------------------------------ the members of a line */

static enum dpo_status
count_dropped(struct dpo_rows *rows, const char *name, size_t n, struct dpo_error *err)
{
	for (size_t i = 0; i < rows->n_dropped; i++)
		if (strcmp(rows->dropped[i].name, name) == 0) {
			rows->dropped[i].rows++;
			return DPO_OK;
		}
	if (rows->n_dropped == DPO_ROW_DROPPED_MAX) {
		rows->dropped_more++;
		return DPO_OK;
	}
	if (!(rows->dropped[rows->n_dropped].name = dpo_size_copy(name, n)))
		return dpo_fail_memory(err);
	rows->dropped[rows->n_dropped++].rows = 1;
	return DPO_OK;
}

static bool
is_kept(const struct dpo_rows *rows, const char *name)
{
	for (size_t i = 0; i < rows->n_kept; i++)
		if (strcmp(rows->kept[i].name, name) == 0)
			return true;
	return false;
}

static bool
is_given(const struct members *members, enum key key)
{
	return members->known[key].token != DPO_JSON_END && members->known[key].token != DPO_JSON_NULL;
}

/* A key that means something, but nothing in this row, is dropped as others are. */
static enum dpo_status
count_idle(struct dpo_rows *rows, const struct dpo_text_row *row, const struct members *members, struct dpo_error *err)
{
	const bool idle[KEYS] = { [WEIGHT] = row->supervised, [MARGIN] = row->supervised, [LABEL_PROB] = row->supervised,
		[COMPLETION] = !row->supervised, [EOS] = row->rendered != DPO_RENDERED_PROMPT, [LABEL] = true, [IMAGE] = true,
		[IMAGES] = true };
	enum dpo_status status = DPO_OK;

	for (enum key key = 0; key < KEYS && status == DPO_OK; key++)
		if (idle[key] && is_given(members, key) && !is_kept(rows, names[key]))
			status = count_dropped(rows, names[key], strlen(names[key]), err);
	return status;
}

/* Where the value of this key goes, to either or both; neither: the key is dropped. */
static enum dpo_status
note_member(struct dpo_rows *rows, struct members *members, const char *key, size_t n, struct member member,
    struct dpo_error *err)
{
	bool used = false;

	for (size_t i = 0; i < KEYS; i++)
		if (strcmp(names[i], key) == 0) {
			members->known[i] = member;
			used = true;
		}
	for (size_t i = 0; i < rows->n_kept; i++)
		if (strcmp(rows->kept[i].name, key) == 0) {
			members->kept[i] = member;
			used = true;
		}
	return used ? DPO_OK : count_dropped(rows, key, n, err);
}

/* One "key": value; the lexer stands on the key. */
static enum dpo_status
read_member(struct dpo_rows *rows, struct dpo_json_lexer *lexer, struct dpo_table *seen, struct members *members,
    struct dpo_error *err)
{
	struct dpo_json_lexer value;
	struct member member;
	enum dpo_status status;
	const char *key;
	int added;

	dpo_buffer_clear(&rows->text);
	dpo_json_unescape(lexer, &rows->text);
	key = dpo_buffer_text(&rows->text);
	if (rows->text.failed || (added = dpo_table_add(seen, key, rows->text.len, 0)) < 0)
		return dpo_fail_memory(err);
	if (added == 0)
		return dpo_fail(err, DPO_FORMAT, "\"%.60s\" appears twice", key);
	switch (dpo_json_next(lexer, err)) {
	case DPO_JSON_COLON:
		break;
	case DPO_JSON_ERROR:
		return DPO_FORMAT;
	default:
		return dpo_fail(err, DPO_FORMAT, "JSON, byte %zu: a colon is expected", lexer->start);
	}
	value = *lexer;
	if ((status = dpo_json_skip(lexer, err)) != DPO_OK)
		return status;
	member = (struct member){ dpo_json_next(&value, err), lexer->start, lexer->length };
	return note_member(rows, members, key, rows->text.len, member, err);
}

static enum dpo_status
expected(const struct dpo_json_lexer *lexer, enum dpo_json_token token, const char *what, struct dpo_error *err)
{
	if (token == DPO_JSON_ERROR)
		return DPO_FORMAT;
	return dpo_fail(err, DPO_FORMAT, "JSON, byte %zu: %s is expected", lexer->start, what);
}

static enum dpo_status
read_members(struct dpo_rows *rows, struct dpo_json_lexer *lexer, struct dpo_table *seen, struct members *members,
    struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);
	enum dpo_status status;

	if (token == DPO_JSON_OPEN_ARRAY)
		return dpo_fail(err, DPO_FORMAT, "a list, not an object; each line is one object (jq -c '.[]')");
	if (token != DPO_JSON_OPEN_OBJECT)
		return expected(lexer, token, "an object", err);
	token = dpo_json_next(lexer, err);
	while (token != DPO_JSON_CLOSE_OBJECT) {
		if (token != DPO_JSON_STRING)
			return expected(lexer, token, "a key", err);
		if ((status = read_member(rows, lexer, seen, members, err)) != DPO_OK)
			return status;
		token = dpo_json_next(lexer, err);
		if (token == DPO_JSON_COMMA) {
			if ((token = dpo_json_next(lexer, err)) != DPO_JSON_STRING)
				return expected(lexer, token, "a key", err);
		} else if (token != DPO_JSON_CLOSE_OBJECT) {
			return expected(lexer, token, "a comma or the end of the object", err);
		}
	}
	token = dpo_json_next(lexer, err);
	return token == DPO_JSON_END ? DPO_OK : expected(lexer, token, "the end of the line", err);
}

/* ------------------------------------------------------------------ values */

/* Append the string's text to rows->text. */
static void
unescape(struct dpo_rows *rows, const char *line, const struct member *member)
{
	struct dpo_json_lexer lexer = { .text = line, .len = member->start + member->length, .start = member->start,
		.length = member->length };

	dpo_json_unescape(&lexer, &rows->text);
}

static enum dpo_status
check_text(const struct members *members, enum key key, struct dpo_error *err)
{
	switch (members->known[key].token) {
	case DPO_JSON_STRING:
		return DPO_OK;
	case DPO_JSON_END:
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is missing", names[key]);
	case DPO_JSON_OPEN_ARRAY:
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is a list, not a string; chat messages go first through "
		    "pipelines/dpo-chat", names[key]);
	default:
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a string", names[key]);
	}
}

/* A finite float from the number at member. */
static enum dpo_status
get_float(float *value, const char *line, const struct member *member, const char *name, struct dpo_error *err)
{
	if (member->token != DPO_JSON_NUMBER)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a number", name);
	return dpo_json_token_float(value, line + member->start, member->length) ? DPO_OK : dpo_fail(err, DPO_FORMAT,
	    "\"%s\" is %.*s, too large for a float", name, (int)member->length, line + member->start);
}

static enum dpo_status
get_integer(int64_t *value, const char *line, const struct member *member, const char *name, int64_t low,
    int64_t high, struct dpo_error *err)
{
	if (member->token != DPO_JSON_NUMBER)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not an integer", name);
	return dpo_json_digits(value, line + member->start, member->length, name, low, high, err);
}

static enum dpo_status
get_optional(float *value, const struct members *members, enum key key, float silent, float low, float high,
    struct dpo_error *err)
{
	const struct member *member = &members->known[key];
	enum dpo_status status;

	*value = silent;
	if (member->token == DPO_JSON_END || member->token == DPO_JSON_NULL)
		return DPO_OK;
	if ((status = get_float(value, members->line, member, names[key], err)) != DPO_OK)
		return status;
	if (*value < low || *value > high)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is %.*s, not within %g and %g", names[key], (int)member->length,
		    members->line + member->start, (double)low, (double)high);
	return DPO_OK;
}

/* One element of a kept run, appended to rows->values. */
static enum dpo_status
put_element(struct dpo_rows *rows, const struct dpo_kept *kept, const char *line, const struct member *member,
    struct dpo_error *err)
{
	bool narrow = kept->type == DPO_I32S;
	enum dpo_status status;
	int64_t integer;
	int32_t small;
	float number;

	if (kept->type == DPO_F32S) {
		if ((status = get_float(&number, line, member, kept->name, err)) == DPO_OK)
			dpo_buffer_append(&rows->values, &number, sizeof number);
		return status;
	}
	status = get_integer(&integer, line, member, kept->name, narrow ? INT32_MIN : INT64_MIN,
	    narrow ? INT32_MAX : INT64_MAX, err);
	small = (int32_t)integer;
	if (status == DPO_OK && narrow)
		dpo_buffer_append(&rows->values, &small, sizeof small);
	else if (status == DPO_OK)
		dpo_buffer_append(&rows->values, &integer, sizeof integer);
	return status;
}

/* A flat list of numbers. */
static enum dpo_status
put_run(struct dpo_rows *rows, const struct dpo_kept *kept, const char *line, const struct member *member,
    struct dpo_value *value, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = line, .len = member->start + member->length, .at = member->start + 1 };
	enum dpo_json_token token = DPO_JSON_COMMA;
	enum dpo_status status;

	if (member->token != DPO_JSON_OPEN_ARRAY)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a list of numbers", kept->name);
	while (rows->values.len % 8)
		dpo_buffer_byte(&rows->values, 0);
	value->count = 0;
	while (token != DPO_JSON_CLOSE_ARRAY) {
		struct member element = { .token = dpo_json_next(&lexer, err) };

		if (element.token == DPO_JSON_CLOSE_ARRAY)	/* the lexer has passed the list: this one is empty */
			break;
		element.start = lexer.start;
		element.length = lexer.length;
		if ((status = put_element(rows, kept, line, &element, err)) != DPO_OK)
			return status;
		value->count++;
		token = dpo_json_next(&lexer, err);
	}
	return DPO_OK;
}

/* A kept value; a str or a run gets its offset in value->i64 until all are in place. */
static enum dpo_status
get_kept(struct dpo_rows *rows, const struct members *members, size_t i, struct dpo_value *value,
    struct dpo_error *err)
{
	const struct member *member = &members->kept[i];
	const struct dpo_kept *kept = &rows->kept[i];

	*value = (struct dpo_value){ 0 };
	if (member->token == DPO_JSON_END)
		return dpo_fail(err, DPO_FORMAT, "\"%.60s\" is missing, to be kept as %s", kept->name,
		    dpo_type_name(kept->type));
	if (kept->type == DPO_F32)
		return get_float(&value->f32, members->line, member, kept->name, err);
	if (kept->type == DPO_I64)
		return get_integer(&value->i64, members->line, member, kept->name, INT64_MIN, INT64_MAX, err);
	if (kept->type == DPO_STR) {
		if (member->token != DPO_JSON_STRING)
			return dpo_fail(err, DPO_FORMAT, "\"%.60s\" is not a string", kept->name);
		value->i64 = (int64_t)rows->text.len;
		unescape(rows, members->line, member);
		value->count = rows->text.len - (size_t)value->i64;
		return DPO_OK;
	}
	value->i64 = (int64_t)((rows->values.len + 7) / 8 * 8);
	return put_run(rows, kept, members->line, member, value, err);
}

/* ------------------------------------------------------------------ the row */

/* The prompt that both texts share; see rows.h. */
static void
extract_prompt(struct dpo_text_row *row)
{
	const char *a = row->chosen.bytes, *b = row->rejected.bytes;
	size_t n = row->chosen.n < row->rejected.n ? row->chosen.n : row->rejected.n, at = 0;
	bool differ;

	while (at < n && a[at] == b[at])
		at++;
	differ = at < n;
	if (!differ && n > 0)
		at--;
	/* Characters, not bytes: back to the start of this one. */
	while (at > 0 && ((uint8_t)a[at] & 0xc0) == 0x80)
		at--;
	if (differ && at > 0 && a[at - 1] == ' ')
		at--;
	row->prompt = (struct dpo_row_text){ a, at };
	row->chosen = (struct dpo_row_text){ a + at, row->chosen.n - at };
	row->rejected = (struct dpo_row_text){ b + at, row->rejected.n - at };
	row->implicit = true;
}

static enum dpo_status
get_id(struct dpo_rows *rows, struct dpo_text_row *row, const struct members *members, struct dpo_error *err)
{
	const struct member *member = &members->known[ID];
	enum dpo_status status;
	int64_t ignored;

	row->id = (struct dpo_row_text){ NULL, rows->text.len };
	if (member->token == DPO_JSON_STRING) {
		unescape(rows, members->line, member);
	} else if (member->token == DPO_JSON_NUMBER) {
		if ((status = get_integer(&ignored, members->line, member, "id", INT64_MIN, INT64_MAX, err)) != DPO_OK)
			return status;
		dpo_buffer_append(&rows->text, members->line + member->start, member->length);
	} else if (member->token != DPO_JSON_END && member->token != DPO_JSON_NULL) {
		return dpo_fail(err, DPO_FORMAT, "\"id\" is neither a string nor an integer");
	}
	row->has_id = member->token == DPO_JSON_STRING || member->token == DPO_JSON_NUMBER;
	return DPO_OK;
}

static enum dpo_status
get_rendered(struct dpo_text_row *row, const struct members *members, struct dpo_error *err)
{
	static const char prompt[] = "\"prompt\"";
	const struct member *member = &members->known[RENDERED];

	if (member->token == DPO_JSON_TRUE)
		row->rendered = DPO_RENDERED_WHOLE;
	else if (member->length == strlen(prompt) && memcmp(members->line + member->start, prompt, member->length) == 0)
		row->rendered = DPO_RENDERED_PROMPT;
	if (!row->rendered && is_given(members, RENDERED) && member->token != DPO_JSON_FALSE)
		return dpo_fail(err, DPO_FORMAT, "\"rendered\" is none of true, false and \"prompt\"");
	if (row->rendered && members->known[PROMPT].token == DPO_JSON_END)
		return dpo_fail(err, DPO_FORMAT, "\"prompt\" is missing; a rendered row has one");
	if (row->rendered == DPO_RENDERED_PROMPT && !row->supervised)
		return dpo_fail(err, DPO_FORMAT,
		    "\"rendered\" is \"prompt\" in a pair; its answers are to be whole texts, prompt and "
		    "EOS included, and \"rendered\" true");
	return DPO_OK;
}

/* All texts go to one buffer; `n` holds their offsets until place_texts, when it moves no more. */
static enum dpo_status
get_texts(struct dpo_rows *rows, struct dpo_text_row *row, const struct members *members, struct dpo_error *err)
{
	static const enum key pair[] = { PROMPT, CHOSEN, REJECTED }, supervised[] = { PROMPT, COMPLETION, EOS };
	struct dpo_row_text *const texts[] = { &row->prompt, &row->chosen, row->supervised ? &row->eos : &row->rejected };
	const enum key *keys = row->supervised ? supervised : pair;
	enum dpo_status status;

	row->implicit = !row->supervised && members->known[PROMPT].token == DPO_JSON_END;
	for (size_t i = row->implicit; i < 3; i++) {
		texts[i]->n = rows->text.len;
		if (keys[i] == EOS && (row->rendered != DPO_RENDERED_PROMPT || !is_given(members, EOS)))
			continue;
		if ((status = check_text(members, keys[i], err)) != DPO_OK)
			return status;
		unescape(rows, members->line, &members->known[keys[i]]);
	}
	return DPO_OK;
}

static void
place_texts(struct dpo_rows *rows, struct dpo_text_row *row)
{
	struct dpo_row_text *const texts[] = { &row->id, &row->prompt, &row->chosen, row->supervised ? &row->eos : &row->rejected };
	const char *base = dpo_buffer_text(&rows->text);
	size_t end = rows->text.len;

	for (size_t i = rows->n_kept; i-- > 0;) {
		struct dpo_value *value = &row->kept[i];
		size_t offset = (size_t)value->i64;

		if (dpo_type_scalar(rows->kept[i].type))
			continue;
		value->data = rows->kept[i].type == DPO_STR ? (const void *)(base + offset) :
		    value->count ? (const void *)(rows->values.data + offset) : "";
		if (rows->kept[i].type == DPO_STR)
			end = offset;
		value->i64 = 0;
	}
	for (size_t i = 4; i-- > 0;) {
		if (i == 1 && row->implicit)
			continue;
		texts[i]->bytes = base + texts[i]->n;
		texts[i]->n = end - texts[i]->n;
		end -= texts[i]->n;
	}
	if (row->implicit)
		extract_prompt(row);
}

static bool
is_empty_list(const struct members *members, enum key key)
{
	const struct member *member = &members->known[key];
	struct dpo_json_lexer lexer = { .text = members->line, .len = member->start + member->length, .at = member->start + 1 };
	struct dpo_error err;

	return member->token == DPO_JSON_OPEN_ARRAY && dpo_json_next(&lexer, &err) == DPO_JSON_CLOSE_ARRAY;
}

/* Rows whose meaning would be lost: verdicts on single answers, and pictures. */
static enum dpo_status
refuse_others(const struct dpo_rows *rows, const struct dpo_text_row *row, const struct members *members, struct dpo_error *err)
{
	enum dpo_json_token label = members->known[LABEL].token;

	if (row->supervised && (label == DPO_JSON_TRUE || label == DPO_JSON_FALSE))
		return dpo_fail(err, DPO_FORMAT,
		    "\"label\" beside \"completion\": an unpaired preference; make pairs of the good and "
		    "the bad completions of a prompt, or take the good ones alone, without \"label\", as supervised rows");
	for (enum key key = IMAGE; key <= IMAGES; key++)
		if (is_given(members, key) && !is_empty_list(members, key) && !is_kept(rows, names[key]))
			return dpo_fail(err, DPO_FORMAT, "\"%s\": models of text alone are trained here", names[key]);
	return DPO_OK;
}

static enum dpo_status
take_row(struct dpo_rows *rows, struct dpo_text_row *row, const struct members *members, struct dpo_error *err)
{
	enum dpo_status status;

	row->supervised = members->known[CHOSEN].token == DPO_JSON_END && members->known[REJECTED].token == DPO_JSON_END &&
	    members->known[COMPLETION].token != DPO_JSON_END;
	dpo_buffer_clear(&rows->text);
	dpo_buffer_clear(&rows->values);
	if ((status = get_id(rows, row, members, err)) != DPO_OK ||
	    (status = get_rendered(row, members, err)) != DPO_OK ||
	    (status = refuse_others(rows, row, members, err)) != DPO_OK ||
	    (status = count_idle(rows, row, members, err)) != DPO_OK ||
	    (status = get_texts(rows, row, members, err)) != DPO_OK ||
	    (status = get_optional(&row->weight, members, WEIGHT, 1, 0, FLT_MAX, err)) != DPO_OK ||
	    (status = get_optional(&row->margin, members, MARGIN, 0, -FLT_MAX, FLT_MAX, err)) != DPO_OK ||
	    (status = get_optional(&row->label_prob, members, LABEL_PROB, 1, 0, 1, err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < rows->n_kept; i++)
		if ((status = get_kept(rows, members, i, &row->kept[i], err)) != DPO_OK)
			return status;
	/* Ended here already: a text that found no memory must not be looked at. */
	(void)dpo_buffer_text(&rows->text);
	if (rows->text.failed || rows->values.failed)
		return dpo_fail_memory(err);
	place_texts(rows, row);
	return DPO_OK;
}

enum dpo_status
dpo_rows_read(struct dpo_rows *rows, struct dpo_text_row *row, const char *line, size_t n, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = line, .len = n };
	struct members members = { .line = line };
	struct dpo_buffer text = row->text, values = row->values;
	struct dpo_table seen = { 0 };
	enum dpo_status status;

	*row = (struct dpo_text_row){ 0 };
	for (size_t i = 0; i < KEYS; i++)
		members.known[i].token = DPO_JSON_END;
	for (size_t i = 0; i < DPO_ROW_KEPT_MAX; i++)
		members.kept[i].token = DPO_JSON_END;
	if ((status = read_members(rows, &lexer, &seen, &members, err)) == DPO_OK)
		status = take_row(rows, row, &members, err);
	/* The row takes what was read, and the reader the row's old memory. */
	row->text = rows->text;
	row->values = rows->values;
	rows->text = text;
	rows->values = values;
	dpo_table_free(&seen);
	return status;
}

void
dpo_row_free(struct dpo_text_row *row)
{
	dpo_buffer_free(&row->text);
	dpo_buffer_free(&row->values);
	*row = (struct dpo_text_row){ 0 };
}
