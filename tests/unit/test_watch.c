/* What a run is warned of: each criterion on either side of its line, too few pairs, blocks, the state in a checkpoint. */
#include "train/watch.h"

#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One pair in a step of its own. */
static void
pair(struct dpo_watch *watch, double chosen, double rejected, size_t chosen_tokens, size_t rejected_tokens)
{
	struct dpo_outcome outcome = { .answers = 2, .reference = true, .input.ratio = { chosen, rejected } };
	struct dpo_watch_sums sums = { { 0 } };

	outcome.sums[0].scored = chosen_tokens;
	outcome.sums[1].scored = rejected_tokens;
	dpo_watch_add(&sums, &outcome);
	dpo_watch_step(watch, &sums);
}

/* The one finding of that name, or NULL. */
static const struct dpo_finding *
find(const struct dpo_watch *watch, const char *name, double beta, struct dpo_finding found[DPO_WATCH_FINDINGS])
{
	size_t n = dpo_watch_findings(watch, beta, true, found);
	const struct dpo_finding *one = NULL;

	for (size_t i = 0; i < n; i++)
		if (strcmp(found[i].name, name) == 0)
			one = &found[i];
	return one;
}

/* 40 pairs, of which `fell` have a chosen log-ratio of -1, the others of 1. */
static bool
displaced(size_t fell)
{
	struct dpo_finding found[DPO_WATCH_FINDINGS];
	const struct dpo_finding *one;
	struct dpo_watch watch;

	dpo_watch_init(&watch, 40, 40, 1);
	for (size_t i = 0; i < 40; i++)
		pair(&watch, i < fell ? -1 : 1, -5, 10, 10);
	one = find(&watch, "likelihood_displacement", 0.1, found);
	assert_true(!one || (one->value == (double)fell / 40 && one->pairs == 40));
	return one != NULL;
}

static void
displacement_is_more_than_half(void **unused)
{
	(void)unused;
	assert_false(displaced(0));
	assert_false(displaced(20));
	assert_true(displaced(21));
	assert_true(displaced(40));
}

/* Margins of length difference plus noise of the given size. */
static double
length_finding(double noise)
{
	struct dpo_finding found[DPO_WATCH_FINDINGS];
	const struct dpo_finding *one;
	struct dpo_watch watch;

	dpo_watch_init(&watch, 40, 40, 1);
	for (size_t i = 0; i < 40; i++)
		pair(&watch, 5 + (double)(i % 5) + (i % 2 ? noise : -noise), 1, 10 + i % 5, 10);
	one = find(&watch, "length_correlation", 0.1, found);
	return one ? one->value : 0;
}

static void
length_by_its_correlation(void **unused)
{
	(void)unused;
	assert_true(fabs(length_finding(0) - 1) < 1e-12);
	/* The two parts are uncorrelated over 40 pairs: their variances are 2 and noise^2. */
	assert_true(fabs(length_finding(2) - sqrt(2.0 / 6.0)) < 1e-12);
	assert_true(length_finding(3) == 0);
}

/* Two blocks of 40 pairs whose margins have these means and alternate around them. */
static bool
collapse(double first, double second, double spread)
{
	struct dpo_finding found[DPO_WATCH_FINDINGS];
	struct dpo_watch watch;

	dpo_watch_init(&watch, 160, 160, 1);
	assert_int_equal(watch.block, 40);
	for (size_t i = 0; i < 80; i++)
		pair(&watch, 1 + (i < 40 ? first : second) + (i % 2 ? spread : -spread), 1, 10, 10);
	return find(&watch, "margin_collapse", 0.1, found) != NULL;
}

static void
collapse_is_half_and_beyond_the_noise(void **unused)
{
	(void)unused;
	assert_true(collapse(10, 4, 1));
	assert_true(collapse(10, -4, 1));
	assert_false(collapse(10, 6, 1));
	assert_false(collapse(10, 4, 10));	/* standard error of the difference 2.2 */
	assert_false(collapse(4, 10, 1));
	assert_false(collapse(-4, -10, 1));	/* never was one */
}

