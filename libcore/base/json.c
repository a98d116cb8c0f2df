#include "base/json.h"

#include "base/table.h"
#include "base/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ lexer */

static enum dpo_json_token
bad(struct dpo_json_lexer *lexer, size_t at, const char *what, struct dpo_error *err)
{
	lexer->at = at;
	dpo_fail(err, DPO_FORMAT, "JSON, byte %zu: %s", at, what);
	return DPO_JSON_ERROR;
}

/* Four hexadecimal digits at text[at], or -1. */
static int32_t
hex4(const struct dpo_json_lexer *lexer, size_t at)
{
	int32_t value = 0;

	if (lexer->len < 4 || at > lexer->len - 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		char c = lexer->text[at + i];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* The code point of the \uXXXX (or surrogate pair) whose backslash is at `at`, its bytes in *length; -1 if none. */
static int32_t
unicode_escape(const struct dpo_json_lexer *lexer, size_t at, size_t *length)
{
	int32_t high = hex4(lexer, at + 2), low;

	*length = 6;
	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || lexer->len - at < 12 || lexer->text[at + 6] != '\\' || lexer->text[at + 7] != 'u')
		return -1;
	low = hex4(lexer, at + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	*length = 12;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* Check the escape at `at`; its length, or 0 with err filled. */
static size_t
check_escape(struct dpo_json_lexer *lexer, size_t at, struct dpo_error *err)
{
	size_t length;
	int32_t code;
	char c = at + 1 < lexer->len ? lexer->text[at + 1] : 0;

	if (c == 'u') {
		code = unicode_escape(lexer, at, &length);
		if (code > 0)
			return length;
		(void)bad(lexer, at, code == 0 ? "\\u0000 in a string" : "bad \\u escape or lone surrogate", err);
		return 0;
	}
	if (c && strchr("\"\\/bfnrt", c))
		return 2;
	(void)bad(lexer, at, "bad escape", err);
	return 0;
}

static enum dpo_json_token
lex_string(struct dpo_json_lexer *lexer, struct dpo_error *err)
{
	size_t at = lexer->at + 1, step;
	uint32_t code;

	while (at < lexer->len) {
		uint8_t c = (uint8_t)lexer->text[at];

		if (c == '"') {
			lexer->length = at + 1 - lexer->start;
			lexer->at = at + 1;
			return DPO_JSON_STRING;
		}
		if (c < 0x20)
			return bad(lexer, at, "control byte in a string", err);
		if (c == '\\') {
			if ((step = check_escape(lexer, at, err)) == 0)
				return DPO_JSON_ERROR;
		} else if (c < 0x80) {
			step = 1;
		} else if ((step = dpo_utf8_next((const uint8_t *)lexer->text + at, lexer->len - at, &code)) == 0) {
			return bad(lexer, at, "invalid UTF-8", err);
		}
		at += step;
	}
	return bad(lexer, at, "string without end", err);
}

/* A number as a string. */
struct copy {
	char text[DPO_JSON_NUMBER_MAX + 1];
};

static struct copy
copy_of(const char *text, size_t n)
{
	struct copy copy = { "" };

	memcpy(copy.text, text, n);
	return copy;
}

double
dpo_json_token_number(const char *text, size_t n)
{
	return strtod(copy_of(text, n).text, NULL);
}

bool
dpo_json_token_float(float *value, const char *text, size_t n)
{
	*value = strtof(copy_of(text, n).text, NULL);
	return isfinite(*value);
}

bool
dpo_json_token_whole(const char *text, size_t n)
{
	return strcspn(copy_of(text, n).text, ".eE") == n;
}

bool
dpo_json_token_integer(int64_t *value, const char *text, size_t n, int64_t low, int64_t high)
{
	struct copy copy = copy_of(text, n);
	char *end;

	errno = 0;
	*value = strtoll(copy.text, &end, 10);
	return errno == 0 && !*end && *value >= low && *value <= high;
}

static size_t
digits(const struct dpo_json_lexer *lexer, size_t at)
{
	while (at < lexer->len && lexer->text[at] >= '0' && lexer->text[at] <= '9')
		at++;
	return at;
}

static enum dpo_json_token
lex_number(struct dpo_json_lexer *lexer, struct dpo_error *err)
{
	const char *text = lexer->text;
	size_t at = lexer->at, from;

	if (text[at] == '-')
		at++;
	from = at;
	at = digits(lexer, at);
	if (at == from || (text[from] == '0' && at > from + 1))
		return bad(lexer, lexer->start, "bad number", err);
	if (at < lexer->len && text[at] == '.') {
		from = at + 1;
		if ((at = digits(lexer, from)) == from)
			return bad(lexer, lexer->start, "bad number", err);
	}
	if (at < lexer->len && (text[at] == 'e' || text[at] == 'E')) {
		at++;
		if (at < lexer->len && (text[at] == '+' || text[at] == '-'))
			at++;
		from = at;
		if ((at = digits(lexer, from)) == from)
			return bad(lexer, lexer->start, "bad number", err);
	}
	lexer->length = at - lexer->start;
	if (lexer->length > DPO_JSON_NUMBER_MAX)
		return bad(lexer, lexer->start, "number of more than 63 characters", err);
	if (isinf(dpo_json_token_number(text + lexer->start, lexer->length)))
		return bad(lexer, lexer->start, "number out of range", err);
	lexer->at = at;
	return DPO_JSON_NUMBER;
}

static enum dpo_json_token
lex_word(struct dpo_json_lexer *lexer, struct dpo_error *err)
{
	static const struct { const char *word; enum dpo_json_token token; } words[] = {
		{ "true", DPO_JSON_TRUE }, { "false", DPO_JSON_FALSE }, { "null", DPO_JSON_NULL },
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t n = strlen(words[i].word);

		if (lexer->len - lexer->at >= n && memcmp(lexer->text + lexer->at, words[i].word, n) == 0) {
			lexer->length = n;
			lexer->at += n;
			return words[i].token;
		}
	}
	return bad(lexer, lexer->at, "unexpected character", err);
}

enum dpo_json_token
dpo_json_next(struct dpo_json_lexer *lexer, struct dpo_error *err)
{
	static const char marks[] = "{}[]:,";
	const char *mark;

	while (lexer->at < lexer->len && lexer->text[lexer->at] && strchr(" \t\r\n", lexer->text[lexer->at]))
		lexer->at++;
	lexer->start = lexer->at;
	lexer->length = 0;
	if (lexer->at >= lexer->len)
		return DPO_JSON_END;
	if (lexer->text[lexer->at] == '"')
		return lex_string(lexer, err);
	if (lexer->text[lexer->at] == '-' || (lexer->text[lexer->at] >= '0' && lexer->text[lexer->at] <= '9'))
		return lex_number(lexer, err);
	if (lexer->text[lexer->at] && (mark = strchr(marks, lexer->text[lexer->at]))) {
		lexer->at++;
		lexer->length = 1;
		return DPO_JSON_OPEN_OBJECT + (enum dpo_json_token)(mark - marks);
	}
	return lex_word(lexer, err);
}

void
dpo_json_unescape(const struct dpo_json_lexer *lexer, struct dpo_buffer *out)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	size_t at = lexer->start + 1, end = lexer->start + lexer->length - 1, from, length;
	uint8_t utf8[4];

	while (at < end) {
		for (from = at; at < end && lexer->text[at] != '\\'; at++)
			;
		dpo_buffer_append(out, lexer->text + from, at - from);
		if (at >= end)
			break;
		if (lexer->text[at + 1] == 'u') {
			uint32_t code = (uint32_t)unicode_escape(lexer, at, &length);

			dpo_buffer_append(out, utf8, dpo_utf8_put(utf8, code));
			at += length;
		} else {
			dpo_buffer_byte(out, (uint8_t)meanings[strchr(letters, lexer->text[at + 1]) - letters]);
			at += 2;
		}
	}
}

static enum dpo_status skip_value(struct dpo_json_lexer *, enum dpo_json_token, size_t, struct dpo_error *);

static enum dpo_status
unexpected(struct dpo_json_lexer *lexer, enum dpo_json_token token, struct dpo_error *err)
{
	if (token != DPO_JSON_ERROR)
		(void)bad(lexer, lexer->start, token == DPO_JSON_END ? "unexpected end" : "unexpected character", err);
	return DPO_FORMAT;
}

/* The members of an object or array after its opening mark. */
static enum dpo_status
skip_members(struct dpo_json_lexer *lexer, bool object, size_t depth, struct dpo_error *err)
{
	enum dpo_json_token close = object ? DPO_JSON_CLOSE_OBJECT : DPO_JSON_CLOSE_ARRAY;
	enum dpo_json_token token = dpo_json_next(lexer, err);
	enum dpo_status status;

	if (depth > DPO_JSON_DEPTH) {
		(void)bad(lexer, lexer->start, "nested too deeply", err);
		return DPO_LIMIT;
	}
	if (token == close)
		return DPO_OK;
	for (;;) {
		if (object) {
			if (token != DPO_JSON_STRING)
				return unexpected(lexer, token, err);
			if ((token = dpo_json_next(lexer, err)) != DPO_JSON_COLON)
				return unexpected(lexer, token, err);
			token = dpo_json_next(lexer, err);
		}
		if ((status = skip_value(lexer, token, depth, err)) != DPO_OK)
			return status;
		if ((token = dpo_json_next(lexer, err)) == close)
			return DPO_OK;
		if (token != DPO_JSON_COMMA)
			return unexpected(lexer, token, err);
		token = dpo_json_next(lexer, err);
	}
}

/* The rest of a value that began with `token`. */
static enum dpo_status
skip_value(struct dpo_json_lexer *lexer, enum dpo_json_token token, size_t depth, struct dpo_error *err)
{
	if (token == DPO_JSON_OPEN_OBJECT || token == DPO_JSON_OPEN_ARRAY)
		return skip_members(lexer, token == DPO_JSON_OPEN_OBJECT, depth + 1, err);
	return token >= DPO_JSON_STRING ? DPO_OK : unexpected(lexer, token, err);
}

enum dpo_status
dpo_json_skip(struct dpo_json_lexer *lexer, struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);
	size_t start = lexer->start;
	enum dpo_status status = skip_value(lexer, token, 0, err);

	lexer->start = start;
	lexer->length = lexer->at - start;
	return status;
}

enum dpo_status
dpo_json_digits(int64_t *value, const char *text, size_t n, const char *name, int64_t low, int64_t high, struct dpo_error *err)
{
	if (dpo_json_token_integer(value, text, n, low, high))
		return DPO_OK;
	if (!dpo_json_token_whole(text, n))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is %.*s, not an integer", name, (int)n, text);
	return dpo_fail(err, DPO_FORMAT, "\"%s\" is %.*s, not within %lld and %lld", name, (int)n, text, (long long)low,
	    (long long)high);
}

/* ------------------------------------------------------------------ trees */

/* cJSON keeps every duplicate key in its list; one meaning for two readers is refused. */
static enum dpo_status
check_duplicates(const cJSON *node, struct dpo_error *err)
{
	struct dpo_table seen = { 0 };
	enum dpo_status status = DPO_OK;
	const cJSON *child;
	int added;

	cJSON_ArrayForEach(child, node) {
		if (cJSON_IsObject(node)) {
			added = dpo_table_add(&seen, child->string, strlen(child->string), 0);
			if (added < 0)
				status = dpo_fail_memory(err);
			else if (added == 0)
				status = dpo_fail(err, DPO_FORMAT, "JSON: duplicate key \"%s\"", child->string);
		}
		if (status == DPO_OK && (cJSON_IsObject(child) || cJSON_IsArray(child)))
			status = check_duplicates(child, err);
		if (status != DPO_OK)
			break;
	}
	dpo_table_free(&seen);
	return status;
}

enum dpo_status
dpo_json_parse(cJSON **tree, const char *text, size_t len, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = text, .len = len };
	enum dpo_status status;
	enum dpo_json_token token;

	*tree = NULL;
	if ((status = dpo_json_skip(&lexer, err)) != DPO_OK)
		return status;
	if ((token = dpo_json_next(&lexer, err)) == DPO_JSON_ERROR)
		return DPO_FORMAT;
	if (token != DPO_JSON_END) {
		(void)bad(&lexer, lexer.start, "text after the value", err);
		return DPO_FORMAT;
	}
	if (!(*tree = cJSON_ParseWithLength(text, len)))
		return dpo_fail_memory(err);
	if ((status = check_duplicates(*tree, err)) != DPO_OK) {
		cJSON_Delete(*tree);
		*tree = NULL;
	}
	return status;
}

