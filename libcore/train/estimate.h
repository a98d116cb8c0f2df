/*
 * estimate - the memory and time a training run will take. Layer 18; uses error, size, parallel, block, tensors, gemm,
 * mixed, model, recipe, optim, rowset, score, train.
 *
 * Memory is exact by construction: tables give their floats, and the working memory is carved (arena.h) for every row of
 * the data without being allocated. Operations are those of the matrix products: 2 per multiply-add, forward, and as many
 * again for the gradients of inputs and, where weights are trained, of weights. Seconds follow from the speed of memory and
 * of one product of the model's shape, measured here; elementwise work between the products is not counted.
 */
#ifndef DPO_ESTIMATE_H
#define DPO_ESTIMATE_H

#include "base/error.h"
#include "decoder/model.h"
#include "loss/rowset.h"
#include "train/recipe.h"

struct dpo_estimate {
	size_t parameters, trained;
	/* Bytes. */
	size_t weights;		/* with an adapter also the adapter's */
	size_t packed;		/* copies of them for products in bf16 */
	size_t gradients, moments;
	size_t reference;	/* if it moves (reference.h): weights, working memory, log-probs */
	size_t best;		/* the best evaluation's weights */
	size_t activations;	/* working memory of the row that takes the most */
	size_t output;		/* blocks of weights being written (block.h) */
	size_t total;
	uint64_t steps, rows, tokens;	/* of the whole run; evaluations apart */
	double operations;
	double traffic;		/* bytes moved by the optimizer */
	double seconds;		/* 0 until dpo_estimate_time */
};

/*
 * Weights are not needed (dpo_model_outline suffices). data and eval (NULL for none) are read through once. DPO_LIMIT where
 * a size overflows; other errors are those of dpo_rowset_get and dpo_scorer_room.
 */
enum dpo_status dpo_estimate_run(struct dpo_estimate *estimate, const struct dpo_recipe *recipe, const struct dpo_model *model,
	struct dpo_rowset *data, struct dpo_rowset *eval, int threads, struct dpo_error *err) DPO_MUST_CHECK;

/* Measure for about a tenth of a second, with less than 40 MB, and fill `seconds`. Without the memory it stays 0. */
void dpo_estimate_time(struct dpo_estimate *estimate, const struct dpo_model *model, bool bf16, int threads);

#endif
