/*
 * Adapters: what the configuration means, gradients of every tensor against central differences of the naive
 * double-precision decoder with the adapter folded into its weights, dropout, the start, the id.
 */
#include "decoder/decoder.h"
#include "decoder/dropout.h"
#include "decoder/lora.h"
#include "decoder/lowrank.h"
#include "decoder/score.h"
#include "fixture.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const double TOLERANCE = 1e-5;	/* max|dg| of a tensor, in max|g| */

static const int32_t prompt[] = { 3, 1, 4, 1, 5 }, one[] = { 9, 2, 6, 5, 3, 5 }, two[] = { 8, 9, 7, 1 };
static const struct dpo_example pair = { prompt, 5, 2, { one, two }, { 6, 4 } };
static const float d_one[] = { 0.7f, -0.2f, 0.5f, 1.1f, 0.3f, -0.6f }, d_two[] = { -0.9f, 0.4f, -0.3f, -0.8f };
static const float *const d_logps[] = { d_one, d_two };

static cJSON *
parse(const char *text)
{
	struct dpo_error err;
	cJSON *tree;

	if (dpo_json_parse(&tree, text, strlen(text), &err) != DPO_OK)
		fail_msg("%s", err.text);
	return tree;
}

static void
open_lora(struct dpo_lora *lora, const struct naive_model *m, const char *settings)
{
	struct dpo_error err;

	if (dpo_lora_init(lora, parse(settings), &m->config, &m->params, "base", &err) != DPO_OK)
		fail_msg("%s", err.text);
}

/* Numbers everywhere, B too, so that every gradient is there. */
static void
fill(struct dpo_lora *lora, uint64_t seed)
{
	for (size_t t = 0; t < lora->params.count; t++)
		for (size_t i = 0; i < lora->params.list[t].count; i++)
			lora->block[lora->params.list[t].offset + i] =
			    (lora->params.list[t].init == DPO_INIT_ONE ? 1.0f : 0.0f) + 0.3f * naive_random(&seed);
}

/* ------------------------------------------------------------------ the adapter in double */

struct exact {
	struct naive_model *m;
	const struct dpo_lora *lora;
	double *block, *base;	/* the adapter's numbers; the base's, unchanged */
};

/* The naive model's weights become base + scale B A, and the saved tensors. */
static void
fold(struct exact *e)
{
	bool in_out = e->m->config.family->layout == DPO_LAYOUT_IN_OUT;

	memcpy(e->m->exact, e->base, e->m->params.total * sizeof *e->base);
	for (size_t t = 0; t < e->m->params.count; t++) {
		const struct dpo_tensor *tensor = &e->m->params.list[t];
		struct dpo_lora_part part = dpo_lora_part(e->lora, tensor);
		double *w = e->m->exact + tensor->offset;

		if (part.saved)
			memcpy(w, e->block + part.saved->offset, tensor->count * sizeof *w);
		if (!part.a)
			continue;
		for (size_t o = 0; o < part.b->shape[0]; o++)
			for (size_t i = 0; i < part.a->shape[1]; i++)
				for (size_t r = 0; r < part.rank; r++)
					w[in_out ? i * part.b->shape[0] + o : o * part.a->shape[1] + i] += (double)part.scale *
					    e->block[part.b->offset + o * part.rank + r] *
					    e->block[part.a->offset + r * part.a->shape[1] + i];
	}
}

static double
objective(struct exact *e)
{
	fold(e);
	return naive_objective(e->m, &pair, d_logps);
}

static double
difference(struct exact *e, size_t at)
{
	const double h = 1e-5, w = e->block[at];
	double up, down;

	e->block[at] = w + h;
	up = objective(e);
	e->block[at] = w - h;
	down = objective(e);
	e->block[at] = w;
	return (up - down) / (2.0 * h);
}

static void
open_exact(struct exact *e, struct naive_model *m, const struct dpo_lora *lora)
{
	*e = (struct exact){ m, lora, dpo_alloc(lora->params.total, sizeof(double)), dpo_alloc(m->params.total,
	    sizeof(double)) };
	assert_true(e->block && e->base);
	memcpy(e->base, m->exact, m->params.total * sizeof(double));
	for (size_t i = 0; i < lora->params.total; i++)
		e->block[i] = (double)lora->block[i];
}

/* ------------------------------------------------------------------ gradients */

