/* Dropout: masks and what they are keyed by, and in a low-rank map; the decoder with it is in test_lora.c. */
#include "base/size.h"
#include "decoder/dropout.h"
#include "decoder/lowrank.h"
#include "kernel/gemm.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint16_t *
draw(int threads, struct dpo_dropout dropout, size_t rows, size_t n)
{
	dropout.mask = dpo_alloc(rows * dpo_dropout_words(n), sizeof *dropout.mask);
	assert_non_null(dropout.mask);
	dpo_dropout_draw(threads, &dropout, rows, n);
	return dropout.mask;
}

static bool
stays(const uint16_t *mask, size_t n, size_t row, size_t i)
{
	return mask[row * dpo_dropout_words(n) + i / 16] >> i % 16 & 1;
}

/* The same key gives the same mask on any number of threads; any part of the key, another. */
static void
test_keys(void **state)
{
	enum { ROWS = 40, N = 2500 };
	const struct dpo_dropout dropout = { 0.1, { 42, 7, 9 }, "a", NULL }, others[] = { { 0.1, { 43, 7, 9 }, "a", NULL },
	    { 0.1, { 42, 8, 9 }, "a", NULL }, { 0.1, { 42, 7, 10 }, "a", NULL }, { 0.1, { 42, 7, 9 }, "b", NULL } };
	size_t bytes = ROWS * dpo_dropout_words(N) * sizeof(uint16_t);
	uint16_t *mask = draw(1, dropout, ROWS, N), *again = draw(3, dropout, ROWS, N);

	(void)state;
	assert_memory_equal(mask, again, bytes);
	free(again);
	for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
		again = draw(1, others[o], ROWS, N);
		assert_memory_not_equal(mask, again, bytes);
		free(again);
	}
	free(mask);
}

/* As many stay as should, of all places alike; also where the second random byte decides alone (0.002), or always. */
static void
test_rates(void **state)
{
	enum { ROWS = 40, N = 2496, STEPS = 20 };	/* N: of all places alike */
	static const double rates[] = { 0.002, 0.05, 0.1, 0.5, 0.998 };

	(void)state;
	for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
		struct dpo_dropout dropout = { rates[r], { 42, 0, 9 }, "a", NULL };
		double p = round(65536 * rates[r]) / 65536, deviation = sqrt(p * (1 - p));
		size_t kept = 0, of_place[16] = { 0 };

		for (dropout.key.step = 0; dropout.key.step < STEPS; dropout.key.step++) {
			uint16_t *mask = draw(2, dropout, ROWS, N);

			for (size_t row = 0; row < ROWS; row++)
				for (size_t i = 0; i < N; i++) {
					kept += stays(mask, N, row, i);
					of_place[i % 16] += stays(mask, N, row, i);
				}
			free(mask);
		}
		/* five standard deviations */
		assert_true(fabs((double)kept / (STEPS * ROWS * N) - (1 - p)) < 5 * deviation / sqrt(STEPS * ROWS * N));
		for (size_t i = 0; i < 16; i++)
			assert_true(fabs((double)of_place[i] / (STEPS * ROWS * N / 16) - (1 - p)) <
			    5 * deviation / sqrt(STEPS * ROWS * N / 16));
		assert_true(fabs((double)dpo_dropout_factor(&dropout) * (1 - p) - 1) < 1e-6);
	}
}

/* ------------------------------------------------------------------ in a low-rank map */

enum { ROWS = 71, IN = 45, OUT = 37, RANK = 5 };

/* The numbers of an adapter with dropout, and what loops in double precision make of them with the same mask. */
struct subject {
	float a[RANK * IN], b[OUT * RANK], x[ROWS * IN], dy[ROWS * OUT], y[ROWS * OUT], dx[ROWS * IN], d_a[RANK * IN],
	    d_b[OUT * RANK];
	float u[ROWS * RANK], v[ROWS * RANK];
	uint16_t bits[ROWS * 4];
	struct dpo_lowrank low;
};

static double
dropped(const struct subject *s, size_t row, size_t i)
{
	return stays(s->bits, IN, row, i) ? (double)dpo_dropout_factor(&s->low.dropout) : 0;
}

static void
check(const char *what, bool bf16, double got, double wanted, double size)
{
	if (!(fabs(got - wanted) <= (bf16 ? 1e-2 : 1e-6) * size))
		fail_msg("%s%s: %g instead of %g", what, bf16 ? " in bf16" : "", got, wanted);
}

/* A sum, and that of its terms' sizes, of which each is good to the precision. */
struct sum {
	double all, size;
};

