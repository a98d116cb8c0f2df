/*
 * The scorer: right numbers, and the same bits whatever the threads, the company and the purpose.
 */
#include "decoder/score.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 256 };

static const int32_t prompt[] = { 3, 1, 4, 1, 5 }, one[] = { 9, 2, 6, 5, 3, 5 },
    two[] = { 8, 9, 7, 1 };

/* Large enough that every kernel works in several items and blocks. */
static const char medium[] =
    "{\"model_type\":\"llama\",\"vocab_size\":301,\"hidden_size\":96,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":6,"
    "\"num_key_value_heads\":3,\"intermediate_size\":200,\"max_position_embeddings\":512,"
    "\"rms_norm_eps\":1e-5,"
    "\"tie_word_embeddings\":true}";
static const char medium_gpt2[] =
    "{\"model_type\":\"gpt2\",\"vocab_size\":301,\"n_embd\":96,\"n_layer\":2,\"n_head\":6,"
    "\"n_positions\":512}";

struct result {
	float logps[DPO_ANSWERS][MOST];
	struct dpo_answer_sums sums[DPO_ANSWERS];
};

static struct dpo_scorer *
open_scorer(const struct naive_model *m, bool train, int threads)
{
	struct dpo_scorer *scorer;
	struct dpo_error err;

	assert_int_equal(dpo_scorer_new(&scorer, &m->config, &m->params, m->weights,
	    &(struct dpo_passes){ .train = train, .threads = threads }, &err), DPO_OK);
	return scorer;
}

static void
score(struct dpo_scorer *scorer, const struct dpo_example *example, struct result *r)
{
	struct dpo_error err = { .text = "" };

	memset(r, 0, sizeof *r);
	if (dpo_score(scorer, example, (float *const[]){ r->logps[0], r->logps[1] }, r->sums,
	    &err) != DPO_OK)
		fail_msg("%s", err.text);
}

static void
check_answer(const struct naive_model *m, const struct dpo_example *example, size_t a,
    const struct result *r)
{
	double logps[MOST], entropies[MOST], means[MOST], sums[3] = { 0 };
	size_t n = example->n_answer[a], scored = example->n_prompt ? n : n - 1;

	naive_logps(m, example, a, logps, entropies, means);
	for (size_t t = 0; t < n; t++) {
		assert_true(fabs((double)r->logps[a][t] - logps[t]) < 1e-5);
		sums[0] += logps[t];
		sums[1] += entropies[t];
		sums[2] += means[t];
	}
	assert_int_equal(r->sums[a].scored, scored);
	assert_true(fabs(r->sums[a].logps - sums[0]) < 1e-5 * (1.0 + (double)n));
	assert_true(fabs(r->sums[a].entropy - sums[1]) < 1e-5 * (1.0 + (double)n));
	assert_true(fabs(r->sums[a].logits - sums[2]) < 1e-5 * (1.0 + (double)n));
}

/* The logits of each scored row, and the argmax counted from them. */
static void
check_logits(const struct naive_model *m, struct dpo_scorer *scorer,
    const struct dpo_example *example, size_t a, const struct result *r)
{
	size_t np = example->n_prompt, n = np + example->n_answer[a], vocab = m->config.vocab_size,
	    correct = 0;
	double *wanted = dpo_alloc(n * vocab, sizeof *wanted);
	float *logits = dpo_alloc(n * vocab, sizeof *logits), *z = logits;
	int32_t tokens[MOST];

	assert_true(wanted && logits);
	for (size_t i = 0; i < n; i++)
		tokens[i] = i < np ? example->prompt[i] : example->answer[a][i - np];
	naive_logits(m, tokens, n, wanted);
	assert_int_equal(dpo_score_logits(scorer, a, logits, NULL), DPO_OK);
	for (size_t row = np ? np - 1 : 0; row + 1 < n; row++, z += vocab) {
		size_t best = 0;

		for (size_t v = 0; v < vocab; v++) {
			assert_true(fabs((double)z[v] - wanted[row * vocab + v]) < 1e-5);
			best = wanted[row * vocab + v] > wanted[row * vocab + best] ? v : best;
		}
		correct += (int32_t)best == tokens[row + 1];
	}
	assert_int_equal(r->sums[a].correct, correct);
	free(wanted);
	free(logits);
}

