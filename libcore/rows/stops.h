/*
 * stops - where a completion ends, and its text. Layer 9; uses error, buffer, ids, json, files, tokenizer.
 */
#ifndef DPO_STOPS_H
#define DPO_STOPS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/ids.h"
#include "model/files.h"
#include "tokenizer/tokenizer.h"

/*
 * Append the ids that end the model's completions: "eos_token_id" (an id or a list) of generation_config.json and of
 * config.json, and the tokenizer's EOS (tokenizer may be NULL). There may be none.
 */
enum dpo_status dpo_stops_eos(struct dpo_ids *eos, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Strings that end a completion as soon as its text contains one; borrowed. */
struct dpo_stops {
	const struct dpo_tokenizer *tokenizer;
	const char *const *strings;
	size_t count;
};

/*
 * Whether the completion's text (that of dpo_stops_text; only its last tokens, or those after the prompt's last ones, are
 * decoded) contains a stop string, given that it had none without the last token. context is a struct dpo_stops. For struct
 * dpo_generate_settings.
 */
enum dpo_status dpo_stops_seen(void *context, const struct dpo_ids *prompt, const struct dpo_ids *completion, bool *stop,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Append the completion's text to out: what it adds to the text of the prompt, up to the first stop string (stops may be
 * NULL), each U+0000 as U+FFFD. If the text of the prompt alone is not a prefix of the text of both, the completion is
 * decoded on its own.
 */
enum dpo_status dpo_stops_text(const struct dpo_tokenizer *tokenizer, const struct dpo_stops *stops,
	const struct dpo_ids *prompt, const int32_t *ids, size_t n, struct dpo_buffer *out, struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
