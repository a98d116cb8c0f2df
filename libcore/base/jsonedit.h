/*
 * jsonedit - change one value of a JSON text and keep every other byte. Layer 2; uses buffer.
 */
#ifndef DPO_JSONEDIT_H
#define DPO_JSONEDIT_H

#include "base/buffer.h"

/*
 * Append text[0..n), an object that dpo_json_parse accepts, to out, with `value` in place of its own member `key` if that
 * is a string (neither needs escaping). Members of nested objects are left alone.
 */
void dpo_jsonedit_string(struct dpo_buffer *out, const char *text, size_t n, const char *key, const char *value);

#endif
