/* Losses: values, derivatives against central differences, extremes, and ln 2 where policy and reference agree. */
#include "loss/logistic.h"
#include "loss/objective.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double log_2 = 0.693147180559945309417232121458;

static const struct dpo_loss_settings usual = { .beta = 0.2, .label_smoothing = 0.1, .discopop_tau = 0.05,
	.dpop_lambda = 50, .simpo_gamma = 0.5, .odpo_alpha = 0.7, .main_weight = 0.6 };

static struct dpo_loss_input
input_of(double chosen, double rejected)
{
	return (struct dpo_loss_input){ .logp = { -40 + chosen, -50 + rejected }, .ratio = { chosen, rejected },
		.score = { chosen, rejected }, .tokens = { 12, 17 }, .chosen_nll = 41 - chosen, .margin = 0.4,
		.objectives = 0.3 };
}

static double
value_of(const char *name, double chosen, double rejected, const struct dpo_loss_settings *settings)
{
	struct dpo_loss_input input = input_of(chosen, rejected);
	struct dpo_loss_slopes slopes;

	return dpo_loss_value(dpo_loss_find(name), &input, settings, 1, &slopes);
}

static void
equal_policies_give_exactly_log_2(void **unused)
{
	static const char *const names[] = { "sigmoid", "cdpo", "sigmoid_norm", "dpop" };
	struct dpo_loss_settings settings = { .beta = 0.3, .dpop_lambda = 50 };
	unsigned int word;

	(void)unused;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		float bits = (float)value_of(names[i], 0, 0, &settings);

		memcpy(&word, &bits, sizeof word);
		assert_int_equal(word, 0x3f317218);
	}
}

/* As beta goes to 0, losses of b D go to ln 2 (twice, for two terms), whatever the pair. */
static void
small_betas_give_log_2(void **unused)
{
	static const char *const one[] = { "sigmoid", "cdpo", "dpop", "sigmoid_norm", "discopop" };
	struct dpo_loss_settings settings = usual;

	(void)unused;
	settings.beta = 1e-12;
	for (size_t i = 0; i < 4; i++)
		assert_true(fabs(value_of(one[i], 3, -2, &settings) - log_2) < 1e-9);
	assert_true(fabs(value_of("bco_pair", 3, -2, &settings) - 2 * log_2) < 1e-9);
	assert_true(fabs(value_of("nca_pair", 3, -2, &settings) - 2 * log_2) < 1e-9);
	assert_true(fabs(value_of("robust", 3, -2, &settings) - log_2) < 1e-9);
	assert_true(fabs(value_of("discopop", 3, -2, &settings) - (log_2 / 2 + 0.5)) < 1e-9);
}

