/*
 * growth - how the time of training grows: seconds a pair against the lengths of prompt and answers, the number of
 * parameters, short pairs, threads; of an adapter and of the reference's pass.
 *
 *	growth [ROUNDS] > growth.tsv
 *
 * A line is a measurement, the best of ROUNDS, of one pair forward and back (AdamW apart, in the series "adamw", seconds a
 * step), with what it computed: operations of the linear maps and of attention, rows x width numbers that other parts walk
 * over, layers, parameters. tests/bench/growth.py fits a model of cost to it and draws it. Random weights.
 */
#include "base/parallel.h"
#include "kernel/gemm.h"
#include "subject.h"
#include "train/optim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TRAIN, REFERENCE, ADAPTER };

struct bench {
	struct dpo_model model;
	struct dpo_trained trained;
	float *gradients;
	int rounds;
};

static void
make(struct bench *b, const struct subject_shape *shape)
{
	subject_make(&b->model, shape);
	b->trained = dpo_model_trained(&b->model);
	b->gradients = subject_filled(b->trained.params->total);
}

/* An adapter instead. */
static void
adapt(struct bench *b)
{
	subject_adapt(&b->model, 0);
	b->trained = dpo_model_trained(&b->model);
	free(b->gradients);
	b->gradients = subject_filled(b->trained.params->total);
}

static void
done(struct bench *b)
{
	free(b->gradients);
	dpo_model_free(&b->model);
}

/* ------------------------------------------------------------------ what is computed */

static void
print(const struct bench *b, const char *series, double x, int threads, enum kind kind, const struct dpo_example *e, double seconds)
{
	const struct dpo_config *c = &b->model.config;
	double layers = (double)c->layers, hidden = (double)c->hidden_size, p = (double)e->n_prompt, a = (double)e->n_answer[0];
	double rows = p + 2 * a, times = kind == TRAIN ? 3 : kind == ADAPTER ? 2 : 1;
	double maps = times * 2 * rows * layers * 12 * hidden * hidden + times * 2 * 2 * a * hidden * (double)c->vocab_size;
	double seen = p * (p + 1) / 2 + 2 * (a * p + a * (a + 1) / 2);
	double attention = (kind == REFERENCE ? 1 : 3.5) * 4 * seen * hidden * layers;

	printf("%s\t%g\t%d\t%d\t%.6g\t%.6g\t%.6g\t%g\t%zu\t%.6f\n", series, x, threads, (int)kind, maps, attention,
	    times * rows * layers * hidden, layers * times, b->trained.params->parameters, seconds);
	fflush(stdout);
}

/* Best seconds of one pair, forward and, but for the reference, back. */
static void
pair(struct bench *b, const char *series, double x, int threads, enum kind kind, size_t prompt, size_t answer)
{
	struct dpo_example e = subject_pair(&b->model, prompt, answer);
	struct dpo_scorer *scorer;
	struct dpo_error err;
	double least = 0;

	subject_check(dpo_scorer_new(&scorer, &b->model.config, &b->model.params, b->model.weights,
	    &(struct dpo_passes){ .lora = b->model.lora, .train = kind != REFERENCE, .threads = threads }, &err) == DPO_OK,
	    err.text);
	(void)subject_pass(scorer, &e, kind == REFERENCE ? NULL : b->gradients);	/* makes caches and buffers */
	for (int round = 0; round < b->rounds; round++)
		subject_least(&least, subject_pass(scorer, &e, kind == REFERENCE ? NULL : b->gradients));
	dpo_scorer_free(scorer);
	print(b, series, x, threads, kind, &e, least);
}

static void
adamw(struct bench *b, int threads)
{
	struct dpo_example none = { 0 };
	struct dpo_optim optim;
	double least = 0, seconds;

	subject_optim(&optim, b->trained.params, threads);
	for (int round = 0; round <= b->rounds; round++) {
		seconds = subject_update(&optim, b->trained.block, b->gradients, (uint64_t)round + 1);
		if (round > 0)
			subject_least(&least, seconds);
	}
	print(b, "adamw", (double)b->trained.params->parameters, threads, TRAIN, &none, least);
	dpo_optim_free(&optim);
}

int
main(int argc, char **argv)
{
	static const struct subject_shape shapes[] = { { "1M", 4, 128, 4, 2048 }, { "10M", 6, 320, 5, 8192 },
		{ "51M", 8, 512, 8, 50257 }, { "124M", 12, 768, 12, 50257 }, { "355M", 24, 1024, 16, 50257 } };
	static const size_t prompts[] = { 16, 128, 256, 512, 768 }, answers[] = { 16, 64, 128, 256, 448 },
	    shorts[] = { 4, 8, 16, 32, 64 };
	struct bench b = { .rounds = argc > 1 ? atoi(argv[1]) : 2 };
	int threads = dpo_gemm_threads(dpo_parallel_available());

	subject_begin(argv);
	printf("series\tx\tthreads\tkind\tmaps\tattention\telements\tlayers\tparameters\tseconds\n");
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		make(&b, &shapes[i]);
		pair(&b, "parameters", (double)b.model.params.parameters, threads, TRAIN, 128, 128);
		adamw(&b, threads);
		if (strcmp(shapes[i].name, "124M") == 0) {
			for (size_t k = 0; k < sizeof prompts / sizeof *prompts; k++)
				pair(&b, "prompt", (double)prompts[k], threads, TRAIN, prompts[k], 64);
			for (size_t k = 0; k < sizeof answers / sizeof *answers; k++)
				pair(&b, "answer", (double)answers[k], threads, TRAIN, 128, answers[k]);
			for (size_t k = 0; k < sizeof shorts / sizeof *shorts; k++)
				pair(&b, "short", (double)(8 + 2 * shorts[k]), threads, TRAIN, 8, shorts[k]);
			for (int n = 1; n <= threads; n = n < threads && 2 * n > threads ? threads : 2 * n)
				pair(&b, "threads", n, n, TRAIN, 128, 128);
			pair(&b, "reference", 128, threads, REFERENCE, 128, 128);
			adapt(&b);
			pair(&b, "adapter", 128, threads, ADAPTER, 128, 128);
			adamw(&b, threads);
		}
		done(&b);
	}
	return 0;
}
