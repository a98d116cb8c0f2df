/*
 * linear - the linear map of both weight layouts, forward and backward. Layer 5; uses dtype, family,
 * gemm, bf16, mixed, parallel, vector.
 *
 *	y = x W^T + b, W (out,in) as Linear stores it; y = x W + b, W (in,out) as GPT-2's Conv1D stores it.
 *
 * In bf16 the products' operands are rounded (mixed.h); weights, inputs, outputs and gradients stay float.
 *
 * Rows of x and y may be strided: ld is the distance between rows, in floats. Bits do not depend
 * on the thread count.
 */
#ifndef DPO_LINEAR_H
#define DPO_LINEAR_H

#include "base/dtype.h"
#include "kernel/bf16.h"
#include "model/family.h"

/*
 * Room for the weight packed for products in bf16, forward [0] and for the input's gradient [1], which saves packing it for
 * every example: filled when first needed. Whoever changes the weight sets fresh = false.
 */
struct dpo_linear_pack {
	uint16_t *data;		/* dpo_mixed_packed_size numbers; NULL: not kept packed */
	struct dpo_bf16_packed packed;
	bool fresh;
};

struct dpo_linear {
	size_t in, out;
	enum dpo_layout layout;
	enum dpo_dtype dtype;	/* as the weight is stored */
	const float *weight;	/* [out][in] or [in][out] */
	const float *bias;	/* [out], or NULL */
	float *d_weight;	/* gradients, added to; NULL if not trained or not there */
	float *d_bias;
	bool bf16;		/* only where dpo_bf16_kernel names a kernel */
	struct dpo_linear_pack *pack;	/* [2], or NULL */
	float *scratch;		/* dpo_linear_scratch floats, 64 byte aligned */
};

/* rows x columns floats, ld apart. */
struct dpo_matrix {
	float *data;
	size_t ld;
};

/* Floats of scratch that the map forward and, with `back`, its gradients take; SIZE_MAX if they overflow. */
size_t dpo_linear_scratch(int threads, const struct dpo_linear *linear, bool back);

/*
 * y[rows][out] = x[rows][in] W + b + residual[rows][out]; residual.data may be NULL, and may not
 * overlap y.
 */
void dpo_linear_forward(int threads, const struct dpo_linear *linear, size_t rows,
	struct dpo_matrix x, struct dpo_matrix residual, struct dpo_matrix y);

/* dx[rows][in] = dy[rows][out] W^T, added to dx if `keep`. */
void dpo_linear_backward_input(int threads, const struct dpo_linear *linear, size_t rows,
	struct dpo_matrix dy, bool keep, struct dpo_matrix dx);

/* d_weight += x^T dy (in the weight's layout), d_bias += the sum of dy's rows, where they are not NULL. */
void dpo_linear_backward_weight(int threads, const struct dpo_linear *linear, size_t rows,
	struct dpo_matrix x, struct dpo_matrix dy);

#endif