/* The formulas as they stand in the table, written plainly, where plain arithmetic does not overflow. */
static void
values_agree_with_their_formulas(void **unused)
{
	static const double points[][2] = { { 0.5, -0.3 }, { 3, -2 }, { -4, 2 } };
	const double b = usual.beta, e = usual.label_smoothing;

	(void)unused;
	for (size_t i = 0; i < 3; i++) {
		double c = points[i][0], r = points[i][1], z = b * (c - r), up = 1 / (1 + exp(-z)), down = 1 / (1 + exp(z));
		double a = (-40 + c) / 12, q = (-50 + r) / 17, odds = exp(a) / (1 - exp(a)), other = exp(q) / (1 - exp(q));
		double m = 1 / (1 + exp(-z / 0.05));
		const struct { const char *name; double want; } cases[] = {
			{ "sigmoid", -log(up) },
			{ "cdpo", -(1 - e) * log(up) - e * log(down) },
			{ "robust", (-(1 - e) * log(up) + e * log(down)) / (1 - 2 * e) },
			{ "hinge", fmax(0, 1 - z) },
			{ "exo_pair", up * (log(up) - log(1 - e)) + down * (log(down) - log(e)) },
			{ "discopop", -log(up) * (1 - m) + exp(-z) * m },
			{ "odpo", log(1 + exp(-(z - 0.7 * 0.4))) },
			{ "modpo", log(1 + exp(-(z - 0.3) / 0.6)) },
			{ "sigmoid_norm", log(1 + exp(-b * (c / 12 - r / 17))) },
			{ "ipo", pow(c / 12 - r / 17 - 2.5, 2) },
			{ "ipo_sum", pow(c - r - 2.5, 2) },
			{ "nca_pair", log(1 + exp(-b * c)) + 0.5 * log(1 + exp(b * c)) + 0.5 * log(1 + exp(b * r)) },
			{ "bco_pair", log(1 + exp(-b * c)) + log(1 + exp(b * r)) },
			{ "sppo_hard", pow(c - 2.5, 2) + pow(r + 2.5, 2) },
			{ "apo_zero", 1 - 1 / (1 + exp(-b * c)) + 1 / (1 + exp(-b * r)) },
			{ "apo_down", 1 / (1 + exp(-b * c)) + 1 - up },
			{ "dpop", log(1 + exp(-b * (c - r - 50 * fmax(0, -c)))) },
			{ "simpo", log(1 + exp(-(b * (a - q) - 0.5))) },
			{ "orpo", -a + b * log(1 + other / odds) },
			{ "sft", 41 - c },
		};

		for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
			assert_true(fabs(value_of(cases[k].name, c, r, &usual) - cases[k].want) <
			    1e-12 * (1 + fabs(cases[k].want)));
	}
}

/* Moves the log-prob of one answer and what follows from it. */
static struct dpo_loss_input
moved(struct dpo_loss_input input, size_t answer, double step)
{
	input.logp[answer] += step;
	input.ratio[answer] += step;
	input.score[answer] += step;
	input.chosen_nll -= answer == 0 ? step : 0;
	return input;
}

static double
slope_of(const struct dpo_loss_slopes *slopes, size_t answer)
{
	return slopes->logp[answer] + slopes->score[answer] - (answer == 0 ? slopes->chosen_nll : 0);
}

/* Every loss, several points, with a label that is sometimes wrong where that has a meaning. */
static void
slopes_are_the_derivatives(void **unused)
{
	static const double points[][2] = { { 0.1, 0 }, { 3, -1.5 }, { -15, 4 }, { 25, -60 }, { 2, 1 } };
	const double h = 1e-5;

	(void)unused;
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++)
		for (size_t i = 0; i < 2 * sizeof points / sizeof *points && !loss->whole_batch; i++) {
			struct dpo_loss_input at = input_of(points[i % 5][0], points[i % 5][1]);
			double p = loss->difference && i >= 5 ? 0.8 : 1;
			struct dpo_loss_slopes slopes, ignored;

			(void)dpo_loss_value(loss, &at, &usual, p, &slopes);
			for (size_t a = 0; a < 2; a++) {
				struct dpo_loss_input more = moved(at, a, h), less = moved(at, a, -h);
				double numeric = (dpo_loss_value(loss, &more, &usual, p, &ignored) -
				    dpo_loss_value(loss, &less, &usual, p, &ignored)) / (2 * h);

				assert_true(fabs(numeric - slope_of(&slopes, a)) < 2e-7 * (1 + fabs(numeric)));
			}
		}
}

/* Margins of +-1e4 nats: everything but orpo, whose odds are of probabilities, stays finite. */
static void
extremes_stay_finite(void **unused)
{
	static const double margins[] = { 1e4, -1e4 };

	(void)unused;
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++)
		for (size_t i = 0; i < 2 && !loss->whole_batch && strcmp(loss->name, "orpo") != 0; i++) {
			struct dpo_loss_input input = input_of(margins[i], -margins[i]);
			struct dpo_loss_slopes slopes;

			assert_true(isfinite(dpo_loss_value(loss, &input, &usual, 1, &slopes)));
			assert_true(isfinite(slope_of(&slopes, 0)) && isfinite(slope_of(&slopes, 1)));
		}
	assert_true(-dpo_log_sigmoid(1e4) == 0 && -dpo_log_sigmoid(-1e4) == 1e4);
	assert_true(fabs(dpo_log_sigmoid(0) + log_2) < 1e-16);
	assert_true(dpo_sigmoid(1e4) == 1 && dpo_sigmoid(-1e4) == 0);
	assert_true(fabs(dpo_log1mexp(-1e-10) - log(1e-10)) < 1e-9 && fabs(dpo_log1mexp(-50) + exp(-50)) < 1e-30);
}

