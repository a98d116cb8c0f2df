/* The parts of thin products in AVX-512. */
#include "kernel/thinparts.h"

#include "base/size.h"
#include "kernel/vectors512.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "kernel/turn_loops.h"
#include "kernel/thin_loops.h"

/* Sums of SUMS rows by a vector of columns stay in registers while the inner index goes by: chains enough. */
enum { SUMS = 16 };

/* Rows of A times a vector of B's columns. */
struct strip {
	const float *a, *b;
	size_t row_step, inner_step;	/* of a, from number to number */
	size_t ldb, ldc, inner, columns;
	bool keep;
	float *c;
};

/*
 * `rows` is known when compiled, and a row_step of 1. What is fetched is what the next block will read of a side that is walked
 * across.
 */
DPO_SET_INLINE void
multiply_rows(const size_t rows, const size_t row_step, const struct strip *p)
{
	dpo_vec sum[SUMS], b;
	dpo_some columns = dpo_first(p->columns);
	const float *a = p->a, *from = p->b;

#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++)
		sum[i] = dpo_zeros();
	for (size_t k = 0; k < p->inner; k++, a += p->inner_step, from += p->ldb) {
		b = dpo_load_some(columns, from);
		_mm_prefetch((const char *)(from + DPO_LANES), _MM_HINT_T1);
		if (row_step == 1)
			_mm_prefetch((const char *)(a + SUMS), _MM_HINT_T1);
#pragma GCC unroll 16
		for (size_t i = 0; i < rows; i++)
			sum[i] = dpo_fma(dpo_each(a[i * row_step]), b, sum[i]);
	}
#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++) {
		if (p->keep)
			sum[i] = dpo_add(sum[i], dpo_load_some(columns, p->c + i * p->ldc));
		dpo_store_first(p->c + i * p->ldc, p->columns, sum[i]);
	}
}

/* The same for any number of rows up to SUMS. */
DPO_SET static void
multiply_strip(size_t rows, struct strip strip)
{
	size_t n;

	for (; rows > 0; rows -= n) {
		n = rows >= SUMS ? SUMS : rows >= 4 ? 4 : 1;
		if (n == SUMS && strip.row_step == 1)
			multiply_rows(SUMS, 1, &strip);
		else if (n == SUMS)
			multiply_rows(SUMS, strip.row_step, &strip);
		else if (n == 4)
			multiply_rows(4, strip.row_step, &strip);
		else
			multiply_rows(1, strip.row_step, &strip);
		strip.a += n * strip.row_step;
		strip.c += n * strip.ldc;
	}
}

DPO_SET static void
multiply_lanes(const struct dpo_tile *t)
{
	struct strip s = { .row_step = t->a.transposed ? 1 : t->a.ld, .inner_step = t->a.transposed ? t->a.ld : 1, .ldb = t->b.ld,
		.ldc = t->ldc, .inner = t->inner, .keep = t->keep };

	for (size_t i = 0; i < t->rows; i += SUMS)
		for (size_t j = 0; j < t->columns; j += DPO_LANES) {
			s.columns = dpo_size_least(t->columns - j, DPO_LANES);
			s.a = t->a.data + i * s.row_step;
			s.b = t->b.data + j;
			s.c = t->c + i * t->ldc + j;
			multiply_strip(dpo_size_least(t->rows - i, SUMS), s);
		}
}

const struct dpo_thin_set dpo_thin_avx512 = { mask_lanes, turn_lanes, multiply_lanes };

#endif
