/*
 * tokennames - where the files of a model name its special tokens. Layer 3; uses json.
 *
 * A name is "bos_token" or "eos_token". Trees may be NULL, for files that are not there.
 */
#ifndef DPO_TOKENNAMES_H
#define DPO_TOKENNAMES_H

#include "base/json.h"

/* The text of that token in tokenizer_config.json or special_tokens_map.json: a string, or an object with "content"; NULL for none. */
const char *dpo_tokennames_text(const cJSON *tree, const char *name);
/* The id of that token in config.json: the number at NAME_id, of a list the first; NULL for none. */
const cJSON *dpo_tokennames_id(const cJSON *config, const char *name);

#endif
