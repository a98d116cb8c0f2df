#include "stream/text.h"

#include "base/bytes.h"
#include "base/json.h"
#include "base/size.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_ROOM = 64, HEX_DIGITS = 2 * DPO_HASH_BYTES };

/* ------------------------------------------------------------------ writing */

enum dpo_status
dpo_text_put_header(struct dpo_buffer *out, const struct dpo_header *header, struct dpo_error *err)
{
	struct dpo_buffer json = { 0 };
	enum dpo_status status = dpo_header_write(header, &json, err);

	if (status == DPO_OK) {
		dpo_buffer_string(out, "{\"header\":");
		dpo_buffer_append(out, json.data, json.len);
		dpo_buffer_string(out, "}\n");
		status = out->failed ? dpo_fail_memory(err) : DPO_OK;
	}
	dpo_buffer_free(&json);
	return status;
}

static enum dpo_status
put_float(struct dpo_buffer *out, const char *column, float value, struct dpo_error *err)
{
	char text[NUMBER_ROOM];

	if (!isfinite(value))
		return dpo_fail(err, DPO_NONFINITE, "column \"%s\" holds NaN or infinity", column);
	snprintf(text, sizeof text, "%.9g", (double)value);
	dpo_buffer_string(out, text);
	return DPO_OK;
}

static enum dpo_status
put_array(struct dpo_buffer *out, const struct dpo_column *column, const struct dpo_value *value, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	char text[NUMBER_ROOM];

	dpo_buffer_byte(out, '[');
	for (size_t i = 0; i < value->count && status == DPO_OK; i++) {
		if (i)
			dpo_buffer_byte(out, ',');
		if (column->type == DPO_F32S) {
			status = put_float(out, column->name, ((const float *)value->data)[i], err);
			continue;
		}
		snprintf(text, sizeof text, "%lld", column->type == DPO_I32S ?
		    (long long)((const int32_t *)value->data)[i] : (long long)((const int64_t *)value->data)[i]);
		dpo_buffer_string(out, text);
	}
	dpo_buffer_byte(out, ']');
	return status;
}

static void
put_base64(struct dpo_buffer *out, enum dpo_type type, const struct dpo_value *value)
{
	size_t each = dpo_type_size(type), n = value->count * each;
	size_t room = sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL);	/* with a NUL */
	uint8_t *little = malloc(n ? n : 1);
	char *text;

	dpo_buffer_string(out, "{\"base64\":\"");
	if (little && (text = (char *)dpo_buffer_room(out, room))) {
		dpo_bytes_swap_copy(little, value->data, value->count, each);
		sodium_bin2base64(text, room, little, n, sodium_base64_VARIANT_ORIGINAL);
		out->len--;
	} else {
		out->failed = true;
	}
	free(little);
	dpo_buffer_printf(out, "\",\"type\":\"%s\"}", dpo_type_name(type));
}

/* Floats and raw bytes: what --data is about. */
static bool
heavy(enum dpo_type type)
{
	return type == DPO_BYTES || type == DPO_F32S || type == DPO_BF16S || type == DPO_F16S;
}

static enum dpo_status
put_value(struct dpo_buffer *out, const struct dpo_column *column, const struct dpo_value *value, bool data,
    struct dpo_error *err)
{
	enum dpo_type type = column->type;

	if (type == DPO_F32)
		return put_float(out, column->name, value->f32, err);
	if (type == DPO_I64)
		dpo_buffer_printf(out, "%lld", (long long)value->i64);
	else if (type == DPO_STR)
		dpo_json_put_string(out, value->data, value->count);
	else if (!data && heavy(type))
		dpo_buffer_printf(out, "{\"elements\":%zu}", value->count);
	else if (type == DPO_BYTES || type == DPO_BF16S || type == DPO_F16S || value->count > DPO_TEXT_LONG)
		put_base64(out, type, value);
	else
		return put_array(out, column, value, err);
	return DPO_OK;
}

enum dpo_status
dpo_text_put_record(struct dpo_buffer *out, const struct dpo_header *header, const struct dpo_value *values, bool data,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < header->n_columns && status == DPO_OK; i++) {
		const struct dpo_column *column = &header->columns[i];

		dpo_buffer_byte(out, i ? ',' : '{');
		dpo_json_put_string(out, column->name, strlen(column->name));
		dpo_buffer_byte(out, ':');
		status = put_value(out, column, &values[i], data, err);
	}
	dpo_buffer_string(out, "}\n");
	return status == DPO_OK && out->failed ? dpo_fail_memory(err) : status;
}

static void
put_hash(struct dpo_buffer *out, const char *key, const uint8_t *hash)
{
	char hex[DPO_HEX_BYTES];

	if (sodium_is_zero(hash, DPO_HASH_BYTES))
		return;
	dpo_bytes_hex(hex, hash, DPO_HASH_BYTES);
	dpo_buffer_printf(out, ",\"%s\":\"%s\"", key, hex);
}

