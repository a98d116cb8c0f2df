/*
 * Steps of every optimizer and clipping against the numbers of torch and transformers; spans, threads and padding. The
 * numbers are in testdata/golden/transformers/optimizers.tsv, made by tests/peers/optimizers.py.
 */
#include "train/optim.h"

#include "base/size.h"
#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BIG = 3 * DPO_SPAN + 5 };

static struct dpo_tensor tensors[] = {
	{ .name = "a", .shape = { 4 }, .rank = 1, .count = 4, .offset = 0, .decay = true },
	{ .name = "b", .shape = { BIG }, .rank = 1, .count = BIG, .offset = 16, .decay = false },
};
static const struct dpo_params small = { .list = tensors, .count = 1, .total = 16, .parameters = 4 };
static const struct dpo_params two = { .list = tensors, .count = 2, .total = 16 + BIG + 11, .parameters = 4 + BIG };

/* The defaults of dpo-train. */
static struct dpo_optim_settings
settings_for(const char *name, double weight_decay)
{
	struct dpo_optim_settings settings = { .optimizer = dpo_optim_find(name), .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
		.alpha = 0.99, .rms_epsilon = 1e-8, .weight_decay = weight_decay };

	assert_non_null(settings.optimizer);
	return settings;
}

/* torch.optim.AdamW([p], lr=0.01, weight_decay=0.1) after clip_grad_norm_([p], 1.0), three steps. */
static void
three_steps_are_those_of_torch(void **unused)
{
	static const float gradients[3][4] = { { 0.3f, -0.2f, 1e-4f, 0 }, { -0.1f, 0.4f, 2e-4f, 0 }, { 5, -7, 1e-5f, 1 } };
	static const double norms[] = { 0.36055517196655273, 0.4123106300830841, 8.66025447845459 };
	static const float want[3][4] = {
		{ 0.4895000159740448f, -1.2387499809265137f, 1.9880009889602661f, 0.0f },
		{ 0.4850083291530609f, -1.2411723136901855f, 1.976361870765686f, 0.0f },
		{ 0.4774342477321625f, -1.2357101440429688f, 1.9668922424316406f, -0.006388135254383087f } };
	float weights[16] = { 0.5f, -1.25f, 2.0f, 0.0f }, block[16] = { 0 };
	struct dpo_optim_settings settings = settings_for("adamw", 0.1);
	struct dpo_optim optim;

	(void)unused;
	assert_int_equal(dpo_optim_init(&optim, &small, &settings, 1, NULL), DPO_OK);
	for (size_t t = 0; t < 3; t++) {
		double norm;

		memcpy(block, gradients[t], sizeof gradients[t]);
		norm = dpo_optim_norm(&optim, block);
		assert_true(fabs(norm - norms[t]) < 1e-6 * norm);
		dpo_optim_step(&optim, weights, block, t + 1, 0.01, dpo_optim_clip(norm, 1.0));
		for (size_t i = 0; i < 4; i++) {
			assert_true(fabsf(weights[i] - want[t][i]) <= 2e-7f);
			assert_true(block[i] == 0);
		}
		for (size_t i = 4; i < 16; i++)
			assert_true(weights[i] == 0);
	}
	dpo_optim_free(&optim);
}

static void
clipping_is_that_of_torch(void **unused)
{
	(void)unused;
	assert_true(dpo_optim_clip(0.5, 1) == 1);
	assert_true(dpo_optim_clip(4, 1) == 1 / (4 + 1e-6));
	assert_true(dpo_optim_clip(4, 0) == 1);
	assert_true(dpo_optim_clip(0, 1) == 1);
}

/* ------------------------------------------------------------------ the peers' steps */

