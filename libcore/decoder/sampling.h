/*
 * sampling - from the logits of a row to its next token. Layer 3; uses size, vector.
 *
 * The steps and their order are those of transformers' logits processors (generation/logits_process.py):
 *
 *	repetition penalty r:	z_v = z_v / r if z_v >= 0, z_v r if not, for each token v seen, in prompt or completion
 *	temperature T:		z_v = z_v / T; with T = 0 the largest logit is taken (ties to the lowest id) and nothing below
 *				applies
 *	top-k:			tokens with z_v below the k-th largest are dropped (ties with it stay)
 *	top-p:			a token is dropped if likelier ones add up to p or more (Holtzman et al. 2020,
 *				arXiv:1904.09751); the likeliest stays
 *	min-p:			a token is dropped if its probability is below min-p times the likeliest's (Nguyen et al. 2024,
 *				arXiv:2407.01082)
 *
 * and a token is drawn from what is left, normalised. Probabilities are those after the steps before.
 */
#ifndef DPO_SAMPLING_H
#define DPO_SAMPLING_H

#include "base/size.h"

#include <stdint.h>

/* Below this, large logits divided by the temperature leave the range of float, and the result is greedy in all but name. */
#define DPO_SAMPLING_COLDEST 1e-6

struct dpo_sampling {
	double temperature;		/* 0: greedy; else at least DPO_SAMPLING_COLDEST */
	size_t top_k;			/* 0: off */
	double top_p;			/* 1: off */
	double min_p;			/* 0: off */
	double repetition_penalty;	/* 1: off */
};

/* Memory for one row at a time; {0} before init. */
struct dpo_sampler {
	size_t vocab;
	float *weights;			/* owned; [vocab]: the share of each token, not normalised */
	double total;			/* of the weights */
	struct dpo_candidate *candidates;	/* owned; [vocab] */
	float *scratch;			/* owned; [vocab] */
	uint8_t *seen;			/* owned; [vocab] */
};

/* false if out of memory. */
bool dpo_sampler_init(struct dpo_sampler *sampler, size_t vocab);
void dpo_sampler_free(struct dpo_sampler *sampler);

/* log sum_v exp(z_v) of logits[vocab], in double. */
double dpo_sampler_log_sum(struct dpo_sampler *sampler, const float *logits);

/*
 * The weights of a row after all steps, from logits[vocab] and the n tokens seen, each below vocab. With T = 0 the chosen
 * token has weight 1, all others 0.
 */
void dpo_sampler_weigh(struct dpo_sampler *sampler, const struct dpo_sampling *sampling, const float *logits,
	const int32_t *seen, size_t n);

/* The token at u, in [0, 1), of the cumulative weights in order of ids. */
int32_t dpo_sampler_draw(const struct dpo_sampler *sampler, double u);

#endif
