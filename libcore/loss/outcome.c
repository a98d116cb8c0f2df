#include "loss/outcome.h"

#include "base/error.h"
#include "base/size.h"
#include "decoder/score.h"

#include <math.h>
#include <stdlib.h>

bool
dpo_tokens_reserve(struct dpo_tokens *tokens, const struct dpo_example *example)
{
	for (size_t a = 0; a < example->n_answers; a++) {
		size_t need = example->n_answer[a];

		if (need <= tokens->capacity[a])
			continue;
		free(tokens->logps[a]);
		free(tokens->dlogps[a]);
		tokens->logps[a] = dpo_alloc(need, sizeof(float));
		tokens->dlogps[a] = dpo_alloc(need, sizeof(float));
		tokens->capacity[a] = tokens->logps[a] && tokens->dlogps[a] ? need : 0;
		if (!tokens->capacity[a])
			return false;
	}
	return true;
}

void
dpo_tokens_free(struct dpo_tokens *tokens)
{
	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		free(tokens->logps[a]);
		free(tokens->dlogps[a]);
	}
	*tokens = (struct dpo_tokens){ 0 };
}

/* Tokens of answer a that are not scored: a first one with nothing before it. */
static size_t
unscored(const struct dpo_row *row)
{
	return row->example.n_prompt == 0 ? 1 : 0;
}

/* The factor of token t in the log-prob of its answer. */
static double
token_factor(const struct dpo_objective *objective, const struct dpo_outcome *outcome, const struct dpo_row *row, size_t t)
{
	return objective->use_ld_alpha && t >= outcome->shared + unscored(row) ? objective->ld_alpha : 1.0;
}

static double
sum(const struct dpo_objective *objective, const struct dpo_outcome *outcome, const struct dpo_row *row,
    const float *numbers, size_t n)
{
	double total = 0;

	for (size_t t = 0; t < n; t++)
		total += token_factor(objective, outcome, row, t) * (double)numbers[t];
	return total;
}

static size_t
shorter(const struct dpo_row *row)
{
	size_t shared = dpo_columns_scored(&row->example, 0);

	for (size_t a = 1; a < row->example.n_answers; a++)
		if (dpo_columns_scored(&row->example, a) < shared)
			shared = dpo_columns_scored(&row->example, a);
	return shared;
}

static void
fill_input(struct dpo_outcome *outcome, const struct dpo_tokens *tokens, const struct dpo_row *row,
    const struct dpo_objective *objective)
{
	const struct dpo_example *example = &row->example;
	struct dpo_loss_input *input = &outcome->input;

	outcome->shared = shorter(row);
	outcome->reference = row->ref[0] != NULL || objective->reference_free;
	outcome->answers = example->n_answers;
	outcome->weight = row->weight;
	for (size_t a = 0; a < example->n_answers; a++) {
		double reference = row->ref[a] && !objective->reference_free ?
		    sum(objective, outcome, row, row->ref[a], example->n_answer[a]) : 0.0;

		input->logp[a] = sum(objective, outcome, row, tokens->logps[a], example->n_answer[a]);
		input->ratio[a] = outcome->reference ? input->logp[a] - reference : 0.0;
		input->tokens[a] = (double)example->n_answer[a];
		outcome->tokens += example->n_prompt + example->n_answer[a];
	}
	input->chosen_nll = -outcome->sums[0].logps;
	input->margin = row->margin;
	for (size_t k = 0; k < objective->n_columns; k++)
		input->objectives += objective->column_weights[k] * row->objectives[k];
}

/* v of objective.h. */
static double
weighting(const struct dpo_outcome *outcome)
{
	double sum = 0;

	for (size_t a = 0; a < outcome->answers; a++) {
		const struct dpo_answer_sums *s = &outcome->sums[a];

		sum += (s->logps - s->log_squares) / (s->scored ? (double)s->scored : 1.0);
	}
	return exp(sum);
}

enum dpo_status
dpo_outcome_score(struct dpo_outcome *outcome, struct dpo_tokens *tokens, struct dpo_scorer *scorer,
    const struct dpo_row *row, const struct dpo_objective *objective, struct dpo_error *err)
{
	enum dpo_status status;

	*outcome = (struct dpo_outcome){ 0 };
	if (!dpo_tokens_reserve(tokens, &row->example))
		return dpo_fail_memory(err);
	status = dpo_score(scorer, &row->example, tokens->logps, outcome->sums, err);
	if (status == DPO_OK) {
		fill_input(outcome, tokens, row, objective);
		status = dpo_objective_pair(objective, &outcome->input, row->label_prob,
		    objective->use_weighting ? weighting(outcome) : 1.0, &outcome->result, err);
	}
	return status == DPO_OK ? DPO_OK : dpo_columns_blame(row, err);
}

enum dpo_status
dpo_outcome_backward(const struct dpo_outcome *outcome, struct dpo_tokens *tokens, struct dpo_scorer *scorer,
    const struct dpo_row *row, const struct dpo_objective *objective, size_t batch_rows, size_t batch_tokens,
    float *gradients, struct dpo_error *err)
{
	struct dpo_loss_slopes slopes = dpo_objective_slopes(objective, &outcome->result, outcome->weight, batch_rows,
	    batch_tokens);
	const float *dlogps[DPO_ANSWERS] = { 0 };
	enum dpo_status status;

	for (size_t a = 0; a < row->example.n_answers; a++) {
		double nll = a == 0 ? slopes.chosen_nll : 0.0;

		for (size_t t = 0; t < row->example.n_answer[a]; t++)
			tokens->dlogps[a][t] = (float)(slopes.logp[a] * token_factor(objective, outcome, row, t) - nll);
		if (unscored(row))
			tokens->dlogps[a][0] = 0;
		dlogps[a] = tokens->dlogps[a];
	}
	status = dpo_score_backward(scorer, &row->example, dlogps, gradients, err);
	return status == DPO_OK ? DPO_OK : dpo_columns_blame(row, err);
}
