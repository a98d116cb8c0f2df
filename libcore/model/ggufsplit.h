/*
 * ggufsplit - how llama.cpp splits text, for what a tokenizer.json says. Layer 4; uses error, buffer, json.
 *
 * llama.cpp has rules of its own, named by "tokenizer.ggml.model" and "tokenizer.ggml.pre". Which of them do what model, normalizer and
 * pre-tokenizer do is a table here; a tokenizer that is not in it would get wrong tokens, and is refused.
 */
#ifndef DPO_GGUFSPLIT_H
#define DPO_GGUFSPLIT_H

#include "base/error.h"
#include "base/json.h"

#include <stdbool.h>

struct dpo_ggufsplit {
	const char *said;	/* what the tokenizer says, in words of ours */
	const char *model, *pre;
	bool prefix;		/* a space goes in front of a text */
};

/*
 * The row (static) for a tokenizer.json; for NULL, which is vocab.json with merges.txt, by the class of tokenizer_config.json. None:
 * DPO_UNSUPPORTED saying what was looked for.
 */
enum dpo_status dpo_ggufsplit_find(const struct dpo_ggufsplit **split, const cJSON *json, const cJSON *config,
	struct dpo_error *err) DPO_MUST_CHECK;

/* A member of an object that is text, or "". */
const char *dpo_ggufsplit_text(const cJSON *object, const char *key);
/* A member that is true; `absent` if there is none. */
bool dpo_ggufsplit_true(const cJSON *object, const char *key, bool absent);

#endif
