#include "train/recipe.h"

#include "base/buffer.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

struct number {
	const char *name;
	double value;
	bool acts;		/* settings without effect are left out */
};

static bool
add_numbers(cJSON *object, const struct number *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (numbers[i].acts && !isnan(numbers[i].value) &&
		    !cJSON_AddNumberToObject(object, numbers[i].name, numbers[i].value))
			return false;
	return true;
}

/* "sigmoid", or "sigmoid,sft" with their weights "0.8,1". */
static bool
add_losses(cJSON *object, const struct dpo_objective *o)
{
	struct dpo_buffer names = { 0 }, weights = { 0 };
	bool good;

	for (size_t k = 0; k < o->n; k++) {
		dpo_buffer_printf(&names, "%s%s", k ? "," : "", o->losses[k]->name);
		dpo_buffer_string(&weights, k ? "," : "");
		dpo_json_put_number(&weights, o->weights[k]);
	}
	good = !names.failed && !weights.failed &&
	    cJSON_AddStringToObject(object, "loss_type", dpo_buffer_text(&names)) &&
	    (strcmp(dpo_buffer_text(&weights), "1") == 0 ||
	    cJSON_AddStringToObject(object, "loss_weights", dpo_buffer_text(&weights)));
	dpo_buffer_free(&names);
	dpo_buffer_free(&weights);
	return good;
}

static bool
add_columns(cJSON *object, const struct dpo_objective *o)
{
	cJSON *columns = o->n_columns ? cJSON_AddObjectToObject(object, "objectives") : NULL;

	for (size_t k = 0; k < o->n_columns; k++)
		if (!columns || !cJSON_AddNumberToObject(columns, o->columns[k], o->column_weights[k]))
			return false;
	return true;
}

/* The objective: what its losses do not take is left out. */
static bool
add_objective(cJSON *object, const struct dpo_objective *o)
{
	bool divergence = o->divergence != &dpo_divergences[0];
	const struct number numbers[] = {
		{ "beta", o->settings.beta, true },
		{ "label_smoothing", o->settings.label_smoothing, o->takes & DPO_TAKES_SMOOTHING },
		{ "discopop_tau", o->settings.discopop_tau, o->takes & DPO_TAKES_DISCOPOP_TAU },
		{ "dpop_lambda", o->settings.dpop_lambda, o->takes & DPO_TAKES_DPOP_LAMBDA },
		{ "simpo_gamma", o->settings.simpo_gamma, o->takes & DPO_TAKES_SIMPO_GAMMA },
		{ "odpo_alpha", o->settings.odpo_alpha, o->takes & DPO_TAKES_ODPO_ALPHA },
		{ "f_alpha_divergence_coef", o->alpha_coef, divergence && strcmp(o->divergence->name, "alpha_divergence") == 0 },
		{ "ld_alpha", o->ld_alpha, o->use_ld_alpha },
	};

	return add_losses(object, o) && add_numbers(object, numbers, sizeof numbers / sizeof *numbers) &&
	    (!divergence || cJSON_AddStringToObject(object, "f_divergence_type", o->divergence->name)) &&
	    (!o->use_weighting || cJSON_AddTrueToObject(object, "use_weighting")) &&
	    (!o->reference_free || cJSON_AddTrueToObject(object, "reference_free")) && add_columns(object, o);
}

static bool
add_schedule(cJSON *object, const struct dpo_schedule_settings *s)
{
	unsigned uses = s->schedule->uses;
	const struct number numbers[] = {
		{ "warmup_steps", s->warmup_steps, true },
		{ "num_cycles", s->num_cycles, uses & DPO_USES_CYCLES },
		{ "min_lr", s->min_lr, uses & DPO_USES_MIN_LR },
		{ "min_lr_rate", s->min_lr_rate, uses & DPO_USES_MIN_LR },
		{ "lr_end", s->lr_end, uses & DPO_USES_POLYNOMIAL },
		{ "power", s->power, uses & DPO_USES_POLYNOMIAL },
		{ "timescale", s->timescale, uses & DPO_USES_TIMESCALE },
		{ "num_decay_steps", s->num_decay_steps, uses & DPO_USES_DECAY },
		{ "min_lr_ratio", s->min_lr_ratio, uses & DPO_USES_DECAY },
	};

	return cJSON_AddStringToObject(object, "lr_scheduler_type", s->schedule->name) &&
	    add_numbers(object, numbers, sizeof numbers / sizeof *numbers) &&
	    (!(uses & DPO_USES_DECAY) || cJSON_AddStringToObject(object, "decay_type", dpo_decay_names[s->decay_type]));
}

