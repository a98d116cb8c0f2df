/*
 * activation - the non-linear step of the feed-forward part. Layer 5; uses config, parallel,
 * vector.
 *
 *	plain, GELU tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415; "gelu_new"):
 *		y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
 *	gated, SiLU (SwiGLU of Shazeer 2020, arXiv:2002.05202):
 *		y = gate / (1 + exp(-gate)) up
 *
 * Plain takes x[rows][n]; gated takes x[rows][2n], the gate in the first n columns and up in the
 * others.
 */
#ifndef DPO_ACTIVATION_H
#define DPO_ACTIVATION_H

#include "config.h"

/* y[rows][n] from x. */
void dpo_activation_forward(int threads, enum dpo_activation kind, size_t rows, size_t n,
	const float *x, float *y);

/* y[rows][n] from x again, and dx (shaped as x) from dy[rows][n]. Plain: dx may be dy. */
void dpo_activation_backward(int threads, enum dpo_activation kind, size_t rows, size_t n,
	const float *x, const float *dy, float *dx, float *y);

#endif
