/*
 * naive - the decoder in double precision, by the plainest loops, one answer at a time: what the
 * fast one must equal. It shares no arithmetic with libcore; only configuration and the table of
 * tensors.
 */
#ifndef NAIVE_H
#define NAIVE_H

#include "decoder/pack.h"
#include "model/params.h"

/* A small model with random weights. */
struct naive_model {
	struct dpo_config config;
	struct dpo_params params;
	float *weights;		/* owned; params.total */
	double *exact;		/* owned; the same numbers */
};

/*
 * From the text of a config.json; weights normal(0, 0.3), norm weights near 1, biases not 0. Fails
 * the test on error.
 */
void naive_open(struct naive_model *model, const char *config_json, uint64_t seed);
void naive_close(struct naive_model *model);

/* logits[n][vocab_size] of one plain sequence. */
void naive_logits(const struct naive_model *model, const int32_t *tokens, size_t n, double *logits);

/*
 * Log-probs of the answer's tokens given the prompt; the entropies and mean logits of the same rows
 * if not NULL.
 */
void naive_logps(const struct naive_model *model, const struct dpo_example *example, size_t answer,
	double *logps, double *entropies, double *means);

/* sum_a sum_t d_logps[a][t] logps[a][t] */
double naive_objective(const struct naive_model *model, const struct dpo_example *example,
	const float *const *d_logps);

/* A number in [-1, 1) from a seed that steps on. */
float naive_random(uint64_t *seed);
/* n of them; the caller frees. Fails the test without memory. */
float *naive_numbers(size_t n, uint64_t *seed);

/*
 * Configurations of tiny models: GPT-2; Llama with grouped queries, tied without biases and untied
 * with biases.
 */
extern const char naive_gpt2[], naive_llama_tied[], naive_llama_untied[];

/* Configurations of the other families, with windows shorter than the sequences of tests; NULL at the end. */
extern const char *const naive_families[];

#endif