static void
a_wrong_label_mixes_both_orders(void **unused)
{
	struct dpo_loss_slopes slopes;

	(void)unused;
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++) {
		struct dpo_loss_input input = input_of(3, 1), swapped = input_of(1, 3);
		double l, other;

		if (!loss->difference)
			continue;
		swapped.tokens[0] = input.tokens[1];
		swapped.tokens[1] = input.tokens[0];
		l = dpo_loss_value(loss, &input, &usual, 1, &slopes);
		other = dpo_loss_value(loss, &swapped, &usual, 1, &slopes);
		assert_true(fabs(dpo_loss_value(loss, &input, &usual, 0.7, &slopes) - (0.7 * l + 0.3 * other)) <
		    1e-14 * (1 + fabs(l) + fabs(other)));
		assert_true(dpo_loss_value(loss, &input, &usual, 0, &slopes) == other);
	}
}

/* ------------------------------------------------------------------ f-divergences */

static void
divergences_agree_with_their_formulas(void **unused)
{
	const double u = 1.3, a = 0.5;
	const double wants[] = { u, 1 - exp(-u), log(2 * exp(u) / (exp(u) + 1)), (exp((a - 1) * u) - 1) / (a - 1) };
	double slope, up, down, ignored;

	(void)unused;
	for (size_t i = 0; dpo_divergences[i].name; i++) {
		assert_string_equal(dpo_divergence_names[i], dpo_divergences[i].name);
		assert_ptr_equal(dpo_divergence_find(dpo_divergence_names[i]), &dpo_divergences[i]);
		assert_true(fabs(dpo_divergences[i].score(u, a, &slope) - wants[i]) < 1e-14);
		up = dpo_divergences[i].score(u + 1e-6, a, &ignored);
		down = dpo_divergences[i].score(u - 1e-6, a, &ignored);
		assert_true(fabs((up - down) / 2e-6 - slope) < 1e-9);
		assert_true(dpo_divergences[i].score(0, a, &slope) == 0 && slope == (i == 2 ? 0.5 : 1));	/* f'(1), f''(1) */
	}
	assert_null(dpo_divergence_find("kl"));
}

static void
far_ratios_stay_finite_where_they_can(void **unused)
{
	const struct dpo_divergence *js = dpo_divergence_find("js_divergence");
	const struct dpo_divergence *alpha = dpo_divergence_find("alpha_divergence");
	const struct dpo_divergence *forward = dpo_divergence_find("forward_kl");
	double slope;

	(void)unused;
	assert_true(fabs(js->score(1e4, 0, &slope) - log_2) < 1e-15 && slope == 0);
	assert_true(fabs(js->score(-1e4, 0, &slope) - (log_2 - 1e4)) < 1e-9 && slope == 1);
	assert_true(alpha->score(3, 1, &slope) == 3 && slope == 1);	/* the limit is the reverse KL */
	assert_true(alpha->score(-1e4, 0.5, &slope) == (exp(80) - 1) / -0.5 && slope == 0);
	assert_true(forward->score(1e4, 0, &slope) == 1);
	assert_true(forward->score(-100, 0, &slope) < -3.5e38);	/* beyond float */
}

/* ------------------------------------------------------------------ losses of the whole batch */

enum { PAIRS = 5 };

static double
mean_sorted(const struct dpo_loss *loss, const struct dpo_loss_input *inputs, struct dpo_loss_slopes *slopes)
{
	size_t scratch[3 * PAIRS];
	double values[PAIRS], sum = 0;

	dpo_loss_sorted(loss, PAIRS, inputs, &usual, scratch, values, slopes);
	for (size_t i = 0; i < PAIRS; i++)
		sum += values[i];
	return sum;
}

