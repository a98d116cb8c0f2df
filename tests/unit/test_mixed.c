/* Products in bfloat16 against the plainest loops over rounded operands in double precision, by both kernels. */
#define _POSIX_C_SOURCE 200809L	/* setenv */
#include "base/bytes.h"
#include "base/size.h"
#include "decoder/linear.h"
#include "kernel/mixed.h"
#include "kernel/narrow.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t seed = 11;

static float *
noise(size_t n)
{
	float *x = dpo_alloc_aligned(n ? n : 1, sizeof *x);

	assert_non_null(x);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		x[i] = (float)(int32_t)(seed >> 32) / 2147483648.0f;
	}
	return x;
}

static double
rounded(float x)
{
	return (double)dpo_bytes_from_bf16(dpo_narrow_bf16(x));
}

static double
element(const struct dpo_operand *o, size_t row, size_t column)
{
	return rounded(o->data[o->transposed ? column * o->ld + row : row * o->ld + column]);
}

/* What the product should be, each element in double precision. */
static double
wanted(const struct dpo_product *p, const float *before, size_t i, size_t j)
{
	double sum = p->keep ? (double)before[i * p->ldc + j] : 0.0;

	for (size_t k = 0; k < p->inner; k++)
		sum += element(&p->a, i, k) * element(&p->b, k, j);
	return sum + (p->bias ? (double)p->bias[j] : 0.0) + (p->residual ? (double)p->residual[i * p->ld_residual + j] : 0.0);
}

static void
check_element(const struct dpo_product *p, const float *before, size_t i, size_t j)
{
	double sum = wanted(p, before, i, j), tolerance = 4e-6 * (1.0 + sqrt((double)p->inner));

	assert_true(fabs((double)p->c[i * p->ldc + j] - sum) <= tolerance);
}

/* Every element of a small product, some of a large one; columns beyond C are left alone. Bits are those of one thread. */
static void
check_product(size_t rows, size_t columns, size_t inner, unsigned form)
{
	bool ta = form & 1, tb = form & 2, extras = form & 4;
	size_t lda = (ta ? rows : inner) + 3, ldb = (tb ? inner : columns) + 5, ldc = columns + 2;
	size_t step = rows * columns > 20000 ? 37 : 1;
	float *a = noise(lda * (ta ? inner : rows)), *b = noise(ldb * (tb ? columns : inner)), *before = noise(ldc * rows);
	float *bias = noise(columns), *residual = noise(ldc * rows), *c = noise(ldc * rows), *first = noise(ldc * rows);
	float *scratch = noise(DPO_MIXED_SCRATCH);
	struct dpo_product p = { .rows = rows, .columns = columns, .inner = inner, .a = { a, lda, ta }, .b = { b, ldb, tb },
	    .c = c, .ldc = ldc, .keep = !extras, .bias = extras ? bias : NULL,
	    .residual = extras ? residual : NULL, .ld_residual = ldc, .scratch = scratch };

	for (int threads = 1; threads <= 3; threads++) {
		memcpy(c, before, ldc * rows * sizeof *c);
		dpo_mixed_product(threads, &p, NULL);
		if (threads == 1)
			memcpy(first, c, ldc * rows * sizeof *c);
		assert_memory_equal(c, first, ldc * rows * sizeof *c);
	}
	for (size_t i = 0; i < rows * columns; i += step)
		check_element(&p, before, i / columns, i % columns);
	for (size_t i = 0; i < rows; i++)
		assert_memory_equal(c + i * ldc + columns, before + i * ldc + columns, 2 * sizeof *c);
	free(a);
	free(b);
	free(before);
	free(bias);
	free(residual);
	free(c);
	free(first);
	free(scratch);
}

static void
with_kernels(void (*check)(void))
{
	static const char *const wishes[] = { "", "vectors" };

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(setenv("DPO_KERNEL", wishes[i], 1), 0);
		if (!dpo_bf16_kernel())
			skip();
		check();
	}
	unsetenv("DPO_KERNEL");
}

static void
check_products(void)
{
	static const size_t sizes[][3] = { { 1, 1, 1 }, { 3, 5, 7 }, { 32, 32, 32 }, { 67, 131, 33 }, { 33, 401, 768 },
	    { 600, 80, 31 }, { 20, 36, 3100 }, { 1100, 1200, 40 }, { 40, 40, 0 } };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned form = 0; form < 8; form++)
			check_product(sizes[i][0], sizes[i][1], sizes[i][2], form);
}

static void
test_products(void **state)
{
	(void)state;
	with_kernels(check_products);
}

