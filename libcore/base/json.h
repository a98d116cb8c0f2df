/*
 * json - the one strict gate to JSON (RFC 8259). Layer 2; uses error, buffer, ids, table, utf8, cJSON.
 *
 * cJSON alone accepts invalid UTF-8, raw control bytes, duplicate keys, \u0000 (cutting the string), 1e999, leading zeros
 * and trailing garbage. Nothing reaches cJSON before the lexer below has read it to the end. Refused, each with the byte
 * offset in the message: all of the above, lone surrogates, NaN and Infinity, nesting beyond DPO_JSON_DEPTH. Trees are for
 * small documents; large numeric arrays are read with the lexer.
 *
 * cJSON looks object keys up in a list: walk a large object once (cJSON_ArrayForEach) into a dpo_table.
 */
#ifndef DPO_JSON_H
#define DPO_JSON_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/ids.h"

#include <cjson/cJSON.h>

#define DPO_JSON_DEPTH 64
#define DPO_JSON_NUMBER_MAX 63	/* bytes of a number, which is what cJSON copies; more digits carry nothing */
#define DPO_JSON_EXACT 9007199254740992.0	/* 2^53: integers below it are exact in a double */

/* Parse text[0..len) into *tree (owned by the caller, cJSON_Delete). On error *tree is NULL. */
enum dpo_status dpo_json_parse(cJSON **tree, const char *text, size_t len, struct dpo_error *err) DPO_MUST_CHECK;

/* ------------------------------------------------------------------ getters
 * Case-sensitive. `key` absent gives DPO_FORMAT with a message naming the key, except in the _or forms, which give
 * the fallback for an absent or null key. A wrong type is always DPO_FORMAT.
 */

/* The member, or NULL. Borrowed until the tree is deleted. */
const cJSON *dpo_json_get(const cJSON *object, const char *key);

enum dpo_status dpo_json_string(const char **value, const cJSON *object, const char *key, struct dpo_error *err)
	DPO_MUST_CHECK;
enum dpo_status dpo_json_string_or(const char **value, const cJSON *object, const char *key, const char *fallback,
	struct dpo_error *err) DPO_MUST_CHECK;
/* An integer within [low, high]; magnitudes of 2^53 and more are refused. */
enum dpo_status dpo_json_integer(int64_t *value, const cJSON *object, const char *key, int64_t low, int64_t high,
	struct dpo_error *err) DPO_MUST_CHECK;
/* The same of a member at hand, for a walk over an object. */
enum dpo_status dpo_json_integer_of(int64_t *value, const cJSON *member, int64_t low, int64_t high, struct dpo_error *err)
	DPO_MUST_CHECK;
enum dpo_status dpo_json_integer_or(int64_t *value, const cJSON *object, const char *key, int64_t low, int64_t high,
	int64_t fallback, struct dpo_error *err) DPO_MUST_CHECK;
enum dpo_status dpo_json_number_or(double *value, const cJSON *object, const char *key, double fallback,
	struct dpo_error *err) DPO_MUST_CHECK;
enum dpo_status dpo_json_bool_or(bool *value, const cJSON *object, const char *key, bool fallback,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Append the token ids of a list, integers from 0 to INT32_MAX. Anything else is DPO_FORMAT naming `key`. */
enum dpo_status dpo_json_ids(struct dpo_ids *ids, const cJSON *list, const char *key, struct dpo_error *err)
	DPO_MUST_CHECK;

/* ------------------------------------------------------------------ writing */

/* Append a JSON string with its quotes; bytes must be UTF-8. Escapes quote, backslash and control bytes only. */
void dpo_json_put_string(struct dpo_buffer *out, const char *bytes, size_t n);

/* Append a finite double in the fewest digits (up to 17) that read back as the same double. */
void dpo_json_put_number(struct dpo_buffer *out, double value);

/* Append the tree, of finite numbers, without white space; it reads back as the same tree. */
void dpo_json_put_tree(struct dpo_buffer *out, const cJSON *tree);

/* ------------------------------------------------------------------ lexer */

enum dpo_json_token {
	DPO_JSON_ERROR,		/* err was filled */
	DPO_JSON_END,		/* end of text */
	DPO_JSON_OPEN_OBJECT, DPO_JSON_CLOSE_OBJECT, DPO_JSON_OPEN_ARRAY, DPO_JSON_CLOSE_ARRAY,
	DPO_JSON_COLON, DPO_JSON_COMMA,
	DPO_JSON_STRING, DPO_JSON_NUMBER, DPO_JSON_TRUE, DPO_JSON_FALSE, DPO_JSON_NULL,
};

/* text and len are set by the caller; start and length then delimit the last token (a string's with its quotes). */
struct dpo_json_lexer {
	const char *text;	/* borrowed */
	size_t len;
	size_t at;
	size_t start, length;
};

enum dpo_json_token dpo_json_next(struct dpo_json_lexer *lexer, struct dpo_error *err) DPO_MUST_CHECK;

/* Append the last token, a string, without quotes and with escapes resolved. */
void dpo_json_unescape(const struct dpo_json_lexer *lexer, struct dpo_buffer *out);

/*
 * The number token text[0..n): as the nearest double; as the nearest float, false if that is not finite; whether it is
 * written without point and exponent; and then as an integer within [low, high], read digit by digit, false if it is none.
 */
double dpo_json_token_number(const char *text, size_t n);
bool dpo_json_token_float(float *value, const char *text, size_t n);
bool dpo_json_token_whole(const char *text, size_t n);
bool dpo_json_token_integer(int64_t *value, const char *text, size_t n, int64_t low, int64_t high);
/* The same integer, or why not; `name` is for the message. */
enum dpo_status dpo_json_digits(int64_t *value, const char *text, size_t n, const char *name, int64_t low, int64_t high,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Read past one value of any kind; start and length then delimit all of it. */
enum dpo_status dpo_json_skip(struct dpo_json_lexer *lexer, struct dpo_error *err) DPO_MUST_CHECK;

#endif
