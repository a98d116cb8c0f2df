/* The head: log-probs, what is measured of the logits, and gradients, by the definition. */
#include "base/size.h"
#include "decoder/head.h"
#include "kernel/exponential.h"
#include "kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { HEAD_ROWS = 45, HIDDEN = 19, VOCAB = 2100 };

struct head_result {
	struct dpo_head_row rows[HEAD_ROWS];
	float logps[HEAD_ROWS * DPO_ANSWERS], dh[HEAD_ROWS * HIDDEN];
	float *d_weight;
};

/* Forward and backward with at most `keep` bytes kept. */
static void
run_head(struct head_result *r, const float *h, const float *weight, const int32_t *targets,
    const float *d_logps, float cap, size_t chunk, size_t keep, size_t kept_rows)
{
	struct dpo_arena arena = { 0 };
	struct dpo_linear map = { .in = HIDDEN, .out = VOCAB, .layout = DPO_LAYOUT_OUT_IN, .weight = weight };
	struct dpo_head head;
	float *logits = noise(3 * VOCAB);

	do {
		dpo_arena_begin(&arena);
		dpo_head_carve(&head, &map, HEAD_ROWS, cap, chunk, keep, &arena);
	} while (dpo_arena_end(&arena) == DPO_ARENA_AGAIN);
	assert_int_equal(head.kept_rows, kept_rows);
	r->d_weight = dpo_alloc_aligned(VOCAB * HIDDEN, sizeof *r->d_weight);
	assert_non_null(r->d_weight);
	dpo_head_forward(threads, &head, h, targets, r->rows, r->logps);
	dpo_head_backward(threads, &head, h, targets, r->rows, d_logps, r->dh, r->d_weight);
	dpo_head_logits(threads, &head, h, 14, 3, logits);
	for (size_t i = 0; i < 3; i++)
		for (size_t v = 0; v < VOCAB; v += 99) {
			double z = 0.0;

			for (size_t c = 0; c < HIDDEN; c++)
				z += (double)h[(14 + i) * HIDDEN + c] * (double)weight[v * HIDDEN +
				    c];
			near((double)logits[i * VOCAB + v],
			    cap > 0.0f ? (double)cap * tanh(z / (double)cap) : z, 1e-5);
		}
	free(logits);
	dpo_arena_free(&arena);
}

/* Row r of the result by the definition; adds its part of d_weight to dw. */
static void
check_head_row(const struct head_result *result, size_t r, const float *h, const float *weight,
    const int32_t *targets, const float *d_logps, double cap, double *dw)
{
	static double z[VOCAB], slope[VOCAB];
	double sum = 0.0, entropy = 0.0, mean = 0.0, g, dh[HIDDEN] = { 0 };
	size_t best = 0;

	for (size_t v = 0; v < VOCAB; v++) {
		z[v] = 0.0;
		for (size_t c = 0; c < HIDDEN; c++)
			z[v] += (double)h[r * HIDDEN + c] * (double)weight[v * HIDDEN + c];
		slope[v] = cap > 0.0 ? 1.0 - tanh(z[v] / cap) * tanh(z[v] / cap) : 1.0;
		z[v] = cap > 0.0 ? cap * tanh(z[v] / cap) : z[v];
		sum += exp(z[v]);
		mean += z[v] / VOCAB;
		best = z[v] > z[best] ? v : best;
	}
	for (size_t v = 0; v < VOCAB; v++) {
		double p = exp(z[v]) / sum;

		entropy -= p * log(p);
		g = 0.0;
		for (size_t a = 0; a < DPO_ANSWERS; a++)
			if (targets[r * DPO_ANSWERS + a] >= 0)
				g += (double)d_logps[r * DPO_ANSWERS + a] *
				    ((targets[r * DPO_ANSWERS + a] == (int32_t)v ? 1.0 : 0.0) - p) *
				    slope[v];
		for (size_t c = 0; c < HIDDEN; c++) {
			dh[c] += g * (double)weight[v * HIDDEN + c];
			dw[v * HIDDEN + c] += g * (double)h[r * HIDDEN + c];
		}
	}
	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		int32_t target = targets[r * DPO_ANSWERS + a];

		near((double)result->logps[r * DPO_ANSWERS + a],
		    target < 0 ? 0.0 : z[target] - log(sum), 5e-6);
	}
	near(result->rows[r].entropy, entropy, 1e-5);
	near(result->rows[r].mean, mean, 1e-6);
	assert_int_equal(result->rows[r].best, best);
	for (size_t c = 0; c < HIDDEN; c++)
		near((double)result->dh[r * HIDDEN + c], dh[c], 1e-5);
}