static void
compute(const struct naive_model *m, const struct dpo_lora *lora, int threads, float *gradients, float logps[2][16])
{
	struct dpo_scorer *scorer;
	struct dpo_error err = { .text = "" };

	assert_int_equal(dpo_scorer_new(&scorer, &m->config, &m->params, m->weights,
	    &(struct dpo_passes){ .lora = lora, .train = true, .threads = threads }, &err), DPO_OK);
	assert_int_equal(dpo_score(scorer, &pair, (float *const[]){ logps[0], logps[1] }, NULL, &err), DPO_OK);
	assert_int_equal(dpo_score_backward(scorer, &pair, d_logps, gradients, &err), DPO_OK);
	dpo_scorer_free(scorer);
}

static void
check_logps(struct exact *e, float logps[2][16])
{
	double exact[16];

	fold(e);
	for (size_t a = 0; a < 2; a++) {
		naive_logps(e->m, &pair, a, exact, NULL, NULL);
		for (size_t t = 0; t < pair.n_answer[a]; t++)
			assert_true(fabs(exact[t] - (double)logps[a][t]) < 2e-5);
	}
}

static void
check(const char *model, const char *settings)
{
	struct naive_model m;
	struct dpo_lora lora;
	struct exact e;
	float logps[2][16], *gradients, *again;
	double worst_of = 0;

	naive_open(&m, model, 42);
	open_lora(&lora, &m, settings);
	fill(&lora, 5);
	open_exact(&e, &m, &lora);
	gradients = dpo_alloc_aligned(lora.params.total, sizeof *gradients);
	again = dpo_alloc_aligned(lora.params.total, sizeof *again);
	assert_true(gradients && again);
	compute(&m, &lora, 2, gradients, logps);
	check_logps(&e, logps);
	compute(&m, &lora, 1, again, logps);
	assert_memory_equal(gradients, again, lora.params.total * sizeof *again);
	for (size_t t = 0; t < lora.params.count; t++) {
		const struct dpo_tensor *tensor = &lora.params.list[t];
		double most = 0, worst = 0;

		for (size_t i = 0; i < tensor->count; i++) {
			double g = difference(&e, tensor->offset + i);

			most = fixture_worst(most, fabs(g));
			worst = fixture_worst(worst, fabs(g - (double)gradients[tensor->offset + i]));
		}
		if (most < 1e-7)
			fail_msg("%s: no gradient to compare", tensor->name);
		if (!(worst <= TOLERANCE * most))
			fail_msg("%s: max|dg| is %.3g max|g|", tensor->name, worst / most);
		worst_of = fmax(worst_of, worst / most);
	}
	print_message("%zu tensors, worst %.2g of max|g|\n", lora.params.count, worst_of);
	free(e.block);
	free(e.base);
	free(gradients);
	free(again);
	dpo_lora_free(&lora);
	naive_close(&m);
}

static void
test_gradients(void **state)
{
	(void)state;
	check(naive_gpt2, "{\"r\":3,\"lora_alpha\":5,\"target_modules\":\"all-linear\"}");
	check(naive_llama_tied, "{\"r\":3,\"lora_alpha\":5,\"target_modules\":\"all-linear\"}");
	check(naive_llama_untied, "{\"r\":3,\"lora_alpha\":5,\"target_modules\":\"all-linear\"}");
}

/* Nothing below the second layer is trained, whose backward pass ends there. */
static void
test_gradients_of_some(void **state)
{
	(void)state;
	check(naive_llama_untied, "{\"r\":2,\"target_modules\":[\"layers.1.mlp.up_proj\"]}");
	check(naive_llama_untied, "{\"r\":2,\"target_modules\":[\"layers.1.self_attn.v_proj\",\"layers.0.mlp.down_proj\"]}");
	check(naive_gpt2, "{\"r\":2,\"target_modules\":[\"h.1.attn.c_proj\"],\"modules_to_save\":[\"wpe\"]}");
}

static void
test_gradients_saved(void **state)
{
	(void)state;
	check(naive_llama_untied, "{\"r\":2,\"target_modules\":\"all-linear\",\"use_rslora\":true,"
	    "\"modules_to_save\":[\"lm_head\",\"embed_tokens\",\"norm\",\"layers.0.mlp\"],"
	    "\"rank_pattern\":{\"q_proj\":4,\"layers.1.*\":1},\"alpha_pattern\":{\"v_proj\":3}}");
	check(naive_gpt2,
	    "{\"r\":2,\"target_modules\":[\"c_fc\"],\"modules_to_save\":[\"ln_f\",\"h.1.ln_1\",\"h.0.attn.c_proj\"]}");
}

