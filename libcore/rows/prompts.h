/*
 * prompts - the prompts of a file: JSON Lines, or a stream of pairs. Layer 9; uses error, size, buffer, ids, json, file,
 * lines, header, stream, tokenizer.
 *
 * A line is an object with "prompt_ids" (token ids), or "prompt" (a text, tokenized with the tokenizer's special
 * tokens as dpo-tok does; or token ids), and perhaps "id" (a string or an integer). Its other members are kept as they
 * are. A prompt that is "rendered" (rows.h) gets no special tokens; one that was, or is shown as the text of its ids, is marked
 * "rendered": "prompt", so that nobody adds any later. Of a stream of kind "pairs" or "sft" come id and prompt, and what dpo-tok
 * was asked to keep of types str, i64, f32. Lines and records are numbered from 0; the number is the id of a row without one.
 */
#ifndef DPO_PROMPTS_H
#define DPO_PROMPTS_H

#include "base/error.h"
#include "base/ids.h"
#include "stream/header.h"
#include "tokenizer/tokenizer.h"

struct dpo_prompts;

struct dpo_prompt {
	const char *id;			/* NUL-terminated; good until the next row */
	struct dpo_ids tokens;		/* owned */
	struct dpo_buffer members;	/* owned: JSON members, `"id":"7","prompt":"Once"`, without those asked to be left out */
};

/*
 * Read from fd, which prompts own from now on, also on error. tokenizer (NULL: rows must give ids, and texts are not
 * shown) and `leave_out`, names that end in NULL, are borrowed. On error *prompts is NULL.
 */
enum dpo_status dpo_prompts_open(struct dpo_prompts **prompts, int fd, const char *name,
	const struct dpo_tokenizer *tokenizer, const char *const *leave_out, struct dpo_error *err) DPO_MUST_CHECK;

/* The header of a stream, or NULL. */
const struct dpo_header *dpo_prompts_header(const struct dpo_prompts *prompts);

/* The next row into *prompt ({0}, or used before), or DPO_END. Errors name file and place. */
enum dpo_status dpo_prompts_next(struct dpo_prompts *prompts, struct dpo_prompt *prompt, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Put "FILE:LINE: " or "FILE: record N: " of the row handed on last in front of err. */
enum dpo_status dpo_prompts_blame(const struct dpo_prompts *prompts, struct dpo_error *err);

void dpo_prompts_close(struct dpo_prompts *prompts);
void dpo_prompt_free(struct dpo_prompt *prompt);

#endif