static void
batch_losses_by_hand_and_by_differences(void **unused)
{
	static const double ratios[PAIRS][2] = { { 2, 1 }, { -1, 3 }, { 0.5, -2 }, { 4, 0 }, { 0.25, 0.75 } };
	static const char *const names[] = { "aot", "aot_unpaired" };
	/* aot: l_c - l_r is 10 + c - r, that of the reference 10, so d = sort(c - r). Unpaired: sort(c) - sort(r). */
	static const double d[2][PAIRS] = { { -4, -0.5, 1, 2.5, 4 }, { 1, 0.25, -0.25, 1, 1 } };
	struct dpo_loss_slopes slopes[PAIRS], ignored[PAIRS];
	struct dpo_loss_input inputs[PAIRS];
	const double h = 1e-6, b = usual.beta, e = usual.label_smoothing;

	(void)unused;
	for (size_t i = 0; i < PAIRS; i++)
		inputs[i] = input_of(ratios[i][0], ratios[i][1]);
	for (size_t k = 0; k < 2; k++) {
		const struct dpo_loss *loss = dpo_loss_find(names[k]);
		double want = 0, value = mean_sorted(loss, inputs, slopes);

		for (size_t i = 0; i < PAIRS; i++)
			want += (1 - e) * log(1 + exp(-b * d[k][i])) + e * log(1 + exp(b * d[k][i]));
		assert_true(fabs(value - want) < 1e-12);
		for (size_t i = 0; i < PAIRS; i++)
			for (size_t a = 0; a < 2; a++) {
				struct dpo_loss_input at = inputs[i];
				double up, down;

				inputs[i] = moved(at, a, h);
				up = mean_sorted(loss, inputs, ignored);
				inputs[i] = moved(at, a, -h);
				down = mean_sorted(loss, inputs, ignored);
				inputs[i] = at;
				assert_true(fabs((up - down) / (2 * h) - slope_of(&slopes[i], a)) < 1e-8);
			}
	}
}

/* ------------------------------------------------------------------ objectives */

static struct dpo_objective
objective_of(const char *first, const char *second)
{
	struct dpo_objective objective = { .losses = { dpo_loss_find(first), second ? dpo_loss_find(second) : NULL },
		.weights = { 0.5, 2 }, .n = second ? 2 : 1, .settings = usual, .divergence = &dpo_divergences[0],
		.alpha_coef = 0.5 };

	return objective;
}

static enum dpo_status
check(struct dpo_objective objective, unsigned given)
{
	struct dpo_error err;

	return dpo_objective_check(&objective, given, &err);
}

static void
options_without_effect_are_refused(void **unused)
{
	struct dpo_objective o = objective_of("sigmoid", NULL);

	(void)unused;
	assert_int_equal(check(o, 0), DPO_OK);
	assert_int_equal(check(o, DPO_TAKES_LD_ALPHA), DPO_OK);
	assert_int_equal(check(o, DPO_TAKES_SMOOTHING), DPO_USAGE);
	assert_int_equal(check(objective_of("sigmoid", "robust"), DPO_TAKES_SMOOTHING), DPO_OK);
	assert_int_equal(check(objective_of("sft", NULL), DPO_TAKES_LD_ALPHA), DPO_USAGE);
	assert_int_equal(check(objective_of("orpo", NULL), DPO_TAKES_LD_ALPHA), DPO_OK);
	o.divergence = &dpo_divergences[2];
	assert_int_equal(check(o, DPO_TAKES_DIVERGENCE), DPO_OK);
	o.losses[1] = dpo_loss_find("sft");
	o.n = 2;
	assert_int_equal(check(o, DPO_TAKES_DIVERGENCE), DPO_OK);
	o.losses[1] = dpo_loss_find("bco_pair");
	assert_int_equal(check(o, DPO_TAKES_DIVERGENCE), DPO_USAGE);
	o = objective_of("aot", NULL);
	o.use_weighting = true;
	assert_int_equal(check(o, DPO_TAKES_WEIGHTING), DPO_USAGE);
	o = objective_of("exo_pair", NULL);
	o.settings.label_smoothing = 0;
	assert_int_equal(check(o, 0), DPO_USAGE);
	o = objective_of("ipo", NULL);
	o.settings.beta = 0;
	assert_int_equal(check(o, 0), DPO_USAGE);
	o = objective_of("simpo", NULL);
	o.reference_free = true;
	assert_int_equal(check(o, 0), DPO_USAGE);
	assert_int_equal(check(objective_of("modpo", NULL), 0), DPO_USAGE);
}

