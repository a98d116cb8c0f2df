/*
 * pairs - from a row to token ids: prompt, boundary, end of sequence, dropping and truncation. Layer 9; uses error, buffer,
 * ids, rows, tokenizer.
 *
 * TRL's rules (1.16):
 *  1. The EOS token's text is appended to an answer that does not end with it.
 *  2. prompt, prompt + chosen and prompt + rejected are tokenized as whole strings, with special tokens.
 *  3. The prompt's ids end where either string first departs from the ids of the prompt alone: a token that spans the boundary
 *     belongs to the answers ("boundary moved").
 *  4. A row whose prompt has max_length tokens or more is dropped.
 *  5. Each answer is cut so that prompt and answer have at most max_length tokens; the EOS may be cut away.
 * A rendered row (rows.h) gets no special tokens except those written in its texts, and skips 1. Its answers are whole
 * texts and tokenized as they are; where the prompt alone is rendered, 1 appends the row's own EOS, if it has one. A row is
 * also dropped if an answer has no token (the tokenizer swallows it). Supervised rows: the same with one answer.
 */
#ifndef DPO_PAIRS_H
#define DPO_PAIRS_H

#include "base/error.h"
#include "base/ids.h"
#include "rows/rows.h"
#include "tokenizer/tokenizer.h"

enum dpo_pair_fate { DPO_PAIR_WHOLE, DPO_PAIR_PROMPT_TOO_LONG, DPO_PAIR_EMPTY_ANSWER, DPO_PAIR_FATES };

/* A row as ids; {0} before first use, then reused for the next row. */
struct dpo_pair {
	struct dpo_ids prompt;
	struct dpo_ids answers[2];	/* chosen, rejected */
	size_t n_answers;		/* 2, or 1 for a supervised row */
	enum dpo_pair_fate fate;	/* if not WHOLE, drop the row */
	bool moved;			/* the boundary moved */
	size_t cut;			/* answers that lost tokens */
	size_t open;			/* answers whose last token is not EOS */
	bool same;			/* two answers with the same ids */
	struct dpo_buffer text;		/* scratch */
};

/*
 * Tokenize a row; max_length 0 is no limit. DPO_FORMAT if the tokenizer has no EOS and the row is not rendered, and for a whole
 * text that has nothing of its prompt.
 */
enum dpo_status dpo_pair_make(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row,
	size_t max_length, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_pair_free(struct dpo_pair *pair);

/* What became of the rows of a run. */
struct dpo_pair_counts {
	uint64_t rows;			/* read */
	uint64_t written;
	uint64_t dropped[DPO_PAIR_FATES];	/* by fate; [DPO_PAIR_WHOLE] stays 0 */
	uint64_t cut, open, moved, same;	/* of the rows written */
};

void dpo_pair_count(struct dpo_pair_counts *counts, const struct dpo_pair *pair);

#endif