static void
nothing_moved_and_beta_too_small(void **unused)
{
	static const struct { double chosen, rejected, beta; const char *name; } cases[] = {
		{ 0.05, -0.05, 0.1, "nothing_moved" }, { 0, 0, 0.1, "nothing_moved" },
		{ 1.5, -1.5, 0.01, "beta_too_small" }, { 1.5, -1.5, 0, "beta_too_small" },
		{ 0.2, -0.2, 0.001, NULL }, { 1.5, -1.5, 0.1, NULL },
	};
	struct dpo_finding found[DPO_WATCH_FINDINGS];

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_watch watch;
		size_t n;

		dpo_watch_init(&watch, 40, 40, 1);
		for (size_t k = 0; k < 40; k++)
			pair(&watch, cases[i].chosen, cases[i].rejected, 10, 10 + k % 3);
		n = dpo_watch_findings(&watch, cases[i].beta, true, found);
		assert_int_equal(n, cases[i].name ? 1 : 0);
		assert_true(!cases[i].name || strcmp(found[0].name, cases[i].name) == 0);
		assert_int_equal(dpo_watch_findings(&watch, cases[i].beta, false, found), n && i < 2);
	}
}

static void
few_pairs_and_others_rows_say_nothing(void **unused)
{
	struct dpo_outcome bare = { .answers = 2 }, one = { .answers = 1, .reference = true };
	struct dpo_finding found[DPO_WATCH_FINDINGS];
	struct dpo_watch_sums sums = { { 0 } };
	struct dpo_watch watch;

	(void)unused;
	dpo_watch_add(&sums, &bare);
	dpo_watch_add(&sums, &one);
	assert_true(sums.sum[DPO_WATCH_COUNT] == 0);
	dpo_watch_init(&watch, 1000, 1000, 1);
	for (size_t i = 0; i < DPO_WATCH_PAIRS; i++) {
		assert_int_equal(dpo_watch_findings(&watch, 0.1, true, found), 0);
		pair(&watch, -1, -5, 10, 10);
	}
	assert_int_equal(dpo_watch_findings(&watch, 0.1, true, found), 1);
}

/* Of a whole block and what came after it, and of no more, is judged. */
static void
the_last_block_and_after(void **unused)
{
	struct dpo_finding found[DPO_WATCH_FINDINGS];
	struct dpo_watch watch;

	(void)unused;
	dpo_watch_init(&watch, 1000, 200, 1);
	assert_int_equal(watch.block, 50);
	for (size_t i = 0; i < 120; i++)
		pair(&watch, i < 50 ? -1 : i < 100 ? 1 : -1, -5, 10, 10);
	assert_null(find(&watch, "likelihood_displacement", 0.1, found));	/* 20 of 70 */
	for (size_t i = 0; i < 30; i++)
		pair(&watch, -1, -5, 10, 10);
	assert_non_null(find(&watch, "likelihood_displacement", 0.1, found));
	assert_int_equal(found[0].pairs, 50);
}

static void
the_state_comes_back(void **unused)
{
	struct dpo_buffer state = { 0 };
	struct dpo_watch watch, again;
	cJSON *tree;

	(void)unused;
	dpo_watch_init(&watch, 160, 160, 1);
	dpo_watch_init(&again, 160, 160, 1);
	for (size_t i = 0; i < 65; i++)
		pair(&watch, 0.1 * (double)i, -0.3, 10 + i % 3, 10);
	dpo_buffer_byte(&state, '{');
	dpo_watch_save(&watch, &state);
	dpo_buffer_byte(&state, '}');
	assert_int_equal(dpo_json_parse(&tree, (const char *)state.data, state.len, NULL), DPO_OK);
	assert_int_equal(dpo_watch_resume(&again, tree, NULL), DPO_OK);
	assert_memory_equal(&watch, &again, sizeof watch);
	cJSON_Delete(tree);
	dpo_buffer_free(&state);
}

static void
the_line_of_the_log(void **unused)
{
	struct dpo_finding finding = { .name = "nothing_moved", .figure = "log_ratio_rms", .value = 0.0625, .pairs = 40 };
	struct dpo_buffer log = { 0 };

	(void)unused;
	dpo_watch_line(&finding, &log, 1.5, 12);
	assert_string_equal(dpo_buffer_text(&log),
	    "{\"warning\":\"nothing_moved\",\"log_ratio_rms\":0.0625,\"pairs\":40,\"epoch\":1.5,\"step\":12}\n");
	dpo_buffer_free(&log);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(displacement_is_more_than_half),
		cmocka_unit_test(length_by_its_correlation),
		cmocka_unit_test(collapse_is_half_and_beyond_the_noise),
		cmocka_unit_test(nothing_moved_and_beta_too_small),
		cmocka_unit_test(few_pairs_and_others_rows_say_nothing),
		cmocka_unit_test(the_last_block_and_after),
		cmocka_unit_test(the_state_comes_back),
		cmocka_unit_test(the_line_of_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
