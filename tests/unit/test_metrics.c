/* Metrics of a batch, windows of steps, the line of the log; the evaluation's interval. */
#include "measure/eval.h"
#include "measure/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct dpo_outcome first = { .answers = 2, .reference = true, .weight = 1, .result = { .value = { 0.5 } },
	.input = { .logp = { -10, -12 }, .ratio = { 2, -1 } }, .tokens = 30,
	.sums = { { .scored = 4, .entropy = 2, .logits = -8, .correct = 3 }, { .scored = 6, .entropy = 3, .logits = -6,
	    .correct = 1 } } };
static const struct dpo_outcome second = { .answers = 2, .reference = true, .weight = 2, .result = { .value = { 1 } },
	.input = { .logp = { -20, -18 }, .ratio = { -1, -1 } }, .tokens = 20,
	.sums = { { .scored = 6, .entropy = 1, .logits = -2, .correct = 2 }, { .scored = 4, .entropy = 4, .logits = -4,
	    .correct = 4 } } };

static struct dpo_objective
only(const char *name)
{
	return (struct dpo_objective){ .losses = { dpo_loss_find(name) }, .weights = { 1 }, .n = 1,
		.settings = { .beta = 0.1 } };
}

static bool
near(double a, double b)
{
	return fabs(a - b) < 1e-12;
}

static struct dpo_metrics
both(void)
{
	struct dpo_metrics metrics = { 0 };

	dpo_metrics_add(&metrics, &first, 0.1);
	dpo_metrics_add(&metrics, &second, 0.1);
	return metrics;
}

static void
means_are_over_pairs_or_tokens(void **unused)
{
	const struct dpo_objective sigmoid = only("sigmoid"), sft = only("sft");
	struct dpo_metrics metrics = both();
	struct dpo_metric_values v;

	(void)unused;
	dpo_metrics_mean(&metrics, &sigmoid, &v);
	assert_true(near(v.value[DPO_METRIC_LOSS], (0.5 + 2 * 1) / 2));
	assert_true(near(v.value[DPO_METRIC_REWARDS_CHOSEN], 0.05));
	assert_true(near(v.value[DPO_METRIC_REWARDS_REJECTED], -0.1));
	assert_true(near(v.value[DPO_METRIC_REWARDS_MARGINS], 0.15));
	assert_true(near(v.value[DPO_METRIC_REWARDS_ACCURACIES], 0.5));	/* equal rewards do not count */
	assert_true(near(v.value[DPO_METRIC_LOGPS_CHOSEN], -15) && near(v.value[DPO_METRIC_LOGPS_REJECTED], -15));
	assert_true(near(v.value[DPO_METRIC_LOGITS_CHOSEN], -1) && near(v.value[DPO_METRIC_LOGITS_REJECTED], -1));
	assert_true(near(v.value[DPO_METRIC_ENTROPY], 0.5));
	assert_true(near(v.value[DPO_METRIC_MEAN_TOKEN_ACCURACY], 0.5));
	assert_int_equal(metrics.tokens, 50);
	dpo_metrics_mean(&metrics, &sft, &v);
	assert_true(near(v.value[DPO_METRIC_LOSS], 2.5 / 10));	/* per scored chosen token */
	assert_false(v.present[DPO_METRIC_GRAD_NORM]);
}

static void
what_does_not_exist_is_left_out(void **unused)
{
	struct dpo_outcome alone = { .answers = 1, .weight = 1, .result = { .value = { 12 } }, .input = { .logp = { -12 } },
	    .tokens = 9,
		.sums = { { .scored = 6, .correct = 3 } } };
	const struct dpo_objective sft = only("sft");
	struct dpo_metric_window window = { 0 };
	struct dpo_metrics metrics = { 0 };
	struct dpo_metric_values v;
	struct dpo_buffer line = { 0 };

	(void)unused;
	dpo_metrics_add(&metrics, &alone, 0.1);
	dpo_metrics_mean(&metrics, &sft, &v);
	dpo_metrics_window_add(&window, &v);
	dpo_metrics_line(&line, &window, "eval_", 0, 1.5, 3);
	assert_string_equal(dpo_buffer_text(&line), "{\"eval_loss\":2,\"eval_logps/chosen\":-12,\"eval_logits/chosen\":0,"
	    "\"eval_entropy\":0,\"eval_mean_token_accuracy\":0.5,\"epoch\":1.5,\"step\":3}\n");
	dpo_buffer_free(&line);
}

/* The loss is the mean over the steps, norm and learning rate are the last step's, numbers are floats but for the rate. */
static void
a_window_averages_steps(void **unused)
{
	struct dpo_metric_window window = { 0 };
	struct dpo_metric_values v = { 0 };
	struct dpo_buffer line = { 0 };

	(void)unused;
	v.present[DPO_METRIC_LOSS] = v.present[DPO_METRIC_GRAD_NORM] = v.present[DPO_METRIC_LEARNING_RATE] = true;
	v.value[DPO_METRIC_LOSS] = 0.1;
	v.value[DPO_METRIC_GRAD_NORM] = 7;
	v.value[DPO_METRIC_LEARNING_RATE] = 1e-6;
	dpo_metrics_window_add(&window, &v);
	v.value[DPO_METRIC_LOSS] = 0.3;
	v.value[DPO_METRIC_GRAD_NORM] = 9;
	v.value[DPO_METRIC_LEARNING_RATE] = 1e-7;
	dpo_metrics_window_add(&window, &v);
	dpo_metrics_line(&line, &window, "", 77, 0.25, 2);
	assert_string_equal(dpo_buffer_text(&line), "{\"loss\":0.20000000298023224,\"grad_norm\":9,\"learning_rate\":1e-07,"
	    "\"num_tokens\":77,\"epoch\":0.25,\"step\":2}\n");
	dpo_buffer_free(&line);
}

static void
evaluation_counts_wins_and_ratios(void **unused)
{
	const struct dpo_objective sigmoid = only("sigmoid");
	struct dpo_eval eval = { 0 };
	struct dpo_error err;

	(void)unused;
	assert_int_equal(dpo_eval_add(&eval, &first, &sigmoid, &err), DPO_OK);
	assert_int_equal(dpo_eval_add(&eval, &second, &sigmoid, &err), DPO_OK);
	assert_int_equal(eval.wins, 1);
	assert_true(eval.ratio[0] == 1 && eval.ratio[1] == -2);
}

/* Wilson's interval by hand: 8 of 10 is 0.490 to 0.943. */
static void
intervals_are_wilsons(void **unused)
{
	struct dpo_share share = dpo_eval_share(8, 10), none = dpo_eval_share(0, 10), empty = dpo_eval_share(0, 0);

	(void)unused;
	assert_true(near(share.share, 0.8));
	assert_true(fabs(share.low - 0.4901625) < 1e-6 && fabs(share.high - 0.9433178) < 1e-6);
	assert_true(none.low == 0 && fabs(none.high - 0.2775328) < 1e-6);
	assert_true(isnan(empty.share) && isnan(empty.low) && isnan(empty.high));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(means_are_over_pairs_or_tokens),
		cmocka_unit_test(what_does_not_exist_is_left_out),
		cmocka_unit_test(a_window_averages_steps),
		cmocka_unit_test(evaluation_counts_wins_and_ratios),
		cmocka_unit_test(intervals_are_wilsons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
