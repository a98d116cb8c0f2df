/*
 * bulk - a JSON document whose largest members are left out of its tree. Layer 3; uses error, buffer, json.
 *
 * A tokenizer has hundreds of thousands of tokens and merges; as a tree they would cost more time and memory than
 * everything else at startup. They are read from the text with the lexer instead.
 */
#ifndef DPO_BULK_H
#define DPO_BULK_H

#include "base/buffer.h"
#include "base/error.h"

#include <cjson/cJSON.h>

/* A value within a JSON text, borrowed and known to be well-formed; {NULL, 0} where there is none. */
struct dpo_bulk {
	const char *text;
	size_t n;
};

/*
 * Parse text[0..n), an object, as dpo_json_parse does, with null in place of the members names[0..count) of its member
 * `object`; bulks[0..count) become their values. On error *tree is NULL.
 */
enum dpo_status dpo_bulk_parse(cJSON **tree, const char *text, size_t n, const char *object, const char *const *names,
	struct dpo_bulk *bulks, size_t count, struct dpo_error *err) DPO_MUST_CHECK;

#endif
