/*
 * ggufsplit - how llama.cpp splits text, for what a tokenizer.json says. Layer 4; uses error, buffer, json.
 *
 * llama.cpp has its own rules, named by "tokenizer.ggml.model" and "tokenizer.ggml.pre". A table here says which of them do
 * what a given model, normalizer and pre-tokenizer do; a tokenizer not in it would get wrong tokens, and is refused.
 */
#ifndef DPO_GGUFSPLIT_H
#define DPO_GGUFSPLIT_H

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

struct dpo_ggufsplit {
	const char *said;	/* what the tokenizer says, in our words */
	const char *model, *pre;
	bool prefix;		/* a space goes in front of a text */
};

/*
 * The row (static) for a tokenizer.json; with json NULL (vocab.json and merges.txt) by the class in tokenizer_config.json.
 * None: DPO_UNSUPPORTED saying what was looked for.
 */
enum dpo_status dpo_ggufsplit_find(const struct dpo_ggufsplit **split, const cJSON *json, const cJSON *config,
	struct dpo_error *err) DPO_MUST_CHECK;

/* The string member of an object, or "". */
const char *dpo_ggufsplit_text(const cJSON *object, const char *key);
/* Whether a member is true; `absent` if there is none. */
bool dpo_ggufsplit_true(const cJSON *object, const char *key, bool absent);

#endif
