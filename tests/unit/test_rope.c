/* Rotary positions by the definition, and the stretched kinds of them. */
#include "decoder/rope.h"
#include "kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void
test_rope(void **state)
{
	enum { ROWS = 9, HEADS = 3, DIM = 10, LD = HEADS * DIM + 7 };
	float table[20 * DIM], *x = noise(ROWS * LD), *was = copy(x, ROWS * LD);
	const int32_t positions[ROWS] = { 0, 1, 2, 3, 2, 3, 4, 19, 0 };
	const struct dpo_rope rope = { .dim = DIM, .theta = 10000, .scale = 1 };
	const struct dpo_rope_heads heads = { 0, DIM, HEADS };

	(void)state;
	dpo_rope_table(table, 20, &rope, 20);
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, 1.0f);
	for (size_t r = 0; r < ROWS; r++)
		for (size_t i = 0; i < DIM / 2; i++) {
			double angle = positions[r] * pow(10000.0, -2.0 * (double)i / DIM);
			double low = (double)was[r * LD + DIM + i],
			    high = (double)was[r * LD + DIM + DIM / 2 + i];

			near((double)x[r * LD + DIM + i], low * cos(angle) - high * sin(angle),
			    1e-5);
			near((double)x[r * LD + DIM + DIM / 2 + i],
			    high * cos(angle) + low * sin(angle), 1e-5);
		}
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, -1.0f);
	for (size_t i = 0; i < ROWS * LD; i++)
		near((double)x[i], (double)was[i], 1e-6);
	free(x);
	free(was);
}

/*
 * A head of which only the first 4 of 6 elements turn, the second of every 3 heads; with a scale.
 * The transposed rotation scales twice.
 */
static void
test_rope_in_part(void **state)
{
	enum { ROWS = 2, DIM = 4, STEP = 18, LD = 2 * STEP };
	const struct dpo_rope rope = { .dim = DIM, .theta = 100, .scale = 1.5 };
	const struct dpo_rope_heads heads = { 6, STEP, 2 };
	const int32_t positions[ROWS] = { 3, 1 };
	float table[4 * DIM], *x = noise(ROWS * LD), *was = copy(x, ROWS * LD);

	(void)state;
	dpo_rope_table(table, 4, &rope, 4);
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, 1.0f);
	for (size_t i = 0; i < ROWS * LD; i++) {
		size_t at = i % STEP, row = i / LD;
		double turned = at == 6 || at == 8 ? 1.0 : 0.1, angle = positions[row] * turned;

		if (at < 6 || at >= 6 + DIM)
			near((double)x[i], (double)was[i], 0.0);
		else if (at < 8)
			near((double)x[i], 1.5 * ((double)was[i] * cos(angle) -
			    (double)was[i + 2] * sin(angle)), 1e-6);
		else
			near((double)x[i], 1.5 * ((double)was[i] * cos(positions[row] * (at == 8 ?
			    1.0 : 0.1)) + (double)was[i - 2] * sin(positions[row] * (at == 8 ? 1.0 :
			    0.1))), 1e-6);
	}
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, -1.0f);
	for (size_t i = 0; i < ROWS * LD; i++)
		near((double)x[i], (double)was[i] * (i % STEP < 6 || i % STEP >= 6 + DIM ? 1.0 :
		    2.25), 1e-6);
	free(x);
	free(was);
}

/* The frequency of element i of the table, from position 1. */
static double
frequency(const struct dpo_rope *rope, size_t i, size_t length)
{
	float table[2 * 64];

	dpo_rope_table(table, 2, rope, length);
	return atan2((double)table[rope->dim + rope->dim / 2 + i], (double)table[rope->dim + i]);
}

static void
test_rope_stretched(void **state)
{
	struct dpo_rope rope = { .dim = 64, .theta = 10000, .factor = 4, .original = 100, .scale = 1,
	    .low_frequency = 1, .high_frequency = 4, .beta_fast = 32, .beta_slow = 1,
	    .truncate = true };
	const double turn = 2.0 * 3.14159265358979323846;

	(void)state;
	rope.kind = DPO_ROPE_DYNAMIC;
	assert_int_equal(dpo_rope_choice(&rope, 1), dpo_rope_choice(&rope, 100));
	assert_int_not_equal(dpo_rope_choice(&rope, 100), dpo_rope_choice(&rope, 101));
	assert_int_not_equal(dpo_rope_choice(&rope, 102), dpo_rope_choice(&rope, 101));
	rope.kind = DPO_ROPE_LONGROPE;
	assert_int_equal(dpo_rope_choice(&rope, 1), dpo_rope_choice(&rope, 100));
	assert_int_not_equal(dpo_rope_choice(&rope, 100), dpo_rope_choice(&rope, 101));
	assert_int_equal(dpo_rope_choice(&rope, 900), dpo_rope_choice(&rope, 101));
	for (size_t i = 0; i < 32; i++) {
		double g = pow(10000.0, -(double)i / 32.0), wave = turn / g, smooth, ramp;

		rope.short_factors[i] = 2.0f;
		rope.long_factors[i] = 3.0f + (float)i;
		rope.kind = DPO_ROPE_LONGROPE;
		near(frequency(&rope, i, 100) / (g / 2.0), 1.0, 1e-6);
		near(frequency(&rope, i, 101) / (g / (3.0 + (double)i)), 1.0, 1e-6);
		rope.kind = DPO_ROPE_LINEAR;
		near(frequency(&rope, i, 101) / (g / 4.0), 1.0, 1e-6);
		rope.kind = DPO_ROPE_DYNAMIC;
		near(frequency(&rope, i, 100) / g, 1.0, 1e-6);
		near(frequency(&rope, i, 150) / pow(10000.0 * pow(4.0 * 1.5 - 3.0, 64.0 / 62.0),
		    -(double)i / 32.0), 1.0, 2e-6);
		rope.kind = DPO_ROPE_LLAMA3;
		smooth = (100.0 / wave - 1.0) / 3.0;
		near(frequency(&rope, i, 1) / (wave < 25.0 ? g : wave > 100.0 ? g / 4.0 :
		    (1.0 - smooth) * g / 4.0 + smooth * g), 1.0, 2e-6);
		/* In 100 positions head element 0 turns 16 times, so the ramp begins at 0; one turn is at 9.6. */
		rope.kind = DPO_ROPE_YARN;
		ramp = fmin((double)i / 10.0, 1.0);
		near(frequency(&rope, i, 1) / (ramp * g / 4.0 + (1.0 - ramp) * g), 1.0, 2e-6);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rope),
		cmocka_unit_test(test_rope_in_part),
		cmocka_unit_test(test_rope_stretched),
	};

	return cmocka_run_group_tests(tests, kernels_set_up, NULL);
}
