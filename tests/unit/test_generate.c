/*
 * Completions of random models: the same whatever is at work beside them and on how many threads, of a model whose sequences
 * are shared out to threads whole, and of one whose products are.
 */
#include "base/size.h"
#include "decoder/generate.h"
#include "naive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PROMPTS = 7, SAMPLES = 2, MOST = 24 };

struct model {
	struct dpo_config config;
	struct dpo_params params;
	float *weights;
};

struct completions {
	size_t n[PROMPTS * SAMPLES];
	int32_t tokens[PROMPTS * SAMPLES][MOST];
	float logps[PROMPTS * SAMPLES][MOST];
};

static void
make(struct model *model, const char *config)
{
	struct dpo_error err;
	uint64_t seed = 1;

	*model = (struct model){ 0 };
	assert_int_equal(dpo_config_read(&model->config, config, strlen(config), &err), DPO_OK);
	assert_int_equal(dpo_params_init(&model->params, &model->config, &err), DPO_OK);
	model->weights = naive_numbers(model->params.total, &seed);
	for (size_t i = 0; i < model->params.total; i++)
		model->weights[i] *= 0.1f;
}

static void
ask(struct dpo_generator *generator, size_t prompt, size_t sample, size_t vocab)
{
	int32_t ids[PROMPTS + 2];
	struct dpo_ids all = { ids, prompt + 2, prompt + 2 };
	struct dpo_error err;
	char key[8];

	for (size_t i = 0; i < all.count; i++)
		ids[i] = (int32_t)((prompt * 31 + i * 7 + 3) % vocab);
	snprintf(key, sizeof key, "%zu", prompt);
	assert_int_equal(dpo_generator_ask(generator, prompt, &all, key, sample, "", &err), DPO_OK);
}

static void
run(const struct model *model, size_t batch, int threads, struct completions *all)
{
	int32_t eos[64];
	struct dpo_generate_settings settings = { .sampling = { 1, 0, 1, 0, 1 }, .max_tokens = MOST, .seed = 5, .eos = eos,
	    .n_eos = 64 };
	size_t asked = 0, done = 0, of = PROMPTS * SAMPLES;
	const struct dpo_completion *c;
	struct dpo_generator *generator;
	struct dpo_error err;

	memset(all, 0, sizeof *all);
	for (size_t i = 0; i < settings.n_eos; i++)	/* some end a completion */
		eos[i] = (int32_t)(i * model->config.vocab_size / settings.n_eos / 8);
	assert_int_equal(dpo_generator_new(&generator, &model->config, &model->params, model->weights, NULL, &settings, batch,
	    threads,
	    &err), DPO_OK);
	for (; done < of; done++) {
		for (; asked < of && dpo_generator_room(generator) > 0; asked++)
			ask(generator, asked / SAMPLES, asked % SAMPLES, model->config.vocab_size);
		assert_int_equal(dpo_generator_next(generator, &c, &err), DPO_OK);
		all->n[done] = c->tokens.count;
		memcpy(all->tokens[done], c->tokens.ids, c->tokens.count * sizeof *c->tokens.ids);
		memcpy(all->logps[done], c->logps, c->tokens.count * sizeof *c->logps);
	}
	assert_int_equal(dpo_generator_next(generator, &c, &err), DPO_END);
	dpo_generator_free(generator);
}

static void
check(const char *config)
{
	static struct completions alone, many;
	size_t shortest = MOST, longest = 0;
	struct model model;

	make(&model, config);
	run(&model, 1, 1, &alone);
	for (size_t i = 0; i < PROMPTS * SAMPLES; i++) {
		shortest = alone.n[i] < shortest ? alone.n[i] : shortest;
		longest = alone.n[i] > longest ? alone.n[i] : longest;
	}
	assert_true(shortest + 2 < longest);	/* so that some begin beside others that are on their way */
	for (size_t batch = 1; batch <= 11; batch += batch == 1 ? 2 : 4)
		for (int threads = 1; threads <= 3; threads++) {
			run(&model, batch, threads, &many);
			assert_memory_equal(&many, &alone, sizeof alone);
		}
	dpo_params_free(&model.params);
	free(model.weights);
}

static void
test_small(void **state)
{
	(void)state;
	check("{\"model_type\":\"gpt2\",\"vocab_size\":512,\"n_embd\":48,\"n_layer\":2,\"n_head\":4,\"n_positions\":64}");
}

static void
test_large(void **state)
{
	(void)state;
	check("{\"model_type\":\"gpt2\",\"vocab_size\":2048,\"n_embd\":192,\"n_layer\":3,\"n_head\":4,\"n_positions\":64}");
}

/* A large model is large where its numbers lie in a mapped file too, and its block is empty. */
static void
test_workers(void **state)
{
	struct dpo_params mapped = { .total = 0, .parameters = 124000000 }, small = { .total = 1 << 18, .parameters = 1 << 18 };

	(void)state;
	assert_int_equal(dpo_generator_workers(&mapped, 8, 2), 1);
	assert_int_equal(dpo_generator_workers(&small, 8, 2), 2);
	assert_int_equal(dpo_generator_workers(&small, 1, 2), 1);
	assert_int_equal(dpo_generator_workers(&small, 8, 1), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_workers), cmocka_unit_test(test_small),
		cmocka_unit_test(test_large) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