/* With B = 0 every log-prob has the bits of the base's. */
static void
test_zero_is_base(void **state)
{
	float base[2][16], adapted[2][16], *gradients;
	struct dpo_scorer *scorer;
	struct dpo_error err;
	struct naive_model m;
	struct dpo_lora lora;

	(void)state;
	naive_open(&m, naive_gpt2, 42);
	open_lora(&lora, &m, "{\"r\":4,\"target_modules\":\"all-linear\",\"modules_to_save\":[\"wpe\"]}");
	assert_true(dpo_lora_start(&lora, m.weights, 42));
	gradients = dpo_alloc_aligned(lora.params.total, sizeof *gradients);
	assert_non_null(gradients);
	compute(&m, &lora, 2, gradients, adapted);
	assert_int_equal(dpo_scorer_new(&scorer, &m.config, &m.params, m.weights, &(struct dpo_passes){ .threads = 1 }, &err),
	    DPO_OK);
	assert_int_equal(dpo_score(scorer, &pair, (float *const[]){ base[0], base[1] }, NULL, &err), DPO_OK);
	for (size_t a = 0; a < 2; a++)
		assert_memory_equal(base[a], adapted[a], pair.n_answer[a] * sizeof(float));
	dpo_scorer_free(scorer);
	free(gradients);
	dpo_lora_free(&lora);
	naive_close(&m);
}

/* ------------------------------------------------------------------ generation */

/* h of the rows that predict an answer's tokens, by prefill and steps, of n equal sequences at once. */
static void
step_through(const struct naive_model *m, const struct dpo_lora *lora, const struct dpo_example *example, size_t n, float *h)
{
	struct dpo_cache caches[3] = { { 0 } }, *list[3] = { &caches[0], &caches[1], &caches[2] };
	size_t hidden = m->config.hidden_size;
	struct dpo_example start = { example->prompt, example->n_prompt, 1, { example->answer[0] }, { 1 } };
	struct dpo_sequence sequence = { 0 };
	struct dpo_decoder *decoder;
	struct dpo_error err;
	const float *found;

	assert_int_equal(dpo_decoder_new(&decoder, &m->config, &m->params, &(struct dpo_passes){ .lora = lora, .threads = 2 },
	    &err), DPO_OK);
	assert_int_equal(dpo_pack(&sequence, &start, m->config.vocab_size, m->config.max_positions, &err), DPO_OK);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(dpo_decoder_prefill(decoder, m->weights, &sequence, &caches[i], 16, &found, &err), DPO_OK);
	memcpy(h, found, hidden * sizeof *h);
	for (size_t t = 0; t + 1 < example->n_answer[0]; t++) {
		int32_t token = example->answer[0][t], tokens[] = { token, token, token };

		assert_int_equal(dpo_decoder_step(decoder, m->weights, tokens, list, n, &found, &err), DPO_OK);
		memcpy(h + (t + 1) * hidden, found + (n - 1) * hidden, hidden * sizeof *h);
	}
	for (size_t i = 0; i < 3; i++)
		dpo_cache_free(&caches[i]);
	dpo_sequence_free(&sequence);
	dpo_decoder_free(decoder);
}

/* Steps with an adapter: the hidden states of the packed pass, and the same bits alone and among others. */
static void
test_steps(void **state)
{
	static const struct dpo_example example = { prompt, 5, 1, { one }, { 6 } };
	static const char *const models[] = { naive_gpt2, naive_llama_untied };
	float alone[6 * 64], among[6 * 64];
	struct dpo_sequence sequence = { 0 };
	struct dpo_decoder *decoder;
	struct dpo_error err;
	struct naive_model m;
	struct dpo_lora lora;
	const float *h;

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		naive_open(&m, models[k], 42);
		open_lora(&lora, &m, "{\"r\":3,\"lora_alpha\":5,\"target_modules\":\"all-linear\"}");
		fill(&lora, 5);
		step_through(&m, &lora, &example, 1, alone);
		step_through(&m, &lora, &example, 3, among);
		assert_memory_equal(alone, among, 6 * m.config.hidden_size * sizeof *alone);
		assert_int_equal(dpo_decoder_new(&decoder, &m.config, &m.params, &(struct dpo_passes){ .lora = &lora,
		    .threads = 2 }, &err), DPO_OK);
		assert_int_equal(dpo_pack(&sequence, &example, m.config.vocab_size, m.config.max_positions, &err), DPO_OK);
		assert_int_equal(dpo_decoder_forward(decoder, m.weights, &sequence, &h, &err), DPO_OK);
		for (size_t i = 0; i < 6 * m.config.hidden_size; i++)
			assert_true(fabsf(h[i] - alone[i]) < 1e-5f);
		dpo_decoder_free(decoder);
		dpo_lora_free(&lora);
		naive_close(&m);
	}
	dpo_sequence_free(&sequence);
}

