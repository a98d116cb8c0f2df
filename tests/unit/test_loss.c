/* Losses: values, derivatives against central differences, extremes, and ln 2 where policy and reference agree. */
#include "loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double log_2 = 0.693147180559945309417232121458;

static struct dpo_loss_input
input_of(double chosen, double rejected)
{
	return (struct dpo_loss_input){ .logp = { -40 + chosen, -50 + rejected }, .ratio = { chosen, rejected } };
}

static void
equal_policies_give_exactly_log_2(void **unused)
{
	const struct dpo_loss *sigmoid = dpo_loss_find("sigmoid");
	struct dpo_loss_settings settings = { .beta = 0.3 };
	struct dpo_loss_input input = input_of(0, 0);
	double slopes[2];
	float bits = (float)dpo_loss_value(sigmoid, &input, &settings, 1, slopes);
	unsigned int word;

	(void)unused;
	memcpy(&word, &bits, sizeof word);
	assert_int_equal(word, 0x3f317218);
	assert_true(slopes[0] == -0.15 && slopes[1] == 0.15);
}

static void
sigmoid_agrees_with_its_definition(void **unused)
{
	const struct dpo_loss *sigmoid = dpo_loss_find("sigmoid");
	struct dpo_loss_settings settings = { .beta = 0.1 };
	double slopes[2];

	(void)unused;
	for (double c = -30; c <= 30; c += 7.5) {
		struct dpo_loss_input input = input_of(c, 2);
		double z = 0.1 * (c - 2), want = -log(1 / (1 + exp(-z)));

		assert_true(fabs(dpo_loss_value(sigmoid, &input, &settings, 1, slopes) - want) < 1e-14);
	}
}

/* Every loss, several points, with a label that is sometimes wrong where that has a meaning. */
static void
slopes_are_the_derivatives(void **unused)
{
	static const double points[][2] = { { 0, 0 }, { 3, -2 }, { -15, 4 }, { 25, -60 } };
	struct dpo_loss_settings settings = { .beta = 0.2 };
	const double h = 1e-5;

	(void)unused;
	for (const struct dpo_loss *loss = dpo_losses; loss->name; loss++)
		for (size_t i = 0; i < sizeof points / sizeof *points; i++)
			for (size_t a = 0; a < 2; a++) {
				double p = loss->difference ? 0.8 : 1, slopes[2], ignored[2], up, down;
				struct dpo_loss_input at = input_of(points[i][0], points[i][1]), more = at, less = at;

				more.logp[a] += h;
				more.ratio[a] += h;
				less.logp[a] -= h;
				less.ratio[a] -= h;
				(void)dpo_loss_value(loss, &at, &settings, p, slopes);
				up = dpo_loss_value(loss, &more, &settings, p, ignored);
				down = dpo_loss_value(loss, &less, &settings, p, ignored);
				assert_true(fabs((up - down) / (2 * h) - slopes[a]) < 1e-8);
			}
}

static void
extremes_stay_finite(void **unused)
{
	(void)unused;
	assert_true(dpo_loss_softplus_minus(1e4) == 0);
	assert_true(dpo_loss_softplus_minus(-1e4) == 1e4);
	assert_true(fabs(dpo_loss_softplus_minus(0) - log_2) < 1e-16);
	assert_true(dpo_loss_sigmoid(1e4) == 1 && dpo_loss_sigmoid(-1e4) == 0);
	assert_true(dpo_loss_softplus_minus(40) > 0 && dpo_loss_softplus_minus(40) < 1e-17);
}

static void
a_wrong_label_mixes_both_orders(void **unused)
{
	const struct dpo_loss *sigmoid = dpo_loss_find("sigmoid");
	struct dpo_loss_settings settings = { .beta = 0.5 };
	struct dpo_loss_input input = input_of(3, 1), swapped = input_of(1, 3);
	double s[2], l = dpo_loss_value(sigmoid, &input, &settings, 1, s);
	double other = dpo_loss_value(sigmoid, &swapped, &settings, 1, s);

	(void)unused;
	assert_true(fabs(dpo_loss_value(sigmoid, &input, &settings, 0.7, s) - (0.7 * l + 0.3 * other)) < 1e-15);
	assert_true(dpo_loss_value(sigmoid, &input, &settings, 0, s) == other);
}

static void
names_are_those_of_the_table(void **unused)
{
	size_t n = 0;

	(void)unused;
	for (; dpo_losses[n].name; n++) {
		assert_string_equal(dpo_loss_names[n], dpo_losses[n].name);
		assert_ptr_equal(dpo_loss_find(dpo_loss_names[n]), &dpo_losses[n]);
	}
	assert_null(dpo_loss_names[n]);
	assert_null(dpo_loss_find("sigmoi"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_policies_give_exactly_log_2),
		cmocka_unit_test(sigmoid_agrees_with_its_definition),
		cmocka_unit_test(slopes_are_the_derivatives),
		cmocka_unit_test(extremes_stay_finite),
		cmocka_unit_test(a_wrong_label_mixes_both_orders),
		cmocka_unit_test(names_are_those_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
