/*
 * lowrank - what a low-rank adapter adds to a linear map (Hu et al. 2021, arXiv:2106.09685, section 4.1), forward and
 * backward. Layer 6; uses size, dropout, linear, thin, vector.
 *
 *	y += scale drop(x) A^T B^T
 *
 * With u = scale drop(x) A^T and v = scale dy B the gradients are d_B = dy^T u, d_A = v^T drop(x), dx = drop(v A). What
 * the backward pass needs is computed again from x, by the mask that the forward pass drew. Bits do not depend on the thread
 * count.
 */
#ifndef DPO_LOWRANK_H
#define DPO_LOWRANK_H

#include "dropout.h"
#include "linear.h"

struct dpo_lowrank {
	size_t in, out, rank;
	float scale;
	const float *a, *b;		/* [rank][in], [out][rank] */
	float *d_a, *d_b;		/* gradients, added to */
	struct dpo_dropout dropout;
	float *scratch;			/* dpo_lowrank_scratch floats */
};

/* Floats of scratch that so many rows need, `longest` being the larger of in and out; SIZE_MAX if they overflow. */
size_t dpo_lowrank_scratch(size_t rows, size_t longest, size_t rank, bool dropout);

/* Draw the mask, if there is dropout, as the forward pass does; for a way back without one. */
void dpo_lowrank_draw(int threads, const struct dpo_lowrank *low, size_t rows);
/* y[rows][out] += the adapter's share for x[rows][in]. */
void dpo_lowrank_forward(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows x, struct dpo_rows y);
/* dx[rows][in] += the adapter's share for dy[rows][out]; dx.data may be NULL: it is not wanted. */
void dpo_lowrank_backward_input(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows dy,
	struct dpo_rows dx);
/* d_a and d_b += their gradients; after dpo_lowrank_backward_input of the same dy, whose v is still in scratch. */
void dpo_lowrank_backward_weight(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows x,
	struct dpo_rows dy);

#endif
