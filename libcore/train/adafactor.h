/*
 * adafactor - Adafactor (Shazeer and Stern 2018, arXiv:1804.04235), which keeps only row and column means of a matrix's
 * second moments. Layer 6; uses error, size, parallel, params.
 *
 * Like transformers' Adafactor with the settings of Hugging Face's Trainer for optim "adafactor": scale_parameter and
 * relative_step off, eps 1e-30, clip_threshold 1, decay_rate -0.8, no first moment. With g the gradient of a tensor, b = 1
 * - t^-0.8, and for a matrix means over its last dimension (row) and over the one before it (col):
 *
 *	row = b row + (1 - b) mean(g g + 1e-30),  col likewise
 *	u = g / sqrt(row / mean(row)) / sqrt(col)
 *
 * and for a vector v = b v + (1 - b) (g g + 1e-30), u = g / sqrt(v). Then, with the weight decay wd,
 *
 *	u = u / max(1, rms(u)),  p = p (1 - lr wd) - lr u
 *
 * Sums are in double, in an order that does not depend on the thread count.
 */
#ifndef DPO_ADAFACTOR_H
#define DPO_ADAFACTOR_H

#include "base/error.h"
#include "model/params.h"

#include <stdint.h>

struct dpo_adafactor {
	struct dpo_params factors;	/* owned; NAME/row and NAME/col of a matrix, NAME of a vector, in table order */
	double *partial;		/* owned */
};

/* The shape of the state for params. DPO_LIMIT: a name is too long. Free it even on error. */
enum dpo_status dpo_adafactor_init(struct dpo_adafactor *adafactor, const struct dpo_params *params,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_adafactor_free(struct dpo_adafactor *adafactor);

/*
 * Step t (from 1) on g = scale * gradients. weights and gradients: blocks of params; state: a block of factors, zero before
 * the first step. The gradients become zero.
 */
void dpo_adafactor_step(struct dpo_adafactor *adafactor, const struct dpo_params *params, float *weights,
	float *gradients, float *state, uint64_t t, double lr, double scale, double weight_decay, int threads);

#endif
