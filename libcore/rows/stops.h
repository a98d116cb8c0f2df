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
 * Append the ids that end a completion of the model: "eos_token_id" (an id or a list) of generation_config.json and of
 * config.json, and the tokenizer's EOS (tokenizer may be NULL). There may be none.
 */
enum dpo_status dpo_stops_eos(struct dpo_ids *eos, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Strings that end a completion whose text has one of them; borrowed. */
struct dpo_stops {
	const struct dpo_tokenizer *tokenizer;
	const char *const *strings;
	size_t count;
};

/*
 * Whether the text of the completion has a stop string in it, given that it had none without the last token: the text that
 * dpo_stops_text gives, of the last tokens, or behind the prompt's last ones. context is a struct dpo_stops: for struct
 * dpo_generate_settings.
 */
enum dpo_status dpo_stops_seen(void *context, const struct dpo_ids *prompt, const struct dpo_ids *completion, bool *stop,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Append the completion's text to out: what it adds to the text of the prompt, up to the first stop string (stops may be
 * NULL), each U+0000 as U+FFFD. Where the prompt's text alone is not the beginning of both together, the completion is decoded alone.
 */
enum dpo_status dpo_stops_text(const struct dpo_tokenizer *tokenizer, const struct dpo_stops *stops,
	const struct dpo_ids *prompt, const int32_t *ids, size_t n, struct dpo_buffer *out, struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