void
dpo_text_put_end(struct dpo_buffer *out, const uint8_t parent[DPO_HASH_BYTES], const uint8_t tip[DPO_HASH_BYTES])
{
	dpo_buffer_string(out, "{\"end\":true");
	put_hash(out, "parent", parent);
	put_hash(out, "tip", tip);
	dpo_buffer_string(out, "}\n");
}

/* ------------------------------------------------------------------ reading: first and last line */

static enum dpo_status
need(struct dpo_json_lexer *lexer, enum dpo_json_token wanted, const char *what, struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);

	if (token == wanted)
		return DPO_OK;
	return token == DPO_JSON_ERROR ? DPO_FORMAT : dpo_fail(err, DPO_FORMAT, "%s", what);
}

/* Is the last token, a string, this one? Strings with escapes are not. */
static bool
is_word(const struct dpo_json_lexer *lexer, const char *word)
{
	size_t n = strlen(word);

	return lexer->length == n + 2 && memcmp(lexer->text + lexer->start + 1, word, n) == 0;
}

enum dpo_status
dpo_text_get_header(struct dpo_header *header, const char *line, size_t len, struct dpo_error *err)
{
	static const char what[] = "the first line is not {\"header\":{...}}";
	struct dpo_json_lexer lexer = { .text = line, .len = len };
	enum dpo_status status;
	size_t start, length;

	*header = (struct dpo_header){ 0 };
	if ((status = need(&lexer, DPO_JSON_OPEN_OBJECT, what, err)) != DPO_OK ||
	    (status = need(&lexer, DPO_JSON_STRING, what, err)) != DPO_OK)
		return status;
	if (!is_word(&lexer, "header"))
		return dpo_fail(err, DPO_FORMAT, "%s", what);
	if ((status = need(&lexer, DPO_JSON_COLON, what, err)) != DPO_OK ||
	    (status = dpo_json_skip(&lexer, err)) != DPO_OK)
		return status;
	start = lexer.start;
	length = lexer.length;
	if ((status = need(&lexer, DPO_JSON_CLOSE_OBJECT, what, err)) != DPO_OK ||
	    (status = need(&lexer, DPO_JSON_END, what, err)) != DPO_OK)
		return status;
	return dpo_header_read(header, line + start, length, err);
}

static enum dpo_status
read_hash(const cJSON *tree, const char *key, uint8_t *hash, struct dpo_error *err)
{
	const char *hex;
	enum dpo_status status = dpo_json_string_or(&hex, tree, key, NULL, err);
	size_t n;

	memset(hash, 0, DPO_HASH_BYTES);
	if (status != DPO_OK || !hex)
		return status;
	if (strlen(hex) != HEX_DIGITS ||
	    sodium_hex2bin(hash, DPO_HASH_BYTES, hex, HEX_DIGITS, NULL, &n, NULL) != 0 || n != DPO_HASH_BYTES)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a hash of %d hexadecimal digits", key, HEX_DIGITS);
	return DPO_OK;
}

enum dpo_status
dpo_text_get_end(bool *is_end, const char *line, size_t len, uint8_t parent[DPO_HASH_BYTES], uint8_t tip[DPO_HASH_BYTES],
    struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = line, .len = len };
	enum dpo_status status;
	cJSON *tree;

	/* No column's value is ever `true`, so a column named "end" does not confuse. */
	*is_end = dpo_json_next(&lexer, NULL) == DPO_JSON_OPEN_OBJECT && dpo_json_next(&lexer, NULL) == DPO_JSON_STRING &&
	    is_word(&lexer, "end") && dpo_json_next(&lexer, NULL) == DPO_JSON_COLON &&
	    dpo_json_next(&lexer, NULL) == DPO_JSON_TRUE;
	if (!*is_end)
		return DPO_OK;
	if ((status = dpo_json_parse(&tree, line, len, err)) != DPO_OK)
		return status;
	if ((status = read_hash(tree, "parent", parent, err)) == DPO_OK)
		status = read_hash(tree, "tip", tip, err);
	cJSON_Delete(tree);
	return status;
}

/* ------------------------------------------------------------------ reading: records */

static enum dpo_status
wrong(const struct dpo_column *column, struct dpo_error *err)
{
	return dpo_fail(err, DPO_FORMAT, "\"%s\" is not of type %s", column->name, dpo_type_name(column->type));
}

