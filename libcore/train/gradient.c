#include "train/gradient.h"

#include "base/error.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

static enum dpo_status
get_row(struct dpo_train *train, struct dpo_rowset *set, size_t index, struct dpo_row *row, struct dpo_error *err)
{
	enum dpo_status status = dpo_rowset_get(set, index, row, err);

	return status != DPO_OK || !train->reference ? status : dpo_reference_row(train->reference, set, index, row, err);
}

enum dpo_status
dpo_gradient_score(struct dpo_train *train, struct dpo_rowset *set, size_t index, struct dpo_row *row,
    struct dpo_outcome *outcome, struct dpo_error *err)
{
	struct dpo_dropout_key key = { train->recipe.seed, train->done, index };
	enum dpo_status status = get_row(train, set, index, row, err);

	dpo_scorer_dropout(train->scorer, set == train->data ? &key : NULL);
	return status != DPO_OK ? status :
	    dpo_outcome_score(outcome, &train->tokens, train->scorer, row, &train->recipe.objective, err);
}

/* For losses that sort the batch: every row forward once, so that the losses of all are known before the first gradient. */
static enum dpo_status
look_ahead(struct dpo_train *train, struct dpo_batch *batch, struct dpo_error *err)
{
	struct dpo_objective_result *results = dpo_alloc(batch->n, sizeof *results);
	struct dpo_loss_input *inputs = dpo_alloc(batch->n, sizeof *inputs);
	struct dpo_row row;
	enum dpo_status status = DPO_OK;

	batch->outcomes = dpo_alloc(batch->n, sizeof *batch->outcomes);
	if (!results || !inputs || !batch->outcomes)
		status = dpo_fail_memory(err);
	for (size_t i = 0; i < batch->n && status == DPO_OK && !train->stopped; i++) {
		if ((train->stopped = train->tick && train->tick(train->context, 0, false)))
			break;
		status = dpo_gradient_score(train, train->data, batch->rows[i], &row, &batch->outcomes[i], err);
		inputs[i] = batch->outcomes[i].input;
		results[i] = batch->outcomes[i].result;
	}
	if (status == DPO_OK && !train->stopped)
		status = dpo_objective_batch(&train->recipe.objective, batch->n, inputs, results, err);
	for (size_t i = 0; i < batch->n && status == DPO_OK; i++)
		batch->outcomes[i].result = results[i];
	free(results);
	free(inputs);
	return status;
}

/* Rows begin to end - 1 of the batch, in order, added to gradients. */
static enum dpo_status
sum_rows(struct dpo_train *train, struct dpo_batch *batch, size_t begin, size_t end, float *gradients,
    struct dpo_error *err)
{
	const struct dpo_objective *objective = &train->recipe.objective;
	struct dpo_outcome outcome;
	struct dpo_row row;
	enum dpo_status status = DPO_OK;

	for (size_t i = begin; i < end && status == DPO_OK; i++) {
		if ((train->stopped = train->tick && train->tick(train->context, batch->ticked++, false)))
			return DPO_OK;
		if ((status = dpo_gradient_score(train, train->data, batch->rows[i], &row, &outcome, err)) != DPO_OK)
			return status;
		if (batch->outcomes)
			outcome.result = batch->outcomes[i].result;
		dpo_metrics_add(&batch->metrics, &outcome, objective->settings.beta);
		if (!objective->reference_free && !train->reference)
			dpo_watch_add(&batch->watch, &outcome);
		status = dpo_outcome_backward(&outcome, &train->tokens, train->scorer, &row, objective, batch->n,
		    batch->tokens, gradients, err);
	}
	return status;
}

/* The slots low to high - 1 as a binary tree, into gradients[depth]. */
static enum dpo_status
sum_slots(struct dpo_train *train, struct dpo_batch *batch, size_t low, size_t high, size_t depth, struct dpo_error *err)
{
	size_t slots = (size_t)train->recipe.grad_slots, middle = low + (high - low) / 2;
	enum dpo_status status;

	if (high - low == 1)
		return sum_rows(train, batch, batch->n * low / slots, batch->n * high / slots, train->gradients[depth], err);
	if ((status = sum_slots(train, batch, low, middle, depth, err)) != DPO_OK || train->stopped)
		return status;
	if ((status = sum_slots(train, batch, middle, high, depth + 1, err)) != DPO_OK || train->stopped)
		return status;
	dpo_optim_add(&train->optim, train->gradients[depth], train->gradients[depth + 1]);
	return DPO_OK;
}

static void
clear_gradients(struct dpo_train *train)
{
	for (size_t d = 0; d < DPO_TRAIN_DEPTH_MAX; d++)
		if (train->gradients[d])
			memset(train->gradients[d], 0, train->trained.params->total * sizeof(float));
}

enum dpo_status
dpo_gradient_sum(struct dpo_train *train, struct dpo_batch *batch, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	if (train->recipe.objective.whole_batch)
		status = look_ahead(train, batch, err);
	if (status == DPO_OK && !train->stopped)
		status = sum_slots(train, batch, 0, (size_t)train->recipe.grad_slots, 0, err);
	free(batch->outcomes);
	batch->outcomes = NULL;
	if (status == DPO_OK && train->stopped)
		clear_gradients(train);
	return status;
}