const cJSON *
dpo_json_get(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* The member, or NULL if it is absent or null. */
static const cJSON *
present(const cJSON *object, const char *key)
{
	const cJSON *item = dpo_json_get(object, key);

	return item && !cJSON_IsNull(item) ? item : NULL;
}

static enum dpo_status
missing(const char *key, struct dpo_error *err)
{
	return dpo_fail(err, DPO_FORMAT, "\"%s\" is missing", key);
}

static enum dpo_status
wrong_type(const char *key, const char *type, struct dpo_error *err)
{
	return dpo_fail(err, DPO_FORMAT, "\"%s\" is not %s", key, type);
}

enum dpo_status
dpo_json_string(const char **value, const cJSON *object, const char *key, struct dpo_error *err)
{
	const cJSON *item = dpo_json_get(object, key);

	if (!item)
		return missing(key, err);
	if (!cJSON_IsString(item))
		return wrong_type(key, "a string", err);
	*value = item->valuestring;
	return DPO_OK;
}

enum dpo_status
dpo_json_string_or(const char **value, const cJSON *object, const char *key, const char *fallback,
    struct dpo_error *err)
{
	*value = fallback;
	return present(object, key) ? dpo_json_string(value, object, key, err) : DPO_OK;
}

enum dpo_status
dpo_json_integer_of(int64_t *value, const cJSON *member, int64_t low, int64_t high, struct dpo_error *err)
{
	const char *key = member->string;

	if (!cJSON_IsNumber(member) || member->valuedouble != floor(member->valuedouble) ||
	    fabs(member->valuedouble) >= DPO_JSON_EXACT)	/* 2^53 + 1 reads as 2^53 */
		return wrong_type(key, "an integer", err);
	*value = (int64_t)member->valuedouble;
	if (*value < low || *value > high)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is %lld, not within %lld and %lld", key, (long long)*value,
		    (long long)low, (long long)high);
	return DPO_OK;
}