enum { ELEMENTS = 35 + 6 + 24 };
static struct dpo_tensor three[] = {
	{ .name = "matrix", .shape = { 5, 7 }, .rank = 2, .count = 35, .offset = 0, .decay = true },
	{ .name = "vector", .shape = { 6 }, .rank = 1, .count = 6, .offset = 48, .decay = false },
	{ .name = "cube", .shape = { 2, 3, 4 }, .rank = 3, .count = 24, .offset = 64, .decay = true },
};
static const struct dpo_params peers = { .list = three, .count = 3, .total = 96, .parameters = ELEMENTS };

/* Where element i of the three is in a block. */
static size_t
place(size_t i)
{
	return i < 35 ? i : i < 41 ? i - 35 + 48 : i - 41 + 64;
}

static void
take(struct dpo_optim_settings *settings, char *text)
{
	const struct { const char *key; double *field; } numbers[] = {
		{ "beta1", &settings->beta1 }, { "beta2", &settings->beta2 }, { "epsilon", &settings->epsilon },
		{ "alpha", &settings->alpha }, { "rms_epsilon", &settings->rms_epsilon },
		{ "momentum", &settings->momentum }, { "weight_decay", &settings->weight_decay },
	};
	char *save;

	for (char *one = strtok_r(text, " ", &save); one; one = strtok_r(NULL, " ", &save)) {
		size_t i = 0;

		*strchr(one, '=') = '\0';
		while (i < sizeof numbers / sizeof *numbers && strcmp(numbers[i].key, one) != 0)
			i++;
		assert_true(i < sizeof numbers / sizeof *numbers);
		*numbers[i].field = strtod(one + strlen(one) + 1, NULL);
	}
}

static void
steps(struct dpo_optim *optim, float *weights, uint64_t last)
{
	float gradients[96] = { 0 };

	for (size_t i = 0; i < ELEMENTS; i++)
		weights[place(i)] = (float)((int)((37 * i + 11) % 64) - 32) / 32;
	for (uint64_t t = 1; t <= last; t++) {
		for (size_t i = 0; i < ELEMENTS; i++)
			gradients[place(i)] = (float)((int)((29 * i + 17 * t + 5) % 128) - 64) * (float)(1 + t % 3) / 256;
		dpo_optim_step(optim, weights, gradients, t, 0.01 / (double)t, 1.0);
	}
	for (size_t i = 0; i < 96; i++)
		assert_true(gradients[i] == 0);
}

/* One line of the file: optimizer, settings, step, the weights after it. */
static void
check_line(char *line)
{
	char *field[3], *rest = line;
	float weights[96] = { 0 };
	struct dpo_optim_settings settings;
	struct dpo_optim optim;

	for (int i = 0; i < 3; i++) {
		field[i] = rest;
		rest = strchr(rest, '\t');
		assert_non_null(rest);
		*rest++ = '\0';
	}
	settings = settings_for(field[0], 0);
	take(&settings, field[1]);
	assert_int_equal(dpo_optim_init(&optim, &peers, &settings, 2, NULL), DPO_OK);
	steps(&optim, weights, strtoull(field[2], NULL, 10));
	dpo_optim_free(&optim);
	for (size_t i = 0; i < ELEMENTS; i++) {
		double want = strtod(rest, &rest), got = (double)weights[place(i)];

		/* Weights are up to 1, where a float's last place is 6e-8: eight steps round a few times, in another order. */
		if (!(fabs(got - want) <= 3e-7))
			fail_msg("%s, step %s, element %d: %.9g, not %.9g", field[0], field[2], (int)i, got, want);
	}
	assert_true(*rest == '\0');
}

static void
steps_are_those_of_the_peers(void **unused)
{
	size_t n, lines = 0;
	char *text = fixture_read("testdata/golden/transformers", "optimizers.tsv", &n), *save;

	(void)unused;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++)
		check_line(line);
	assert_int_equal(lines, 7 * 2 * 4);
	free(text);
}

