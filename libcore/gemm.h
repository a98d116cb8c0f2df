/*
 * gemm - matrix products; the only caller of the BLAS. Layer 3; uses size, dtype, parallel, vector, OpenBLAS.
 *
 * A product is cut into tiles of a grid fixed by its shape alone, each tile one single-threaded
 * cblas_sgemm; the tiles are shared out among threads. So the bits depend on the shape and the
 * BLAS kernel, not on the thread count. Matrices are row-major; ld is the distance between rows,
 * in floats.
 */
#ifndef DPO_GEMM_H
#define DPO_GEMM_H

#include "dtype.h"

#include <stdbool.h>
#include <stddef.h>

/* An operand. `transposed`: the operand is the transpose of what lies at data. */
struct dpo_operand {
	const float *data;
	size_t ld;
	bool transposed;
};

/*
 * C = A B + keep C, then C[i][j] = C[i][j] + bias[j] + residual[i][j], where A is rows x inner, B
 * inner x columns, C rows x columns. keep is 0 or 1. bias and residual may be NULL; residual may
 * be C only with keep 0 when it is NULL.
 *
 * With b_dtype F16 or BF16, B's data are of that type (ld counts elements), and each tile of it becomes float in scratch
 * before the product: up to an inner length of DPO_GEMM_INNER the bits are those of the same B as floats; beyond, sums
 * are taken over stretches of that length.
 */
struct dpo_product {
	size_t rows, columns, inner;
	struct dpo_operand a, b;
	float *c;
	size_t ldc;
	float keep;
	const float *bias;
	const float *residual;
	size_t ld_residual;
	enum dpo_dtype b_dtype;
	float *scratch;		/* dpo_gemm_scratch floats */
};

#define DPO_GEMM_INNER ((size_t)32768)

/* Floats of scratch for products of at most that size with a B that is not float; SIZE_MAX if they overflow. */
size_t dpo_gemm_scratch(int threads, size_t columns, size_t inner);

/*
 * Tell the BLAS to start no threads of its own, and return how many of `threads` may call it at
 * once: all, but only one if the library was built without threads (Debian's libopenblas0-serial),
 * for that one takes no locks. Call it before the first product.
 */
int dpo_gemm_threads(int threads);

/* The product, tiles shared out among `threads`. Small ones start no thread. */
void dpo_gemm(int threads, const struct dpo_product *product);

/*
 * C = scale A B + keep C as one tile on the calling thread, for callers that are themselves an item
 * of work.
 */
void dpo_gemm_one(size_t rows, size_t columns, size_t inner, float scale, struct dpo_operand a,
	struct dpo_operand b, float keep, float *c, size_t ldc);

#endif