/* Append the number just lexed to a run; false if it does not fit the type. */
static bool
take_number(const struct dpo_json_lexer *lexer, enum dpo_type type, struct dpo_buffer *run)
{
	const char *at = lexer->text + lexer->start;
	int64_t wide;
	int32_t narrow;
	float real;

	switch (type) {
	case DPO_I32S:
		if (!dpo_json_token_integer(&wide, at, lexer->length, INT32_MIN, INT32_MAX))
			return false;
		narrow = (int32_t)wide;
		dpo_buffer_append(run, &narrow, sizeof narrow);
		return true;
	case DPO_I64:
	case DPO_I64S:
		if (!dpo_json_token_integer(&wide, at, lexer->length, INT64_MIN, INT64_MAX))
			return false;
		dpo_buffer_append(run, &wide, sizeof wide);
		return true;
	case DPO_F32:
	case DPO_F32S:
		if (!dpo_json_token_float(&real, at, lexer->length))
			return false;
		dpo_buffer_append(run, &real, sizeof real);
		return true;
	default:
		return false;
	}
}

/* The elements after an opening bracket. */
static enum dpo_status
take_array(struct dpo_json_lexer *lexer, const struct dpo_column *column, struct dpo_buffer *run, struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);

	if (token == DPO_JSON_CLOSE_ARRAY)
		return DPO_OK;
	for (size_t i = 1;; i++) {
		if (token == DPO_JSON_ERROR)
			return dpo_error_prefix(err, "\"%s\"", column->name);
		if (token != DPO_JSON_NUMBER || !take_number(lexer, column->type, run))
			return dpo_fail(err, DPO_FORMAT, "\"%s\": element %zu does not fit %s", column->name, i,
			    dpo_type_name(column->type));
		if ((token = dpo_json_next(lexer, err)) == DPO_JSON_CLOSE_ARRAY)
			return DPO_OK;
		if (token != DPO_JSON_COMMA)
			return token == DPO_JSON_ERROR ? DPO_FORMAT : wrong(column, err);
		token = dpo_json_next(lexer, err);
	}
}

/* The base64 in scratch into run, as elements of the host. */
static enum dpo_status
decode_base64(struct dpo_buffer *scratch, const struct dpo_column *column, struct dpo_buffer *run, struct dpo_error *err)
{
	size_t each = dpo_type_size(column->type), n = 0;
	const char *text = dpo_buffer_text(scratch), *end;
	uint8_t *little = malloc(scratch->len + 1), *room;
	enum dpo_status status = DPO_OK;

	if (!little || scratch->failed)
		status = dpo_fail_memory(err);
	else if (sodium_base642bin(little, scratch->len + 1, text, scratch->len, NULL, &n, &end,
	    sodium_base64_VARIANT_ORIGINAL) != 0 || *end || n % each)
		status = dpo_fail(err, DPO_FORMAT, "\"%s\": not base64 of %s", column->name, dpo_type_name(column->type));
	else if ((room = dpo_buffer_room(run, n)))
		dpo_bytes_swap_copy(room, little, n / each, each);
	free(little);
	return status;
}

/* {"base64":"...","type":"f32[]"}, from the opening brace on. */
static enum dpo_status
take_base64(struct dpo_text_record *record, struct dpo_json_lexer *lexer, const struct dpo_column *column,
    struct dpo_buffer *run, struct dpo_error *err)
{
	bool have_type = false, have_bytes = false, type_key, bytes_key;
	enum dpo_json_token token;

	do {
		if (dpo_json_next(lexer, err) != DPO_JSON_STRING)
			return wrong(column, err);
		type_key = !have_type && is_word(lexer, "type");
		bytes_key = !have_bytes && is_word(lexer, "base64");
		if (is_word(lexer, "elements"))
			return dpo_fail(err, DPO_FORMAT, "\"%s\" was left out when this was written; dpo-cat --data keeps it",
			    column->name);
		if (!type_key == !bytes_key || dpo_json_next(lexer, err) != DPO_JSON_COLON ||
		    dpo_json_next(lexer, err) != DPO_JSON_STRING ||
		    (type_key && !is_word(lexer, dpo_type_name(column->type))))
			return wrong(column, err);
		have_type = have_type || type_key;
		have_bytes = have_bytes || bytes_key;
		if (bytes_key) {
			dpo_buffer_clear(&record->scratch);
			dpo_json_unescape(lexer, &record->scratch);
		}
	} while ((token = dpo_json_next(lexer, err)) == DPO_JSON_COMMA);
	if (token != DPO_JSON_CLOSE_OBJECT || !have_type || !have_bytes)
		return wrong(column, err);
	return decode_base64(&record->scratch, column, run, err);
}

