/*
 * kernel - a matrix product on one thread by our own AVX-512 or AVX2 code. Layer 2; uses tile, wish.
 *
 * The method is that of Goto and van de Geijn 2008 (doi:10.1145/1356052.1356053): a block of A is packed into the
 * second-level cache, each panel of B into the first-level one, and they are multiplied by panels whose sums stay in
 * registers. Each element is summed over blocks of its inner index, one chain of fused multiply-adds per block, and the
 * blocks in order: its bits depend on the operands' numbers and `inner` alone, not on the other rows and columns, and are
 * the same in either set. Takes about 900 kB of the caller's stack.
 */
#ifndef DPO_KERNEL_H
#define DPO_KERNEL_H

#include "kernel/tile.h"

/* The most rows of a tile; a product with more has to be cut. */
#define DPO_KERNEL_ROWS ((size_t)416)

/* Sets of vector instructions that we have code for. */
enum dpo_kernel_set { DPO_KERNEL_NONE, DPO_KERNEL_AVX2, DPO_KERNEL_AVX512 };

/*
 * The best set of this processor; the environment may ask for AVX2 where there is more (DPO_KERNEL=avx2), or for the BLAS instead
 * (DPO_KERNEL=blas: none).
 */
enum dpo_kernel_set dpo_kernel_set(void);

/* The product, of at least one row and one inner step, on the calling thread; only where dpo_kernel_set is not none. */
void dpo_kernel_product(const struct dpo_tile *tile);

/* The same in one set, which the processor must have. */
void dpo_kernel_avx2(const struct dpo_tile *tile);
void dpo_kernel_avx512(const struct dpo_tile *tile);

#endif