/* Two losses with their weights and divisors: the total and its derivative by the chosen log-prob. */
static void
objectives_are_weighted_sums(void **unused)
{
	struct dpo_objective o = objective_of("sigmoid", "sft");
	struct dpo_loss_input input = input_of(3, -2);
	struct dpo_objective_result result;
	struct dpo_loss_slopes slopes;
	struct dpo_error err;
	double want;

	(void)unused;
	o.divergence = dpo_divergence_find("js_divergence");
	assert_int_equal(dpo_objective_check(&o, DPO_TAKES_DIVERGENCE, &err), DPO_OK);
	assert_true(o.pair && o.reference && !o.difference && !o.per_token);
	assert_int_equal(dpo_objective_pair(&o, &input, 1, 0.25, &result, &err), DPO_OK);
	want = 0.25 * log(1 + exp(-0.2 * (log(2 / (1 + exp(-3))) - log(2 / (1 + exp(2))))));
	assert_true(fabs(result.value[0] - want) < 1e-14);
	assert_true(result.value[1] == 0.25 * 38);
	assert_true(fabs(dpo_objective_total(&o, result.value, 4, 10) - (0.5 * want / 4 + 2 * 0.25 * 38 / 10)) < 1e-14);
	slopes = dpo_objective_slopes(&o, &result, 3, 4, 10);
	assert_true(fabs(slopes.chosen_nll - 2 * 3.0 / 10 * 0.25) < 1e-15);
	assert_true(slopes.logp[0] < 0 && slopes.logp[1] > 0);
}

static void
out_of_range_is_an_error(void **unused)
{
	struct dpo_objective o = objective_of("sigmoid", NULL);
	struct dpo_loss_input input = input_of(-200, 3);
	struct dpo_objective_result result;
	struct dpo_error err;

	(void)unused;
	o.divergence = dpo_divergence_find("forward_kl");
	assert_int_equal(dpo_objective_check(&o, DPO_TAKES_DIVERGENCE, &err), DPO_OK);
	assert_int_equal(dpo_objective_pair(&o, &input, 1, 1, &result, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "forward_kl"));
}

static void
the_table_is_complete(void **unused)
{
	size_t n = 0;

	(void)unused;
	for (; dpo_losses[n].name; n++) {
		assert_ptr_equal(dpo_loss_find(dpo_losses[n].name), &dpo_losses[n]);
		assert_non_null(dpo_losses[n].formula);
		assert_non_null(dpo_losses[n].derivative);
		assert_non_null(dpo_losses[n].source);
		assert_true(!dpo_losses[n].value == dpo_losses[n].whole_batch);
	}
	assert_int_equal(n, 22);
	assert_null(dpo_loss_find("sigmoi"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_policies_give_exactly_log_2),
		cmocka_unit_test(small_betas_give_log_2),
		cmocka_unit_test(values_agree_with_their_formulas),
		cmocka_unit_test(slopes_are_the_derivatives),
		cmocka_unit_test(extremes_stay_finite),
		cmocka_unit_test(a_wrong_label_mixes_both_orders),
		cmocka_unit_test(divergences_agree_with_their_formulas),
		cmocka_unit_test(far_ratios_stay_finite_where_they_can),
		cmocka_unit_test(batch_losses_by_hand_and_by_differences),
		cmocka_unit_test(options_without_effect_are_refused),
		cmocka_unit_test(objectives_are_weighted_sums),
		cmocka_unit_test(out_of_range_is_an_error),
		cmocka_unit_test(the_table_is_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
