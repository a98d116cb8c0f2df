/*
 * gemm - matrix products; the only caller of the BLAS. Layer 3; uses parallel, vector, OpenBLAS.
 *
 * A product is cut into tiles of a grid fixed by its shape alone, each tile one single-threaded
 * cblas_sgemm; the tiles are shared out among threads. So the bits depend on the shape and the
 * BLAS kernel, not on the thread count. Matrices are row-major; ld is the distance between rows,
 * in floats.
 */
#ifndef DPO_GEMM_H
#define DPO_GEMM_H

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
};

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
