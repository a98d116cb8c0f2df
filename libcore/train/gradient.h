/*
 * gradient - the gradient of a step: forward pass, loss and backward pass of its rows, summed over a fixed tree. Layer 16;
 * uses error, size, trainparts.
 */
#ifndef DPO_GRADIENT_H
#define DPO_GRADIENT_H

#include "train/trainparts.h"

/* The rows of one step. */
struct dpo_batch {
	const uint32_t *rows;
	size_t n;
	size_t tokens;			/* scored tokens of the chosen answers */
	size_t ticked;
	struct dpo_outcome *outcomes;	/* owned; of each row, if a loss sorts the batch, else NULL */
	struct dpo_metrics metrics;
	struct dpo_watch_sums watch;
};

/*
 * The outcome of row `index` of a set, with the log-probs of the reference as it is now; *row is valid until the set's
 * next. An adapter's dropout acts in training only, keyed by the step and the row.
 */
enum dpo_status dpo_gradient_score(struct dpo_train *train, struct dpo_rowset *set, size_t index, struct dpo_row *row,
	struct dpo_outcome *outcome, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The gradient of the batch's rows into train->gradients[0], which was zero as were the others, with their metrics and sums
 * into batch: the sum over a binary tree of grad_slots contiguous groups, each summed in order. For losses that sort the
 * batch every row takes an extra forward pass first, so that all losses are known before the first gradient. If the tick
 * says so train->stopped is set, and the gradients are zero again.
 */
enum dpo_status dpo_gradient_sum(struct dpo_train *train, struct dpo_batch *batch, struct dpo_error *err) DPO_MUST_CHECK;

#endif
