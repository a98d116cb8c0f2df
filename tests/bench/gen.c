/*
 * gen - tokens a second of generation, and what part of the memory's speed its steps reach.
 *
 *	gen [THREADS [ROUNDS [SUBJECT [fp32|bf16]]]]
 *
 * SUBJECT is 124M or 348k, GPT-2 of that many parameters with random weights, stored as fp32 or as bf16, or else a model.
 * Without one, all four in turn. Prompts of 32 tokens, 64 tokens more, greedy; 1 and 8 prompts at work; best of ROUNDS or of
 * a second's, after one that is not counted.
 * The yardstick of a step is what it takes to read once all weights that it reads whole, as fast as this machine reads memory
 * (machine.h); what fits in caches is read faster. A busy machine spoils wall time: CPU seconds are shown beside it.
 */
#include "base/parallel.h"
#include "decoder/generate.h"
#include "kernel/gemm.h"
#include "machine.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 32, TOKENS = 64, MOST = 8, LEAST = 1 };	/* seconds */

static const struct subject_shape stories = { "348k", 5, 64, 8, 512 };

struct took {
	double wall, cpu;
};

/* Bytes of the table of that name; 0 if there is none. */
static double
bytes_of(const struct dpo_model *model, const char *name)
{
	const struct dpo_tensor *table;
	char full[128];

	snprintf(full, sizeof full, "%s.weight", name ? name : "");
	table = dpo_params_find(&model->params, full);
	return table ? (double)(table->count * dpo_dtype_size(table->dtype)) : 0;
}

/* Bytes that a step reads: of positions, and of tokens where the head has a table of its own, it reads but a row. */
static double
bytes_read(const struct dpo_model *model)
{
	const struct dpo_names *names = &model->config.family->names;

	return 4 * (double)model->params.total - bytes_of(model, names->positions) -
	    (model->config.tied_head ? 0 : bytes_of(model, names->tokens));
}

/* All of `prompts` completions, with making their caches; the least of what was seen. */
static void
generate(const struct dpo_model *model, int threads, size_t prompts, size_t tokens, struct took *least)
{
	struct dpo_generate_settings settings = { .sampling = { 0, 0, 1, 0, 1 }, .max_tokens = tokens };
	const struct dpo_completion *completion;
	struct dpo_generator *generator;
	enum dpo_status status;
	int32_t ids[PROMPT];
	struct took start = { machine_wall(), machine_cpu() };
	struct dpo_error err;

	subject_check(dpo_generator_new(&generator, &model->config, &model->params, model->weights, NULL, &settings, MOST, threads,
	    &err) == DPO_OK, err.text);
	for (size_t i = 0; i < prompts; i++) {
		for (size_t t = 0; t < PROMPT; t++)
			ids[t] = (int32_t)((i * 131 + t * 37 + 5) % model->config.vocab_size);
		subject_check(dpo_generator_ask(generator, i, &(struct dpo_ids){ ids, PROMPT, PROMPT }, "", 0, "", &err) == DPO_OK,
		    err.text);
	}
	while ((status = dpo_generator_next(generator, &completion, &err)) == DPO_OK)
		;
	subject_least(&least->wall, machine_wall() - start.wall);
	subject_least(&least->cpu, machine_cpu() - start.cpu);
	subject_check(status == DPO_END, err.text);
	dpo_generator_free(generator);
}

/* A step: all tokens but the first, which the prompt's own pass gives. What is soon done is done more often. */
static void
measure(const struct dpo_model *model, int threads, size_t prompts, int rounds)
{
	double gb = 1e-9 * bytes_read(model), rate = 0, until, here, step;
	struct took cold = { 0 }, all = { 0 }, first = { 0 };

	generate(model, threads, prompts, TOKENS, &cold);
	until = machine_wall() + LEAST;
	for (int i = 0; i < rounds || machine_wall() < until; i++) {
		generate(model, threads, prompts, TOKENS, &all);
		generate(model, threads, prompts, 1, &first);
		here = machine_read(threads, model->weights, model->params.total);
		rate = here > rate ? here : rate;
	}
	step = (all.wall - first.wall) / (TOKENS - 1);
	printf("prompts %zu tokens/s %.1f with the prompts' %.1f step_ms %.3f cpu_ms/token %.3f read_gb/s %.1f of_reading %.2f\n",
	    prompts, (double)prompts / step, (double)prompts * TOKENS / all.wall, 1e3 * step,
	    1e3 * all.cpu / (double)prompts / TOKENS, rate, gb / rate / step);
}

static void
measure_model(const struct dpo_model *model, const char *name, int threads, int rounds)
{
	printf("%s, %d threads: %zu parameters, %.1f MB\n", name, threads, model->params.parameters,
	    4e-6 * (double)model->params.total);
	measure(model, threads, 1, rounds);
	measure(model, threads, MOST, rounds);
	fflush(stdout);
}

static void
measure_shape(const struct subject_shape *shape, const char *dtype, int threads, int rounds)
{
	struct dpo_model model;
	char name[32];

	subject_make(&model, shape);
	if (strcmp(dtype, "bf16") == 0)
		subject_narrow(&model);
	snprintf(name, sizeof name, "%s %s", shape->name, dtype);
	measure_model(&model, name, threads, rounds);
	dpo_model_free(&model);
}

int
main(int argc, char **argv)
{
	static const struct subject_shape *const shapes[] = { &subject_gpt2, &stories };
	static const char *const dtypes[] = { "fp32", "bf16" };
	int threads = dpo_gemm_threads(argc > 1 && atoi(argv[1]) > 0 ? atoi(argv[1]) : dpo_parallel_available());
	int rounds = argc > 2 && atoi(argv[2]) > 0 ? atoi(argv[2]) : 3;
	struct dpo_model model = { 0 };
	struct dpo_error err;
	bool found = false;

	subject_begin(argv);
	for (size_t i = 0; i < 4; i++)
		if (argc <= 3 || (strcmp(argv[3], shapes[i / 2]->name) == 0 &&
		    (argc <= 4 || strcmp(argv[4], dtypes[i % 2]) == 0))) {
			measure_shape(shapes[i / 2], dtypes[i % 2], threads, rounds);
			found = true;
		}
	if (found)
		return 0;
	subject_check(argc > 3 && dpo_model_open(&model, argv[3], threads, &err) == DPO_OK, err.text);
	measure_model(&model, argv[3], threads, rounds);
	dpo_model_free(&model);
	return 0;
}
