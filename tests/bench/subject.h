/*
 * subject - what the benches measure: a model of a given shape with random weights, an adapter of it, a pair of rows. What
 * fails ends the program with one line.
 */
#ifndef SUBJECT_H
#define SUBJECT_H

#include "model.h"
#include "score.h"

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

/* *least = the smaller one, or the first, if it is 0. */
void subject_least(double *least, double seconds);

#endif
