#include "train/train.h"

#include "base/size.h"
#include "loss/reference.h"
#include "measure/eval.h"
#include "measure/metrics.h"
#include "train/best.h"
#include "train/gradient.h"
#include "train/optim.h"
#include "train/schedule.h"
#include "train/trainparts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ setting up */

static void
plan_steps(struct dpo_train *train)
{
	const struct dpo_recipe *recipe = &train->recipe;

	train->total = dpo_recipe_steps(recipe, train->data->rows, &train->steps_per_epoch);
	train->schedule = dpo_schedule_plan(&recipe->schedule, recipe->learning_rate, train->total);
	dpo_watch_init(&train->watch, train->total, train->steps_per_epoch, recipe->batch_size);
	train->order = (struct dpo_order){ .rows = train->data->rows, .seed = recipe->seed, .shuffle = recipe->shuffle };
}

size_t
dpo_train_depth(uint64_t grad_slots)
{
	size_t depth = 1;

	while (((uint64_t)1 << (depth - 1)) < grad_slots)
		depth++;
	return depth;
}

/* The scorer, with memory for the longest row at once: growing to it would take more. */
static enum dpo_status
make_scorer(struct dpo_train *train, int threads, struct dpo_error *err)
{
	const struct dpo_model *model = train->model;
	struct dpo_room room = { 0 };
	struct dpo_passes passes = { model->lora, true, train->recipe.recompute, train->recipe.bf16, threads };
	enum dpo_status status = dpo_scorer_new(&train->scorer, &model->config, &model->params, model->weights, &passes, err);

	if (status != DPO_OK)
		return status;
	dpo_scorer_dropout(train->scorer, &(struct dpo_dropout_key){ 0 });
	status = dpo_rowset_room(train->data, train->eval, train->scorer, &room, err);
	return status == DPO_OK ? dpo_scorer_reserve(train->scorer, &room, err) : status;
}

enum dpo_status
dpo_train_new(struct dpo_train **result, const struct dpo_recipe *recipe, struct dpo_model *model,
    struct dpo_rowset *data, struct dpo_rowset *eval, int threads, struct dpo_error *err)
{
	struct dpo_train *train = *result = dpo_alloc(1, sizeof *train);
	const struct dpo_columns *evaluated = &(eval ? eval : data)->columns;
	bool present[DPO_METRICS];
	enum dpo_status status;

	if (!train)
		return dpo_fail_memory(err);
	train->recipe = *recipe;
	train->model = model;
	train->trained = dpo_model_trained(model);
	train->data = data;
	train->eval = eval;
	plan_steps(train);
	dpo_metrics_present(evaluated->answers, evaluated->reference || recipe->objective.reference_free, present);
	status = dpo_best_init(&train->best, recipe, present, train->trained.params, err);
	if (status == DPO_OK)
		status = dpo_optim_init(&train->optim, train->trained.params, &recipe->optim, threads, err);
	for (size_t d = 0; d < dpo_train_depth(recipe->grad_slots) && status == DPO_OK; d++)
		if (!(train->gradients[d] = dpo_alloc_aligned(train->trained.params->total, sizeof(float))))
			status = dpo_fail_memory(err);
	if (status == DPO_OK)
		status = make_scorer(train, threads, err);
	if (status == DPO_OK && recipe->ref_sync_steps)
		status = dpo_reference_new(&train->reference, recipe->ref_mixup_alpha, recipe->ref_sync_steps, model, data, eval,
		    recipe->bf16, threads, err);
	if (status != DPO_OK) {
		dpo_train_free(train);
		*result = NULL;
	}
	return status;
}

void
dpo_train_free(struct dpo_train *train)
{
	if (!train)
		return;
	dpo_scorer_free(train->scorer);
	dpo_reference_free(train->reference);
	dpo_optim_free(&train->optim);
	dpo_best_free(&train->best);
	for (size_t d = 0; d < DPO_TRAIN_DEPTH_MAX; d++)
		free(train->gradients[d]);
	dpo_tokens_free(&train->tokens);
	dpo_buffer_free(&train->log);
	dpo_order_free(&train->order);
	free(train);
}

/* ------------------------------------------------------------------ a step */

