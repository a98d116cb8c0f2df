/*
 * Diversity of generated sets against NLTK's numbers (tests/peers/diversity.py, NLTK 3.10.4), and edges.
 */
#include "measure/diversity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static uint32_t
draw(uint32_t *state, uint32_t below)
{
	*state = *state * 1664525u + 1013904223u;
	return (*state >> 16) % below;
}

/* As tests/peers/diversity.py makes it. */
static void
fill(struct dpo_diversity *set, uint32_t count, uint32_t longest, uint32_t vocabulary)
{
	uint32_t state = count * 1000003u + vocabulary, n;
	int32_t ids[64];
	struct dpo_error err;

	for (uint32_t i = 0; i < count; i++) {
		n = 1 + draw(&state, longest);
		for (uint32_t t = 0; t < n; t++)
			ids[t] = (int32_t)draw(&state, vocabulary);
		assert_int_equal(dpo_diversity_add(set, ids, n, &err), DPO_OK);
	}
}

static const struct {
	uint32_t count, longest, vocabulary;
	double distinct[DPO_DISTINCT], self_bleu, repetition;
} theirs[] = {
	{ 2, 6, 3, { 0.375, 0.833333333333, 1 }, 0.0645653882091, 0 },
	{ 6, 12, 4, { 0.0851063829787, 0.317073170732, 0.685714285714 }, 0.430961539217, 0 },
	{ 40, 30, 12, { 0.0192, 0.239316239316, 0.861060329068 }, 0.223492671304, 0 },
	{ 25, 9, 200, { 0.712121212121, 1, 1 }, 0.0558207581976, 0 },
	{ 5, 40, 2, { 0.0246913580247, 0.0526315789474, 0.112676056338 }, 0.817510658976, 0.225 },
};

static void
test_nltk(void **state)
{
	struct dpo_diversity_values ours;
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
		struct dpo_diversity set = { 0 };

		fill(&set, theirs[i].count, theirs[i].longest, theirs[i].vocabulary);
		assert_int_equal(dpo_diversity_measure(&set, &ours, &err), DPO_OK);
		for (size_t n = 0; n < DPO_DISTINCT; n++)
			assert_true(fabs(ours.distinct[n] - theirs[i].distinct[n]) < 1e-10);
		if (!(fabs(ours.self_bleu - theirs[i].self_bleu) < 1e-10))
			fail_msg("set %zu: self-BLEU %.12g instead of %.12g", i, ours.self_bleu, theirs[i].self_bleu);
		assert_true(fabs(ours.repetition - theirs[i].repetition) < 1e-10);
		dpo_diversity_free(&set);
	}
}

static void
test_edges(void **state)
{
	static const int32_t same[] = { 7, 8, 9, 7, 8, 9, 7, 8, 9 }, other[] = { 1, 2, 3, 4, 5 };
	struct dpo_diversity set = { 0 };
	struct dpo_diversity_values values;
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_diversity_measure(&set, &values, &err), DPO_OK);
	assert_true(isnan(values.self_bleu) && isnan(values.repetition) && isnan(values.distinct[0]));
	assert_int_equal(dpo_diversity_add(&set, same, 9, &err), DPO_OK);
	assert_int_equal(dpo_diversity_measure(&set, &values, &err), DPO_OK);
	assert_true(isnan(values.self_bleu));
	assert_true(fabs(values.repetition - 0.5) < 1e-12);	/* 3 of 6 */
	assert_true(fabs(values.distinct[0] - 3.0 / 9) < 1e-12);
	assert_int_equal(dpo_diversity_add(&set, same, 9, &err), DPO_OK);
	assert_int_equal(dpo_diversity_measure(&set, &values, &err), DPO_OK);
	assert_true(fabs(values.self_bleu - 1) < 1e-12);	/* collapsed */
	dpo_diversity_free(&set);

	assert_int_equal(dpo_diversity_add(&set, same, 9, &err), DPO_OK);
	assert_int_equal(dpo_diversity_add(&set, other, 5, &err), DPO_OK);
	assert_int_equal(dpo_diversity_measure(&set, &values, &err), DPO_OK);
	assert_true(fabs(values.self_bleu) < 1e-12);		/* nothing in common */
	dpo_diversity_free(&set);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nltk),
		cmocka_unit_test(test_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
