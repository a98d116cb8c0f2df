/*
 * growth - how the time of training grows: seconds a pair against the lengths of prompt and answers, the number of
 * parameters, short pairs, threads; of an adapter and of the reference's pass; and what the independence of bits costs.
 *
 *	growth [ROUNDS] > growth.tsv
 *
 * A line is a measurement, the best of ROUNDS, of one pair forward and back (AdamW apart, in the series "adamw", seconds a
 * step), with what it computed: operations of the linear maps and of attention, rows x width numbers that other parts walk
 * over, layers, parameters. tests/bench/growth.py fits a model of cost to it and draws it. Random weights.
 */
#include "gemm.h"
#include "linear.h"
#include "machine.h"
#include "optim.h"
#include "parallel.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 8 };
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

	subject_check(dpo_scorer_new(&scorer, &b->model.config, &b->model.params, b->model.weights, kind != REFERENCE, threads,
	    &err) == DPO_OK, err.text);
	dpo_scorer_adapt(scorer, b->model.lora);
	(void)subject_pass(scorer, &e, kind == REFERENCE ? NULL : b->gradients);	/* makes caches and buffers */
	for (int round = 0; round < b->rounds; round++)
		subject_least(&least, subject_pass(scorer, &e, kind == REFERENCE ? NULL : b->gradients));
	dpo_scorer_free(scorer);
	print(b, series, x, threads, kind, &e, least);
}

static void
adamw(struct bench *b, int threads)
{
	const struct dpo_optim_settings settings = { .optimizer = dpo_optim_find("adamw"), .beta1 = 0.9, .beta2 = 0.999,
		.epsilon = 1e-8 };
	struct dpo_example none = { 0 };
	struct dpo_optim optim;
	struct dpo_error err;
	double least = 0, start;

	subject_check(dpo_optim_init(&optim, b->trained.params, &settings, threads, &err) == DPO_OK, err.text);
	for (int round = 0; round <= b->rounds; round++) {
		start = machine_wall();
		dpo_optim_step(&optim, b->trained.block, b->gradients, (uint64_t)round + 1, 1e-7,
		    dpo_optim_clip(dpo_optim_norm(&optim, b->gradients), 1.0));
		if (round > 0)
			subject_least(&least, machine_wall() - start);
	}
	print(b, "adamw", (double)b->trained.params->parameters, threads, TRAIN, &none, least);
	dpo_optim_free(&optim);
}

/* ------------------------------------------------------------------ independence */

/* Best seconds of a map forward and back, `times` products of `rows` rows. */
static double
time_map(const struct bench *b, int threads, size_t in, size_t out, size_t rows, size_t times)
{
	float *w = subject_filled(in * out), *d = subject_filled(in * out), *x = subject_filled(rows * in);
	float *dx = subject_filled(rows * in), *y = subject_filled(rows * out);
	struct dpo_linear map = { .in = in, .out = out, .layout = DPO_LAYOUT_OUT_IN, .weight = w, .d_weight = d };
	double least = 0, start;

	for (int round = 0; round <= b->rounds; round++) {
		start = machine_wall();
		for (size_t i = 0; i < times; i++) {
			dpo_linear_forward(threads, &map, rows, (struct dpo_rows){ x, in }, (struct dpo_rows){ 0 },
			    (struct dpo_rows){ y, out });
			dpo_linear_backward_input(threads, &map, rows, (struct dpo_rows){ y, out }, 0.0f, (struct dpo_rows){ dx, in });
			dpo_linear_backward_weight(threads, &map, rows, (struct dpo_rows){ x, in }, (struct dpo_rows){ y, out });
		}
		if (round > 0)
			subject_least(&least, machine_wall() - start);
	}
	free(w);
	free(d);
	free(x);
	free(dx);
	free(y);
	return least;
}

/* The products of PAIRS pairs of S, a pair at a time and all pairs in one, of the GPT-2 124M shape. */
static void
independence(const struct bench *b, int threads)
{
	static const struct { size_t in, out, rows; double times; } maps[] = {
		{ 768, 2304, 384, 12 }, { 768, 768, 384, 12 }, { 768, 3072, 384, 12 }, { 3072, 768, 384, 12 }, { 768, 50257, 256, 1 },
	};
	double apart = 0, together = 0;

	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
		apart += maps[i].times * time_map(b, threads, maps[i].in, maps[i].out, maps[i].rows, PAIRS);
		together += maps[i].times * time_map(b, threads, maps[i].in, maps[i].out, maps[i].rows * PAIRS, 1);
	}
	printf("apart\t%d\t%d\t0\t0\t0\t0\t0\t0\t%.6f\n", PAIRS, threads, apart / PAIRS);
	printf("together\t%d\t%d\t0\t0\t0\t0\t0\t0\t%.6f\n", PAIRS, threads, together / PAIRS);
}

int
main(int argc, char **argv)
{
	static const struct subject_shape shapes[] = { { "1M", 4, 128, 4, 2048 }, { "10M", 6, 320, 5, 8192 },
		{ "51M", 8, 512, 8, 50257 }, { "124M", 12, 768, 12, 50257 }, { "355M", 24, 1024, 16, 50257 } };
	static const size_t prompts[] = { 16, 128, 256, 512, 768 }, answers[] = { 16, 64, 128, 256, 448 }, shorts[] = { 4, 8, 16, 32, 64 };
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
			for (int n = 1; n <= threads; n *= 2)
				pair(&b, "threads", n, n, TRAIN, 128, 128);
			pair(&b, "reference", 128, threads, REFERENCE, 128, 128);
			independence(&b, threads);
			adapt(&b);
			pair(&b, "adapter", 128, threads, ADAPTER, 128, 128);
			adamw(&b, threads);
		}
		done(&b);
	}
	return 0;
}
