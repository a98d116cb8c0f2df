/*
 * head - the language-model head at the rows that predict: logits, log-probs, and their gradient. Layer 6; uses exponential,
 * lanes, arena, linear, pack, parallel, vector.
 *
 *	z = h W^T, or cap tanh(h W^T / cap),  log p_v = z_v - log sum_u exp(z_u),
 *	d/dz_v of sum_a g_a log p_(target a) = sum_a g_a [v = target a] - (sum_a g_a) p_v
 *
 * Rows are worked on in chunks fixed by the shape. As many chunks of logits as a budget allows are kept for the backward
 * pass, which recomputes the others: the same product, so the same bits.
 */
#ifndef DPO_HEAD_H
#define DPO_HEAD_H

#include "base/arena.h"
#include "decoder/linear.h"
#include "decoder/pack.h"

#define DPO_HEAD_CHUNK ((size_t)64 << 20)	/* bytes of logits computed at once */
#define DPO_HEAD_KEPT ((size_t)256 << 20)	/* bytes of logits kept for the backward pass */

/* What is known of one row of logits. */
struct dpo_head_row {
	float most;		/* the largest logit */
	double sum;		/* sum_v exp(z_v - most) */
	double entropy;		/* nats */
	double log_squares;	/* log sum_v p_v^2, nats */
	double mean;		/* of the logits */
	size_t best;		/* the token of the largest logit, ties to the lowest */
};

struct dpo_head {
	struct dpo_linear map;		/* hidden to vocab; without gradients */
	size_t rows;
	float cap;			/* 0: logits are not capped */
	size_t chunk_rows, kept_rows;	/* logits of rows below kept_rows are kept */
	float *logits;			/* in the arena: kept rows, then a chunk if needed */
};

/*
 * The head with that map: cut `rows` rows into chunks of at most `chunk` bytes of logits (but 16 rows at least), with at
 * most `keep` bytes of logits kept (0: none), and take the logits' memory from arena. Bits depend
 * on `chunk`, not on `keep`.
 */
void dpo_head_carve(struct dpo_head *head, const struct dpo_linear *map, size_t rows, float cap, size_t chunk, size_t keep,
	struct dpo_arena *arena);

/*
 * From h[rows][hidden]: results[rows], and logps[rows][DPO_ANSWERS] of
 * targets (as in struct dpo_sequence; 0 where there is none).
 */
void dpo_head_forward(int threads, const struct dpo_head *head, const float *h,
	const int32_t *targets, struct dpo_head_row *results, float *logps);

/*
 * After the forward pass with the same arguments, once: dh[rows][hidden] from d_logps[rows][DPO_ANSWERS], and
 * d_weight[vocab][hidden] += its gradient unless it is NULL. The kept logits are overwritten.
 */
void dpo_head_backward(int threads, const struct dpo_head *head, const float *h, const int32_t *targets,
    const struct dpo_head_row *results,
	const float *d_logps, float *dh, float *d_weight);

/*
 * The logits of rows first .. first+n-1, into logits[n][vocab], by the chunks of the forward pass. Kept logits are
 * recomputed.
 */
void dpo_head_logits(int threads, const struct dpo_head *head, const float *h,
	size_t first, size_t n, float *logits);

#endif
