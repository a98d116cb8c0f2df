/*
 * bf16 - matrix products of operands rounded to bfloat16, on one thread. Layer 3; uses dtype, cpu, amx, avx512,
 * transpose.
 *
 *	C[i][j] += sum_k round(A[i][k]) round(B[k][j])
 *
 * Operands are packed first: rounded to nearest, ties to even (subnormal numbers to zero), and laid out in tiles of 16 rows
 * of A, or 16 columns of B, by 32 of the inner index, zeros beyond the end. Products and sums are float, tile after tile,
 * starting from C's own value: an element's bits depend on the operands' numbers and C's alone, not on its place, the other
 * rows and columns, or where the inner index is cut, as long as that is at multiples of 32.
 *
 * Two kernels: "AMX" uses the tile registers, "AVX512-BF16" vectors (DPO_KERNEL=vectors asks for it). Within a tile they
 * sum in different orders.
 */
#ifndef DPO_BF16_H
#define DPO_BF16_H

#include "base/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows of A or columns of B in a panel; and a tile's share of the inner index. */
#define DPO_BF16_PANEL ((size_t)16)
#define DPO_BF16_INNER ((size_t)32)
/* Numbers in a tile. */
#define DPO_BF16_TILE (DPO_BF16_PANEL * DPO_BF16_INNER)

/* The kernel of this processor, or NULL: it has no instructions for bfloat16, or DPO_KERNEL asks for less (cpu.h). */
const char *dpo_bf16_kernel(void);

/*
 * One side to pack: `outer` rows of A or columns of B by `inner`, from data of `dtype`. Numbers adjacent in data are
 * neighbours along the outer index if `outer_next`, else along the inner one.
 */
struct dpo_bf16_side {
	const void *data;
	enum dpo_dtype dtype;		/* F32, F16 or BF16 */
	size_t ld;			/* numbers between rows as stored at data */
	bool outer_next;
	size_t outer, inner;
	const uint16_t *mask;		/* one per 16 adjacent numbers: those whose bit is 0 count as 0; or NULL. F32 only */
	size_t mask_step;		/* elements of mask between rows */
};

/* A packed side: panel p of tile t is at data + p * step + t * DPO_BF16_TILE. */
struct dpo_bf16_packed {
	const uint16_t *data;		/* 64 byte aligned */
	size_t step;
};

/* Pack panels first to first + n - 1 of A, or of B, into `packed`, `step` apart; only where there is a kernel. */
void dpo_bf16_pack_a(const struct dpo_bf16_side *a, size_t first, size_t n, uint16_t *packed, size_t step);
void dpo_bf16_pack_b(const struct dpo_bf16_side *b, size_t first, size_t n, uint16_t *packed, size_t step);

/*
 * c[rows][columns] = the product over `tiles` tiles of the inner index, added to c if `keep`. On the calling thread.
 */
struct dpo_bf16_product {
	size_t rows, columns, tiles;
	struct dpo_bf16_packed a, b;
	bool amx;		/* use the tile registers; dpo_amx_here says whether: ask once, it asks the system */
	bool keep;
	float *c;
	size_t ldc;
};
void dpo_bf16_multiply(const struct dpo_bf16_product *product);

#endif
