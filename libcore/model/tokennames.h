/*
 * tokennames - where the files of a model name its special tokens. Layer 3; uses json.
 *
 * A name is "bos_token" or "eos_token". Trees may be NULL, for absent files.
 */
#ifndef DPO_TOKENNAMES_H
#define DPO_TOKENNAMES_H

#include "base/json.h"

/* The token's text in tokenizer_config.json or special_tokens_map.json: a string, or an object with "content"; NULL for none. */
const char *dpo_tokennames_text(const cJSON *tree, const char *name);
/* The token's id in config.json: the number at NAME_id, or the first of a list; NULL for none. */
const cJSON *dpo_tokennames_id(const cJSON *config, const char *name);

#endif
