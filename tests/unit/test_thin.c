/* Thin products against the plainest loops in double precision, at odd sizes; their bits, whatever the threads and the place. */
#include "thin.h"

#include "naive.h"
#include "size.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const float UNTOUCHED = 77.0f;

static float *
noise(size_t n)
{
	static uint64_t seed = 7;

	return naive_numbers(n, &seed);
}

static double
element(const struct dpo_operand *o, size_t row, size_t column)
{
	return (double)(o->transposed ? o->data[column * o->ld + row] : o->data[row * o->ld + column]);
}

/* C of a product is what the loops give, and nothing beside C is touched. */
static void
compare(const struct dpo_product *p, const float *before)
{
	for (size_t i = 0; i < p->rows; i++)
		for (size_t j = 0; j < p->ldc; j++) {
			double sum = p->keep > 0 ? (double)before[i * p->ldc + j] : 0, got = (double)p->c[i * p->ldc + j];

			for (size_t k = 0; k < p->inner && j < p->columns; k++)
				sum += element(&p->a, i, k) * element(&p->b, k, j);
			if (fabs(got - (j < p->columns ? sum : (double)UNTOUCHED)) > 2e-4)
				fail_msg("%zu x %zu x %zu: %g instead of %g at %zu, %zu", p->rows, p->columns, p->inner, got, sum, i, j);
		}
}

static void
check(size_t rows, size_t columns, size_t inner, unsigned form)
{
	bool a_turned = form & 1, b_turned = form & 2;
	size_t lda = (a_turned ? rows : inner) + 3, ldb = (b_turned ? inner : columns) + 5, ldc = columns + 2;
	float *a = noise((a_turned ? inner : rows) * lda), *b = noise((b_turned ? columns : inner) * ldb);
	float *before = noise(rows * ldc), *first = dpo_alloc_aligned(rows * ldc, 4), *c = dpo_alloc_aligned(rows * ldc, 4);
	float *scratch = noise(inner * columns);
	struct dpo_product p = { .rows = rows, .columns = columns, .inner = inner, .a = { a, lda, a_turned },
		.b = { b, ldb, b_turned }, .scratch = scratch, .ldc = ldc, .keep = form & 4 ? 1.0f : 0.0f };

	assert_true(first && c);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = columns; j < ldc; j++)
			before[i * ldc + j] = UNTOUCHED;
	memcpy(first, before, rows * ldc * sizeof *c);
	memcpy(c, before, rows * ldc * sizeof *c);
	p.c = first;
	dpo_thin(1, &p);
	compare(&p, before);
	p.c = c;
	dpo_thin(3, &p);
	assert_memory_equal(first, c, rows * ldc * sizeof *c);
	free(a);
	free(b);
	free(before);
	free(first);
	free(c);
	free(scratch);
}

static void
test_loops(void **state)
{
	static const size_t sizes[][3] = { { 1, 1, 1 }, { 7, 5, 3 }, { 16, 16, 16 }, { 37, 8, 300 }, { 8, 333, 41 }, { 300, 33, 17 },
		{ 500, 64, 520 }, { 129, 1, 700 }, { 3, 40, 0 }, { 0, 5, 5 }, { 5, 0, 5 } };

	(void)state;
	(void)dpo_gemm_threads(3);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned form = 0; form < 8; form++)
			check(sizes[i][0], sizes[i][1], sizes[i][2], form);
}

/* A row's bits do not depend on the other rows, nor a column's on the other columns; where the kernel is our own. */
static void
test_company(void **state)
{
	enum { ROWS = 211, COLUMNS = 35, INNER = 600 };
	float *a = noise(ROWS * INNER), *b = noise(INNER * COLUMNS), *all = noise(ROWS * COLUMNS), one;
	struct dpo_product p = { .rows = ROWS, .columns = COLUMNS, .inner = INNER, .a = { a, INNER, false },
		.b = { b, COLUMNS, false }, .c = all, .ldc = COLUMNS };

	(void)state;
	if (!dpo_kernel_here())
		skip();
	dpo_thin(3, &p);
	p.rows = p.columns = 1;
	p.c = &one;
	for (size_t i = 0; i < ROWS; i += 7)
		for (size_t j = 0; j < COLUMNS; j += 3) {
			p.a.data = a + i * INNER;
			p.b.data = b + j;
			dpo_thin(1, &p);
			assert_memory_equal(&one, all + i * COLUMNS + j, sizeof one);
		}
	free(a);
	free(b);
	free(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_company),
	};

	return cmocka_run_group_tests_name("thin", tests, NULL, NULL);
}
