/* Products of floats split in three parts (split.h): the parts, and how near the sums are to the exact ones. */
#include "base/bytes.h"
#include "base/size.h"
#include "fixture.h"
#include "kernel/amx.h"
#include "kernel/split.h"
#include "kernel/splitpack.h"
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void
skip_without_tiles(void)
{
	if (!dpo_amx_here())
		skip();
}

/* The three parts of A's number at (row, k), as packed from one panel of `steps` steps within one cut. */
static double
sum_of_parts(const uint16_t *packed, size_t row, size_t k)
{
	const uint16_t *at = packed + k / 32 * DPO_SPLIT_STEP + row / 16 * DPO_SPLIT_SQUARE + row % 16 * 32 + k % 32;
	double sum = 0.0;

	for (size_t part = 0; part < 3; part++)
		sum += (double)dpo_bytes_from_bf16(at[part * 2 * DPO_SPLIT_SQUARE]);
	return sum;
}

/* Every bit of a float is in its parts, from either layout, and what is beyond the operand is zero. */
static void
test_parts_hold_every_bit(void **state)
{
	enum { ROWS = 29, INNER = 83 };
	_Alignas(64) uint16_t packed[3 * DPO_SPLIT_STEP];
	float *a;

	(void)state;
	skip_without_tiles();
	a = noise(ROWS * INNER);
	for (size_t i = 0; i < ROWS * INNER; i++)
		a[i] = ldexpf(a[i], (int)(i % 200) - 100);
	for (int transposed = 0; transposed < 2; transposed++) {
		struct dpo_operand operand = { a, transposed ? ROWS : INNER, transposed };

		dpo_split_pack_a(packed, &operand, ROWS, (struct dpo_stretch){ 0, INNER });
		for (size_t row = 0; row < 32; row++)
			for (size_t k = 0; k < 96; k++) {
				double wanted = row >= ROWS || k >= INNER ? 0.0 :
				    (double)a[transposed ? k * ROWS + row : row * INNER + k];

				if (sum_of_parts(packed, row, k) != wanted)
					fail_msg("row %zu, k %zu: %a, not %a", row, k, sum_of_parts(packed, row, k), wanted);
			}
	}
	free(a);
}

struct errors {
	double split, chain, exact;	/* sums of squares */
	double most;			/* of the split's, relative to the sum of the products' sizes */
};

static void
add_error(struct errors *e, const float *a, const float *b, size_t inner, size_t columns, float got)
{
	long double exact = 0.0L, sizes = 0.0L;
	float chain = 0.0f;
	double error;

	for (size_t k = 0; k < inner; k++) {
		long double product = (long double)a[k] * (long double)b[k * columns];

		exact += product;
		sizes += fabsl(product);
		chain = fmaf(a[k], b[k * columns], chain);
	}
	error = (double)((long double)got - exact);
	e->split += error * error;
	e->chain += (double)(((long double)chain - exact) * ((long double)chain - exact));
	e->exact += (double)(exact * exact);
	e->most = fixture_worst(e->most, fabs(error) / (double)sizes);
}

static struct errors
errors_of(size_t rows, size_t columns, size_t inner, size_t exponents)
{
	float *a = noise(rows * inner), *b = noise(inner * columns), *c = noise(rows * columns);
	struct errors e = { 0 };

	for (size_t i = 0; i < rows * inner; i++)
		a[i] = ldexpf(a[i], (int)(i * 7 % exponents) - (int)(exponents / 2));
	dpo_split_product(&(struct dpo_tile){ rows, columns, inner, { a, inner, false }, { b, columns, false }, false, c,
	    columns });
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < columns; j++)
			add_error(&e, a + i * inner, b + j, inner, columns, c[i * columns + j]);
	free(a);
	free(b);
	free(c);
	return e;
}

/* On the whole nearer to the exact sums than fused multiply-adds are, whatever the spread of the numbers. */
static void
test_sums_are_those_of_floats(void **state)
{
	static const size_t inner[] = { 32, 100, 768, 3072 };

	(void)state;
	skip_without_tiles();
	for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
		for (size_t exponents = 1; exponents <= 41; exponents += 20) {
			struct errors e = errors_of(40, 70, inner[i], exponents);

			if (!(e.split < e.chain) || !(e.most < 0x1p-21))
				fail_msg("inner %zu, 2^%zu: rms %.3g, a chain %.3g; at most %.3g", inner[i], exponents,
				    sqrt(e.split / e.exact), sqrt(e.chain / e.exact), e.most);
		}
}

/* One product alone is off by less than 2^-23 of it. */
static void
test_single_products(void **state)
{
	(void)state;
	skip_without_tiles();
	assert_true(errors_of(60, 90, 1, 60).most < 0x1p-23);
}

static float
product_of(float x, float y)
{
	float a[32] = { x }, b[32] = { y }, c = 7.0f;

	dpo_split_product(&(struct dpo_tile){ 1, 1, 32, { a, 32, false }, { b, 1, false }, false, &c, 1 });
	return c;
}

static void
test_ends_of_the_range(void **state)
{
	(void)state;
	skip_without_tiles();
	assert_true(product_of(3.38e38f, 1.0f) == 3.38e38f);
	assert_true(product_of(-3.38e38f, 0x1p-20f) == -3.38e38f * 0x1p-20f);
	assert_true(product_of(0x1p-127f, 1.0f) == 0.0f);	/* subnormal */
	assert_true(product_of(0x1p-120f, 1.0f) == 0x1p-120f);
	assert_true(!isfinite(product_of(FLT_MAX, 2.0f)));
	assert_true(!isfinite(product_of(INFINITY, 1.0f)));
	assert_true(!isfinite(product_of(FLT_MAX, 1.0f)));
	assert_true(isnan(product_of(NAN, 1.0f)) != 0);
	assert_true(isnan(product_of(1.0f, dpo_bytes_to_float(0xffffffff))) != 0);
	assert_true(isnan(product_of(dpo_bytes_to_float(0x7f800001), 1.0f)) != 0);	/* its first 16 bits alone say infinite */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_hold_every_bit),
		cmocka_unit_test(test_sums_are_those_of_floats),
		cmocka_unit_test(test_single_products),
		cmocka_unit_test(test_ends_of_the_range),
	};

	return cmocka_run_group_tests(tests, kernels_set_up, NULL);
}
