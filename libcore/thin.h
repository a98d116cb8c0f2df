/*
 * thin - matrix products with a side of few rows, columns or inner steps, as low-rank adapters have them. Layer 4; uses size,
 * avx512, transpose, kernel, parallel, gemm.
 *
 * A product that reads each number of its large operand a few times only is not worth packing it: with AVX-512 both operands
 * are read where they lie. Elsewhere it is a product of gemm.h. Bits depend on the numbers and the shape, not on threads.
 */
#ifndef DPO_THIN_H
#define DPO_THIN_H

#include "gemm.h"

/*
 * The product of gemm.h, without bias and residual, b_dtype F32. If B is transposed, scratch has inner x columns floats.
 */
void dpo_thin(int threads, const struct dpo_product *product);

#endif