/* In the decoder: the same key, the same bits, recomputed too; another key, other log-probs; without one, those of no dropout. */
static void
test_dropout_in_decoder(void **state)
{
	static const struct dpo_dropout_key keys[] = { { 1, 2, 3 }, { 1, 2, 3 }, { 1, 2, 4 } };
	float logps[4][2][16], *gradients[2];
	struct dpo_scorer *scorer;
	struct dpo_error err;
	struct naive_model m;
	struct dpo_lora lora;

	(void)state;
	naive_open(&m, naive_llama_tied, 42);
	open_lora(&lora, &m, "{\"r\":4,\"target_modules\":\"all-linear\",\"lora_dropout\":0.5}");
	fill(&lora, 5);
	for (size_t k = 0; k < 4; k++) {
		assert_int_equal(dpo_scorer_new(&scorer, &m.config, &m.params, m.weights,
		    &(struct dpo_passes){ .lora = &lora, .train = true, .recompute = k == 1, .threads = 2 }, &err), DPO_OK);
		dpo_scorer_dropout(scorer, k < 3 ? &keys[k] : NULL);
		assert_int_equal(dpo_score(scorer, &pair, (float *const[]){ logps[k][0], logps[k][1] }, NULL, &err), DPO_OK);
		if (k < 2) {
			gradients[k] = dpo_alloc_aligned(lora.params.total, sizeof(float));
			assert_non_null(gradients[k]);
			assert_int_equal(dpo_score_backward(scorer, &pair, d_logps, gradients[k], &err), DPO_OK);
		}
		dpo_scorer_free(scorer);
	}
	assert_memory_equal(logps[0][0], logps[1][0], 6 * sizeof(float));
	assert_memory_equal(gradients[0], gradients[1], lora.params.total * sizeof(float));
	assert_memory_not_equal(logps[0][0], logps[2][0], 6 * sizeof(float));
	assert_memory_not_equal(logps[0][0], logps[3][0], 6 * sizeof(float));
	compute(&m, &lora, 1, gradients[0], logps[0]);
	assert_memory_equal(logps[0][0], logps[3][0], 6 * sizeof(float));
	free(gradients[0]);
	free(gradients[1]);
	dpo_lora_free(&lora);
	naive_close(&m);
}

/* Settings with a dropout of their own and without one end with that which was set, told once. */
static void
test_set_dropout(void **state)
{
	static const char *const settings[] = { "{\"target_modules\":\"all-linear\",\"lora_dropout\":0.5,\"r\":4}",
		"{\"target_modules\":\"all-linear\"}" };
	struct naive_model m;
	struct dpo_lora lora;

	(void)state;
	naive_open(&m, naive_llama_tied, 42);
	for (size_t i = 0; i < 2; i++) {
		char *text;

		open_lora(&lora, &m, settings[i]);
		assert_true(dpo_lora_set_dropout(&lora, 0.25));
		assert_true(lora.config.dropout == 0.25);
		text = cJSON_PrintUnformatted(lora.settings);
		assert_string_equal(text, i == 0 ? "{\"target_modules\":\"all-linear\",\"lora_dropout\":0.25,\"r\":4}" :
		    "{\"target_modules\":\"all-linear\",\"lora_dropout\":0.25}");
		cJSON_free(text);
		dpo_lora_free(&lora);
	}
	naive_close(&m);
}

/* ------------------------------------------------------------------ configuration, table, start */

