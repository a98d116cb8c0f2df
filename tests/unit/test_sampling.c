/*
 * The steps from logits to a token against plain definitions in double precision, ties and edges included.
 */
#include "decoder/sampling.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { VOCAB = 1000 };

static const struct dpo_sampling off = { 1.0, 0, 1.0, 0.0, 1.0 };

/* Logits with ties, as from a coarse scale. */
static void
fill(float *z, size_t n, uint64_t seed)
{
	for (size_t v = 0; v < n; v++)
		z[v] = rintf(40.0f * naive_random(&seed)) / 8.0f;
}

/* Exact probabilities by the definitions of sampling.h, the slow way. */
static void
define(const struct dpo_sampling *s, const float *logits, const int32_t *seen, size_t n_seen, double *p, size_t n)
{
	double z[VOCAB], total = 0;

	for (size_t v = 0; v < n; v++) {
		bool was = false;

		for (size_t i = 0; i < n_seen; i++)
			was |= seen[i] == (int32_t)v;
		z[v] = (double)logits[v];
		if (was)
			z[v] = z[v] < 0 ? z[v] * s->repetition_penalty : z[v] / s->repetition_penalty;
		z[v] /= s->temperature;
	}
	for (size_t v = 0; v < n; v++) {
		size_t above = 0;

		for (size_t u = 0; u < n; u++)
			above += z[u] > z[v] + 1e-9;
		p[v] = s->top_k == 0 || above < s->top_k ? exp(z[v]) : 0;
		total += p[v];
	}
	for (size_t v = 0; v < n; v++)
		p[v] /= total;
	if (s->top_p < 1) {
		double kept[VOCAB];

		for (size_t v = 0; v < n; v++) {
			double before = 0;

			for (size_t u = 0; u < n; u++)
				if (p[u] > p[v] * (1 + 1e-12) || (fabs(p[u] - p[v]) <= p[v] * 1e-12 && u < v))
					before += p[u];
			kept[v] = before == 0 || before < s->top_p ? p[v] : 0;
		}
		memcpy(p, kept, n * sizeof *p);
	}
	total = 0;
	for (size_t v = 0; v < n; v++)
		total = p[v] > total ? p[v] : total;
	for (size_t v = 0; v < n; v++)
		p[v] = p[v] < s->min_p * total * (1 - 1e-6) ? 0 : p[v];
	total = 0;
	for (size_t v = 0; v < n; v++)
		total += p[v];
	for (size_t v = 0; v < n; v++)
		p[v] /= total;
}

static void
compare(const struct dpo_sampling *s, size_t n, uint64_t seed)
{
	static const int32_t seen[] = { 3, 0, 3, 7, 3 };
	struct dpo_sampler sampler;
	float z[VOCAB];
	double p[VOCAB];

	fill(z, n, seed);
	assert_true(dpo_sampler_init(&sampler, n));
	define(s, z, seen, 5, p, n);
	dpo_sampler_weigh(&sampler, s, z, seen, 5);
	for (size_t v = 0; v < n; v++) {
		double ours = (double)sampler.weights[v] / sampler.total;

		if ((p[v] == 0) != (ours <= 0) || !(fabs(ours - p[v]) <= 1e-6 * p[v] + 1e-12))
			fail_msg("token %zu: %.9g instead of %.9g", v, ours, p[v]);
	}
	dpo_sampler_free(&sampler);
}