/* An element has the same bits whatever its neighbours and its place, and when B is packed before. */
static void
check_company(void)
{
	enum { ROWS = 300, COLUMNS = 410, INNER = 2000, FEW = 9, OFF = 37 };
	float *a = noise(ROWS * INNER), *b = noise(INNER * COLUMNS), *all = noise(ROWS * COLUMNS), *part = noise(FEW * FEW);
	float *scratch = noise(DPO_MIXED_SCRATCH);
	uint16_t *packed = dpo_alloc_aligned(dpo_mixed_packed_size(COLUMNS, INNER), sizeof *packed);
	struct dpo_product p = { .rows = ROWS, .columns = COLUMNS, .inner = INNER, .a = { a, INNER, false },
	    .b = { b, COLUMNS, false }, .c = all, .ldc = COLUMNS, .scratch = scratch }, few = p;
	struct dpo_bf16_packed whole;

	assert_non_null(packed);
	dpo_mixed_product(2, &p, NULL);
	few.rows = few.columns = few.ldc = FEW;
	few.a.data += OFF * INNER;
	few.b.data += OFF;
	few.c = part;
	dpo_mixed_product(1, &few, NULL);
	for (size_t i = 0; i < FEW; i++)
		assert_memory_equal(part + i * FEW, all + (OFF + i) * COLUMNS + OFF, FEW * sizeof *part);

	whole = dpo_mixed_pack(2, &p, packed);
	p.c = noise(ROWS * COLUMNS);
	dpo_mixed_product(2, &p, &whole);
	assert_memory_equal(p.c, all, ROWS * COLUMNS * sizeof *all);
	free(p.c);
	free(a);
	free(b);
	free(all);
	free(part);
	free(scratch);
	free(packed);
}

static void
test_company(void **state)
{
	(void)state;
	with_kernels(check_company);
}

/* A B that is stored in 16 bits gives the bits of the same B as floats. */
static void
check_stored(void)
{
	enum { ROWS = 45, COLUMNS = 70, INNER = 100 };
	float *a = noise(ROWS * INNER), *b = noise(COLUMNS * INNER), *c = noise(ROWS * COLUMNS), *same = noise(ROWS * COLUMNS);
	float *scratch = noise(DPO_MIXED_SCRATCH);
	uint16_t stored[COLUMNS * INNER];

	for (enum dpo_dtype dtype = DPO_DTYPE_F16; dtype <= DPO_DTYPE_BF16; dtype++)
		for (int transposed = 0; transposed < 2; transposed++) {
			struct dpo_product p = { .rows = ROWS, .columns = COLUMNS, .inner = INNER, .a = { a, INNER, false },
			    .b = { b, transposed ? INNER : COLUMNS, transposed }, .c = c, .ldc = COLUMNS, .scratch = scratch };

			for (size_t i = 0; i < COLUMNS * INNER; i++) {
				stored[i] = dtype == DPO_DTYPE_F16 ? dpo_narrow_f16(b[i]) : dpo_narrow_bf16(b[i]);
				b[i] = dtype == DPO_DTYPE_F16 ? dpo_bytes_from_f16(stored[i]) : dpo_bytes_from_bf16(stored[i]);
			}
			dpo_mixed_product(2, &p, NULL);
			p.b.data = (const float *)(const void *)stored;
			p.b_dtype = dtype;
			p.c = same;
			dpo_mixed_product(2, &p, NULL);
			assert_memory_equal(c, same, ROWS * COLUMNS * sizeof *c);
		}
	free(a);
	free(b);
	free(c);
	free(same);
	free(scratch);
}

static void
test_stored(void **state)
{
	(void)state;
	with_kernels(check_stored);
}

/* A tie goes to even, and a number is rounded once: 1 + 2^-8 is half-way, 1 + 3 2^-8 too. */
static void
check_rounding(void)
{
	float one[] = { 1.0f }, x[] = { 1.00390625f, 1.01171875f, 1.00390637f, -1.00390625f }, c[4];
	const float expected[] = { 1.0f, 1.015625f, 1.0078125f, -1.0f };
	float *scratch = noise(DPO_MIXED_SCRATCH);
	struct dpo_product p = { .rows = 1, .columns = 4, .inner = 1, .a = { one, 1, false }, .b = { x, 4, false }, .c = c,
	    .ldc = 4, .scratch = scratch };

	dpo_mixed_product(1, &p, NULL);
	assert_memory_equal(c, expected, sizeof c);
	free(scratch);
}

static void
test_rounding(void **state)
{
	(void)state;
	with_kernels(check_rounding);
}

static void
test_size(void **state)
{
	(void)state;
	assert_int_equal(dpo_mixed_packed_size(17, 33), 2 * 2 * 512);
	assert_true(dpo_mixed_packed_size(SIZE_MAX / 2, SIZE_MAX / 2) == SIZE_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products), cmocka_unit_test(test_company), cmocka_unit_test(test_stored),
		cmocka_unit_test(test_rounding), cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
