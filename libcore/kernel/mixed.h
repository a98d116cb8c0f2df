/*
 * mixed - matrix products in mixed precision: operands rounded to bfloat16, sums in float. Layer 4; uses size, amx, bf16, gemm,
 * parallel, vector.
 *
 * What Micikevicius et al. 2018 (arXiv:1710.03740, section 3) do with half precision: weights, gradients and activations stay
 * float; only the numbers that enter a product are rounded. Bits depend on the operands' numbers and the kernel (bf16.h),
 * not on the threads.
 */
#ifndef DPO_MIXED_H
#define DPO_MIXED_H

#include "kernel/bf16.h"
#include "kernel/gemm.h"

/* Floats of scratch that a product of any size needs; it also takes 0.6 MB of each thread's stack. */
#define DPO_MIXED_SCRATCH ((size_t)1024 * 1536 / 2)

/*
 * The product of gemm.h with operands rounded, using its scratch of DPO_MIXED_SCRATCH floats, 64-byte aligned; only where
 * dpo_bf16_kernel names a kernel. b: B already packed (panels of columns), which saves packing it here; or NULL.
 */
void dpo_mixed_product(int threads, const struct dpo_product *product, const struct dpo_bf16_packed *b);

/* uint16_t numbers of a packed B, SIZE_MAX if they overflow; and the product's B packed to `to`, 64 byte aligned. */
size_t dpo_mixed_packed_size(size_t columns, size_t inner);
struct dpo_bf16_packed dpo_mixed_pack(int threads, const struct dpo_product *product, uint16_t *to);

#endif