static void
test_names(void **state)
{
	static const struct { const char *settings; size_t tensors; } cases[] = {
		{ "{\"target_modules\":\"all-linear\"}", 28 },
		{ "{\"target_modules\":[\"q_proj\",\"v_proj\"]}", 8 },
		{ "{\"target_modules\":[\"1.self_attn.q_proj\"]}", 2 },
		{ "{\"target_modules\":\".*layers\\\\.0\\\\.mlp\\\\.(up|down)_proj\"}", 4 },
		{ "{\"target_modules\":[\"q_proj\"],\"modules_to_save\":[\"norm\"]}", 9 },	/* endswith: all norms */
		{ "{\"target_modules\":[\"q_proj\"],\"modules_to_save\":[\"model.norm\"]}", 5 },
		{ "{\"target_modules\":\"all-linear\",\"modules_to_save\":[\"lm_head\",\"mlp\"]}", 29 },
	};
	struct naive_model m;
	struct dpo_lora lora;

	(void)state;
	naive_open(&m, naive_llama_untied, 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		open_lora(&lora, &m, cases[i].settings);
		if (lora.params.count != cases[i].tensors)
			fail_msg("%s: %zu tensors", cases[i].settings, lora.params.count);
		dpo_lora_free(&lora);
	}
	naive_close(&m);
}

static void
test_ranks(void **state)
{
	struct naive_model m;
	struct dpo_lora lora;
	struct dpo_lora_part part;

	(void)state;
	naive_open(&m, naive_llama_tied, 1);
	open_lora(&lora, &m, "{\"r\":4,\"lora_alpha\":6,\"use_rslora\":true,\"target_modules\":\"all-linear\","
	    "\"rank_pattern\":{\"layers\\\\.1\\\\..*q_proj\":2,\"q_proj\":9},\"alpha_pattern\":{\"q_proj\":27}}");
	part = dpo_lora_part(&lora, dpo_params_find(&m.params, "model.layers.0.self_attn.q_proj.weight"));
	assert_int_equal(part.rank, 9);
	assert_true(fabsf(part.scale - 9.0f) < 1e-6f);
	part = dpo_lora_part(&lora, dpo_params_find(&m.params, "model.layers.1.self_attn.q_proj.weight"));
	assert_int_equal(part.rank, 2);
	assert_true(fabsf(part.scale - 27.0f / sqrtf(2.0f)) < 1e-5f);
	part = dpo_lora_part(&lora, dpo_params_find(&m.params, "model.layers.1.mlp.up_proj.weight"));
	assert_int_equal(part.rank, 4);
	assert_true(fabsf(part.scale - 3.0f) < 1e-6f);
	assert_int_equal(lora.rank_max, 9);
	assert_null(dpo_lora_part(&lora, dpo_params_find(&m.params, "model.embed_tokens.weight")).a);
	dpo_lora_free(&lora);
	naive_close(&m);
}

static void
test_refused(void **state)
{
	static const struct { const char *settings, *says; enum dpo_status status; } cases[] = {
		{ "{\"target_modules\":\"all-linear\",\"use_dora\":true}", "\"use_dora\": true", DPO_UNSUPPORTED },
		{ "{\"target_modules\":\"all-linear\",\"bias\":\"all\"}", "\"bias\": \"all\"", DPO_UNSUPPORTED },
		{ "{\"target_modules\":\"all-linear\",\"peft_type\":\"LOHA\"}", "peft_type", DPO_UNSUPPORTED },
		{ "{\"target_modules\":\"all-linear\",\"init_lora_weights\":\"pissa\"}", "pissa", DPO_UNSUPPORTED },
		{ "{\"target_modules\":\"all-linear\",\"layers_to_transform\":[0]}", "layers_to_transform", DPO_UNSUPPORTED },
		{ "{\"target_modules\":\"all-linear\",\"of_a_newer_peft\":3}", "of_a_newer_peft", DPO_UNSUPPORTED },
		{ "{\"target_modules\":\"all-linear\",\"modules_to_save\":[\"embed_tokens\"]}", "tied", DPO_UNSUPPORTED },
		{ "{\"target_modules\":[\"embed_tokens\"]}", "no linear map", DPO_UNSUPPORTED },
		{ "{\"target_modules\":[\"q_proj\",\"c_attn\"]}", "no module \"c_attn\"", DPO_FORMAT },
		{ "{\"target_modules\":[\"_proj\"]}", "no module \"_proj\"", DPO_FORMAT },
		{ "{\"target_modules\":[\"q_proj\"],\"modules_to_save\":[\"score\"]}", "no module \"score\"", DPO_FORMAT },
		{ "{\"target_modules\":[\"q_proj\", 3]}", "not a name", DPO_FORMAT },
		{ "{\"target_modules\":\"nothing\"}", "names no linear map", DPO_FORMAT },
		{ "{\"target_modules\":\"(\"}", "", DPO_FORMAT },
		{ "{\"r\":8}", "no \"target_modules\"", DPO_FORMAT },
		{ "{\"r\":0,\"target_modules\":\"all-linear\"}", "\"r\"", DPO_FORMAT },
		{ "{\"r\":2,\"target_modules\":\"all-linear\",\"rank_pattern\":{\"q_proj\":1.5}}", "q_proj", DPO_FORMAT },
		{ "{\"r\":2,\"target_modules\":\"all-linear\",\"lora_dropout\":1}", "lora_dropout", DPO_FORMAT },
	};
	struct naive_model m;
	struct dpo_lora lora;
	struct dpo_error err;
	enum dpo_status status;

	(void)state;
	naive_open(&m, naive_llama_tied, 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		status = dpo_lora_init(&lora, parse(cases[i].settings), &m.config, &m.params, "base", &err);
		if (status != cases[i].status || !strstr(err.text, cases[i].says))
			fail_msg("%s: %d, %s", cases[i].settings, (int)status, status ? err.text : "accepted");
		assert_null(lora.block);
	}
	naive_close(&m);
}

