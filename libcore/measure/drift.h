/*
 * drift - the exact divergence from a policy to a reference along an answer. Layer 11; uses error, size, kl, parallel,
 * config, pack, score.
 *
 * Per token: sum_v p_v (log p_v - log q_v) over the whole vocabulary, p the policy's and q the reference's distribution
 * of that token, given prompt and answer so far. Its sum over an answer drawn from the policy, at temperature 1 and from all
 * tokens, through its EOS, has the mean KL(policy || reference) of whole answers, with less variance than log p - log q.
 */
#ifndef DPO_DRIFT_H
#define DPO_DRIFT_H

#include "decoder/score.h"
#include "model/config.h"

/* Two scorers (borrowed) with the same vocabulary, and reused memory: for the logits of one answer, twice. */
struct dpo_drift {
	struct dpo_scorer *policy, *reference;
	size_t vocab;
	int threads;
	float *logits[2];		/* owned */
	size_t capacity[2];
	double *kl;			/* owned; of each scored token */
	float *logps;			/* owned */
	size_t kl_capacity, logps_capacity;
};

/*
 * Score the example (one answer) by both and sum the divergences of its scored tokens into *sum, nats; of[0] and of[1]
 * receive dpo_score's sums under policy and reference. Errors are dpo_score's. Bits do not depend on threads.
 */
enum dpo_status dpo_drift_answer(struct dpo_drift *drift, const struct dpo_example *example, double *sum,
	struct dpo_answer_sums of[2], struct dpo_error *err) DPO_MUST_CHECK;
void dpo_drift_free(struct dpo_drift *drift);

#endif
