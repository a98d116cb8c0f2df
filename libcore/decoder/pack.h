/*
 * pack - a prompt with its answers as one sequence. Layer 4; uses error, size.
 *
 * The rows are [prompt | answer 0 | answer 1], each answer without its last token (nothing is predicted from it). An
 * answer's row sees the prompt and the rows of its own answer up to itself; positions restart after the prompt. The last
 * prompt row predicts the first token of every answer, so it is computed once. The rows that predict something are the last
 * of the sequence: the head works on them alone.
 */
#ifndef DPO_PACK_H
#define DPO_PACK_H

#include "base/error.h"
#include "base/size.h"

#include <stdint.h>

#define DPO_ANSWERS 2

struct dpo_example {
	const int32_t *prompt;
	size_t n_prompt;			/* tokens; may be 0 */
	size_t n_answers;			/* 1 or 2 */
	const int32_t *answer[DPO_ANSWERS];
	size_t n_answer[DPO_ANSWERS];		/* tokens, at least 1 each */
};

/* Rows first .. first+rows-1 see rows 0 .. prefix-1 and, of their own, those up to themselves. */
struct dpo_segment {
	size_t first, rows, prefix;
};

struct dpo_sequence {
	size_t rows;
	int32_t *tokens;		/* owned; [rows] */
	int32_t *positions;		/* owned; [rows], from 0 */
	struct dpo_segment segments[1 + DPO_ANSWERS];
	size_t n_segments;		/* of at least one row */
	size_t head_first, head_rows;	/* the rows that predict */
	int32_t *targets;		/* owned; [head_rows][DPO_ANSWERS], -1 for none */
	size_t n_prompt;
	size_t n_answers;
	size_t n_answer[DPO_ANSWERS];
	size_t tokens_capacity, positions_capacity, targets_capacity;
};

#define DPO_NO_ROW SIZE_MAX

/*
 * Pack example into sequence ({0}, or used before). DPO_FORMAT names a token not below `vocab`, an answer without tokens,
 * or a prompt and answer of more than max_positions tokens together.
 */
enum dpo_status dpo_pack(struct dpo_sequence *sequence, const struct dpo_example *example,
	size_t vocab, size_t max_positions, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The head row (from 0 at head_first) that predicts token t of an answer, or DPO_NO_ROW for one
 * with nothing before it.
 */
size_t dpo_sequence_head_row(const struct dpo_sequence *sequence, size_t answer, size_t t);

void dpo_sequence_free(struct dpo_sequence *sequence);

#endif