/* A as peft draws it: uniform in +-1/sqrt(in), by name and seed; B zero; saved tensors the base's. */
static void
test_start(void **state)
{
	const char settings[] = "{\"r\":512,\"target_modules\":\"all-linear\",\"modules_to_save\":[\"model.norm\"]}";
	char ids[3][DPO_HEX_BYTES];
	struct dpo_lora lora, other;
	const struct dpo_tensor *a, *norm;
	struct naive_model m;
	struct dpo_error err;
	double sum = 0, squares = 0, bound = 1 / sqrt(16.0), most = 0;

	(void)state;
	naive_open(&m, naive_llama_tied, 1);
	open_lora(&lora, &m, settings);
	open_lora(&other, &m, settings);
	assert_true(dpo_lora_start(&lora, m.weights, 42) && dpo_lora_start(&other, m.weights, 43));
	a = dpo_lora_part(&lora, dpo_params_find(&m.params, "model.layers.0.mlp.up_proj.weight")).a;
	assert_int_equal(a->shape[1], 16);
	for (size_t i = 0; i < a->count; i++) {
		double v = (double)lora.block[a->offset + i];

		most = fmax(most, fabs(v));
		sum += v / (double)a->count;
		squares += v * v / (double)a->count;
	}
	assert_true(most <= bound && most > 0.999 * bound);
	assert_true(fabs(sum) < 5 * bound / sqrt(3.0 * (double)a->count));
	assert_true(fabs(squares / (bound * bound / 3) - 1) < 0.03);
	assert_memory_not_equal(lora.block + a->offset, other.block + a->offset, a->count * sizeof(float));
	assert_memory_not_equal(lora.block + a->offset, lora.block + (a + 4)->offset, 64 * sizeof(float));
	norm = dpo_params_find(&m.params, "model.norm.weight");
	assert_memory_equal(lora.block + dpo_params_find(&lora.params, "model.norm.weight")->offset,
	    m.weights + norm->offset, norm->count * sizeof(float));

	/* the id: of numbers, of the scale, of the base */
	assert_int_equal(dpo_lora_identify(ids[0], &lora, 2, &err), DPO_OK);
	assert_int_equal(dpo_lora_identify(ids[1], &other, 2, &err), DPO_OK);
	assert_true(dpo_lora_start(&other, m.weights, 42));
	assert_int_equal(dpo_lora_identify(ids[2], &other, 2, &err), DPO_OK);
	assert_string_equal(ids[0], ids[2]);
	assert_string_not_equal(ids[0], ids[1]);
	for (size_t t = 0; t < m.params.count; t++)
		other.parts[t].scale *= 2;
	assert_int_equal(dpo_lora_identify(ids[2], &other, 2, &err), DPO_OK);
	assert_string_not_equal(ids[0], ids[2]);
	lora.base_id[0] = 'B';
	assert_int_equal(dpo_lora_identify(ids[2], &lora, 2, &err), DPO_OK);
	assert_string_not_equal(ids[0], ids[2]);
	dpo_lora_free(&lora);
	dpo_lora_free(&other);
	naive_close(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gradients),
		cmocka_unit_test(test_gradients_of_some),
		cmocka_unit_test(test_gradients_saved),
		cmocka_unit_test(test_zero_is_base),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_dropout_in_decoder),
		cmocka_unit_test(test_set_dropout),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ranks),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_start),
	};

	return cmocka_run_group_tests_name("lora", tests, NULL, NULL);
}
