/*
 * gemm - matrix products; the only caller of the BLAS. Layer 3; uses size, dtype, amx, kernel, split, tile, parallel,
 * vector, OpenBLAS.
 *
 * A product is cut into tiles, each computed by one thread, and the tiles are shared out. Where the processor has AVX-512
 * or AVX2 a tile is our own kernel's, whose bits do not depend on tiles: that of split.h where there are tile registers and
 * enough columns and inner steps, else that of kernel.h. Elsewhere a tile is one single-threaded cblas_sgemm, and the grid
 * of tiles is fixed by the shape alone. So the bits depend on the shape and the kernel, not on the thread count.
 */
#ifndef DPO_GEMM_H
#define DPO_GEMM_H

#include "base/dtype.h"
#include "kernel/tile.h"

/*
 * C = A B, added to C if `keep`, then C[i][j] = C[i][j] + bias[j] + residual[i][j], where A is rows x inner, B inner x columns,
 * C rows x columns. bias and residual may be NULL; residual may not overlap C.
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
	bool keep;
	const float *bias;
	const float *residual;
	size_t ld_residual;
	enum dpo_dtype b_dtype;
	float *scratch;		/* dpo_gemm_scratch floats */
};

#define DPO_GEMM_INNER ((size_t)32768)

/* Floats of scratch for products up to that size whose B is not float; SIZE_MAX if they overflow. */
size_t dpo_gemm_scratch(int threads, size_t columns, size_t inner);

/*
 * Tell the BLAS to start no threads of its own, and return how many of `threads` may compute products at once: all of them,
 * or one where the BLAS is used and was built without threads (Debian's libopenblas0-serial), since such a build takes no
 * locks. Call it before the first product.
 */
int dpo_gemm_threads(int threads);

/* How many of `threads` are worth waking for a product: a small one, whatever computes it, runs on the calling thread alone. */
int dpo_gemm_worth(int threads, const struct dpo_product *product);

/* The kernel of this process: "AMX-BF16x3" (split.h), "AVX512" or "AVX2" (kernel.h) for our own, or the name of OpenBLAS's. */
const char *dpo_gemm_kernel(void);

/*
 * Where OpenBLAS computes with a kernel that is not the best for this processor: the name of a better one, to be set
 * as OPENBLAS_CORETYPE; otherwise NULL.
 */
const char *dpo_gemm_better(void);

/* The product, tiles shared out among `threads`. Small ones start no thread. */
void dpo_gemm(int threads, const struct dpo_product *product);

/* C = A B, added to C if `keep`, on the calling thread, for callers that are themselves an item of work. */
void dpo_gemm_one(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_operand b, bool keep,
	float *c, size_t ldc);

#endif
