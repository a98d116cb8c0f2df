/*
 * prompts - the prompts of a file: JSON Lines, or a stream of pairs. Layer 9; uses error, size, buffer, ids, json, file,
 * lines, header, stream, tokenizer.
 *
 * A line is an object with "prompt_ids" (token ids) or "prompt" (token ids, or a text, tokenized with the tokenizer's
 * special tokens as dpo-tok does), and optionally "id" (a string or an integer). Its other members are kept unchanged. A
 * prompt that is "rendered" (rows.h) gets no special tokens; one that was, or is shown as the text of its ids, is marked
 * "rendered": "prompt", so that none are added later. A stream of kind "pairs" or "sft" gives id, prompt, and what dpo-tok
 * was asked to keep of types str, i64, f32. Lines and records are numbered from 0; the number is the id of a row without
 * one.
 */
#ifndef DPO_PROMPTS_H
#define DPO_PROMPTS_H

#include "base/error.h"
#include "base/ids.h"
#include "stream/header.h"
#include "tokenizer/tokenizer.h"

struct dpo_prompts;

struct dpo_prompt {
	const char *id;			/* NUL-terminated; valid until the next row */
	struct dpo_ids tokens;		/* owned */
	struct dpo_buffer members;	/* owned: JSON members, `"id":"7","prompt":"Once"`, without those of leave_out */
};

/*
 * Read from fd; prompts takes ownership of it, even on error. tokenizer (NULL: rows must give ids, and texts are not shown)
 * and leave_out, names ending with NULL, are borrowed. On error *prompts is NULL.
 */
enum dpo_status dpo_prompts_open(struct dpo_prompts **prompts, int fd, const char *name,
	const struct dpo_tokenizer *tokenizer, const char *const *leave_out, struct dpo_error *err) DPO_MUST_CHECK;

/* The header of a stream, or NULL. */
const struct dpo_header *dpo_prompts_header(const struct dpo_prompts *prompts);

/* The next row into *prompt ({0}, or used before), or DPO_END. Errors name file and place. */
enum dpo_status dpo_prompts_next(struct dpo_prompts *prompts, struct dpo_prompt *prompt, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Prepend "FILE:LINE: " or "FILE: record N: " of the row returned last to err. */
enum dpo_status dpo_prompts_blame(const struct dpo_prompts *prompts, struct dpo_error *err);

void dpo_prompts_close(struct dpo_prompts *prompts);
void dpo_prompt_free(struct dpo_prompt *prompt);

#endif
