/*
 * lengths - what a token costs in short and long pairs: GPT-2 124M shape, random weights.
 *
 *	lengths [THREADS [ROUNDS [fp32|bf16]]]
 *
 * A pair of so many tokens is half prompt, and two answers of a quarter each. Microseconds a token, forward and back and in the
 * reference's pass, and how many times as long as at the length where it is least; each the best of ROUNDS. AdamW, whose time
 * is a step's whatever the pairs, is not among them.
 */
#include "base/parallel.h"
#include "kernel/bf16.h"
#include "kernel/gemm.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTHS = 7 };

static struct dpo_scorer *
open_scorer(const struct dpo_model *model, bool train, bool bf16, int threads)
{
	struct dpo_scorer *scorer;
	struct dpo_error err;

	subject_check(dpo_scorer_new(&scorer, &model->config, &model->params, model->weights,
	    &(struct dpo_passes){ .train = train, .bf16 = bf16, .threads = threads }, &err) == DPO_OK, err.text);
	return scorer;
}

/* Short pairs more often: they are soon done, and easily disturbed. */
static double
time_token(struct dpo_scorer *scorer, const struct dpo_model *model, size_t tokens, int rounds, float *gradients)
{
	struct dpo_example pair = subject_pair(model, tokens / 2, tokens / 4);
	int times = rounds * (tokens < 256 ? 5 : 1);
	double least = 0;

	(void)subject_pass(scorer, &pair, gradients);	/* makes caches and buffers */
	for (int i = 0; i < times; i++)
		subject_least(&least, subject_pass(scorer, &pair, gradients));
	return least / (double)tokens;
}

int
main(int argc, char **argv)
{
	static const size_t lengths[LENGTHS] = { 16, 32, 64, 128, 256, 512, 1024 };
	int threads = dpo_gemm_threads(argc > 1 && atoi(argv[1]) ? atoi(argv[1]) : dpo_parallel_available());
	int rounds = argc > 2 ? atoi(argv[2]) : 3;
	bool bf16 = argc > 3 && strcmp(argv[3], "bf16") == 0;
	double train[LENGTHS], reference[LENGTHS], least[2] = { 0 };
	struct dpo_scorer *trainer, *reader;
	struct dpo_model model;
	float *gradients;

	subject_begin(argv);
	subject_check(!bf16 || dpo_bf16_kernel(), "this processor has no instructions for bfloat16");
	subject_make(&model, &subject_gpt2);
	gradients = subject_filled(model.params.total);
	trainer = open_scorer(&model, true, bf16, threads);
	reader = open_scorer(&model, false, bf16, threads);
	for (size_t i = LENGTHS; i-- > 0;) {	/* the longest first: memory is taken once */
		train[i] = time_token(trainer, &model, lengths[i], rounds, gradients);
		reference[i] = time_token(reader, &model, lengths[i], rounds, NULL);
		subject_least(&least[0], train[i]);
		subject_least(&least[1], reference[i]);
	}
	printf("%s, %d threads, microseconds a token\n%8s %10s %6s %10s %6s\n", bf16 ? "bf16" : "fp32", threads, "tokens",
	    "training", "times", "reference", "times");
	for (size_t i = 0; i < LENGTHS; i++)
		printf("%8zu %10.0f %6.2f %10.0f %6.2f\n", lengths[i], 1e6 * train[i], train[i] / least[0], 1e6 * reference[i],
		    reference[i] / least[1]);
	dpo_scorer_free(trainer);
	dpo_scorer_free(reader);
	free(gradients);
	dpo_model_free(&model);
	return 0;
}
