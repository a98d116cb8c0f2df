/*
 * outcome - one row through the scorer and the loss: all numbers that training and evaluation report about it. Layer 12;
 * uses error, size, objective, score, columns.
 */
#ifndef DPO_OUTCOME_H
#define DPO_OUTCOME_H

#include "loss/columns.h"
#include "loss/objective.h"

/* Index 0 is the chosen answer, 1 the rejected one (all zero for a row without one). Nats, summed over tokens. */
struct dpo_outcome {
	size_t answers;
	bool reference;		/* ratio is meaningful */
	double weight;
	struct dpo_objective_result result;	/* of each loss, before weight and divisor */
	struct dpo_loss_input input;		/* logp and ratio, by answer */
	size_t shared;		/* scored tokens of the shorter answer; ld_alpha weights those beyond */
	struct dpo_answer_sums sums[DPO_ANSWERS];
	size_t tokens;		/* of prompt and answer, summed over the answers */
};

/* Memory for per-token numbers, reused from row to row; {0} is valid. */
struct dpo_tokens {
	float *logps[DPO_ANSWERS], *dlogps[DPO_ANSWERS];	/* owned */
	size_t capacity[DPO_ANSWERS];
};

/*
 * Score the row and apply the losses, except those of the whole batch: their entries of outcome->result are 0 until
 * dpo_objective_batch fills them in. tokens->logps[a] then holds the log-probs per token. A policy equal to the reference
 * gives ratio exactly 0: both sums are taken in double in token order. Errors carry the row's id: those of dpo_score, and
 * DPO_NONFINITE for a loss that is not finite.
 */
enum dpo_status dpo_outcome_score(struct dpo_outcome *outcome, struct dpo_tokens *tokens, struct dpo_scorer *scorer,
	const struct dpo_row *row, const struct dpo_objective *objective, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * After dpo_outcome_score, with a scorer that trains: add to gradients[params.total] the row's share of the gradient of L
 * (objective.h), in a batch of that many rows and scored chosen tokens.
 */
enum dpo_status dpo_outcome_backward(const struct dpo_outcome *outcome, struct dpo_tokens *tokens,
	struct dpo_scorer *scorer, const struct dpo_row *row, const struct dpo_objective *objective, size_t batch_rows,
	size_t batch_tokens, float *gradients, struct dpo_error *err) DPO_MUST_CHECK;

/* Room for n_answer[a] numbers in logps[a] and dlogps[a]; false if out of memory. */
bool dpo_tokens_reserve(struct dpo_tokens *tokens, const struct dpo_example *example);
void dpo_tokens_free(struct dpo_tokens *tokens);

#endif