static void
check_example(const char *config, const struct dpo_example *example)
{
	struct naive_model m;
	struct dpo_scorer *scorer;
	struct result r;

	naive_open(&m, config, 5);
	scorer = open_scorer(&m, false, 2);
	score(scorer, example, &r);
	for (size_t a = 0; a < example->n_answers; a++) {
		check_answer(&m, example, a, &r);
		check_logits(&m, scorer, example, a, &r);
	}
	dpo_scorer_free(scorer);
	naive_close(&m);
}

static void
test_values(void **state)
{
	static const struct dpo_example examples[] = {
		{ prompt, 5, 2, { one, two }, { 6, 4 } },
		{ prompt, 5, 2, { one, two }, { 1, 4 } },
		{ prompt, 5, 2, { one, two }, { 1, 1 } },
		{ prompt, 1, 2, { one, two }, { 6, 1 } },
		{ NULL, 0, 2, { one, two }, { 6, 4 } },
		{ NULL, 0, 2, { one, two }, { 1, 4 } },
		{ NULL, 0, 2, { one, two }, { 1, 1 } },
		{ prompt, 5, 1, { one }, { 6 } },
		{ NULL, 0, 1, { one }, { 6 } },
		{ NULL, 0, 1, { one }, { 1 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
		check_example(naive_gpt2, &examples[i]);
		check_example(naive_llama_tied, &examples[i]);
		check_example(naive_llama_untied, &examples[i]);
		for (size_t f = 0; naive_families[f]; f++)
			check_example(naive_families[f], &examples[i]);
	}
}

static void
test_pair_is_two_sequences(void **state)
{
	struct dpo_example pair = { prompt, 5, 2, { one, two }, { 6, 4 } };
	struct naive_model m;
	struct dpo_scorer *scorer;
	struct result both, alone;

	(void)state;
	naive_open(&m, naive_llama_tied, 5);
	scorer = open_scorer(&m, false, 1);
	score(scorer, &pair, &both);
	for (size_t a = 0; a < 2; a++) {
		struct dpo_example single = { prompt, 5, 1, { pair.answer[a] },
		    { pair.n_answer[a] } };

		score(scorer, &single, &alone);
		for (size_t t = 0; t < pair.n_answer[a]; t++)
			assert_true(fabs((double)(both.logps[a][t] - alone.logps[0][t])) < 1e-5);
	}
	dpo_scorer_free(scorer);
	naive_close(&m);
}

/* ------------------------------------------------------------------ bits */

static int32_t long_tokens[3][MOST];

static void
fill_tokens(void)
{
	uint64_t seed = 3;

	for (size_t i = 0; i < 3; i++)
		for (size_t t = 0; t < MOST; t++)
			long_tokens[i][t] = (int32_t)((naive_random(&seed) + 1.0f) * 150.0f);
}

static void
backward(struct dpo_scorer *scorer, const struct dpo_example *example, const struct naive_model *m,
    float *gradients)
{
	static float d[MOST];

	for (size_t t = 0; t < MOST; t++)
		d[t] = 0.25f * (float)(t % 7) - 0.6f;
	memset(gradients, 0, m->params.total * sizeof *gradients);
	assert_int_equal(dpo_score_backward(scorer, example, (const float *const[]){ d, d },
	    gradients, NULL), DPO_OK);
}

static void
check_bits(const char *config)
{
	const struct dpo_example example = { long_tokens[0], 77, 2,
	    { long_tokens[1], long_tokens[2] }, { 90, 141 } };
	const struct dpo_example other = { long_tokens[2], 133, 2,
	    { long_tokens[0], long_tokens[1] }, { 20, 200 } };
	struct naive_model m;
	struct result first, here;
	float *g_first, *g;
	struct dpo_scorer *scorer;

	naive_open(&m, config, 9);
	g_first = dpo_alloc_aligned(m.params.total, sizeof *g);
	g = dpo_alloc_aligned(m.params.total, sizeof *g);
	assert_true(g_first && g);
	for (int threads = 1; threads <= 3; threads++) {
		scorer = open_scorer(&m, true, threads);
		for (int round = 0; round < 2; round++) {
			score(scorer, &example, &here);
			backward(scorer, &example, &m, g);
			if (threads == 1 && round == 0) {
				first = here;
				memcpy(g_first, g, m.params.total * sizeof *g);
			}
			assert_memory_equal(&here, &first, sizeof here);
			assert_memory_equal(g, g_first, m.params.total * sizeof *g);
			score(scorer, &other, &here);
			backward(scorer, &other, &m, g);
		}
		dpo_scorer_free(scorer);
		scorer = open_scorer(&m, false, threads);
		score(scorer, &other, &here);
		score(scorer, &example, &here);
		assert_memory_equal(&here, &first, sizeof here);
		dpo_scorer_free(scorer);
	}
	free(g_first);
	free(g);
	naive_close(&m);
}

static void
test_bits(void **state)
{
	(void)state;
	fill_tokens();
	check_bits(medium);
	check_bits(medium_gpt2);
}

/* The naive decoder agrees at lengths of several blocks too. */
static void
test_long(void **state)
{
	const struct dpo_example example = { long_tokens[0], 140, 2,
	    { long_tokens[1], long_tokens[2] }, { 70, 90 } };
	struct naive_model m;
	struct dpo_scorer *scorer;
	struct result r;

	(void)state;
	fill_tokens();
	naive_open(&m, medium, 1);
	/* Smaller weights: large log-probs would show fp32's last bits. */
	for (size_t i = 0; i < m.params.total; i++) {
		m.weights[i] *= 0.3f;
		m.exact[i] = (double)m.weights[i];
	}
	scorer = open_scorer(&m, false, 2);
	score(scorer, &example, &r);
	check_answer(&m, &example, 0, &r);
	check_answer(&m, &example, 1, &r);
	dpo_scorer_free(scorer);
	naive_close(&m);
}

static void
test_gradients_add(void **state)
{
	const struct dpo_example example = { prompt, 5, 2, { one, two }, { 6, 4 } };
	const float d[] = { 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f };
	struct naive_model m;
	struct dpo_scorer *scorer;
	struct result r;
	float *once, *twice;

	(void)state;
	naive_open(&m, naive_gpt2, 5);
	once = dpo_alloc_aligned(m.params.total, sizeof *once);
	twice = dpo_alloc_aligned(m.params.total, sizeof *twice);
	assert_true(once && twice);
	scorer = open_scorer(&m, true, 1);
	score(scorer, &example, &r);
	assert_int_equal(dpo_score_backward(scorer, &example, (const float *const[]){ d, d }, once,
	    NULL), DPO_OK);
	for (int i = 0; i < 2; i++) {
		score(scorer, &example, &r);
		assert_int_equal(dpo_score_backward(scorer, &example,
		    (const float *const[]){ d, d }, twice, NULL), DPO_OK);
	}
	for (size_t i = 0; i < m.params.total; i++)
		assert_true(fabsf(twice[i] - 2.0f * once[i]) <= 1e-5f * (1.0f + fabsf(once[i])));
	dpo_scorer_free(scorer);
	free(once);
	free(twice);
	naive_close(&m);
}

/* ------------------------------------------------------------------ errors */

static void
refuse(struct dpo_scorer *scorer, struct dpo_example example, enum dpo_status status,
    const char *words)
{
	struct dpo_error err = { .text = "" };
	float logps[DPO_ANSWERS][MOST];

	assert_int_equal(dpo_score(scorer, &example, (float *const[]){ logps[0], logps[1] }, NULL,
	    &err), status);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void
test_errors(void **state)
{
	static const int32_t high[] = { 1, 13 }, low[] = { -1 }, zeros[30] = { 0 };
	struct naive_model m;
	struct dpo_scorer *scorer;
	struct result r;

	(void)state;
	naive_open(&m, naive_gpt2, 5);
	scorer = open_scorer(&m, false, 1);
	refuse(scorer, (struct dpo_example){ prompt, 5, 2, { one, high }, { 6, 2 } }, DPO_FORMAT,
	    "token 1 is 13");
	refuse(scorer, (struct dpo_example){ low, 1, 1, { one }, { 6 } }, DPO_FORMAT,
	    "prompt: token 0 is -1");
	refuse(scorer, (struct dpo_example){ prompt, 5, 1, { zeros }, { 20 } }, DPO_FORMAT,
	    "25 tokens");
	refuse(scorer, (struct dpo_example){ prompt, 5, 1, { one }, { 0 } }, DPO_FORMAT,
	    "no tokens");
	score(scorer, &(struct dpo_example){ prompt, 5, 1, { zeros }, { 19 } }, &r);
	m.weights[m.params.list[0].offset] = NAN;
	refuse(scorer, (struct dpo_example){ prompt, 5, 1, { one }, { 6 } }, DPO_NONFINITE,
	    "not finite");
	dpo_scorer_free(scorer);
	naive_close(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_pair_is_two_sequences),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_gradients_add),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
