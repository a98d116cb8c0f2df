/*
 * norm - LayerNorm (Ba et al. 2016, arXiv:1607.06450) and RMSNorm (Zhang and Sennrich 2019,
 * arXiv:1910.07467). Layer 5; uses family, lanes, parallel, vector.
 *
 *	layer:	y = (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias
 *	RMS:	y = x / sqrt(mean(x^2) + epsilon) * weight, or (1 + weight) as Gemma's
 *
 * per row of n floats. Bits do not depend on the thread count.
 */
#ifndef DPO_NORM_H
#define DPO_NORM_H

#include "model/family.h"

struct dpo_norm {
	enum dpo_norm_kind kind;
	size_t n;
	float epsilon;
	const float *weight;	/* [n] */
	const float *bias;	/* [n]; unused by RMS */
	float *d_weight;	/* gradients of the same shapes, added to; NULL if not trained */
	float *d_bias;
};

/* y[rows][n] from x[rows][n]; stats[rows][2] becomes mean (0 for RMS) and reciprocal deviation. */
void dpo_norm_forward(int threads, const struct dpo_norm *norm, size_t rows, const float *x,
	float *y, float *stats);

/* Floats of `partial` that the backward pass of that many rows needs. */
size_t dpo_norm_partial(size_t rows, size_t n);

/*
 * With x and stats of the forward pass: dx[rows][n] += the gradient for x of dy[rows][n], and
 * d_weight, d_bias += theirs. partial is scratch.
 */
void dpo_norm_backward(int threads, const struct dpo_norm *norm, size_t rows, const float *x,
	const float *stats, const float *dy, float *dx, float *partial);

#endif
