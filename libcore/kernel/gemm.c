#include "kernel/gemm.h"

#include "base/parallel.h"
#include "base/size.h"
#include "kernel/amx.h"
#include "kernel/kernel.h"
#include "kernel/split.h"
#include "kernel/vector.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/*
 * The BLAS's grid. A tile is wide, for packing its operands is paid once a tile; a product of one
 * tile's width is halved until there is work for a few threads. TILE_ROWS keeps A's packed part
 * within the second-level cache.
 */
enum { TILE_ROWS = 512, TILE_COLUMNS = 768, TILE_LEAST = 192, TILES_WANTED = 8 };

/*
 * Our kernels' bits do not depend on the grid, so the threads may shape it: few and wide tiles, for every tile packs its rows
 * of A, but equally many for each thread. With tile registers B is packed meanwhile: there a narrow product is cut by rows,
 * down to LEAST_ROWS, while B is no more than CACHED numbers, for then every tile reads it from a cache.
 */
enum { OWN_WIDEST = 2048, OWN_LEAST = 64, NARROW = 1024, LEAST_ROWS = 128, CACHED = 1 << 23 };

/* What computes a tile. */
enum kernel { BLAS, VECTORS, TILES };

/* Least columns and inner length for tile registers. */
enum { TILES_LEAST = 32 };

struct grid {
	const struct dpo_product *product;
	enum kernel kernel;
	size_t tile_rows, tile_columns;
	size_t across;		/* tiles in a row of tiles */
	size_t tiles, lanes;	/* with scratch: each lane has its part of it, and takes every lanes-th tile */
};

static blasint
as_int(size_t n)
{
	assert(n <= INT_MAX);
	return (blasint)n;
}

int
dpo_gemm_threads(int threads)
{
	openblas_set_num_threads(1);
	return !dpo_kernel_set() && openblas_get_parallel() == OPENBLAS_SEQUENTIAL ? 1 : threads;
}

int
dpo_gemm_worth(int threads, const struct dpo_product *p)
{
	static const double small = 1e6;	/* multiplications */

	return (double)p->rows * (double)p->columns * (double)p->inner < small ? 1 : threads;
}

const char *
dpo_gemm_kernel(void)
{
	static const char *const names[] = { [DPO_CPU_AVX2] = "AVX2", [DPO_CPU_AVX512] = "AVX512" };
	enum dpo_cpu set = dpo_kernel_set();

	return !set ? openblas_get_corename() : dpo_amx_here() ? "AMX-BF16x3" : names[set];
}

/* By columns and inner length, not by rows, which vary with the batch: no bits may depend on that. */
static enum kernel
kernel_for(size_t columns, size_t inner)
{
	if (!dpo_kernel_set())
		return BLAS;
	return columns >= TILES_LEAST && inner >= TILES_LEAST && dpo_amx_here() ? TILES : VECTORS;
}

const char *
dpo_gemm_better(void)
{
#if defined(__x86_64__)
	static const char *const avx512[] = { "SkylakeX", "Cooperlake", "Sapphirerapids" };
	static const char *const avx2[] = { "Haswell", "Zen", "Excavator", "SkylakeX", "Cooperlake", "Sapphirerapids" };
	bool wide = dpo_cpu_has() == DPO_CPU_AVX512 && __builtin_cpu_supports("avx512bw");
	const char *const *good = wide ? avx512 : avx2;
	size_t n = wide ? sizeof avx512 / sizeof *avx512 : sizeof avx2 / sizeof *avx2;

	if (dpo_kernel_set() || dpo_cpu_has() == DPO_CPU_BASE)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(openblas_get_corename(), good[i]) == 0)
			return NULL;
	return good[0];
#else
	return NULL;
#endif
}

static struct dpo_operand
from_row(struct dpo_operand operand, size_t row)
{
	operand.data += operand.transposed ? row : row * operand.ld;
	return operand;
}

static struct dpo_operand
from_column(struct dpo_operand operand, size_t column)
{
	operand.data += operand.transposed ? column * operand.ld : column;
	return operand;
}

static void
multiply_blas(const struct dpo_tile *tile)
{
	cblas_sgemm(CblasRowMajor, tile->a.transposed ? CblasTrans : CblasNoTrans, tile->b.transposed ? CblasTrans : CblasNoTrans,
	    as_int(tile->rows), as_int(tile->columns), as_int(tile->inner), 1.0f, tile->a.data, as_int(tile->a.ld),
	    tile->b.data, as_int(tile->b.ld), tile->keep ? 1.0f : 0.0f, tile->c, as_int(tile->ldc));
}

/* A kernel's product, and how many rows it takes at once. */
static const struct {
	void (*multiply)(const struct dpo_tile *tile);
	size_t rows;
} kernels[] = { [BLAS] = { multiply_blas, SIZE_MAX }, [VECTORS] = { dpo_kernel_product, DPO_KERNEL_ROWS },
	[TILES] = { dpo_split_product, DPO_SPLIT_ROWS } };

static void
multiply(enum kernel kernel, const struct dpo_tile *whole)
{
	for (size_t row = 0; row < whole->rows && whole->inner == 0 && !whole->keep; row++)
		memset(whole->c + row * whole->ldc, 0, whole->columns * sizeof *whole->c);
	for (size_t row = 0, n; row < whole->rows && whole->columns > 0 && whole->inner > 0; row += n) {
		struct dpo_tile tile = *whole;

		tile.rows = n = dpo_size_least(whole->rows - row, kernels[kernel].rows);
		tile.a = from_row(whole->a, row);
		tile.c += row * whole->ldc;
		kernels[kernel].multiply(&tile);
	}
}

void
dpo_gemm_one(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_operand b, bool keep, float *c,
    size_t ldc)
{
	multiply(kernel_for(columns, inner), &(struct dpo_tile){ rows, columns, inner, a, b, keep, c, ldc });
}

