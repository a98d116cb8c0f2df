/* AdamW and clipping against the numbers of torch 2 (AdamW, clip_grad_norm_); spans, threads and padding. */
#include "optim.h"

#include "size.h"

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
static const struct dpo_optim_settings settings = { .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1 };

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
stepped(int threads, double *norm)
{
	float *weights = ramp(two.total), *block = ramp(two.total);
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
	double norm, other, square = 0;
	float *one = stepped(1, &norm), *block = ramp(two.total);

	(void)unused;
	for (size_t i = 0; i < two.total; i++)
		square += (double)block[i] * (double)block[i];
	assert_true(fabs(norm - sqrt(square)) < 1e-12 * norm);
	for (int threads = 2; threads <= 3; threads++) {
		float *more = stepped(threads, &other);

		assert_true(norm == other);
		assert_memory_equal(one, more, two.total * sizeof *one);
		free(more);
	}
	/* No decay on "b": a step of lr against the gradient's sign. */
	assert_true(fabsf(one[16 + 1] - (block[16 + 1] - 0.01f)) < 1e-6f);
	free(one);
	free(block);
}

static void
sums_empty_what_they_add(void **unused)
{
	float *to = ramp(two.total), *from = ramp(two.total), first = to[17];
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
		cmocka_unit_test(threads_do_not_move_bits),
		cmocka_unit_test(sums_empty_what_they_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