static void
add(struct sum *sum, double term)
{
	sum->all += term;
	sum->size += fabs(term);
}

static void
check_all(const char *what, const struct subject *s, const float *got, const struct sum *wanted, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check(what, s->low.bf16, (double)got[i], wanted[i].all, wanted[i].size);
}

static void
check_subject(const struct subject *s)
{
	static struct sum y[ROWS * OUT], dx[ROWS * IN], d_a[RANK * IN], d_b[OUT * RANK];

	memset(y, 0, sizeof y);
	memset(dx, 0, sizeof dx);
	memset(d_a, 0, sizeof d_a);
	memset(d_b, 0, sizeof d_b);
	for (size_t n = 0; n < ROWS; n++)
		for (size_t i = 0; i < IN; i++)
			for (size_t o = 0; o < OUT; o++)
				for (size_t r = 0; r < RANK; r++) {
					double scale = 1.5 * dropped(s, n, i), x = (double)s->x[n * IN + i],
					    a = (double)s->a[r * IN + i];
					double b = (double)s->b[o * RANK + r], dy = (double)s->dy[n * OUT + o];

					add(&y[n * OUT + o], scale * x * a * b);
					add(&dx[n * IN + i], scale * dy * a * b);
					add(&d_a[r * IN + i], scale * dy * b * x);
					add(&d_b[o * RANK + r], scale * dy * a * x);
				}
	check_all("y", s, s->y, y, ROWS * OUT);
	check_all("dx", s, s->dx, dx, ROWS * IN);
	check_all("d_A", s, s->d_a, d_a, RANK * IN);
	check_all("d_B", s, s->d_b, d_b, OUT * RANK);
}

static void
fill(float *x, size_t n, uint64_t *seed)
{
	for (size_t i = 0; i < n; i++)
		x[i] = naive_random(seed);
}

static void
run(struct subject *s, int threads, bool bf16)
{
	struct dpo_matrix x = { s->x, IN }, y = { s->y, OUT }, dy = { s->dy, OUT }, dx = { s->dx, IN };
	float *scratch = dpo_alloc_aligned(dpo_lowrank_scratch(ROWS, IN, RANK), sizeof *scratch);
	uint64_t seed = 3;

	assert_non_null(scratch);
	*s = (struct subject){ .low = { .in = IN, .out = OUT, .rank = RANK, .scale = 1.5f, .bf16 = bf16,
	    .dropout = { 0.4, { 1, 2, 3 }, "name", NULL } } };
	assert_true(dpo_dropout_words(IN) * ROWS == sizeof s->bits / sizeof *s->bits);
	s->low.a = s->a;
	s->low.b = s->b;
	s->low.d_a = s->d_a;
	s->low.d_b = s->d_b;
	s->low.dropout.mask = s->bits;
	s->low.u = s->u;
	s->low.scratch = scratch;
	fill(s->a, RANK * IN, &seed);
	fill(s->b, OUT * RANK, &seed);
	fill(s->x, ROWS * IN, &seed);
	fill(s->dy, ROWS * OUT, &seed);
	dpo_lowrank_forward(threads, &s->low, ROWS, x, y);
	dpo_lowrank_backward_input(threads, &s->low, ROWS, dy, dx, s->v);
	dpo_lowrank_backward_weight(threads, &s->low, ROWS, x, dy, s->v);
	free(scratch);
}

static void
check_lowrank(bool bf16)
{
	static struct subject s, more_threads;
	size_t zeros = 0;

	run(&s, 1, bf16);
	for (size_t n = 0; n < ROWS; n++)
		for (size_t i = 0; i < IN; i++)
			zeros += !stays(s.bits, IN, n, i);
	assert_in_range(zeros, 3 * ROWS * IN / 10, 5 * ROWS * IN / 10);
	check_subject(&s);
	run(&more_threads, 3, bf16);
	assert_memory_equal(s.y, more_threads.y, sizeof s.y);
	assert_memory_equal(s.dx, more_threads.dx, sizeof s.dx);
	assert_memory_equal(s.d_a, more_threads.d_a, sizeof s.d_a);
	assert_memory_equal(s.d_b, more_threads.d_b, sizeof s.d_b);
}

static void
test_lowrank(void **state)
{
	(void)state;
	(void)dpo_gemm_threads(3);
	check_lowrank(false);
}

static void
test_lowrank_bf16(void **state)
{
	(void)state;
	if (!dpo_bf16_kernel())
		skip();
	check_lowrank(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_lowrank),
		cmocka_unit_test(test_lowrank_bf16),
	};

	return cmocka_run_group_tests_name("dropout", tests, NULL, NULL);
}