size_t
dpo_gemm_scratch(int threads, size_t columns, size_t inner)
{
	size_t width = dpo_size_least(dpo_size_parts(columns, 16) * 16, TILE_COLUMNS), n;

	return dpo_size_mul(width, dpo_size_least(inner, DPO_GEMM_INNER), &n) && dpo_size_mul(n, (size_t)threads, &n) ? n :
	    SIZE_MAX;
}

/* Rows first to first + n - 1 of B, of those `columns` columns, as floats in room. */
static struct dpo_operand
widen(const struct dpo_product *p, size_t first, size_t n, size_t column, size_t columns, float *room)
{
	size_t runs = p->b.transposed ? columns : n, length = p->b.transposed ? n : columns;
	size_t at = p->b.transposed ? column * p->b.ld + first : first * p->b.ld + column;
	const uint16_t *from = (const uint16_t *)(const void *)p->b.data + at;

	for (size_t i = 0; i < runs; i++)
		dpo_vector_widen(room + i * length, from + i * p->b.ld, p->b_dtype, length);
	return (struct dpo_operand){ room, length, p->b.transposed };
}

/* A part of A B + keep C. */
static void
compute(const struct grid *grid, const struct dpo_tile *tile, size_t column, float *room)
{
	const struct dpo_product *p = grid->product;
	struct dpo_tile part = *tile;

	if (p->b_dtype == DPO_DTYPE_F32) {
		part.b = from_column(p->b, column);
		multiply(grid->kernel, &part);
		return;
	}
	for (size_t k = 0; k < p->inner || k == 0; k += DPO_GEMM_INNER) {
		part.inner = dpo_size_least(p->inner - k, DPO_GEMM_INNER);
		part.a = from_column(tile->a, k);
		part.b = widen(p, k, part.inner, column, part.columns, room);
		part.keep = k > 0 || tile->keep;
		multiply(grid->kernel, &part);
	}
}

static void
do_tile(const struct grid *grid, size_t item, float *room)
{
	const struct dpo_product *p = grid->product;
	size_t row = item / grid->across * grid->tile_rows, column = item % grid->across * grid->tile_columns;
	struct dpo_tile tile = { .rows = dpo_size_least(p->rows - row, grid->tile_rows),
	    .columns = dpo_size_least(p->columns - column, grid->tile_columns), .inner = p->inner, .a = from_row(p->a, row),
	    .keep = p->keep, .c = p->c + row * p->ldc + column, .ldc = p->ldc };

	compute(grid, &tile, column, room);
	for (size_t i = 0; i < tile.rows && (p->bias || p->residual); i++)
		dpo_vector_finish(tile.c + i * p->ldc, p->bias ? p->bias + column : NULL,
		    p->residual ? p->residual + (row + i) * p->ld_residual + column : NULL, tile.columns);
}

static void
tile(void *context, size_t item)
{
	do_tile(context, item, NULL);
}

static void
lane(void *context, size_t item)
{
	const struct grid *grid = context;
	size_t room = dpo_gemm_scratch(1, grid->tile_columns, grid->product->inner);

	for (size_t i = item; i < grid->tiles; i += grid->lanes)
		do_tile(grid, i, grid->product->scratch + item * room);
}

/* Equal shares, in multiples of `unit`. */
static size_t
share(size_t n, size_t tiles, size_t unit)
{
	return dpo_size_parts(dpo_size_parts(n, tiles), unit) * unit;
}

static void
cut_for_blas(size_t *down, size_t *across, const struct dpo_product *p)
{
	*down = dpo_size_parts(p->rows, TILE_ROWS);
	*across = dpo_size_parts(p->columns, TILE_COLUMNS);
	while (*down * *across < TILES_WANTED && p->columns / (2 * *across) >= TILE_LEAST)
		*across *= 2;
}

static void
cut_for_kernel(size_t *down, size_t *across, const struct dpo_product *p, enum kernel kernel, int threads)
{
	size_t n = (size_t)threads, most = dpo_size_parts(p->columns, OWN_LEAST);

	*down = dpo_size_parts(p->rows, kernels[kernel].rows);
	*across = dpo_size_parts(p->columns, OWN_WIDEST);
	if (kernel == TILES && p->columns <= NARROW && p->inner <= CACHED / p->columns)
		while (*down * *across < n && p->rows / (2 * *down) >= LEAST_ROWS)
			*down *= 2;
	for (size_t i = 1; i < n && *down * *across % n != 0 && *across < most; i++)
		++*across;
}

void
dpo_gemm(int threads, const struct dpo_product *product)
{
	struct grid grid = { .product = product, .kernel = kernel_for(product->columns, product->inner) };
	bool own = grid.kernel != BLAS && product->b_dtype == DPO_DTYPE_F32;
	size_t down, across;

	if (product->rows == 0 || product->columns == 0)
		return;
	threads = dpo_gemm_worth(threads, product);
	if (own)
		cut_for_kernel(&down, &across, product, grid.kernel, threads);
	else
		cut_for_blas(&down, &across, product);
	grid.tile_rows = share(product->rows, down, own ? 1 : 16);
	grid.tile_columns = share(product->columns, across, own ? 32 : 16);
	grid.across = dpo_size_parts(product->columns, grid.tile_columns);
	down = dpo_size_parts(product->rows, grid.tile_rows);
	grid.tiles = down * grid.across;
	grid.lanes = dpo_size_least(grid.tiles, (size_t)threads);
	if (product->b_dtype == DPO_DTYPE_F32)
		dpo_parallel_for(threads, grid.tiles, tile, &grid);
	else
		dpo_parallel_for(threads, grid.lanes, lane, &grid);
}
