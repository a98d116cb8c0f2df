/*
 * kernel - a matrix product on one thread by our own AVX-512 code. Layer 2; uses size, tile, wish,
 * avx512, kernelpack.
 *
 * The method is that of Goto and van de Geijn 2008 (doi:10.1145/1356052.1356053): a block of A is packed
 * into the second-level cache, each panel of B into the first-level one, and they are multiplied by panels
 * whose sums stay in registers. Each element is summed in blocks of its inner index, a chain of fused
 * multiply-adds a block, and the blocks in order: its bits depend on the operands' numbers and
 * `inner` alone, not on the other rows and columns. Takes about 900 kB of the caller's stack.
 */
#ifndef DPO_KERNEL_H
#define DPO_KERNEL_H

#include "tile.h"

/* Rows of a tile, beyond which a product has to be cut. */
#define DPO_KERNEL_ROWS ((size_t)416)

/* Whether this processor can run it, and the environment does not ask for the BLAS (DPO_KERNEL=blas). */
bool dpo_kernel_here(void);

/* The product, on the calling thread; only where dpo_kernel_here. */
void dpo_kernel_product(const struct dpo_tile *tile);

#endif