static enum dpo_status
take_batch(struct dpo_train *train, struct dpo_batch *batch, struct dpo_error *err)
{
	uint64_t epoch = train->done / train->steps_per_epoch;
	uint64_t size = train->recipe.batch_size, first = train->done % train->steps_per_epoch * size;
	uint64_t left = train->data->rows - first;
	enum dpo_status status;

	if ((status = dpo_order_set(&train->order, epoch, err)) != DPO_OK)
		return status;
	*batch = (struct dpo_batch){ .rows = train->order.index + first, .n = (size_t)(left < size ? left : size) };
	for (size_t i = 0; i < batch->n; i++)
		batch->tokens += train->data->scored[batch->rows[i]];
	return DPO_OK;
}

/* The share of the data seen after `done` steps, as Hugging Face's Trainer counts it. */
static double
epochs_after(const struct dpo_train *train, uint64_t done)
{
	uint64_t per = train->steps_per_epoch;

	return done == 0 ? 0 : (double)((done - 1) / per) + (double)((done - 1) % per + 1) / (double)per;
}

static enum dpo_status
bad_gradient(struct dpo_train *train, const struct dpo_batch *batch, double norm, struct dpo_error *err)
{
	struct dpo_row row;
	enum dpo_status status = dpo_rowset_get(train->data, batch->rows[0], &row, err);

	if (status != DPO_OK)
		return status;
	(void)dpo_fail(err, DPO_NONFINITE, "the gradient's norm is %g in the %zu rows that begin here", norm, batch->n);
	return dpo_columns_blame(&row, err);
}

static enum dpo_status
update(struct dpo_train *train, struct dpo_batch *batch, struct dpo_error *err)
{
	const struct dpo_recipe *recipe = &train->recipe;
	struct dpo_metric_values values;
	double norm = dpo_optim_norm(&train->optim, train->gradients[0]), scale = dpo_optim_clip(norm, recipe->max_grad_norm);
	double lr = recipe->learning_rate * dpo_schedule_factor(&train->schedule, train->done);

	if (!isfinite(norm))
		return bad_gradient(train, batch, norm, err);
	if (++train->done == 1)
		dpo_optim_first(&train->optim, train->trained.block, &train->gradients[0], lr, scale);
	else
		dpo_optim_step(&train->optim, train->trained.block, train->gradients[0], train->done, lr, scale);
	dpo_scorer_changed(train->scorer);
	if (train->reference)
		dpo_reference_sync(train->reference, train->done);
	dpo_metrics_mean(&batch->metrics, &recipe->objective, &values);
	values.value[DPO_METRIC_GRAD_NORM] = norm;
	values.value[DPO_METRIC_LEARNING_RATE] = lr;
	values.present[DPO_METRIC_GRAD_NORM] = values.present[DPO_METRIC_LEARNING_RATE] = true;
	dpo_metrics_window_add(&train->window, &values);
	dpo_watch_step(&train->watch, &batch->watch);
	train->num_tokens += batch->metrics.tokens;
	train->last_loss = values.value[DPO_METRIC_LOSS];
	return DPO_OK;
}

static void
log_window(struct dpo_train *train)
{
	dpo_metrics_line(&train->log, &train->window, "", train->num_tokens, epochs_after(train, train->done), train->done);
	train->window = (struct dpo_metric_window){ 0 };
}

static enum dpo_status
log_step(struct dpo_train *train, struct dpo_error *err)
{
	if (train->done % train->recipe.logging_steps == 0 || train->done == train->total ||
	    (train->done == 1 && train->recipe.logging_first))
		log_window(train);
	return train->log.failed ? dpo_fail_memory(err) : DPO_OK;
}

static enum dpo_status
optimize(struct dpo_train *train, struct dpo_error *err)
{
	struct dpo_batch batch = { 0 };
	enum dpo_status status = take_batch(train, &batch, err);

	if (status == DPO_OK)
		status = dpo_gradient_sum(train, &batch, err);
	if (status == DPO_OK && !train->stopped && (status = update(train, &batch, err)) == DPO_OK)
		return log_step(train, err);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "step %" PRIu64, train->done + 1);
}

/* ------------------------------------------------------------------ evaluation on the way */

static bool
evaluation_is_due(const struct dpo_train *train)
{
	uint64_t every = train->recipe.eval_steps;

	if (train->eval && train->done == 0)
		return train->recipe.eval_first && train->log.len == 0;	/* it is the first thing in a log */
	return train->eval && train->evaluated != train->done &&
	    (train->done == train->total || (every && train->done % every == 0));
}

