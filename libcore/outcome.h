/*
 * outcome - one row through the scorer and the loss: all numbers that training and evaluation report of it. Layer 11;
 * uses error, size, loss, score, columns.
 */
#ifndef DPO_OUTCOME_H
#define DPO_OUTCOME_H

#include "columns.h"
#include "loss.h"

/* Index 0 is the chosen answer, 1 the rejected one (all zero for a row without one). Nats, summed over tokens. */
struct dpo_outcome {
	size_t answers;
	bool reference;		/* ratio is meant */
	double weight;
	double loss;		/* l of loss.h, before weight and divisor */
	double slopes[DPO_ANSWERS];	/* dl/dlogp, before weight and divisor */
	struct dpo_loss_input input;	/* logp and ratio, by answer */
	struct dpo_answer_sums sums[DPO_ANSWERS];
	size_t tokens;		/* of prompt and answer, summed over the answers */
};

/* Memory for per-token numbers that is used again from row to row; {0} is valid. */
struct dpo_tokens {
	float *logps[DPO_ANSWERS], *dlogps[DPO_ANSWERS];	/* owned */
	size_t capacity[DPO_ANSWERS];
};

/*
 * Score the row and apply the loss. tokens->logps[a] then holds the log-probs per token. A policy equal to the reference
 * gives ratio exactly 0: both sums are taken in double in token order. Errors carry the row's id: those of dpo_score, and
 * DPO_NONFINITE for a loss that is not finite; DPO_UNSUPPORTED for a label_prob that the loss cannot use.
 */
enum dpo_status dpo_outcome_score(struct dpo_outcome *outcome, struct dpo_tokens *tokens, struct dpo_scorer *scorer,
	const struct dpo_row *row, const struct dpo_loss *loss, const struct dpo_loss_settings *settings,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * After dpo_outcome_score, with a scorer that trains: add the gradient of factor * loss to gradients[params.total].
 */
enum dpo_status dpo_outcome_backward(const struct dpo_outcome *outcome, struct dpo_tokens *tokens,
	struct dpo_scorer *scorer, const struct dpo_row *row, double factor, float *gradients, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Room for n_answer[a] numbers in logps[a] and dlogps[a]; false if out of memory. */
bool dpo_tokens_reserve(struct dpo_tokens *tokens, const struct dpo_example *example);
void dpo_tokens_free(struct dpo_tokens *tokens);

#endif
