/*
 * lowrank - what a low-rank adapter adds to a linear map (Hu et al. 2021, arXiv:2106.09685, section 4.1), forward and
 * backward. Layer 6; uses size, dropout, linear, parallel, thin, vector.
 *
 *	y += scale drop(x) A^T B^T
 *
 * With u = scale drop(x) A^T and v = scale dy B the gradients are d_B = dy^T u, d_A = v^T drop(x), dx = drop(v A); the
 * factor of drop is applied in u and v, so that drop is only a mask. u is kept from the forward pass; v passes from the
 * first half of the backward pass to the second. In bf16 the operands of all products are rounded (thin.h). Bits do not
 * depend on the thread count, and those of a row not on the other rows.
 */
#ifndef DPO_LOWRANK_H
#define DPO_LOWRANK_H

#include "decoder/dropout.h"
#include "decoder/linear.h"

struct dpo_lowrank {
	size_t in, out, rank;
	float scale;
	const float *a, *b;		/* [rank][in], [out][rank] */
	float *d_a, *d_b;		/* gradients, added to */
	struct dpo_dropout dropout;
	bool bf16;			/* only where dpo_bf16_kernel names a kernel */
	float *u;			/* [rows][rank]; written by the forward pass, read by the backward pass */
	float *scratch;			/* dpo_lowrank_scratch floats, 64 byte aligned */
};

/* Floats of scratch that `rows` rows need, `longest` being the larger of in and out; SIZE_MAX if they overflow. */
size_t dpo_lowrank_scratch(size_t rows, size_t longest, size_t rank);

/* Draw the mask, if there is dropout, as the forward pass does; for a backward pass without one. */
void dpo_lowrank_draw(int threads, const struct dpo_lowrank *low, size_t rows);
/* y[rows][out] += the adapter's share for x[rows][in]. */
void dpo_lowrank_forward(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix x, struct dpo_matrix y);
/* dx[rows][in] += the adapter's share for dy[rows][out]; dx.data may be NULL if not wanted. v[rows][rank] is written. */
void dpo_lowrank_backward_input(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix dy,
	struct dpo_matrix dx, float *v);
/* d_a and d_b += their gradients; v as dpo_lowrank_backward_input wrote it for the same dy. */
void dpo_lowrank_backward_weight(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix x,
	struct dpo_matrix dy, const float *v);

#endif
