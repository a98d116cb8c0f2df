/*
 * The gradient of every parameter against central differences of the naive double-precision
 * decoder.
 */
#include "decoder/score.h"
#include "fixture.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* max|dg| of a tensor, in max|g|. */
static const double TOLERANCE = 1e-5;

static const int32_t prompt[] = { 3, 1, 4, 1, 5 }, one[] = { 9, 2, 6, 5, 3, 5 },
    two[] = { 8, 9, 7, 1 };

static const struct dpo_example pair = { prompt, 5, 2, { one, two }, { 6, 4 } };
static const struct dpo_example bare = { NULL, 0, 2, { one, two }, { 6, 4 } };
static const struct dpo_example single = { prompt, 3, 1, { one }, { 5 } };
static const struct dpo_example shortest = { prompt, 5, 2, { one, two }, { 1, 1 } };

static const float d_one[] = { 0.7f, -0.2f, 0.5f, 1.1f, 0.3f, -0.6f },
    d_two[] = { -0.9f, 0.4f, -0.3f, -0.8f };
static const float *const d_logps[] = { d_one, d_two };

static void
compute(const struct naive_model *m, const struct dpo_example *example, float *gradients)
{
	struct dpo_scorer *scorer;
	struct dpo_error err = { .text = "" };
	float logps[DPO_ANSWERS][16];

	assert_int_equal(dpo_scorer_new(&scorer, &m->config, &m->params, m->weights,
	    &(struct dpo_passes){ .train = true, .threads = 2 }, &err), DPO_OK);
	assert_int_equal(dpo_score(scorer, example, (float *const[]){ logps[0], logps[1] }, NULL,
	    &err), DPO_OK);
	assert_int_equal(dpo_score_backward(scorer, example, d_logps, gradients, &err), DPO_OK);
	dpo_scorer_free(scorer);
}

/*
 * Central difference: at this step truncation (h^2) and rounding (1e-16 / h) are both near 1e-10.
 */
static double
difference(struct naive_model *m, const struct dpo_example *example, size_t at)
{
	const double h = 1e-5, w = m->exact[at];
	double up, down;

	m->exact[at] = w + h;
	up = naive_objective(m, example, d_logps);
	m->exact[at] = w - h;
	down = naive_objective(m, example, d_logps);
	m->exact[at] = w;
	return (up - down) / (2.0 * h);
}

/* max|dg| / max|g| of every step-th element of one tensor. */
static double
check_tensor(struct naive_model *m, const struct dpo_example *example, const struct dpo_tensor *t,
    const float *gradients, size_t step)
{
	double most = 0.0, worst = 0.0, g;

	for (size_t i = 0; i < t->count; i += step) {
		g = difference(m, example, t->offset + i);
		most = fixture_worst(most, fabs(g));
		worst = fixture_worst(worst, fabs(g - (double)gradients[t->offset + i]));
	}
	if (most < 1e-7)
		fail_msg("%s: no gradient to compare", t->name);
	return worst / most;
}

static void
check(const char *config, const struct dpo_example *example, size_t step)
{
	struct naive_model m;
	float *gradients;
	double ratio, worst = 0.0;

	naive_open(&m, config, 42);
	gradients = dpo_alloc_aligned(m.params.total, sizeof *gradients);
	assert_non_null(gradients);
	compute(&m, example, gradients);
	for (size_t i = 0; i < m.params.count; i++) {
		const struct dpo_tensor *t = &m.params.list[i];

		ratio = check_tensor(&m, example, t, gradients, step);
		worst = fixture_worst(worst, ratio);
		if (!(ratio <= TOLERANCE))
			fail_msg("%s: max|dg| is %.3g max|g|", t->name, ratio);
	}
	print_message("worst tensor: %.2g of max|g|\n", worst);
	free(gradients);
	naive_close(&m);
}

static void
test_gpt2(void **state)
{
	(void)state;
	check(naive_gpt2, &pair, 1);
	check(naive_gpt2, &bare, 1);
	check(naive_gpt2, &single, 5);
	check(naive_gpt2, &shortest, 5);
}

static void
test_llama_tied(void **state)
{
	(void)state;
	check(naive_llama_tied, &pair, 1);
	check(naive_llama_tied, &bare, 1);
	check(naive_llama_tied, &single, 5);
	check(naive_llama_tied, &shortest, 5);
}

static void
test_llama_untied(void **state)
{
	(void)state;
	check(naive_llama_untied, &pair, 1);
	check(naive_llama_untied, &bare, 1);
	check(naive_llama_untied, &single, 5);
	check(naive_llama_untied, &shortest, 5);
}

static void
test_families(void **state)
{
	(void)state;
	for (size_t i = 0; naive_families[i]; i++) {
		check(naive_families[i], &pair, 5);
		check(naive_families[i], &bare, 11);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gpt2),
		cmocka_unit_test(test_llama_tied),
		cmocka_unit_test(test_llama_untied),
		cmocka_unit_test(test_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