enum dpo_status
dpo_json_integer(int64_t *value, const cJSON *object, const char *key, int64_t low, int64_t high,
    struct dpo_error *err)
{
	const cJSON *item = dpo_json_get(object, key);

	return item ? dpo_json_integer_of(value, item, low, high, err) : missing(key, err);
}

enum dpo_status
dpo_json_integer_or(int64_t *value, const cJSON *object, const char *key, int64_t low, int64_t high,
    int64_t fallback, struct dpo_error *err)
{
	*value = fallback;
	return present(object, key) ? dpo_json_integer(value, object, key, low, high, err) : DPO_OK;
}

enum dpo_status
dpo_json_number_or(double *value, const cJSON *object, const char *key, double fallback, struct dpo_error *err)
{
	const cJSON *item = present(object, key);

	*value = fallback;
	if (item && !cJSON_IsNumber(item))
		return wrong_type(key, "a number", err);
	if (item)
		*value = item->valuedouble;
	return DPO_OK;
}

enum dpo_status
dpo_json_bool_or(bool *value, const cJSON *object, const char *key, bool fallback, struct dpo_error *err)
{
	const cJSON *item = present(object, key);

	*value = fallback;
	if (item && !cJSON_IsBool(item))
		return wrong_type(key, "true or false", err);
	if (item)
		*value = cJSON_IsTrue(item);
	return DPO_OK;
}

