/*
 * activation - the non-linear step of the feed-forward part. Layer 5; uses exponential, family,
 * parallel, vector.
 *
 *	plain:	y = a(x)
 *	gated:	y = a(gate) up (Shazeer 2020, arXiv:2002.05202)
 *
 *	GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415): a(x) = x/2 (1 + erf(x / sqrt 2))
 *	GELU by tanh ("gelu_new"): a(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 *	SiLU: a(x) = x / (1 + exp(-x))
 *	ReLU: a(x) = max(x, 0), its slope at 0 is 0
 *
 * Plain takes x[rows][n]; gated takes x[rows][2n], the gate in the first n columns and up in the
 * others.
 */
#ifndef DPO_ACTIVATION_H
#define DPO_ACTIVATION_H

#include "model/family.h"

/* y[rows][n] from x. */
void dpo_activation_forward(int threads, enum dpo_activation kind, enum dpo_mlp_kind mlp,
	size_t rows, size_t n, const float *x, float *y);

/* y[rows][n] from x once more, and dx (shaped like x) from dy[rows][n]. Plain: dx may be dy. */
void dpo_activation_backward(int threads, enum dpo_activation kind, enum dpo_mlp_kind mlp,
	size_t rows, size_t n, const float *x, const float *dy, float *dx, float *y);

#endif
