/*
 * split - a matrix product on one thread in the tile registers, each float as three bfloat16 numbers. Layer 2; uses size,
 * tile, amx, avx512, splitpack.
 *
 * Of the nine products of parts (splitpack.h) the six that a float holds are summed, the least first:
 *
 *	a b = a_hi b_lo + a_hi b_mid + a_mid b_mid + a_mid b_hi + a_lo b_hi + a_hi b_hi, less than 2^-23 |a b| off
 *
 * (Henry, Tang and Heinecke 2019, arXiv:1904.06376). Sums are float, rounded to nearest, over stretches of the inner index
 * that depend on its length alone, and the stretches in order: an element's bits depend on the operands' numbers and
 * `inner`, not on the other rows and columns. On the whole the sums are closer to exact than those of a chain of fused
 * multiply-adds. Numbers below 2^-126 count as zero; an operand beyond 3.39e38 makes the result not finite.
 *
 * Takes about 1.3 MB of the caller's stack.
 */
#ifndef DPO_SPLIT_H
#define DPO_SPLIT_H

#include "kernel/tile.h"

/* The most rows of a tile; a product with more has to be cut. */
#define DPO_SPLIT_ROWS ((size_t)416)

/* The product, on the calling thread; only where dpo_amx_here. */
void dpo_split_product(const struct dpo_tile *tile);

#endif