static bool
add_optim(cJSON *object, const struct dpo_optim_settings *s)
{
	unsigned uses = s->optimizer->uses;
	const struct number numbers[] = {
		{ "weight_decay", s->weight_decay, true },
		{ "adam_beta1", s->beta1, uses & DPO_USES_ADAM },
		{ "adam_beta2", s->beta2, uses & DPO_USES_ADAM },
		{ "adam_epsilon", s->epsilon, uses & DPO_USES_ADAM },
		{ "rmsprop_alpha", s->alpha, uses & DPO_USES_RMSPROP },
		{ "rmsprop_epsilon", s->rms_epsilon, uses & DPO_USES_RMSPROP },
		{ "momentum", s->momentum, uses & DPO_USES_MOMENTUM },
	};

	return cJSON_AddStringToObject(object, "optim", s->optimizer->name) &&
	    add_numbers(object, numbers, sizeof numbers / sizeof *numbers);
}

static bool
add_sync(cJSON *object, const struct dpo_recipe *r)
{
	return !r->ref_sync_steps || (cJSON_AddTrueToObject(object, "sync_ref_model") &&
	    cJSON_AddNumberToObject(object, "ref_model_mixup_alpha", r->ref_mixup_alpha) &&
	    cJSON_AddNumberToObject(object, "ref_model_sync_steps", (double)r->ref_sync_steps));
}

/* Evaluations that decide shape the policy. */
static bool
add_best(cJSON *object, const struct dpo_recipe *r)
{
	const struct number numbers[] = {
		{ "eval_steps", (double)r->eval_steps, true },
		{ "early_stopping_patience", (double)r->patience, true },
		{ "early_stopping_threshold", r->patience_threshold, true },
	};

	return !r->best_metric || (cJSON_AddStringToObject(object, "metric_for_best_model", r->best_metric) &&
	    cJSON_AddBoolToObject(object, "greater_is_better", r->greater_is_better) &&
	    cJSON_AddBoolToObject(object, "load_best_model_at_end", r->load_best) &&
	    add_numbers(object, numbers, sizeof numbers / sizeof *numbers));
}

cJSON *
dpo_recipe_json(const struct dpo_recipe *recipe)
{
	const struct number numbers[] = {
		{ "learning_rate", recipe->learning_rate, true },
		{ "max_grad_norm", recipe->max_grad_norm, true },
		{ "num_train_epochs", recipe->epochs, true },
		{ "max_steps", recipe->max_steps ? (double)recipe->max_steps : -1, true },
		{ "batch_size", (double)recipe->batch_size, true },
		{ "grad_slots", (double)recipe->grad_slots, true },
		{ "seed", (double)recipe->seed, true },
	};
	cJSON *object = cJSON_CreateObject();

	if (object && add_objective(object, &recipe->objective) &&
	    cJSON_AddStringToObject(object, "order", recipe->shuffle ? "shuffle" : "sequential") &&
	    add_numbers(object, numbers, sizeof numbers / sizeof *numbers) &&
	    cJSON_AddStringToObject(object, "dtype", recipe->bf16 ? "bf16" : "fp32") &&
	    add_schedule(object, &recipe->schedule) && add_optim(object, &recipe->optim) &&
	    add_sync(object, recipe) && add_best(object, recipe))
		return object;
	cJSON_Delete(object);
	return NULL;
}

uint64_t
dpo_recipe_steps(const struct dpo_recipe *recipe, uint64_t rows, uint64_t *per_epoch)
{
	*per_epoch = rows / recipe->batch_size + (rows % recipe->batch_size != 0);
	return recipe->max_steps ? recipe->max_steps : (uint64_t)ceil(recipe->epochs * (double)*per_epoch);
}
