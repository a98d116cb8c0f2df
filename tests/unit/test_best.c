/*
 * The best evaluation and early stopping against transformers' callback: testdata/golden/transformers/early_stopping.tsv,
 * made by tests/peers/early_stopping.py. The weights kept, and the state in a checkpoint.
 */
#include "train/best.h"

#include "base/json.h"
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct dpo_params four = { .total = 4, .parameters = 4 };

static void
start(struct dpo_best *best, bool greater, uint64_t patience, double threshold, bool load)
{
	struct dpo_recipe recipe = { .best_metric = "loss", .greater_is_better = greater, .patience = patience,
		.patience_threshold = threshold, .load_best = load };
	const bool present[DPO_METRICS] = { [DPO_METRIC_LOSS] = true };

	assert_int_equal(dpo_best_init(best, &recipe, present, &four, NULL), DPO_OK);
}

static void
evaluate(struct dpo_best *best, double value, uint64_t step)
{
	struct dpo_metric_values values = { 0 };
	float weights[4] = { (float)step, 0, 0, (float)value };

	values.value[DPO_METRIC_LOSS] = value;
	dpo_best_take(best, &values, step, weights);
}

static void
check_line(char *line)
{
	char *rest;
	bool greater = strtol(line, &rest, 10) != 0;
	uint64_t patience = strtoull(rest, &rest, 10), number = 0, stopped, step, worse;
	double threshold = strtod(rest, &rest);
	char *metrics = rest + 1, *after = strchr(metrics, '\t');
	struct dpo_best best;

	*after = '\0';
	stopped = strtoull(after + 1, &after, 10);
	step = strtoull(after, &after, 10);
	worse = strtoull(after, &after, 10);
	start(&best, greater, patience, threshold, true);
	for (rest = metrics; *rest && !dpo_best_stops(&best);)
		evaluate(&best, strtod(rest, &rest), ++number);
	assert_int_equal(number, stopped);
	assert_int_equal(best.step, step);
	assert_int_equal(best.worse, worse);
	assert_true(best.weights[0] == (float)step && (double)best.weights[3] == best.value);
	dpo_best_free(&best);
}

static void
decisions_are_those_of_transformers(void **unused)
{
	size_t n, lines = 0;
	char *text = fixture_read("testdata/golden/transformers", "early_stopping.tsv", &n), *save;

	(void)unused;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++)
		check_line(line);
	assert_int_equal(lines, 2 * 3 * 3 * 4);
	free(text);
}

static void
off_and_unknown_metrics(void **unused)
{
	const bool present[DPO_METRICS] = { [DPO_METRIC_LOSS] = true };
	struct dpo_recipe recipe = { 0 };
	struct dpo_best best;
	struct dpo_error err;

	(void)unused;
	assert_int_equal(dpo_best_init(&best, &recipe, present, &four, &err), DPO_OK);
	evaluate(&best, 1, 1);
	evaluate(&best, 2, 2);
	assert_false(dpo_best_stops(&best) || best.seen);
	recipe.best_metric = "rewards/margins";
	assert_int_equal(dpo_best_init(&best, &recipe, present, &four, &err), DPO_USAGE);
	assert_string_equal(err.text, "the evaluations have no metric \"eval_rewards/margins\"");
	recipe.best_metric = "nonsense";
	assert_int_equal(dpo_best_init(&best, &recipe, present, &four, &err), DPO_USAGE);
}

static void
the_state_comes_back(void **unused)
{
	struct dpo_buffer state = { 0 };
	struct dpo_best best, again;
	cJSON *tree;

	(void)unused;
	start(&best, false, 3, 0, false);
	evaluate(&best, 0.1, 5);
	evaluate(&best, 0.3, 10);
	dpo_buffer_byte(&state, '{');
	dpo_best_save(&best, &state);
	dpo_buffer_byte(&state, '}');
	assert_int_equal(dpo_json_parse(&tree, (const char *)state.data, state.len, NULL), DPO_OK);
	start(&again, false, 3, 0, false);
	assert_int_equal(dpo_best_resume(&again, tree, NULL), DPO_OK);
	assert_true(again.seen && again.value == (double)0.1f && again.step == 5 && again.worse == 1);
	cJSON_DeleteItemFromObject(tree, "best");
	assert_int_equal(dpo_best_resume(&again, tree, NULL), DPO_FORMAT);
	cJSON_Delete(tree);
	dpo_buffer_free(&state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decisions_are_those_of_transformers),
		cmocka_unit_test(off_and_unknown_metrics),
		cmocka_unit_test(the_state_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
