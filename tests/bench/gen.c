/*
 * gen - tokens a second of generation: a GPT-2 124M shape with random weights, or a model. Usage:
 * gen [THREADS [MODEL [ROUNDS]]]. Prompts of 32 tokens, 64 tokens more; with 1 and 8 prompts at work; best of ROUNDS.
 * The yardstick for one prompt is what it takes to read all weights once a token, as fast as this machine reads
 * memory. A busy machine spoils wall time: CPU seconds are shown beside it.
 */
#include "generate.h"
#include "model.h"
#include "parallel.h"
#include "vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 32, TOKENS = 64, MOST = 8, RUN = 1 << 18 };

static const char gpt2[] = "{\"model_type\":\"gpt2\",\"vocab_size\":50257,\"n_embd\":768,\"n_layer\":12,\"n_head\":12,"
    "\"n_positions\":1024}";

static double
read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void
check(enum dpo_status status, const struct dpo_error *err)
{
	if (status == DPO_OK)
		return;
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

static void
make_random(struct dpo_model *model)
{
	struct dpo_error err;
	unsigned state = 1;

	check(dpo_config_read(&model->config, gpt2, strlen(gpt2), &err), &err);
	check(dpo_params_init(&model->params, &model->config, &err), &err);
	if (!(model->weights = dpo_alloc_aligned(model->params.total, sizeof *model->weights)))
		exit(1);
	for (size_t i = 0; i < model->params.total; i++) {
		state = state * 1664525u + 1013904223u;
		model->weights[i] = ((float)(state >> 8) * 0x1p-24f - 0.5f) * 0.04f;
	}
}

struct sums {
	const float *x;
	size_t n;
	double *sums;
};

static void
sum_run(void *context, size_t item)
{
	const struct sums *s = context;
	size_t left = s->n - item * RUN;

	s->sums[item] = dpo_vector_sum(s->x + item * RUN, left < RUN ? left : RUN);
}

/* Seconds to read the weights once. */
static double
read_weights(const struct dpo_model *model, int threads, int rounds)
{
	size_t items = (model->params.total + RUN - 1) / RUN;
	struct sums s = { model->weights, model->params.total, dpo_alloc(items, sizeof(double)) };
	double least = 1e9, start, took;

	if (!s.sums)
		exit(1);
	for (int i = 0; i < 3 * rounds; i++) {
		start = read_clock(CLOCK_MONOTONIC);
		dpo_parallel_for(threads, items, sum_run, &s);
		took = read_clock(CLOCK_MONOTONIC) - start;
		least = took < least ? took : least;
	}
	free(s.sums);
	return least;
}

/* All of `prompts` completions; the seconds. */
static double
generate(const struct dpo_model *model, int threads, size_t prompts, size_t tokens, double *cpu)
{
	static const struct dpo_generate_settings base = { .sampling = { 0, 0, 1, 0, 1 } };
	struct dpo_generate_settings settings = base;
	const struct dpo_completion *completion;
	struct dpo_generator *generator;
	int32_t ids[PROMPT];
	double start, took;
	struct dpo_error err;

	settings.max_tokens = tokens;
	check(dpo_generator_new(&generator, &model->config, &model->params, model->weights, &settings, MOST, threads, &err), &err);
	start = read_clock(CLOCK_MONOTONIC);
	*cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t i = 0; i < prompts; i++) {
		for (size_t t = 0; t < PROMPT; t++)
			ids[t] = (int32_t)((i * 131 + t * 37 + 5) % model->config.vocab_size);
		check(dpo_generator_ask(generator, i, &(struct dpo_ids){ ids, PROMPT, PROMPT }, "", 0, "", &err), &err);
	}
	while (dpo_generator_next(generator, &completion, &err) == DPO_OK)
		;
	took = read_clock(CLOCK_MONOTONIC) - start;
	*cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID) - *cpu;
	dpo_generator_free(generator);
	return took;
}

/* Seconds of a step: of all tokens but the first, which the prompt's own pass gives. */
static void
measure(const struct dpo_model *model, int threads, size_t prompts, int rounds, double reading)
{
	double least = 1e9, first = 1e9, least_cpu = 1e9, cpu, took, step;

	for (int i = 0; i < rounds; i++) {
		took = generate(model, threads, prompts, TOKENS, &cpu);
		least = took < least ? took : least;
		least_cpu = cpu < least_cpu ? cpu : least_cpu;
		took = generate(model, threads, prompts, 1, &cpu);
		first = took < first ? took : first;
	}
	step = (least - first) / (TOKENS - 1);
	printf("prompts %zu tokens/s %.1f with the prompts' %.1f step_ms %.3f cpu_ms/token %.3f of_reading %.2f\n", prompts,
	    (double)prompts / step, (double)prompts * TOKENS / least, 1e3 * step,
	    1e3 * least_cpu / (double)prompts / TOKENS, reading / step);
}

int
main(int argc, char **argv)
{
	int threads = argc > 1 && atoi(argv[1]) > 0 ? atoi(argv[1]) : dpo_parallel_available();
	int rounds = argc > 3 ? atoi(argv[3]) : 5;
	struct dpo_model model = { 0 };
	struct dpo_error err;
	double reading;

	if (argc > 2)
		check(dpo_model_open(&model, argv[2], threads, &err), &err);
	else
		make_random(&model);
	reading = read_weights(&model, threads, rounds);
	printf("%s, %d threads: %zu parameters, read at %.1f GB/s\n", argc > 2 ? argv[2] : "GPT-2 124M shape", threads,
	    model.params.parameters, 4e-9 * (double)model.params.total / reading);
	measure(&model, threads, 1, rounds, reading);
	measure(&model, threads, 8, rounds, reading);
	dpo_model_free(&model);
	return 0;
}
