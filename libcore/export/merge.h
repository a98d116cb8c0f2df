/*
 * merge - fold an adapter into the weights of its base, and check that the function is unchanged. Layer 11; uses error,
 * size, random, gemm, vector, lora, model, score.
 *
 *	W <- W + scale B A	(transposed where the model stores (in, out)); saved tensors replace the base's
 */
#ifndef DPO_MERGE_H
#define DPO_MERGE_H

#include "base/error.h"
#include "decoder/model.h"

#define DPO_MERGE_TOLERANCE 1e-3	/* nats, of any one token */

/* How far the log-probs of the same sequences moved. */
struct dpo_merge_check {
	size_t tokens;		/* compared */
	double worst;		/* nats */
};

/*
 * Fold model->lora into model->weights, all float (dpo_model_open); the model then has no adapter, and its own id.
 * Log-probs of DPO_MERGE_SEQUENCES sequences of random tokens (drawn from a fixed seed) are computed before and after. If
 * one moved by more than DPO_MERGE_TOLERANCE, or is not finite: DPO_NONFINITE, and the model must not be used.
 */
#define DPO_MERGE_SEQUENCES 8

enum dpo_status dpo_merge(struct dpo_model *model, struct dpo_merge_check *check, int threads, struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