enum dpo_status
dpo_json_ids(struct dpo_ids *ids, const cJSON *list, const char *key, struct dpo_error *err)
{
	const cJSON *item;

	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a list of token ids", key);
	cJSON_ArrayForEach(item, list) {
		double id = item->valuedouble;

		if (!cJSON_IsNumber(item) || !(id >= 0 && id <= INT32_MAX) || id > (double)(int32_t)id)
			return dpo_fail(err, DPO_FORMAT, "\"%s\" has an element that is no token id", key);
		if (!dpo_ids_add(ids, (int32_t)id))
			return dpo_fail_memory(err);
	}
	return DPO_OK;
}

/* ------------------------------------------------------------------ writing */

void
dpo_json_put_string(struct dpo_buffer *out, const char *bytes, size_t n)
{
	static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
	const char *letter;
	size_t from = 0;

	dpo_buffer_byte(out, '"');
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)bytes[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		dpo_buffer_append(out, bytes + from, i - from);
		from = i + 1;
		if (c && (letter = strchr(letters, c))) {
			dpo_buffer_byte(out, '\\');
			dpo_buffer_byte(out, (uint8_t)escapes[letter - letters]);
		} else {
			dpo_buffer_printf(out, "\\u%04x", c);
		}
	}
	dpo_buffer_append(out, bytes + from, n - from);
	dpo_buffer_byte(out, '"');
}

void
dpo_json_put_number(struct dpo_buffer *out, double value)
{
	char text[32];

	if (value == floor(value) && fabs(value) < 1e15) {
		snprintf(text, sizeof text, "%.0f", value);	/* 200, where %.1g would say 2e+02 */
		dpo_buffer_string(out, text);
		return;
	}
	for (int digits_wanted = 1; digits_wanted <= 17; digits_wanted++) {
		snprintf(text, sizeof text, "%.*g", digits_wanted, value);
		if (strtod(text, NULL) == value)
			break;
	}
	dpo_buffer_string(out, text);
}

static void
put_members(struct dpo_buffer *out, const cJSON *tree, bool object)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, tree) {
		if (item != tree->child)
			dpo_buffer_byte(out, ',');
		if (object) {
			dpo_json_put_string(out, item->string, strlen(item->string));
			dpo_buffer_byte(out, ':');
		}
		dpo_json_put_tree(out, item);
	}
}

void
dpo_json_put_tree(struct dpo_buffer *out, const cJSON *tree)
{
	bool object = cJSON_IsObject(tree);

	if (object || cJSON_IsArray(tree)) {
		dpo_buffer_byte(out, object ? '{' : '[');
		put_members(out, tree, object);
		dpo_buffer_byte(out, object ? '}' : ']');
	} else if (cJSON_IsString(tree)) {
		dpo_json_put_string(out, tree->valuestring, strlen(tree->valuestring));
	} else if (cJSON_IsNumber(tree)) {
		dpo_json_put_number(out, tree->valuedouble);	/* cJSON's own takes 0.30000000000000004 for 0.3 */
	} else {
		dpo_buffer_string(out, cJSON_IsTrue(tree) ? "true" : cJSON_IsFalse(tree) ? "false" : "null");
	}
}
