#include "train/best.h"

#include "base/json.h"
#include "base/size.h"
#include "train/state.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum dpo_status
dpo_best_init(struct dpo_best *best, const struct dpo_recipe *recipe, const bool present[DPO_METRICS],
    const struct dpo_params *params, struct dpo_error *err)
{
	*best = (struct dpo_best){ .on = recipe->best_metric != NULL, .greater = recipe->greater_is_better,
		.patience = recipe->patience, .threshold = recipe->patience_threshold, .params = params };
	if (!best->on)
		return DPO_OK;
	best->metric = dpo_metric_find(recipe->best_metric);
	if (best->metric == DPO_METRICS || !present[best->metric])
		return dpo_fail(err, DPO_USAGE, "the evaluations have no metric \"eval_%s\"", recipe->best_metric);
	if (recipe->load_best && !(best->weights = dpo_alloc_aligned(params->total, sizeof *best->weights)))
		return dpo_fail_memory(err);
	return DPO_OK;
}

void
dpo_best_free(struct dpo_best *best)
{
	free(best->weights);
	*best = (struct dpo_best){ 0 };
}

void
dpo_best_take(struct dpo_best *best, const struct dpo_metric_values *values, uint64_t step, const float *weights)
{
	double value = (double)(float)values->value[best->metric];
	bool better = !best->seen || (best->greater ? value > best->value : value < best->value);
	bool enough = !best->seen || (better && fabs(value - best->value) > best->threshold);

	if (!best->on)
		return;
	best->worse = enough ? 0 : best->worse + 1;
	if (!better)
		return;
	best->seen = true;
	best->value = value;
	best->step = step;
	if (best->weights)
		memcpy(best->weights, weights, best->params->total * sizeof *weights);
}

bool
dpo_best_stops(const struct dpo_best *best)
{
	return best->on && best->patience > 0 && best->worse >= best->patience;
}

void
dpo_best_line(const struct dpo_best *best, struct dpo_buffer *log, double epoch, uint64_t step)
{
	if (!best->seen)
		return;
	dpo_buffer_printf(log, "{\"metric_for_best_model\":\"eval_%s\",\"best_metric\":", dpo_metric_name(best->metric));
	dpo_json_put_number(log, best->value);
	dpo_buffer_printf(log, ",\"best_step\":%" PRIu64 ",\"epoch\":", best->step);
	dpo_json_put_number(log, epoch);
	dpo_buffer_printf(log, ",\"step\":%" PRIu64 "}\n", step);
}

void
dpo_best_save(const struct dpo_best *best, struct dpo_buffer *state)
{
	dpo_buffer_printf(state, "\"best\":{\"seen\":%d,\"step\":%" PRIu64 ",\"worse\":%" PRIu64 ",", best->seen, best->step,
	    best->worse);
	dpo_state_put(state, "value", best->value);
	dpo_buffer_byte(state, '}');
}

enum dpo_status
dpo_best_resume(struct dpo_best *best, const cJSON *state, struct dpo_error *err)
{
	const cJSON *object = dpo_json_get(state, "best");
	uint64_t seen;
	enum dpo_status status;

	if ((status = dpo_state_counter(&seen, object, "seen", 1, err)) != DPO_OK ||
	    (status = dpo_state_counter(&best->step, object, "step", UINT64_MAX, err)) != DPO_OK ||
	    (status = dpo_state_counter(&best->worse, object, "worse", UINT64_MAX, err)) != DPO_OK)
		return status;
	best->seen = seen;
	return dpo_state_number(&best->value, object, "value", err);
}