static enum dpo_status
take_value(struct dpo_text_record *record, struct dpo_json_lexer *lexer, const struct dpo_column *column,
    struct dpo_buffer *run, struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);
	bool scalar = dpo_type_scalar(column->type);

	if (token == DPO_JSON_ERROR)
		return dpo_error_prefix(err, "\"%s\"", column->name);
	if (scalar && token == DPO_JSON_NUMBER)
		return take_number(lexer, column->type, run) ? DPO_OK : wrong(column, err);
	if (column->type == DPO_STR && token == DPO_JSON_STRING) {
		dpo_json_unescape(lexer, run);
		return DPO_OK;
	}
	if (scalar || column->type == DPO_STR)
		return wrong(column, err);
	if (token == DPO_JSON_OPEN_ARRAY && column->type != DPO_BYTES)
		return take_array(lexer, column, run, err);
	if (token == DPO_JSON_OPEN_OBJECT)
		return take_base64(record, lexer, column, run, err);
	return wrong(column, err);
}

/* One "key": value, the key being the last token. */
static enum dpo_status
take_member(struct dpo_text_record *record, const struct dpo_header *header, struct dpo_json_lexer *lexer,
    struct dpo_error *err)
{
	enum dpo_status status;
	const char *key;
	size_t i;

	dpo_buffer_clear(&record->scratch);
	dpo_json_unescape(lexer, &record->scratch);
	key = dpo_buffer_text(&record->scratch);
	if ((i = dpo_header_find(header, key)) == header->n_columns)
		return dpo_fail(err, DPO_FORMAT, "\"%.200s\" is not a column of the header", key);
	if (record->seen[i])
		return dpo_fail(err, DPO_FORMAT, "\"%s\" appears twice", key);
	record->seen[i] = true;
	if ((status = need(lexer, DPO_JSON_COLON, "no colon after a key", err)) != DPO_OK)
		return status;
	return take_value(record, lexer, &header->columns[i], &record->runs[i], err);
}

static enum dpo_status
prepare(struct dpo_text_record *record, const struct dpo_header *header, struct dpo_error *err)
{
	if (record->n == 0) {
		record->n = header->n_columns;
		record->runs = dpo_alloc(record->n, sizeof *record->runs);
		record->seen = dpo_alloc(record->n, sizeof *record->seen);
	}
	if (!record->runs || !record->seen) {
		dpo_text_free(record);
		return dpo_fail_memory(err);
	}
	for (size_t i = 0; i < record->n; i++) {
		dpo_buffer_clear(&record->runs[i]);
		record->seen[i] = false;
	}
	return DPO_OK;
}

/* The runs as values; every column must have been seen. */
static enum dpo_status
deliver(struct dpo_text_record *record, const struct dpo_header *header, struct dpo_value *values, struct dpo_error *err)
{
	for (size_t i = 0; i < record->n; i++) {
		enum dpo_type type = header->columns[i].type;
		struct dpo_buffer *run = &record->runs[i];

		if (!record->seen[i])
			return dpo_fail(err, DPO_FORMAT, "\"%s\" is missing", header->columns[i].name);
		(void)dpo_buffer_text(run);
		if (run->failed)
			return dpo_fail_memory(err);
		values[i] = (struct dpo_value){ 0 };
		if (type == DPO_F32)
			memcpy(&values[i].f32, run->data, sizeof values[i].f32);
		else if (type == DPO_I64)
			memcpy(&values[i].i64, run->data, sizeof values[i].i64);
		else
			values[i] = (struct dpo_value){ .data = run->data, .count = run->len / dpo_type_size(type) };
	}
	return DPO_OK;
}

enum dpo_status
dpo_text_get_record(struct dpo_text_record *record, const struct dpo_header *header, const char *line, size_t len,
    struct dpo_value *values, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = line, .len = len };
	enum dpo_json_token token;
	enum dpo_status status;

	if ((status = prepare(record, header, err)) != DPO_OK ||
	    (status = need(&lexer, DPO_JSON_OPEN_OBJECT, "not a JSON object", err)) != DPO_OK)
		return status;
	do {
		if ((status = need(&lexer, DPO_JSON_STRING, "not a JSON object of columns", err)) != DPO_OK ||
		    (status = take_member(record, header, &lexer, err)) != DPO_OK)
			return status;
	} while ((token = dpo_json_next(&lexer, err)) == DPO_JSON_COMMA);
	if (token != DPO_JSON_CLOSE_OBJECT)
		return token == DPO_JSON_ERROR ? DPO_FORMAT : dpo_fail(err, DPO_FORMAT, "not a JSON object of columns");
	if ((status = need(&lexer, DPO_JSON_END, "text after the record", err)) != DPO_OK)
		return status;
	return deliver(record, header, values, err);
}

void
dpo_text_free(struct dpo_text_record *record)
{
	for (size_t i = 0; record->runs && i < record->n; i++)
		dpo_buffer_free(&record->runs[i]);
	free(record->runs);
	free(record->seen);
	dpo_buffer_free(&record->scratch);
	*record = (struct dpo_text_record){ 0 };
}
