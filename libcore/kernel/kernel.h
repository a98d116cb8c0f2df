/*
 * kernel - a matrix product on one thread by our own AVX-512 or AVX2 code. Layer 2; uses tile, cpu.
 *
 * The method is that of Goto and van de Geijn 2008 (doi:10.1145/1356052.1356053): a block of A is packed into the
 * second-level cache, each panel of B into the first-level one, and they are multiplied by panels whose sums stay in
 * registers. Each element is summed over blocks of its inner index, one chain of fused multiply-adds per block, and the
 * blocks in order: its bits depend on the operands' numbers and `inner` alone, not on the other rows and columns, and are
 * the same in either set. Takes about 900 kB of the caller's stack.
 */
#ifndef DPO_KERNEL_H
#define DPO_KERNEL_H

#include "base/cpu.h"
#include "kernel/tile.h"

/* The most rows of a tile; a product with more has to be cut. */
#define DPO_KERNEL_ROWS ((size_t)416)

/* The set our products are made by (dpo_cpu); DPO_CPU_BASE: none, for the processor has none or the BLAS is asked for. */
enum dpo_cpu dpo_kernel_set(void);

/* The product, of at least one row and one inner step, on the calling thread; only where dpo_kernel_set names a set. */
void dpo_kernel_product(const struct dpo_tile *tile);

/* The same in one set, which the processor must have. */
void dpo_kernel_avx2(const struct dpo_tile *tile);
void dpo_kernel_avx512(const struct dpo_tile *tile);

#endif