static enum dpo_status
score_eval(struct dpo_train *train, struct dpo_eval *eval, struct dpo_error *err)
{
	const struct dpo_objective *objective = &train->recipe.objective;
	struct dpo_outcome outcome;
	struct dpo_row row;
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < train->eval->rows && status == DPO_OK; i++) {
		if ((train->stopped = train->tick && train->tick(train->context, i, true)))
			return DPO_OK;
		if ((status = dpo_gradient_score(train, train->eval, i, &row, &outcome, err)) == DPO_OK)
			status = dpo_eval_add(eval, &outcome, objective, err);
	}
	if (status == DPO_OK)
		status = dpo_eval_finish(eval, objective, err);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "evaluation after step %" PRIu64, train->done);
}

static enum dpo_status
evaluate(struct dpo_train *train, struct dpo_error *err)
{
	struct dpo_metric_window window = { 0 };
	struct dpo_metric_values values;
	struct dpo_eval eval = { 0 };
	enum dpo_status status = score_eval(train, &eval, err);

	dpo_metrics_mean(&eval.metrics, &train->recipe.objective, &values);
	dpo_eval_free(&eval);
	if (status != DPO_OK || train->stopped)
		return status;
	dpo_metrics_window_add(&window, &values);
	dpo_metrics_line(&train->log, &window, "eval_", 0, epochs_after(train, train->done), train->done);
	if (train->done > 0)
		dpo_best_take(&train->best, &values, train->done, train->trained.block);
	train->evaluated = train->done;
	train->eval_loss = values.value[DPO_METRIC_LOSS];
	return train->log.failed ? dpo_fail_memory(err) : DPO_OK;
}

enum dpo_status
dpo_train_step(struct dpo_train *train, dpo_train_tick *tick, void *context, bool *stopped, struct dpo_error *err)
{
	bool evaluation = evaluation_is_due(train);
	enum dpo_status status;

	*stopped = train->stopped = false;
	if (!evaluation && (train->done >= train->total || dpo_best_stops(&train->best)))
		return DPO_END;
	train->tick = tick;
	train->context = context;
	status = evaluation ? evaluate(train, err) : optimize(train, err);
	*stopped = train->stopped;
	return status;
}

enum dpo_status
dpo_train_end(struct dpo_train *train, struct dpo_finding found[DPO_WATCH_FINDINGS], size_t *n, struct dpo_error *err)
{
	const struct dpo_recipe *recipe = &train->recipe;
	double epoch = epochs_after(train, train->done);

	if (train->window.steps > 0)
		log_window(train);
	*n = dpo_watch_findings(&train->watch, recipe->objective.settings.beta, recipe->objective.difference, found);
	for (size_t i = 0; i < *n; i++)
		dpo_watch_line(&found[i], &train->log, epoch, train->done);
	dpo_best_line(&train->best, &train->log, epoch, train->done);
	if (train->best.weights)
		memcpy(train->trained.block, train->best.weights, train->trained.params->total * sizeof(float));
	dpo_scorer_free(train->scorer);		/* makes room for what is to be written */
	train->scorer = NULL;
	return train->log.failed ? dpo_fail_memory(err) : DPO_OK;
}

/* ------------------------------------------------------------------ looking at it */

uint64_t
dpo_train_done(const struct dpo_train *train)
{
	return train->done;
}

uint64_t
dpo_train_total(const struct dpo_train *train)
{
	return train->total;
}

uint64_t
dpo_train_rows(const struct dpo_train *train, uint64_t steps)
{
	uint64_t within = steps % train->steps_per_epoch * train->recipe.batch_size;

	return steps / train->steps_per_epoch * train->data->rows + within;
}

float *
dpo_train_reference(const struct dpo_train *train)
{
	return train->reference ? dpo_reference_weights(train->reference) : NULL;
}

const struct dpo_buffer *
dpo_train_log(const struct dpo_train *train)
{
	return &train->log;
}

double
dpo_train_loss(const struct dpo_train *train)
{
	return train->last_loss;
}

double
dpo_train_eval_loss(const struct dpo_train *train)
{
	return train->eval_loss;
}
