/*
 * jsonedit - one value of a JSON text changed, every other byte kept. Layer 2; uses buffer.
 */
#ifndef DPO_JSONEDIT_H
#define DPO_JSONEDIT_H

#include "base/buffer.h"

/*
 * Append text[0..n), an object that dpo_json_parse accepts, to out; where its own member `key` is a string, with `value` for it
 * (neither needs escaping). Members of objects within are left alone.
 */
void dpo_jsonedit_string(struct dpo_buffer *out, const char *text, size_t n, const char *key, const char *value);

#endif