static void
test_steps(void **state)
{
	static const struct dpo_sampling settings[] = {
		{ 1.0, 0, 1.0, 0.0, 1.0 }, { 0.7, 0, 1.0, 0.0, 1.0 }, { 3.0, 0, 1.0, 0.0, 1.7 }, { 1.0, 1, 1.0, 0.0, 1.0 },
		{ 1.0, 5, 1.0, 0.0, 1.0 }, { 1.0, 2000, 1.0, 0.0, 1.0 }, { 1.0, 0, 0.9, 0.0, 1.0 }, { 5.0, 0, 0.97, 0.0, 1.0 },
		{ 1.0, 0, 1e-9, 0.0, 1.0 }, { 1.0, 0, 0.0, 0.0, 1.0 }, { 0.05, 0, 0.999, 0.0, 1.0 }, { 1.0, 0, 1.0, 0.2, 1.0 },
		{ 1.0, 0, 1.0, 1.0, 1.0 }, { 2.0, 40, 0.8, 0.1, 1.3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		for (uint64_t seed = 1; seed < 5; seed++) {
			compare(&settings[i], 8, seed);
			compare(&settings[i], 301, seed);
			compare(&settings[i], VOCAB, seed);
		}
}

static void
test_greedy(void **state)
{
	static const int32_t seen[] = { 2, 2 };
	struct dpo_sampling s = off;
	struct dpo_sampler sampler;
	float z[] = { -1.0f, 0.5f, 3.0f, 2.0f, 3.0f, 2.0f, -5.0f, 0.0f };

	(void)state;
	s.temperature = 0;
	assert_true(dpo_sampler_init(&sampler, 8));
	dpo_sampler_weigh(&sampler, &s, z, seen, 2);
	assert_int_equal(dpo_sampler_draw(&sampler, 0.7), 2);	/* ties to the lowest */
	s.repetition_penalty = 2;
	dpo_sampler_weigh(&sampler, &s, z, seen, 2);
	assert_int_equal(dpo_sampler_draw(&sampler, 0.7), 4);	/* once, though it was seen twice */
	s.repetition_penalty = 1.2;
	z[4] = 2.4f;
	dpo_sampler_weigh(&sampler, &s, z, seen, 2);
	assert_int_equal(dpo_sampler_draw(&sampler, 0.7), 2);	/* 3 / 1.2 is more than 2.4, 3 / 1.44 would not be */
	dpo_sampler_free(&sampler);
}

/* Every u gives a token that has weight, the shares of u are the probabilities, and the ends are within. */
static void
test_draw(void **state)
{
	const struct dpo_sampling s = { 1.0, 0, 0.9, 0.0, 1.0 };
	enum { STEPS = 200000 };
	struct dpo_sampler sampler;
	float z[VOCAB];
	size_t counts[VOCAB] = { 0 };

	(void)state;
	fill(z, VOCAB, 9);
	assert_true(dpo_sampler_init(&sampler, VOCAB));
	dpo_sampler_weigh(&sampler, &s, z, NULL, 0);
	for (size_t i = 0; i < STEPS; i++)
		counts[dpo_sampler_draw(&sampler, (double)i / STEPS)]++;
	for (size_t v = 0; v < VOCAB; v++) {
		double expected = (double)sampler.weights[v] / sampler.total * STEPS;

		assert_true(sampler.weights[v] > 0 || counts[v] == 0);
		assert_true(fabs((double)counts[v] - expected) <= 1.5);
	}
	assert_true(sampler.weights[dpo_sampler_draw(&sampler, 1 - 0x1p-53)] > 0);
	assert_true(sampler.weights[dpo_sampler_draw(&sampler, 1)] > 0);	/* as if rounding had left some */
	dpo_sampler_free(&sampler);
}

static void
test_log_sum(void **state)
{
	struct dpo_sampler sampler;
	float z[VOCAB];
	double sum = 0;

	(void)state;
	fill(z, VOCAB, 3);
	for (size_t v = 0; v < VOCAB; v++)
		sum += exp((double)z[v]);
	assert_true(dpo_sampler_init(&sampler, VOCAB));
	assert_true(fabs(dpo_sampler_log_sum(&sampler, z) - log(sum)) < 1e-6);
	z[5] = NAN;
	assert_true(!isfinite(dpo_sampler_log_sum(&sampler, z)));
	z[5] = INFINITY;
	assert_true(!isfinite(dpo_sampler_log_sum(&sampler, z)));
	dpo_sampler_free(&sampler);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_greedy),
		cmocka_unit_test(test_draw),
		cmocka_unit_test(test_log_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
