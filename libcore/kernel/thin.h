/*
 * thin - matrix products with a side of few rows, columns or inner steps, as low-rank adapters have them, on one thread.
 * Layer 4; uses size, kernel, gemm, amx, bf16, thinparts.
 *
 *	C = mask(A) B + keep C, or C = mask(A B) + keep C
 *
 * Such a product reads each number of its large operand only a few times. So B, which is small, is prepared once for all
 * threads, and A is read in place, block by block: numbers that a mask drops become zeros without a copy of all of A.
 * Products are in float, or in bf16: operands rounded to bfloat16, sums in float (mixed.h). Bits depend on the numbers, the
 * masks and `inner`; where OpenBLAS computes, on the shape too.
 */
#ifndef DPO_THIN_H
#define DPO_THIN_H

#include "kernel/bf16.h"
#include "kernel/gemm.h"

/* B, prepared. */
struct dpo_thin_right {
	size_t columns, inner;
	bool bf16, amx;			/* products in bf16, and in the tile registers */
	bool of_transposed;		/* for products whose A is transposed; else for the others */
	struct dpo_operand floats;	/* not transposed */
	struct dpo_bf16_packed packed;	/* in bf16, instead */
};

/* Floats of room that it needs, a multiple of 16; SIZE_MAX if they overflow. */
size_t dpo_thin_room(size_t columns, size_t inner);

/*
 * Prepare B, inner x columns, in room, 64-byte aligned, or in place, so B must stay valid as long as the result. bf16: only
 * where dpo_bf16_kernel names a kernel.
 */
struct dpo_thin_right dpo_thin_right(bool bf16, bool of_transposed, size_t columns, size_t inner, struct dpo_operand b,
	float *room);

struct dpo_thin {
	size_t rows;
	struct dpo_operand a;		/* rows x b->inner */
	const struct dpo_thin_right *b;
	float *c;			/* rows x b->columns, or with c_turned its transpose */
	size_t ldc;			/* floats between rows as stored at c */
	bool c_turned, keep;
	/*
	 * One bit per number, 1 if it stays; an element of mask for 16 numbers adjacent at a.data, or with mask_c in C;
	 * with mask_c neither A nor C is turned. NULL: all stay.
	 */
	const uint16_t *mask;
	size_t mask_step;		/* elements of mask between rows */
	bool mask_c;
};

void dpo_thin(const struct dpo_thin *product);

#endif
