/*
 * strip - products of a few rows, and what prepares their operands; on the calling thread. The only products of attention.
 * Layer 4; uses gemm, kernel.
 *
 * The operands are meant to lie in the cache already. Where the processor has AVX-512 they are read as they lie, with nothing
 * packed, and an element is one chain of fused multiply-adds over the inner index: its bits depend on its row of A and its
 * column of B alone, and zeros before and behind do not change them. Elsewhere the BLAS multiplies.
 */
#ifndef DPO_STRIP_H
#define DPO_STRIP_H

#include "kernel.h"

#define DPO_STRIP_MOST ((size_t)48)

struct dpo_strip {
	size_t rows;		/* that a strip best has, at most DPO_STRIP_MOST */
	/* C = A B, added to C if `keep`: A is rows x inner, b[inner][columns] has rows ldb apart, c[rows][columns] ldc. */
	void (*product)(size_t rows, size_t columns, size_t inner, struct dpo_operand a, const float *b, size_t ldb, bool keep,
		float *c, size_t ldc);
	/* to[columns][rows] = scale from[rows][columns], transposed; rows of what lies there are ld and ld_from apart. */
	void (*transpose)(float *to, size_t ld, const float *from, size_t ld_from, size_t rows, size_t columns, float scale);
};

/* The best for this processor. */
const struct dpo_strip *dpo_strip_best(void);

#endif