static void
the_table_and_its_states(void **unused)
{
	static const struct { const char *name; double momentum; size_t states, floats; } want[] = {
		{ "adamw", 0, 2, 96 }, { "rmsprop", 0, 1, 96 }, { "sgd", 0, 0, 0 }, { "sgd", 0.9, 1, 96 },
		{ "adafactor", 0, 1, 16 + 16 + 16 + 16 + 16 },
	};
	size_t n = 0;

	(void)unused;
	for (; dpo_optimizers[n].name; n++)
		assert_string_equal(dpo_optimizers[n].name, dpo_optim_names[n]);
	assert_null(dpo_optim_names[n]);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		struct dpo_optim_settings settings = settings_for(want[i].name, 0);
		struct dpo_optim optim;

		settings.momentum = want[i].momentum;
		assert_int_equal(dpo_optim_init(&optim, &peers, &settings, 1, NULL), DPO_OK);
		assert_int_equal(optim.n_states, want[i].states);
		for (size_t s = 0; s < optim.n_states; s++)
			assert_int_equal(optim.states[s].params->total, want[i].floats);
		dpo_optim_free(&optim);
	}
}

/* ------------------------------------------------------------------ spans and threads */

static float *
ramp(size_t n)
{
	float *block = dpo_alloc_aligned(n, sizeof *block);

	assert_non_null(block);
	for (size_t i = 0; i < BIG; i++)
		block[16 + i] = (float)sin((double)i) * 0.01f;
	return block;
}

/* One step on a block of several spans with the given threads; the caller frees. */
static float *
stepped(const char *name, int threads, double *norm)
{
	float *weights = ramp(two.total), *block = ramp(two.total);
	struct dpo_optim_settings settings = settings_for(name, 0.1);
	struct dpo_optim optim;

	assert_int_equal(dpo_optim_init(&optim, &two, &settings, threads, NULL), DPO_OK);
	*norm = dpo_optim_norm(&optim, block);
	dpo_optim_step(&optim, weights, block, 1, 0.01, 0.5);
	dpo_optim_free(&optim);
	free(block);
	return weights;
}

static void
threads_do_not_move_bits(void **unused)
{
	double norm, other;

	(void)unused;
	for (const struct dpo_optimizer *optimizer = dpo_optimizers; optimizer->name; optimizer++) {
		float *one = stepped(optimizer->name, 1, &norm);

		for (int threads = 2; threads <= 3; threads++) {
			float *more = stepped(optimizer->name, threads, &other);

			assert_true(norm == other);
			assert_memory_equal(one, more, two.total * sizeof *one);
			free(more);
		}
		free(one);
	}
}

/* Steps of which the first is dpo_optim_first or dpo_optim_step; after step `look` a checkpoint is taken, as is at the end. */
static void
take_steps(struct dpo_optim *optim, const char *name, bool first, uint64_t steps, uint64_t look, float *weights)
{
	struct dpo_optim_settings settings = settings_for(name, 0.1);
	float *block = dpo_alloc_aligned(two.total, sizeof *block);

	assert_non_null(block);
	assert_int_equal(dpo_optim_init(optim, &two, &settings, 2, NULL), DPO_OK);
	for (uint64_t t = 1; t <= steps; t++) {
		for (size_t i = 0; i < BIG; i++)
			block[16 + i] = i % 5 ? (float)cos((double)(i * t)) * 0.01f : -0.0f;
		if (t == 1 && first)
			dpo_optim_first(optim, weights, &block, 0.01, 0.5);
		else
			dpo_optim_step(optim, weights, block, t, 0.01 / (double)t, 0.5);
		for (size_t i = 0; i < two.total; i++)
			assert_true(block[i] == 0);
		if (t == look)
			dpo_optim_settle(optim);
	}
	dpo_optim_settle(optim);
	free(block);
}

