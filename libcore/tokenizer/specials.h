/*
 * specials - what the configuration files say about a tokenizer's special tokens. Layer 7; uses error, json, tokennames,
 * tokenparts, tokenjson.
 *
 * BOS and EOS come from tokenizer_config.json, else special_tokens_map.json, else config.json's ids, else the
 * tokenizer.model; if none names an EOS, it is "<|endoftext|>" where the vocabulary has that. A name outside the vocabulary
 * is DPO_FORMAT.
 *
 * Without a tokenizer.json, add_bos_token and add_eos_token of tokenizer_config.json say what goes around a text (by
 * default nothing; for a SentencePiece model BOS before it). With one, its post-processor says so and the two keys are
 * ignored, as in transformers 5.
 */
#ifndef DPO_SPECIALS_H
#define DPO_SPECIALS_H

#include "tokenizer/tokenparts.h"

/* The files, NULL where absent. */
struct dpo_specials_files {
	const cJSON *tokenizer_config, *special_tokens_map, *config;
	bool tokenizer_json;		/* whether whether whether there is one */
};

enum dpo_status dpo_specials_read(struct dpo_tokenparts *parts, const struct dpo_specials_files *files,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
