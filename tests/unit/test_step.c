/*
 * A step of generation: skinny products against a plain loop, and prefill with steps against the naive
 * decoder; the same bits alone and among others.
 */
#include "decoder/decoder.h"
#include "decoder/skinny.h"
#include "kernel/vector.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 19 };

static float *
numbers(size_t n, uint64_t seed)
{
	return naive_numbers(n, &seed);
}

/* Rows 0 .. ROWS-1 against a plain loop; then each number of rows, each thread count: the same bits. */
static void
check_skinny(enum dpo_cpu set, enum dpo_layout layout, size_t in, size_t out, bool full)
{
	float *w = numbers(in * out, 1), *x = numbers(ROWS * in, 2), *bias = numbers(out, 3);
	float *residual = numbers(ROWS * out, 4), *y = numbers(ROWS * out, 5), *again = numbers(ROWS * out, 6);
	struct dpo_linear map = { .in = in, .out = out, .layout = layout, .weight = w, .bias = full ? bias : NULL,
	    .scratch = numbers(dpo_skinny_scratch(ROWS, out), 7) };
	struct dpo_matrix from = { x, in }, rest = { full ? residual : NULL, out };

	dpo_skinny_forward(set, 1, &map, ROWS, from, rest, (struct dpo_matrix){ y, out });
	for (size_t r = 0; r < ROWS; r++)
		for (size_t o = 0; o < out; o++) {
			double sum = full ? (double)bias[o] + (double)residual[r * out + o] : 0.0;

			for (size_t k = 0; k < in; k++)
				sum += (double)x[r * in + k] *
				    (double)w[layout == DPO_LAYOUT_OUT_IN ? o * in + k : k * out + o];
			if (!(fabs(sum - (double)y[r * out + o]) <= 2e-7 * (double)(in + 4)))
				fail_msg("%zux%zu row %zu output %zu: %.9g instead of %.9g", in, out, r, o,
				    (double)y[r * out + o], sum);
		}
	for (size_t rows = 1; rows <= ROWS; rows++)
		for (int threads = 1; threads <= 3; threads++) {
			memset(again, 0, ROWS * out * sizeof *again);
			dpo_skinny_forward(set, threads, &map, rows, from, rest, (struct dpo_matrix){ again, out });
			assert_memory_equal(again, y, rows * out * sizeof *again);
		}
	free(w);
	free(x);
	free(bias);
	free(residual);
	free(y);
	free(again);
	free(map.scratch);
}

static const size_t sizes[][2] = { { 1, 1 }, { 7, 3 }, { 8, 5 }, { 16, 16 }, { 33, 18 }, { 64, 257 }, { 310, 600 },
	{ 2100, 70 } };

