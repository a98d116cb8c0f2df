#include "gemm.h"

#include "parallel.h"
#include "vector.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

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

static void
tile(void *context, size_t item)
{
	const struct grid *grid = context;
	const struct dpo_product *p = grid->product;
	size_t row = item / grid->across * grid->tile_rows;
	size_t column = item % grid->across * grid->tile_columns;
	size_t rows = p->rows - row;
	size_t columns = p->columns - column;
	float *c = p->c + row * p->ldc + column;

	rows = rows < grid->tile_rows ? rows : grid->tile_rows;
	columns = columns < grid->tile_columns ? columns : grid->tile_columns;
	dpo_gemm_one(rows, columns, p->inner, 1.0f, from_row(p->a, row), from_column(p->b, column),
	    p->keep, c, p->ldc);
	if (!p->bias && !p->residual)
		return;
	for (size_t i = 0; i < rows; i++)
		dpo_vector_finish(c + i * p->ldc, p->bias ? p->bias + column : NULL,
		    p->residual ? p->residual + (row + i) * p->ld_residual + column : NULL,
		    columns);
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
	dpo_parallel_for(threads, down * grid.across, tile, &grid);
}
