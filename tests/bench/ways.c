/*
 * ways - seconds a pair of other ways to train beside that of all weights: GPT-2 124M shape, random weights, 8 pairs a step,
 * AdamW included; with activations computed again on the way back (--gradient-checkpointing), and a low-rank adapter of rank
 * 16 of all linear maps.
 *
 *	ways [THREADS [ROUNDS [fp32|bf16 [S|L]]]]
 *
 * In two cases: S, a prompt of 128 tokens with two answers of 128, and L, a prompt of 384. The ways take turns, so that each
 * has its share of what else the machine does. A step is the update, a first pair, which packs weights where they are
 * packed, and seven times a pair after it; each figure the best of ROUNDS.
 */
#include "base/parallel.h"
#include "kernel/bf16.h"
#include "kernel/gemm.h"
#include "subject.h"
#include "train/optim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 8, ANSWER = 128 };

struct way {
	const char *name;
	struct dpo_model *model;
	bool recomputed, adapted;
	double dropout;
	struct dpo_trained trained;
	struct dpo_scorer *scorer;
	struct dpo_optim optim;
	float *gradients;
	uint64_t steps;
	double update, first, next;	/* seconds, the least */
};

static void
open_way(struct way *w, bool bf16, int threads)
{
	struct dpo_passes passes = { w->adapted ? w->model->lora : NULL, true, w->recomputed, bf16, threads };
	struct dpo_error err;

	w->trained = w->adapted ? dpo_model_trained(w->model) : (struct dpo_trained){ &w->model->params, w->model->weights };
	w->gradients = subject_filled(w->trained.params->total);
	subject_check(dpo_scorer_new(&w->scorer, &w->model->config, &w->model->params, w->model->weights, &passes, &err) == DPO_OK,
	    err.text);
	subject_optim(&w->optim, w->trained.params, threads);
	if (w->dropout > 0)
		dpo_scorer_dropout(w->scorer, &(struct dpo_dropout_key){ 1, 2, 3 });
}

static void
close_way(struct way *w)
{
	dpo_scorer_free(w->scorer);
	dpo_optim_free(&w->optim);
	free(w->gradients);
}

static void
take_turn(struct way *w, const struct dpo_example *pair, bool counts)
{
	double update = subject_update(&w->optim, w->trained.block, w->gradients, ++w->steps), first, next;

	dpo_scorer_changed(w->scorer);
	first = subject_pass(w->scorer, pair, w->gradients);
	next = subject_pass(w->scorer, pair, w->gradients);
	if (!counts)	/* the first makes caches and buffers */
		return;
	subject_least(&w->update, update);
	subject_least(&w->first, first);
	subject_least(&w->next, next);
}

static void
bench_case(char name, size_t prompt, bool bf16, int threads, int rounds)
{
	struct dpo_model model, dropping;
	struct dpo_example pair;
	struct way ways[] = { { .name = "all weights", .model = &model },
		{ .name = "all weights, recomputed", .model = &model, .recomputed = true },
		{ .name = "adapter", .model = &model, .adapted = true },
		{ .name = "adapter, dropout 0.05", .model = &dropping, .adapted = true, .dropout = 0.05 } };
	size_t n = sizeof ways / sizeof *ways;
	double all = 0, seconds;

	subject_make(&model, &subject_gpt2);
	subject_adapt(&model, 0);
	subject_make(&dropping, &subject_gpt2);
	subject_adapt(&dropping, 0.05);
	pair = subject_pair(&model, prompt, ANSWER);
	for (size_t i = 0; i < n; i++)
		open_way(&ways[i], bf16, threads);
	for (int round = 0; round <= rounds; round++)
		for (size_t i = 0; i < n; i++)
			take_turn(&ways[i], &pair, round > 0);
	printf("%c %-24s %8s %8s %8s %8s %8s\n", name, bf16 ? "bf16, seconds" : "fp32, seconds", "a pair", "in pair", "update",
	    "times", "longer");
	for (size_t i = 0; i < n; i++) {
		seconds = (ways[i].update + ways[i].first + (PAIRS - 1) * ways[i].next) / PAIRS;
		all = i ? all : seconds;
		printf("  %-24s %8.4f %8.4f %8.4f %8.2f %7.1f%%\n", ways[i].name, seconds, ways[i].next, ways[i].update,
		    all / seconds, 100 * (seconds / all - 1));
		close_way(&ways[i]);
	}
	dpo_model_free(&model);
	dpo_model_free(&dropping);
}

int
main(int argc, char **argv)
{
	int threads = dpo_gemm_threads(argc > 1 && atoi(argv[1]) ? atoi(argv[1]) : dpo_parallel_available());
	int rounds = argc > 2 ? atoi(argv[2]) : 5;
	bool bf16 = argc > 3 && strcmp(argv[3], "bf16") == 0;
	const char *cases = argc > 4 ? argv[4] : "SL";

	subject_begin(argv);
	subject_check(!bf16 || dpo_bf16_kernel(), "this processor has no instructions for bfloat16");
	if (strchr(cases, 'S'))
		bench_case('S', 128, bf16, threads, rounds);
	if (strchr(cases, 'L'))
		bench_case('L', 384, bf16, threads, rounds);
	return 0;
}
