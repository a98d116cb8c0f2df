#include "recipe.h"

cJSON *
dpo_recipe_json(const struct dpo_recipe *recipe)
{
	const struct { const char *name; double value; } numbers[] = {
		{ "beta", recipe->loss_settings.beta },
		{ "learning_rate", recipe->learning_rate },
		{ "warmup_steps", recipe->warmup_steps },
		{ "weight_decay", recipe->optim.weight_decay },
		{ "adam_beta1", recipe->optim.beta1 },
		{ "adam_beta2", recipe->optim.beta2 },
		{ "adam_epsilon", recipe->optim.epsilon },
		{ "max_grad_norm", recipe->max_grad_norm },
		{ "num_train_epochs", recipe->epochs },
		{ "max_steps", recipe->max_steps ? (double)recipe->max_steps : -1 },
		{ "batch_size", (double)recipe->batch_size },
		{ "grad_slots", (double)recipe->grad_slots },
		{ "seed", (double)recipe->seed },
	};
	cJSON *object = cJSON_CreateObject();
	bool good = object && cJSON_AddStringToObject(object, "loss_type", recipe->loss->name) &&
	    cJSON_AddStringToObject(object, "lr_scheduler_type", dpo_schedule_names[recipe->schedule]) &&
	    cJSON_AddStringToObject(object, "order", recipe->shuffle ? "shuffle" : "sequential");

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers && good; i++)
		good = cJSON_AddNumberToObject(object, numbers[i].name, numbers[i].value) != NULL;
	if (good && recipe->ref_sync_steps)
		good = cJSON_AddTrueToObject(object, "sync_ref_model") &&
		    cJSON_AddNumberToObject(object, "ref_model_mixup_alpha", recipe->ref_mixup_alpha) &&
		    cJSON_AddNumberToObject(object, "ref_model_sync_steps", (double)recipe->ref_sync_steps);
	if (!good) {
		cJSON_Delete(object);
		return NULL;
	}
	return object;
}