static void
check_head(float cap)
{
	static struct head_result kept, some, none;
	float *h = noise(HEAD_ROWS * HIDDEN), *weight = noise(VOCAB * HIDDEN),
	    *d_logps = noise(HEAD_ROWS * DPO_ANSWERS);
	int32_t targets[HEAD_ROWS * DPO_ANSWERS];
	double *dw = dpo_alloc(VOCAB * HIDDEN, sizeof *dw);
	size_t row = VOCAB * sizeof(float);

	assert_non_null(dw);
	for (size_t i = 0; i < HEAD_ROWS * DPO_ANSWERS; i++)
		targets[i] = i % 3 == 1 ? -1 : (int32_t)(i * 37 % VOCAB);
	run_head(&kept, h, weight, targets, d_logps, cap, 16 * row, (size_t)1 << 30, HEAD_ROWS);
	run_head(&some, h, weight, targets, d_logps, cap, 16 * row, 31 * row, 30);
	run_head(&none, h, weight, targets, d_logps, cap, 16 * row, 0, 0);
	for (size_t r = 0; r < HEAD_ROWS; r++)
		check_head_row(&kept, r, h, weight, targets, d_logps, (double)cap, dw);
	for (size_t i = 0; i < (size_t)VOCAB * HIDDEN; i++)
		near((double)kept.d_weight[i], dw[i], 1e-5);
	assert_memory_equal(kept.logps, none.logps, sizeof kept.logps);
	assert_memory_equal(kept.dh, none.dh, sizeof kept.dh);
	assert_memory_equal(kept.dh, some.dh, sizeof kept.dh);
	assert_memory_equal(kept.d_weight, none.d_weight, VOCAB * HIDDEN * sizeof(float));
	assert_memory_equal(kept.d_weight, some.d_weight, VOCAB * HIDDEN * sizeof(float));
	free(kept.d_weight);
	free(some.d_weight);
	free(none.d_weight);
	free(h);
	free(weight);
	free(d_logps);
	free(dw);
}

static void
test_head(void **state)
{
	(void)state;
	check_head(0.0f);
	check_head(1.25f);
}

/* Equal logits: the best is the lowest id. */
static void
test_head_ties(void **state)
{
	struct dpo_arena arena = { 0 };
	struct dpo_head head;
	struct dpo_head_row row;
	float h[2] = { 1.0f, 0.0f }, weight[40] = { 0 }, logps[DPO_ANSWERS];
	struct dpo_linear map = { .in = 2, .out = 20, .layout = DPO_LAYOUT_OUT_IN, .weight = weight };
	const int32_t targets[DPO_ANSWERS] = { 3, 7 };

	(void)state;
	weight[2 * 5] = weight[2 * 11] = weight[2 * 19] = 2.0f;
	do {
		dpo_arena_begin(&arena);
		dpo_head_carve(&head, &map, 1, 0.0f, DPO_HEAD_CHUNK, 0, &arena);
	} while (dpo_arena_end(&arena) == DPO_ARENA_AGAIN);
	dpo_head_forward(1, &head, h, targets, &row, logps);
	assert_int_equal(row.best, 5);
	near((double)logps[0], -log(17.0 + 3.0 * exp(2.0)), 1e-6);
	near((double)logps[1], (double)logps[0], 0.0);
	dpo_arena_free(&arena);
}

/* The sums of a row are those of fixed lanes, to the last bit, whatever the compiler made of them: a head of one column, h 1. */
static void
test_head_lanes(void **state)
{
	enum { WORDS = 1000, RUN = 256 };
	struct dpo_arena arena = { 0 };
	struct dpo_head head;
	struct dpo_head_row row;
	float one = 1.0f, logps[DPO_ANSWERS], e[RUN], weighted[RUN], *z = noise(WORDS);
	struct dpo_linear map = { .in = 1, .out = WORDS, .layout = DPO_LAYOUT_OUT_IN, .weight = z };
	const int32_t targets[DPO_ANSWERS] = { 3, -1 };
	double all = 0, all_weighted = 0, total = 0;

	(void)state;
	z[0] = 4.0f;	/* the largest, so that no sum is lowered */
	do {
		dpo_arena_begin(&arena);
		dpo_head_carve(&head, &map, 1, 0.0f, DPO_HEAD_CHUNK, 0, &arena);
	} while (dpo_arena_end(&arena) == DPO_ARENA_AGAIN);
	dpo_head_forward(1, &head, &one, targets, &row, logps);
	for (size_t first = 0, n; first < WORDS; first += n) {
		n = dpo_size_least(WORDS - first, RUN);
		for (size_t i = 0; i < n; i++) {
			e[i] = dpo_exp(z[first + i] - 4.0f);
			weighted[i] = e[i] * (z[first + i] - 4.0f);
		}
		all += (double)sum_by_lanes(e, n);
		all_weighted += (double)sum_by_lanes(weighted, n);
		total += (double)sum_by_lanes(z + first, n);
	}
	near(row.sum, all, 0);
	near(row.entropy, log(all) - all_weighted / all, 0);
	near(row.mean, total / WORDS, 0);
	free(z);
	dpo_arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_head_ties),
		cmocka_unit_test(test_head_lanes),
	};

	return cmocka_run_group_tests(tests, kernels_set_up, NULL);
}