static void
test_skinny(void **state)
{
	(void)state;
	for (int set = 0; set <= (int)dpo_cpu(); set++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
			for (int full = 0; full < 2; full++) {
				check_skinny((enum dpo_cpu)set, DPO_LAYOUT_OUT_IN, sizes[i][0], sizes[i][1], full);
				check_skinny((enum dpo_cpu)set, DPO_LAYOUT_IN_OUT, sizes[i][0], sizes[i][1], full);
			}
}

/* Weights stored in 16 bits give the bits of the same weights as floats. */
static void
check_stored(enum dpo_cpu set, enum dpo_layout layout, enum dpo_dtype dtype, size_t in, size_t out)
{
	float *w = numbers(in * out, 1), *x = numbers(ROWS * in, 2), *y = numbers(ROWS * out, 3);
	float *again = numbers(ROWS * out, 4);
	uint16_t *stored = dpo_alloc_aligned(in * out, sizeof *stored);
	struct dpo_linear map = { .in = in, .out = out, .layout = layout, .weight = w,
	    .scratch = numbers(dpo_skinny_scratch(ROWS, out), 5) };
	struct dpo_matrix from = { x, in };

	assert_non_null(stored);
	for (size_t i = 0; i < in * out; i++)	/* every exponent that keeps sums finite, subnormal numbers too */
		stored[i] = (uint16_t)(i * 40503u % (dtype == DPO_DTYPE_F16 ? 0x7c00u : 0x4400u) | (i & 1) << 15);
	dpo_vector_widen(w, stored, dtype, in * out);
	dpo_skinny_forward(set, 1, &map, ROWS, from, (struct dpo_matrix){ 0 }, (struct dpo_matrix){ y, out });
	map.dtype = dtype;
	memcpy(&map.weight, &(const void *){ stored }, sizeof map.weight);
	dpo_skinny_forward(set, 1, &map, ROWS, from, (struct dpo_matrix){ 0 }, (struct dpo_matrix){ again, out });
	assert_memory_equal(again, y, ROWS * out * sizeof *y);
	free(w);
	free(x);
	free(y);
	free(again);
	free(stored);
	free(map.scratch);
}

static void
test_stored(void **state)
{
	(void)state;
	for (int set = 0; set <= (int)dpo_cpu(); set++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
			for (int layout = 0; layout < 2; layout++) {
				check_stored((enum dpo_cpu)set, (enum dpo_layout)layout, DPO_DTYPE_F16, sizes[i][0],
				    sizes[i][1]);
				check_stored((enum dpo_cpu)set, (enum dpo_layout)layout, DPO_DTYPE_BF16, sizes[i][0],
				    sizes[i][1]);
			}
}

/* ------------------------------------------------------------------ the decoder */

static const int32_t first[] = { 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5 }, second[] = { 8, 9, 7, 1, 2 };

struct run {
	struct dpo_decoder *decoder;
	struct dpo_cache cache;
	const int32_t *tokens;
	size_t prompt, n;
	float h[16][64];	/* of the row that predicts token t */
};

/* Prompt into the cache; h of its last row. */
static void
prefill(struct run *run, const struct naive_model *m)
{
	struct dpo_example example = { run->tokens, run->prompt, 1, { run->tokens }, { 1 } };
	struct dpo_sequence sequence = { 0 };
	struct dpo_error err;
	const float *h;

	assert_int_equal(dpo_pack(&sequence, &example, m->config.vocab_size, m->config.max_positions, &err), DPO_OK);
	assert_int_equal(dpo_decoder_prefill(run->decoder, m->weights, &sequence, &run->cache, run->n, &h, &err), DPO_OK);
	memcpy(run->h[run->prompt], h, m->config.hidden_size * sizeof *h);
	dpo_sequence_free(&sequence);
}

/* One more token of each run that has one. */
static bool
step(struct run *const *runs, size_t n, const struct naive_model *m)
{
	struct dpo_cache *caches[2];
	struct run *of[2];
	int32_t tokens[2];
	struct dpo_error err;
	const float *h;
	size_t rows = 0;

	for (size_t i = 0; i < n; i++)
		if (runs[i]->cache.length + 1 < runs[i]->n) {
			of[rows] = runs[i];
			caches[rows] = &runs[i]->cache;
			tokens[rows++] = runs[i]->tokens[runs[i]->cache.length];
		}
	if (rows == 0)
		return false;
	assert_int_equal(dpo_decoder_step(runs[0]->decoder, m->weights, tokens, caches, rows, &h, &err), DPO_OK);
	for (size_t i = 0; i < rows; i++)
		memcpy(of[i]->h[of[i]->cache.length], h + i * m->config.hidden_size,
		    m->config.hidden_size * sizeof *h);
	return true;
}

/* Logits of the row that predicts token t, against the naive ones. */
static void
compare(const struct run *run, const struct naive_model *m)
{
	const struct dpo_config *c = &m->config;
	double *logits = dpo_alloc(run->n * c->vocab_size, sizeof *logits);

	assert_non_null(logits);
	naive_logits(m, run->tokens, run->n, logits);
	for (size_t t = run->prompt; t < run->n; t++)
		for (size_t v = 0; v < c->vocab_size; v++) {
			const float *w = dpo_decoder_head(run->decoder, m->weights, NULL).weight + v * c->hidden_size;
			double sum = 0;

			for (size_t i = 0; i < c->hidden_size; i++)
				sum += (double)w[i] * (double)run->h[t][i];
			if (c->logit_cap > 0)
				sum = c->logit_cap * tanh(sum / c->logit_cap);
			if (!(fabs(sum - logits[(t - 1) * c->vocab_size + v]) <= 2e-5))
				fail_msg("token %zu, logit %zu: %.8f instead of %.8f", t, v, sum,
				    logits[(t - 1) * c->vocab_size + v]);
		}
	free(logits);
}

static struct run
begin(const struct naive_model *m, const int32_t *tokens, size_t prompt, size_t n, int threads)
{
	struct run run = { .tokens = tokens, .prompt = prompt, .n = n };
	struct dpo_error err;

	assert_true(m->config.hidden_size <= 64);
	assert_int_equal(dpo_decoder_new(&run.decoder, &m->config, &m->params, &(struct dpo_passes){ .threads = threads }, &err),
	    DPO_OK);
	return run;
}

static void
end(struct run *run)
{
	dpo_cache_free(&run->cache);
	dpo_decoder_free(run->decoder);
}

static void
check(const char *config)
{
	struct naive_model m;
	struct run alone, other, shared[2];

	naive_open(&m, config, 42);
	alone = begin(&m, first, 4, 11, 1);
	other = begin(&m, second, 1, 5, 1);
	prefill(&alone, &m);
	while (step((struct run *[]){ &alone }, 1, &m))
		;
	prefill(&other, &m);
	while (step((struct run *[]){ &other }, 1, &m))
		;
	compare(&alone, &m);
	compare(&other, &m);

	/* Both in one batch, the second one joining later and ending earlier, on two threads: the same bits. */
	shared[0] = begin(&m, first, 4, 11, 2);
	shared[1] = begin(&m, second, 1, 5, 2);
	prefill(&shared[0], &m);
	assert_true(step((struct run *[]){ &shared[0] }, 1, &m));
	prefill(&shared[1], &m);
	while (step((struct run *[]){ &shared[1], &shared[0] }, 2, &m))
		;
	assert_memory_equal(shared[0].h[4], alone.h[4], 7 * sizeof *alone.h);
	assert_memory_equal(shared[1].h[1], other.h[1], 4 * sizeof *other.h);
	end(&alone);
	end(&other);
	end(&shared[0]);
	end(&shared[1]);
	naive_close(&m);
}

static void
test_gpt2(void **state)
{
	(void)state;
	check(naive_gpt2);
}

static void
test_llama(void **state)
{
	(void)state;
	check(naive_llama_tied);
	check(naive_llama_untied);
}

static void
test_families(void **state)
{
	(void)state;
	for (size_t i = 0; naive_families[i]; i++)
		check(naive_families[i]);
}

/* What the cache holds was turned by frequencies that longer sequences do not have. */
static void
test_length_of_rope(void **state)
{
	static const char config[] = "{\"model_type\":\"llama\",\"vocab_size\":13,\"hidden_size\":8,"
	    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":4,\"max_position_embeddings\":6,"
	    "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}";
	struct naive_model m;
	struct run run;
	struct dpo_error err;
	const float *h;

	(void)state;
	naive_open(&m, config, 1);
	run = begin(&m, first, 4, 7, 1);
	prefill(&run, &m);
	assert_true(step((struct run *[]){ &run }, 1, &m));
	assert_true(step((struct run *[]){ &run }, 1, &m));
	assert_int_equal(dpo_decoder_step(run.decoder, m.weights, first, (struct dpo_cache *[]){ &run.cache }, 1, &h,
	    &err), DPO_UNSUPPORTED);
	assert_non_null(strstr(err.text, "past 6 positions"));
	end(&run);
	naive_close(&m);
}

static void
test_cache_copy(void **state)
{
	struct dpo_cache from = { 0 }, to = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_cache_reserve(&from, 2, 3, 18, &err), DPO_OK);
	assert_int_equal(dpo_cache_reserve(&to, 2, 3, 40, &err), DPO_OK);
	for (size_t layer = 0; layer < 2; layer++)
		for (size_t at = 0; at < 18; at++)
			for (size_t i = 0; i < 3; i++) {
				dpo_cache_key(&from, layer, at)[i * DPO_CACHE_BLOCK] = (float)(1000 * layer + 10 * at + i);
				dpo_cache_value(&from, layer, at)[i] = -(float)(1000 * layer + 10 * at + i);
			}
	from.length = 18;
	dpo_cache_copy(&to, &from);
	assert_int_equal(to.length, 18);
	for (size_t layer = 0; layer < 2; layer++)
		for (size_t at = 0; at < 18; at++)
			for (size_t i = 0; i < 3; i++) {
				assert_true(dpo_cache_key(&to, layer, at)[i * DPO_CACHE_BLOCK] ==
				    (float)(1000 * layer + 10 * at + i));
				assert_true(dpo_cache_value(&to, layer, at)[i] == -(float)(1000 * layer + 10 * at + i));
			}
	assert_int_equal(dpo_cache_reserve(&to, SIZE_MAX / 2, 3, 4, &err), DPO_NOMEM);
	dpo_cache_free(&from);
	dpo_cache_free(&to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_skinny),
		cmocka_unit_test(test_stored),
		cmocka_unit_test(test_gpt2),
		cmocka_unit_test(test_llama),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_length_of_rope),
		cmocka_unit_test(test_cache_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