static void
the_first_step_is_a_step(void **unused)
{
	static const uint64_t cases[][2] = { { 3, 1 }, { 3, 2 }, { 3, 3 }, { 1, 1 } };	/* steps, look */

	(void)unused;
	for (const struct dpo_optimizer *optimizer = dpo_optimizers; optimizer->name; optimizer++)
		for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
			float *weights = ramp(two.total), *other = ramp(two.total);
			struct dpo_optim optim, plain;

			take_steps(&optim, optimizer->name, true, cases[k][0], cases[k][1], weights);
			take_steps(&plain, optimizer->name, false, cases[k][0], cases[k][1], other);
			assert_memory_equal(weights, other, two.total * sizeof *weights);
			for (size_t s = 0; s < optim.n_states; s++)
				assert_memory_equal(optim.states[s].data, plain.states[s].data,
				    optim.states[s].params->total * sizeof(float));
			dpo_optim_free(&optim);
			dpo_optim_free(&plain);
			free(weights);
			free(other);
		}
}

/* A big matrix, which Adafactor walks in several tasks. */
static void
threads_do_not_move_adafactor_on_a_matrix(void **unused)
{
	struct dpo_tensor tensor = { .name = "m", .shape = { 301, 217 }, .rank = 2, .count = 301 * 217, .decay = true };
	struct dpo_params params = { .list = &tensor, .count = 1, .total = 301 * 217 + 3 };
	struct dpo_optim_settings settings = settings_for("adafactor", 0.1);
	float *first = NULL;

	(void)unused;
	for (int threads = 1; threads <= 3; threads++) {
		float *weights = ramp(BIG + 27), *block = ramp(BIG + 27);
		struct dpo_optim optim;

		assert_true(BIG + 27 >= params.total);
		assert_int_equal(dpo_optim_init(&optim, &params, &settings, threads, NULL), DPO_OK);
		dpo_optim_step(&optim, weights, block, 1, 0.01, 0.5);
		assert_true(block[100] == 0);
		dpo_optim_free(&optim);
		free(block);
		if (first)
			assert_memory_equal(first, weights, params.total * sizeof *first);
		else
			first = weights;
		if (first != weights)
			free(weights);
	}
	free(first);
}

static void
the_norm_is_over_all_and_decay_where_it_should(void **unused)
{
	double norm, square = 0;
	float *one = stepped("adamw", 1, &norm), *block = ramp(two.total);

	(void)unused;
	for (size_t i = 0; i < two.total; i++)
		square += (double)block[i] * (double)block[i];
	assert_true(fabs(norm - sqrt(square)) < 1e-12 * norm);
	/* No decay on "b": a step of lr against the gradient's sign. */
	assert_true(fabsf(one[16 + 1] - (block[16 + 1] - 0.01f)) < 1e-6f);
	free(one);
	free(block);
}

static void
sums_empty_what_they_add(void **unused)
{
	float *to = ramp(two.total), *from = ramp(two.total), first = to[17];
	struct dpo_optim_settings settings = settings_for("adamw", 0.1);
	struct dpo_optim optim;

	(void)unused;
	assert_int_equal(dpo_optim_init(&optim, &two, &settings, 2, NULL), DPO_OK);
	dpo_optim_add(&optim, to, from);
	assert_true(to[17] == 2 * first && from[17] == 0);
	to[20] = NAN;
	assert_true(isnan(dpo_optim_norm(&optim, to)) != 0);
	dpo_optim_free(&optim);
	free(to);
	free(from);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_steps_are_those_of_torch),
		cmocka_unit_test(clipping_is_that_of_torch),
		cmocka_unit_test(steps_are_those_of_the_peers),
		cmocka_unit_test(the_table_and_its_states),
		cmocka_unit_test(the_first_step_is_a_step),
		cmocka_unit_test(threads_do_not_move_bits),
		cmocka_unit_test(threads_do_not_move_adafactor_on_a_matrix),
		cmocka_unit_test(the_norm_is_over_all_and_decay_where_it_should),
		cmocka_unit_test(sums_empty_what_they_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
