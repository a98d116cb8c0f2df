#include "thin.h"

#include "avx512.h"
#include "parallel.h"
#include "size.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "transpose.h"

/*
 * Sums of ROWS by DPO_LANES elements stay in registers while INNER steps of the inner index go by: so many rows of B's panel,
 * and of a transposed A's, stay in the first-level cache. Rows are cut into ITEMS of work, whose runs of C are long; or columns,
 * where there are fewer than MANY rows.
 */
enum { ROWS = 16, INNER = 256, ITEMS = 16, MANY = 128 };

/* A block of elements: c[rows][columns <= DPO_LANES] = a b over `inner` steps, added to c if `keep`. */
struct block {
	const float *a, *b;
	size_t row_step, inner_step;	/* of a, from number to number */
	size_t ldb, ldc, inner;
	__mmask16 columns;
	bool keep;
	float *c;
};

/* `rows` is known when compiled, and a row_step of 1. What is fetched is what the next block will read of a side that is walked across. */
DPO_AVX512_INLINE void
multiply_rows(const size_t rows, const size_t row_step, const struct block *p)
{
	__m512 sum[ROWS], b;
	const float *a = p->a, *from = p->b;

#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++)
		sum[i] = _mm512_setzero_ps();
	for (size_t k = 0; k < p->inner; k++, a += p->inner_step, from += p->ldb) {
		b = _mm512_maskz_loadu_ps(p->columns, from);
		_mm_prefetch((const char *)(from + DPO_LANES), _MM_HINT_T1);
		if (row_step == 1)
			_mm_prefetch((const char *)(a + ROWS), _MM_HINT_T1);
#pragma GCC unroll 16
		for (size_t i = 0; i < rows; i++)
			sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(a[i * row_step]), b, sum[i]);
	}
#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++) {
		if (p->keep)
			sum[i] = _mm512_add_ps(sum[i], _mm512_maskz_loadu_ps(p->columns, p->c + i * p->ldc));
		_mm512_mask_storeu_ps(p->c + i * p->ldc, p->columns, sum[i]);
	}
}

/* The same for any number of rows up to ROWS. */
DPO_AVX512 static void
multiply(size_t rows, struct block block)
{
	size_t n;

	for (; rows > 0; rows -= n) {
		n = rows >= 16 ? 16 : rows >= 4 ? 4 : 1;
		if (n == 16 && block.row_step == 1)
			multiply_rows(16, 1, &block);
		else if (n == 16)
			multiply_rows(16, block.row_step, &block);
		else if (n == 4)
			multiply_rows(4, block.row_step, &block);
		else
			multiply_rows(1, block.row_step, &block);
		block.a += n * block.row_step;
		block.c += n * block.ldc;
	}
}

/* A product that is cut along its rows or columns. */
struct work {
	const struct dpo_product *product;	/* its B as it lies */
	bool by_rows;
	size_t share;				/* rows or columns of an item */
};

DPO_AVX512 static void
some_blocks(void *context, size_t item)
{
	const struct work *w = context;
	const struct dpo_product *p = w->product;
	size_t first = item * w->share, row = w->by_rows ? first : 0, column = w->by_rows ? 0 : first;
	size_t last_row = w->by_rows ? dpo_size_least(row + w->share, p->rows) : p->rows;
	size_t last = w->by_rows ? p->columns : dpo_size_least(column + w->share, p->columns);
	struct block b = { .row_step = p->a.transposed ? 1 : p->a.ld, .inner_step = p->a.transposed ? p->a.ld : 1, .ldb = p->b.ld,
		.ldc = p->ldc };

	for (size_t k = 0; k < p->inner; k += INNER)
		for (size_t i = row; i < last_row; i += ROWS)
			for (size_t j = column; j < last; j += DPO_LANES) {
				b.inner = dpo_size_least(p->inner - k, INNER);
				b.keep = p->keep > 0 || k > 0;
				b.columns = dpo_lanes(last - j);
				b.a = p->a.data + i * b.row_step + k * b.inner_step;
				b.b = p->b.data + k * p->b.ld + j;
				b.c = p->c + i * p->ldc + j;
				multiply(dpo_size_least(last_row - i, ROWS), b);
			}
}

/* to[inner][columns] of a transposed B. */
DPO_AVX512 static void
turn(const struct dpo_product *p, float *to)
{
	__m512i square[16];

	for (size_t j = 0; j < p->columns; j += DPO_LANES)
		for (size_t k = 0; k < p->inner; k += DPO_LANES) {
			for (size_t i = 0; i < 16; i++)
				square[i] = _mm512_maskz_loadu_epi32(j + i < p->columns ? dpo_lanes(p->inner - k) : 0,
				    p->b.data + (j + i < p->columns ? (j + i) * p->b.ld + k : 0));
			dpo_transpose16(square);
			for (size_t i = 0; i < dpo_size_least(p->inner - k, 16); i++)
				_mm512_mask_storeu_epi32(to + (k + i) * p->columns + j, dpo_lanes(p->columns - j), square[i]);
		}
}

void
dpo_thin(int threads, const struct dpo_product *product)
{
	struct dpo_product p = *product;
	struct work w = { &p, p.rows >= MANY || p.rows >= p.columns, 0 };
	size_t length = w.by_rows ? p.rows : p.columns;

	if (!dpo_kernel_here() || p.inner == 0) {
		dpo_gemm(threads, product);
		return;
	}
	if (p.b.transposed) {
		turn(&p, p.scratch);
		p.b = (struct dpo_operand){ p.scratch, p.columns, false };
	}
	w.share = dpo_size_parts(dpo_size_parts(length, ITEMS), ROWS) * ROWS;
	dpo_parallel_for(dpo_gemm_worth(threads, &p), length > 0 ? dpo_size_parts(length, w.share) : 0, some_blocks, &w);
}

#else

void
dpo_thin(int threads, const struct dpo_product *product)
{
	dpo_gemm(threads, product);
}

#endif
