#include "outcome.h"

#include "size.h"

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

static double
sum(const float *numbers, size_t n)
{
	double total = 0;

	for (size_t i = 0; i < n; i++)
		total += (double)numbers[i];
	return total;
}

static void
fill_input(struct dpo_outcome *outcome, const struct dpo_tokens *tokens, const struct dpo_row *row)
{
	const struct dpo_example *example = &row->example;

	for (size_t a = 0; a < example->n_answers; a++) {
		outcome->input.logp[a] = sum(tokens->logps[a], example->n_answer[a]);
		if (row->ref[a])
			outcome->input.ratio[a] = outcome->input.logp[a] - sum(row->ref[a], example->n_answer[a]);
		outcome->tokens += example->n_prompt + example->n_answer[a];
	}
	outcome->reference = row->ref[0] != NULL;
	outcome->answers = example->n_answers;
	outcome->weight = row->weight;
}

static enum dpo_status
apply_loss(struct dpo_outcome *outcome, const struct dpo_row *row, const struct dpo_loss *loss,
    const struct dpo_loss_settings *settings, struct dpo_error *err)
{
	if (row->label_prob != 1.0 && !loss->difference)
		return dpo_fail(err, DPO_UNSUPPORTED, "\"label_prob\" is %g, which the loss %s cannot use",
		    row->label_prob, loss->name);
	outcome->loss = dpo_loss_value(loss, &outcome->input, settings, row->label_prob, outcome->slopes);
	if (!isfinite(outcome->loss) || !isfinite(outcome->slopes[0]) || !isfinite(outcome->slopes[1]))
		return dpo_fail(err, DPO_NONFINITE, "the loss is %g", outcome->loss);
	return DPO_OK;
}

enum dpo_status
dpo_outcome_score(struct dpo_outcome *outcome, struct dpo_tokens *tokens, struct dpo_scorer *scorer,
    const struct dpo_row *row, const struct dpo_loss *loss, const struct dpo_loss_settings *settings,
    struct dpo_error *err)
{
	enum dpo_status status;

	*outcome = (struct dpo_outcome){ 0 };
	if (!dpo_tokens_reserve(tokens, &row->example))
		return dpo_fail_memory(err);
	status = dpo_score(scorer, &row->example, tokens->logps, outcome->sums, err);
	if (status == DPO_OK) {
		fill_input(outcome, tokens, row);
		status = apply_loss(outcome, row, loss, settings, err);
	}
	return status == DPO_OK ? DPO_OK : dpo_columns_blame(row, err);
}

enum dpo_status
dpo_outcome_backward(const struct dpo_outcome *outcome, struct dpo_tokens *tokens, struct dpo_scorer *scorer,
    const struct dpo_row *row, double factor, float *gradients, struct dpo_error *err)
{
	const float *dlogps[DPO_ANSWERS] = { 0 };
	enum dpo_status status;

	for (size_t a = 0; a < row->example.n_answers; a++) {
		float slope = (float)(factor * outcome->slopes[a]);

		for (size_t t = 0; t < row->example.n_answer[a]; t++)
			tokens->dlogps[a][t] = slope;
		if (row->example.n_prompt == 0)
			tokens->dlogps[a][0] = 0;
		dlogps[a] = tokens->dlogps[a];
	}
	status = dpo_score_backward(scorer, &row->example, dlogps, gradients, err);
	return status == DPO_OK ? DPO_OK : dpo_columns_blame(row, err);
}
