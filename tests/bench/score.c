/*
 * score - seconds a pair of a GPT-2 124M shape (random weights), forward and forward with
 * backward, and GFLOP/s of the matrix products in it. Usage: score [THREADS [ROUNDS]]. Best of
 * ROUNDS. A busy machine spoils wall time: CPU seconds are shown beside it. OPENBLAS_CORETYPE
 * should be unset.
 */
#include "linear.h"
#include "parallel.h"
#include "score.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char gpt2[] =
    "{\"model_type\":\"gpt2\",\"vocab_size\":50257,\"n_embd\":768,\"n_layer\":12,"
    "\"n_head\":12,\"n_positions\":1024}";

struct seconds {
	double wall, cpu;
};

static double
read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct seconds
now(void)
{
	return (struct seconds){ read_clock(CLOCK_MONOTONIC),
	    read_clock(CLOCK_PROCESS_CPUTIME_ID) };
}

/* Keep the least time since `start`. */
static void
best(struct seconds *least, struct seconds start)
{
	struct seconds end = now();

	if (least->wall <= 0.0 || end.wall - start.wall < least->wall)
		least->wall = end.wall - start.wall;
	if (least->cpu <= 0.0 || end.cpu - start.cpu < least->cpu)
		least->cpu = end.cpu - start.cpu;
}

static void
fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static float *
fill(size_t n)
{
	float *x = dpo_alloc_aligned(n, sizeof *x);
	unsigned state = 1;

	if (!x)
		fail("out of memory");
	for (size_t i = 0; i < n; i++) {
		state = state * 1664525u + 1013904223u;
		x[i] = ((float)(state >> 8) / 8388608.0f - 1.0f) * 0.03f;
	}
	return x;
}

/* ------------------------------------------------------------------ products */

static void
bench_linear(enum dpo_layout layout, size_t rows, size_t in, size_t out, int threads, int rounds)
{
	float *w = fill(in * out), *x = fill(rows * in), *y = fill(rows * out), *d = fill(in * out);
	struct dpo_linear linear = { .in = in, .out = out, .layout = layout, .weight = w,
	    .d_weight = d };
	struct dpo_rows rx = { x, in }, ry = { y, out };
	struct seconds times[3] = { { 0 } }, start;
	double work = 2e-9 * (double)rows * (double)in * (double)out;

	for (int i = 0; i < rounds; i++) {
		start = now();
		dpo_linear_forward(threads, &linear, rows, rx, (struct dpo_rows){ 0 }, ry);
		best(&times[0], start);
		start = now();
		dpo_linear_backward_input(threads, &linear, rows, ry, 0.0f, rx);
		best(&times[1], start);
		start = now();
		dpo_linear_backward_weight(threads, &linear, rows, rx, ry);
		best(&times[2], start);
	}
	printf("%5zu %6zu %6zu  %s", rows, in, out,
	    layout == DPO_LAYOUT_OUT_IN ? "out,in" : "in,out");
	for (size_t i = 0; i < 3; i++)
		printf("  %6.1f %6.1f", work / times[i].wall, work / times[i].cpu);
	printf("\n");
	free(w);
	free(x);
	free(y);
	free(d);
}

/* ------------------------------------------------------------------ pairs */

static void
bench_pair(const struct dpo_config *config, const struct dpo_params *params, const float *weights,
    float *gradients, size_t prompt, size_t answer, int threads, int rounds)
{
	static int32_t tokens[3][1024];
	static float logps[2][1024], d[2][1024];
	struct dpo_example example = { tokens[0], prompt, 2, { tokens[1], tokens[2] },
	    { answer, answer } };
	struct seconds forward = { 0 }, both = { 0 }, start;
	struct dpo_scorer *scorer;
	struct dpo_error err;
	struct rusage usage;

	for (size_t i = 0; i < 3 * 1024; i++) {
		tokens[i / 1024][i % 1024] = (int32_t)(i * 7919 % config->vocab_size);
		d[i % 2][i / 2 % 1024] = i % 2 ? 0.5f : -0.5f;
	}
	if (dpo_scorer_new(&scorer, config, params, weights, true, threads, &err) != DPO_OK)
		fail(err.text);
	for (int i = 0; i < rounds + 1; i++) {	/* the first makes the buffers */
		if (i == 1)
			forward = both = (struct seconds){ 0 };
		start = now();
		if (dpo_score(scorer, &example, (float *const[]){ logps[0], logps[1] }, NULL,
		    &err) != DPO_OK)
			fail(err.text);
		best(&forward, start);
		if (dpo_score_backward(scorer, &example, (const float *const[]){ d[0], d[1] },
		    gradients, &err) != DPO_OK)
			fail(err.text);
		best(&both, start);
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("prompt %4zu, answers 2 x %zu: forward %.3f s (cpu %.3f), "
	    "with backward %.3f s (cpu %.3f), peak %ld MB\n",
	    prompt, answer, forward.wall, forward.cpu, both.wall, both.cpu, usage.ru_maxrss / 1024);
	dpo_scorer_free(scorer);
}

int
main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : dpo_parallel_available(),
	    rounds = argc > 2 ? atoi(argv[2]) : 5;
	struct dpo_config config;
	struct dpo_params params;
	struct dpo_error err;
	float *weights, *gradients;

	openblas_set_num_threads(1);
	printf("OpenBLAS kernel %s, %d threads, best of %d\n", openblas_get_corename(), threads,
	    rounds);
	if (dpo_config_read(&config, gpt2, strlen(gpt2), &err) != DPO_OK ||
	    dpo_params_init(&params, &config, &err) != DPO_OK)
		fail(err.text);
	weights = fill(params.total);
	gradients = fill(params.total);
	bench_pair(&config, &params, weights, gradients, 128, 128, threads, rounds);
	bench_pair(&config, &params, weights, gradients, 384, 128, threads, rounds);
	bench_pair(&config, &params, weights, gradients, 512, 256, threads, rounds);
	printf("GFLOP/s by wall and by cpu time: forward, gradient of input, gradient of weight\n");
	printf(" rows     in    out  layout\n");
	for (size_t rows = 128; rows <= 384; rows += 256) {
		bench_linear(DPO_LAYOUT_IN_OUT, rows, 768, 768, threads, rounds);
		bench_linear(DPO_LAYOUT_IN_OUT, rows, 768, 2304, threads, rounds);
		bench_linear(DPO_LAYOUT_IN_OUT, rows, 768, 3072, threads, rounds);
		bench_linear(DPO_LAYOUT_IN_OUT, rows, 3072, 768, threads, rounds);
		bench_linear(DPO_LAYOUT_OUT_IN, rows, 768, 50257, threads, rounds);
	}
	dpo_params_free(&params);
	free(weights);
	free(gradients);
	return 0;
}
