/*
 * subject - what the benches measure: a model of a given shape with random weights, an adapter of it, a pair of rows. What
 * fails ends the program with one line.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "decoder/linear.h"
#include "decoder/model.h"
#include "decoder/score.h"
#include "train/optim.h"

enum { SUBJECT_TOKENS = 1024 };		/* positions; a pair has no more tokens */

struct subject_shape {
	const char *name;
	int layers, hidden, heads, vocab;
};

extern const struct subject_shape subject_gpt2;	/* 124 million parameters */

/* Call it first: what the programs do before they begin (cli_private.h), so that threads wait here as they do there. */
void subject_begin(char **argv);
/* End the program unless it is fine. */
void subject_check(bool fine, const char *what);
/* n random numbers within +-0.03; the caller frees. */
float *subject_filled(size_t n);

/* A model of GPT-2's family. The caller calls dpo_model_free. */
void subject_make(struct dpo_model *model, const struct subject_shape *shape);
/* Its matrices as BF16, in half the room, as models are read that are only read; the upper half of each number. */
void subject_narrow(struct dpo_model *model);
/* Give it an adapter of rank 16 of all linear maps, alpha 32, with random numbers. */
void subject_adapt(struct dpo_model *model, double dropout);

/* A prompt and two answers of so many tokens each. */
struct dpo_example subject_pair(const struct dpo_model *model, size_t prompt, size_t answer);
/* Seconds of the pair once, forward and back, or with gradients NULL forward alone. */
double subject_pass(struct dpo_scorer *scorer, const struct dpo_example *pair, float *gradients);

/* AdamW as dpo-train has it unless told otherwise, and seconds of its step `t`, clipping included. */
void subject_optim(struct dpo_optim *optim, const struct dpo_params *params, int threads);
double subject_update(struct dpo_optim *optim, float *block, float *gradients, uint64_t t);

/* A linear map alone, and the blocks its products work on; in bf16 the weight stays packed, as it does for all pairs of a step. */
struct subject_map {
	struct dpo_linear linear;
	struct dpo_linear_pack packs[2];
	float *weight, *d_weight;
	float *x, *dx, *y;		/* rows of in, in and out numbers */
	size_t rows;
};

/* What is multiplied: forward, for the gradient of the input, for that of the weight. */
enum { SUBJECT_WAYS = 3 };

/* Random numbers in all blocks. */
void subject_map_open(struct subject_map *map, enum dpo_layout layout, size_t rows, size_t in, size_t out, bool bf16);
void subject_map_close(struct subject_map *map);
/* Seconds of one way of all its rows, so many at a time, which divide them. */
double subject_map_multiply(const struct subject_map *map, int threads, size_t rows, size_t way);

/* *least = the smaller one, or the first, if it is 0. */
void subject_least(double *least, double seconds);

#endif
