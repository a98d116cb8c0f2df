/*
 * datacheck - is a set of preference pairs consistent, and what does it really teach? Layer 3; uses error, size, random,
 * table.
 *
 * Rows are distinguished by 32-byte hashes of their token ids: memory is about 300 bytes per row.
 */
#ifndef DPO_DATACHECK_H
#define DPO_DATACHECK_H

#include "base/error.h"
#include "base/random.h"
#include "base/table.h"

struct dpo_answers {
	const int32_t *prompt;
	size_t n_prompt;
	const int32_t *answer[2];	/* chosen, rejected; supervised rows have no second */
	size_t n_answer[2];
	size_t answers;
};

/* {0} is empty. */
struct dpo_datacheck {
	struct dpo_table prompts;	/* hash -> its place in of_prompt */
	struct dpo_table rows;		/* hash of prompt and answers */
	size_t *of_prompt;		/* owned; rows of each prompt */
	size_t of_prompt_capacity;
	size_t count;			/* rows */
	size_t pairs;			/* rows with two answers */
	size_t duplicates;		/* rows seen before */
	size_t contradictions;		/* pairs whose reverse was seen before: the same answers, the other one chosen */
	size_t same;			/* pairs of two equal answers */
	size_t longer, shorter;		/* pairs whose chosen answer has more tokens, or fewer */
	size_t length[2];		/* tokens of all chosen answers, of all rejected */
	size_t shared_prompts;		/* rows whose prompt an earlier set has, and ... */
	size_t shared_rows;		/* ... rows it has, in either order of the answers */
};

/* Add a row. earlier (or NULL) is another set with which it should share nothing. DPO_NOMEM only. */
enum dpo_status dpo_datacheck_add(struct dpo_datacheck *check, const struct dpo_datacheck *earlier,
	const struct dpo_answers *row, struct dpo_error *err) DPO_MUST_CHECK;

/* Rows of the prompt that has the most. */
size_t dpo_datacheck_dominant(const struct dpo_datacheck *check);

void dpo_datacheck_free(struct dpo_datacheck *check);

#endif
