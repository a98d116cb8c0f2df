/*
 * The statistics of evaluation: bootstrap intervals cover as stated, divergences and calibration are their definitions,
 * the data check counts what was put in.
 */
#include "base/random.h"
#include "measure/bootstrap.h"
#include "measure/calibration.h"
#include "measure/datacheck.h"
#include "measure/kl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/*
 * 600 experiments of 60 draws each from a normal distribution of mean 0: the interval of 90%
 * holds the mean in about 90% of them, and misses it on both sides.
 */
static void
test_coverage(void **state)
{
	enum { EXPERIMENTS = 600, DRAWS = 60 };
	struct dpo_interval interval;
	size_t hits = 0, below = 0;
	double x[DRAWS];
	float normal[DRAWS];

	(void)state;
	for (size_t e = 0; e < EXPERIMENTS; e++) {
		assert_true(dpo_random_normal(normal, DRAWS, 1.0, e, "coverage"));
		for (size_t i = 0; i < DRAWS; i++)
			x[i] = (double)normal[i];
		assert_true(dpo_bootstrap(&interval, x, DRAWS, 0.9, 400, e));
		hits += interval.low <= 0 && 0 <= interval.high;
		below += 0 < interval.low;
	}
	print_message("normal: 90%% interval covers %.1f%%\n", 100.0 * (double)hits / EXPERIMENTS);
	/* 600 trials at 0.9: standard deviation 1.2%; 60 draws cost about 1%. */
	assert_true(hits > EXPERIMENTS * 0.86 && hits < EXPERIMENTS * 0.94);
	assert_true(below > EXPERIMENTS * 0.02 && below < EXPERIMENTS * 0.09);	/* both sides */
}

/* A share of rows won, as in a comparison: differences of 0 and 1. */
static void
test_coverage_of_shares(void **state)
{
	enum { EXPERIMENTS = 600, DRAWS = 200 };
	struct dpo_interval interval;
	size_t hits = 0;
	double x[DRAWS];
	uint8_t raw[DRAWS];

	(void)state;
	for (size_t e = 0; e < EXPERIMENTS; e++) {
		dpo_random_bytes(raw, DRAWS, "shares", 1, e);
		for (size_t i = 0; i < DRAWS; i++)
			x[i] = raw[i] < 64;	/* 1/4 */
		assert_true(dpo_bootstrap(&interval, x, DRAWS, 0.95, 400, e));
		hits += interval.low <= 0.25 && 0.25 <= interval.high;
	}
	print_message("shares: 95%% interval covers %.1f%%\n", 100.0 * (double)hits / EXPERIMENTS);
	assert_true(hits > EXPERIMENTS * 0.92 && hits < EXPERIMENTS * 0.98);
}

static void
test_bootstrap_edges(void **state)
{
	struct dpo_interval interval, again;
	const double one[] = { 3.0 }, some[] = { 1, 2, 4, 8 };

	(void)state;
	assert_true(dpo_bootstrap(&interval, one, 1, 0.95, 100, 1));
	assert_true(interval.mean == 3 && interval.low == 3 && interval.high == 3);
	assert_true(dpo_bootstrap(&interval, one, 0, 0.95, 100, 1));
	assert_true(isnan(interval.mean) && isnan(interval.low));
	assert_true(dpo_bootstrap(&interval, some, 4, 0.95, 1000, 1) && dpo_bootstrap(&again, some, 4, 0.95, 1000, 1));
	assert_memory_equal(&interval, &again, sizeof again);
	assert_true(interval.low >= 1 && interval.low < interval.mean && interval.mean < interval.high && interval.high <= 8);
}

static void
test_kl(void **state)
{
	enum { VOCAB = 1003 };
	float z[VOCAB], y[VOCAB];
	double p = 0, q = 0, exact = 0;

	(void)state;
	assert_true(dpo_random_normal(z, VOCAB, 3.0, 1, "kl") && dpo_random_normal(y, VOCAB, 3.0, 2, "kl"));
	for (size_t v = 0; v < VOCAB; v++) {
		p += exp((double)z[v]);
		q += exp((double)y[v]);
	}
	for (size_t v = 0; v < VOCAB; v++)
		exact += exp((double)z[v]) / p * ((double)z[v] - log(p) - (double)y[v] + log(q));
	assert_true(fabs(dpo_kl(z, y, VOCAB) - exact) < 1e-6 * exact);
	assert_true(dpo_kl(z, z, VOCAB) < 1e-12);
	for (size_t v = 0; v < VOCAB; v++)
		y[v] = z[v] + 1;	/* the same distribution */
	assert_true(dpo_kl(z, y, VOCAB) < 1e-6);
	y[5] = (float)NAN;
	assert_true(isnan(dpo_kl(z, y, VOCAB)));
}

