#include "gemm.h"

#include "parallel.h"
#include "size.h"
#include "vector.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdint.h>

/*
 * The grid. A tile is wide, for packing its operands is paid once a tile; a product of one tile's
 * width is halved until there is work for a few threads. TILE_ROWS keeps A's packed part within
 * the second-level cache.
 */
enum { TILE_ROWS = 512, TILE_COLUMNS = 768, TILE_LEAST = 192, TILES_WANTED = 8 };

/* Products below this many multiplications are not worth waking a thread. */
static const double SMALL = 1e6;

struct grid {
	const struct dpo_product *product;
	size_t tile_rows, tile_columns;
	size_t across;		/* tiles in a row of tiles */
	size_t tiles, lanes;	/* with scratch: each lane has its part of it, and every so manieth tile */
};

static size_t
ceiling(size_t n, size_t d)
{
	return (n + d - 1) / d;
}

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
	return openblas_get_parallel() == OPENBLAS_SEQUENTIAL ? 1 : threads;
}

void
dpo_gemm_one(size_t rows, size_t columns, size_t inner, float scale, struct dpo_operand a,
    struct dpo_operand b, float keep, float *c, size_t ldc)
{
	if (rows == 0 || columns == 0)
		return;
	cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans,
	    b.transposed ? CblasTrans : CblasNoTrans, as_int(rows), as_int(columns), as_int(inner),
	    scale, a.data, as_int(a.ld), b.data, as_int(b.ld), keep, c, as_int(ldc));
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

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t
dpo_gemm_scratch(int threads, size_t columns, size_t inner)
{
	size_t width = least(ceiling(columns, 16) * 16, TILE_COLUMNS), n;

	return dpo_size_mul(width, least(inner, DPO_GEMM_INNER), &n) && dpo_size_mul(n, (size_t)threads, &n) ? n :
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

/* The tile of A B + keep C. */
static void
multiply(const struct dpo_product *p, size_t row, size_t rows, size_t column, size_t columns, float *c, float *room)
{
	struct dpo_operand a = from_row(p->a, row);

	if (p->b_dtype == DPO_DTYPE_F32) {
		dpo_gemm_one(rows, columns, p->inner, 1.0f, a, from_column(p->b, column), p->keep, c, p->ldc);
		return;
	}
	for (size_t k = 0; k < p->inner; k += DPO_GEMM_INNER) {
		size_t n = least(p->inner - k, DPO_GEMM_INNER);

		dpo_gemm_one(rows, columns, n, 1.0f, from_column(a, k), widen(p, k, n, column, columns, room),
		    k ? 1.0f : p->keep, c, p->ldc);
	}
}

static void
do_tile(const struct grid *grid, size_t item, float *room)
{
	const struct dpo_product *p = grid->product;
	size_t row = item / grid->across * grid->tile_rows;
	size_t column = item % grid->across * grid->tile_columns;
	size_t rows = least(p->rows - row, grid->tile_rows);
	size_t columns = least(p->columns - column, grid->tile_columns);
	float *c = p->c + row * p->ldc + column;

	multiply(p, row, rows, column, columns, c, room);
	if (!p->bias && !p->residual)
		return;
	for (size_t i = 0; i < rows; i++)
		dpo_vector_finish(c + i * p->ldc, p->bias ? p->bias + column : NULL,
		    p->residual ? p->residual + (row + i) * p->ld_residual + column : NULL,
		    columns);
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

/* Width of a column of tiles: equal shares, in multiples of 16. */
static size_t
share(size_t n, size_t tiles)
{
	return ceiling(ceiling(n, tiles), 16) * 16;
}

void
dpo_gemm(int threads, const struct dpo_product *product)
{
	struct grid grid = { .product = product };
	size_t down = ceiling(product->rows, TILE_ROWS);
	size_t across = ceiling(product->columns, TILE_COLUMNS);

	if (product->rows == 0 || product->columns == 0)
		return;
	while (down * across < TILES_WANTED && product->columns / (2 * across) >= TILE_LEAST)
		across *= 2;
	grid.tile_rows = share(product->rows, down);
	grid.tile_columns = share(product->columns, across);
	grid.across = ceiling(product->columns, grid.tile_columns);
	down = ceiling(product->rows, grid.tile_rows);
	if ((double)product->rows * (double)product->columns * (double)product->inner < SMALL)
		threads = 1;
	grid.tiles = down * grid.across;
	grid.lanes = least(grid.tiles, (size_t)threads);
	if (product->b_dtype == DPO_DTYPE_F32)
		dpo_parallel_for(threads, grid.tiles, tile, &grid);
	else
		dpo_parallel_for(threads, grid.lanes, lane, &grid);
}
