/*
 * strip - products of a few rows with a second operand that is laid out for them, on the calling thread. The only
 * products of attention. Layer 4; uses size, amx, bf16, gemm, kernel.
 *
 * The operands are meant to lie in the cache already. In float, where the processor has AVX-512 or AVX2, an element is one
 * chain of fused multiply-adds over the inner index: its bits depend on its row of A and its column of B alone, and zeros
 * before and after do not change them. Elsewhere the BLAS multiplies. In bf16 both operands are rounded (bf16.h); the same
 * holds.
 */
#ifndef DPO_STRIP_H
#define DPO_STRIP_H

#include "kernel/kernel.h"

#include <stddef.h>

#define DPO_STRIP_MOST ((size_t)48)

/* B, laid out: rows of floats that are `step` apart, or panels of bf16. */
struct dpo_strip_operand {
	const float *data;
	size_t step;
};

struct dpo_strip {
	size_t rows;		/* the best number for a strip, at most DPO_STRIP_MOST */
	size_t unit;		/* a part of B begins and ends at multiples of it; B's columns go on to one with zeros */
	/*
	 * Lay out b, inner x columns, in `to`, 64 byte aligned: columns x inner floats, in bf16 as many as if both were multiples
	 * of 32.
	 */
	struct dpo_strip_operand (*lay)(float *to, struct dpo_operand b, size_t columns, size_t inner);
	/*
	 * C = A B, added to C if `keep`: A is rows x inner, C[rows][columns] has rows ldc apart, B is the part of what is laid
	 * out that begins at inner index `first` and `column`. Without keep C has room for a whole strip, and A lies row by row.
	 */
	void (*product)(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b,
		size_t first, size_t column, bool keep, float *c, size_t ldc);
};

/* Those in float, each for a processor that has the instruction set. */
extern const struct dpo_strip dpo_strip_avx2, dpo_strip_avx512;

/* The best for this processor; in bf16 if wanted and there is a kernel for heads of `head_dim`. */
const struct dpo_strip *dpo_strip_best(bool bf16, size_t head_dim);

#endif