static void
test_calibration(void **state)
{
	struct dpo_calibration c = { 0 };
	const double two = log(2.0 / 1.0);	/* sigmoid = 2/3 */

	(void)state;
	assert_true(dpo_calibration_ece(&c) == 0);
	/* Said with 2/3 and right in 2 of 3: calibrated. */
	dpo_calibration_add(&c, two);
	dpo_calibration_add(&c, two);
	dpo_calibration_add(&c, -two);
	assert_true(fabs(dpo_calibration_ece(&c)) < 1e-12);
	assert_true(fabs(dpo_calibration_brier(&c) - (1.0 / 9 + 1.0 / 9 + 4.0 / 9) / 3) < 1e-12);
	/* Sure and wrong. */
	c = (struct dpo_calibration){ 0 };
	dpo_calibration_add(&c, -50);
	assert_true(fabs(dpo_calibration_ece(&c) - 1) < 1e-12);
	assert_true(fabs(dpo_calibration_brier(&c) - 1) < 1e-12);
	/* A tie says nothing and is half right. */
	c = (struct dpo_calibration){ 0 };
	dpo_calibration_add(&c, 0);
	assert_true(fabs(dpo_calibration_ece(&c)) < 1e-12);
}

static void
take(struct dpo_datacheck *check, const struct dpo_datacheck *earlier, int32_t prompt, int32_t chosen, size_t n_chosen,
    int32_t rejected, size_t n_rejected)
{
	const int32_t of_chosen[] = { chosen, 1, 1, 1 }, of_rejected[] = { rejected, 1, 1, 1 };
	struct dpo_answers row = { &prompt, 1, { of_chosen, of_rejected }, { n_chosen, n_rejected }, 2 };
	struct dpo_error err;

	assert_int_equal(dpo_datacheck_add(check, earlier, &row, &err), DPO_OK);
}

static void
test_datacheck(void **state)
{
	struct dpo_datacheck train = { 0 }, heldout = { 0 };

	(void)state;
	take(&train, NULL, 1, 5, 2, 6, 2);
	take(&train, NULL, 1, 5, 2, 6, 2);	/* duplicate */
	take(&train, NULL, 1, 6, 2, 5, 2);	/* contradiction */
	take(&train, NULL, 1, 5, 2, 7, 4);	/* shorter chosen */
	take(&train, NULL, 2, 5, 3, 6, 2);	/* another prompt, longer chosen */
	take(&train, NULL, 3, 5, 2, 5, 2);	/* the same answer twice: no contradiction */
	take(&train, NULL, 3, 5, 2, 5, 2);	/* and its duplicate */
	assert_int_equal(train.count, 7);
	assert_int_equal(train.pairs, 7);
	assert_int_equal(train.prompts.count, 3);
	assert_int_equal(train.duplicates, 2);
	assert_int_equal(train.contradictions, 1);
	assert_int_equal(train.same, 2);
	assert_int_equal(train.longer, 1);
	assert_int_equal(train.shorter, 1);
	assert_int_equal(train.length[0], 15);
	assert_int_equal(train.length[1], 16);
	assert_int_equal(dpo_datacheck_dominant(&train), 4);

	take(&heldout, &train, 1, 5, 3, 6, 3);	/* only the prompt */
	take(&heldout, &train, 2, 6, 2, 5, 3);	/* the row, reversed */
	take(&heldout, &train, 9, 5, 2, 6, 2);
	assert_int_equal(heldout.shared_prompts, 2);
	assert_int_equal(heldout.shared_rows, 1);
	dpo_datacheck_free(&train);
	dpo_datacheck_free(&heldout);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_coverage_of_shares),
		cmocka_unit_test(test_bootstrap_edges),
		cmocka_unit_test(test_kl),
		cmocka_unit_test(test_calibration),
		cmocka_unit_test(test_datacheck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
