/*
 * tokenclass - a tokenizer without tokenizer.json: vocab.json and merges.txt. Layer 7; uses error, files, json, tokenparts,
 * tokenjson.
 *
 * They hold vocabulary and merges; the class named in tokenizer_config.json (or the model_type of config.json) decides the
 * rest: GPT2Tokenizer or Qwen2Tokenizer; with neither file it is GPT-2.
 */
#ifndef DPO_TOKENCLASS_H
#define DPO_TOKENCLASS_H

#include "model/files.h"
#include "tokenizer/tokenparts.h"

/*
 * Fill parts, which are {0}, from the files, which include vocab.json; tokenizer_config and config are the trees of those
 * files, NULL where absent. On error they hold what was read, for dpo_tokenparts_free.
 */
enum dpo_status dpo_tokenclass_read(struct dpo_tokenparts *parts, const struct dpo_files *files,
	const cJSON *tokenizer_config, const cJSON *config, struct dpo_error *err) DPO_MUST_CHECK;

#endif
