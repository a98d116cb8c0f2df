/* Dropout: masks and what they are keyed by, and in a low-rank map; the decoder with it is in test_lora.c. */
#include "dropout.h"
#include "lowrank.h"
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

static void
draw_and_apply(int threads, struct dpo_dropout *dropout, size_t rows, size_t n, const float *x, float *y, bool add)
{
	dropout->mask = dpo_alloc(rows * dpo_dropout_words(n), sizeof *dropout->mask);
	assert_non_null(dropout->mask);
	dpo_dropout_draw(threads, dropout, rows, n);
	dpo_dropout_apply(threads, dropout, rows, n, x, n, y, n, add);
	free(dropout->mask);
}

/* The same key gives the same mask on any number of threads; any part of the key, another; the mean is the element. */
static void
test_dropout_keys(void **state)
{
	enum { ROWS = 40, N = 2500 };
	struct dpo_dropout dropout = { 0.1, { 42, 7, 9 }, "a", NULL }, others[] = { { 0.1, { 43, 7, 9 }, "a", NULL },
	    { 0.1, { 42, 8, 9 }, "a", NULL }, { 0.1, { 42, 7, 10 }, "a", NULL }, { 0.1, { 42, 7, 9 }, "b", NULL } };
	float *x = dpo_alloc(ROWS * N, 4), *y = dpo_alloc(ROWS * N, 4), *z = dpo_alloc(ROWS * N, 4);
	double sum = 0;
	size_t kept = 0, n = 0;

	(void)state;
	assert_true(x && y && z);
	for (size_t i = 0; i < ROWS * N; i++)
		x[i] = 1.0f;
	draw_and_apply(1, &dropout, ROWS, N, x, y, false);
	draw_and_apply(3, &dropout, ROWS, N, x, z, false);
	assert_memory_equal(y, z, ROWS * N * sizeof *y);
	draw_and_apply(3, &dropout, ROWS, N, x, z, true);
	for (size_t i = 0; i < ROWS * N; i++)
		assert_true(fabsf(z[i] - 2.0f * y[i]) <= 0);
	for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
		draw_and_apply(1, &others[o], ROWS, N, x, z, false);
		assert_memory_not_equal(y, z, ROWS * N * sizeof *y);
	}
	for (uint64_t step = 0; step < 20; step++) {
		dropout.key.step = step;
		draw_and_apply(2, &dropout, ROWS, N, x, y, false);
		for (size_t i = 0; i < ROWS * N; i++, n++) {
			sum += (double)y[i];
			kept += y[i] > 0;
		}
	}
	/* five standard deviations of 2,000,000 draws */
	assert_true(fabs((double)kept / (double)n - 0.9) < 5 * 0.3 / sqrt(2e6));
	assert_true(fabs(sum / (double)n - 1) < 5 * (0.3 / 0.9) / sqrt(2e6));
	free(x);
	free(y);
	free(z);
}

/* ------------------------------------------------------------------ dropout */

/* One adapter alone, with dropout, against loops with the same mask. */
static void
test_lowrank_dropout(void **state)
{
	enum { ROWS = 7, IN = 5, OUT = 4, RANK = 2 };
	float a[RANK * IN], b[OUT * RANK], x[ROWS * IN], y[ROWS * OUT] = { 0 }, dy[ROWS * OUT], dx[ROWS * IN] = { 0 };
	float d_a[RANK * IN] = { 0 }, d_b[OUT * RANK] = { 0 }, ones[ROWS * IN], mask[ROWS * IN], scratch[256];
	uint16_t bits[2 * ROWS];
	struct dpo_lowrank low = { IN, OUT, RANK, 1.5f, a, b, d_a, d_b, { 0.4, { 1, 2, 3 }, "name", bits }, scratch };
	struct dpo_rows rx = { x, IN }, ry = { y, OUT }, rdy = { dy, OUT }, rdx = { dx, IN };
	uint64_t seed = 3;
	size_t zeros = 0;

	(void)state;
	assert_true(dpo_lowrank_scratch(ROWS, IN, RANK, true) <= 256);
	for (size_t i = 0; i < RANK * IN; i++)
		a[i] = naive_random(&seed);
	for (size_t i = 0; i < OUT * RANK; i++)
		b[i] = naive_random(&seed);
	for (size_t i = 0; i < ROWS * OUT; i++)
		dy[i] = naive_random(&seed);
	for (size_t i = 0; i < ROWS * IN; i++) {
		x[i] = naive_random(&seed);
		ones[i] = 1.0f;
	}
	assert_int_equal(dpo_dropout_words(IN), 2);
	dpo_dropout_draw(1, &low.dropout, ROWS, IN);
	dpo_dropout_apply(1, &low.dropout, ROWS, IN, ones, IN, mask, IN, false);
	memset(bits, 0, sizeof bits);
	for (size_t i = 0; i < ROWS * IN; i++)
		zeros += !(fabsf(mask[i]) > 0);
	assert_in_range(zeros, 5, 25);
	dpo_lowrank_forward(2, &low, ROWS, rx, ry);
	dpo_lowrank_backward_input(2, &low, ROWS, rdy, rdx);
	dpo_lowrank_backward_weight(2, &low, ROWS, rx, rdy);
	for (size_t n = 0; n < ROWS; n++)
		for (size_t o = 0; o < OUT; o++) {
			double sum = 0;

			for (size_t i = 0; i < IN; i++)
				for (size_t r = 0; r < RANK; r++)
					sum += 1.5 * (double)(mask[n * IN + i] * x[n * IN + i]) * (double)a[r * IN + i] *
					    (double)b[o * RANK + r];
			assert_true(fabs(sum - (double)y[n * OUT + o]) < 1e-5);
		}
	for (size_t n = 0; n < ROWS; n++)
		for (size_t i = 0; i < IN; i++) {
			double sum = 0;

			for (size_t o = 0; o < OUT; o++)
				for (size_t r = 0; r < RANK; r++)
					sum += 1.5 * (double)(mask[n * IN + i] * dy[n * OUT + o]) * (double)a[r * IN + i] *
					    (double)b[o * RANK + r];
			assert_true(fabs(sum - (double)dx[n * IN + i]) < 1e-5);
		}
	for (size_t r = 0; r < RANK; r++)
		for (size_t i = 0; i < IN; i++) {
			double sum = 0;

			for (size_t n = 0; n < ROWS; n++)
				for (size_t o = 0; o < OUT; o++)
					sum += 1.5 * (double)(dy[n * OUT + o] * b[o * RANK + r]) *
					    (double)(mask[n * IN + i] * x[n * IN + i]);
			assert_true(fabs(sum - (double)d_a[r * IN + i]) < 1e-5);
		}
	for (size_t o = 0; o < OUT; o++)
		for (size_t r = 0; r < RANK; r++) {
			double sum = 0;

			for (size_t n = 0; n < ROWS; n++)
				for (size_t i = 0; i < IN; i++)
					sum += 1.5 * (double)dy[n * OUT + o] * (double)a[r * IN + i] *
					    (double)(mask[n * IN + i] * x[n * IN + i]);
			assert_true(fabs(sum - (double)d_b[o * RANK + r]) < 1e-5);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dropout_keys),
		cmocka_unit_test(test_lowrank_dropout),
	};

	return cmocka_run_group_tests_name("dropout", tests, NULL, NULL);
}
