#include "measure/eval.h"

#include "base/error.h"
#include "base/size.h"
#include "loss/objective.h"
#include "loss/outcome.h"

#include <math.h>
#include <stdlib.h>

enum dpo_status
dpo_eval_add(struct dpo_eval *eval, const struct dpo_outcome *outcome, const struct dpo_objective *objective,
    struct dpo_error *err)
{
	void *inputs = eval->inputs;

	if (objective->whole_batch) {
		if (!dpo_size_grow(&inputs, &eval->capacity, eval->metrics.rows + 1, sizeof *eval->inputs))
			return dpo_fail_memory(err);
		eval->inputs = inputs;
		eval->inputs[eval->metrics.rows] = outcome->input;
	}
	dpo_metrics_add(&eval->metrics, outcome, objective->settings.beta);
	for (size_t a = 0; a < outcome->answers; a++) {
		eval->ratio[a] += outcome->input.ratio[a];
		if (outcome->reference)
			dpo_moments_add(&eval->rewards, objective->settings.beta * outcome->input.ratio[a],
			    (double)outcome->sums[a].scored);
	}
	if (outcome->reference && outcome->answers == 2)
		dpo_calibration_add(&eval->calibration,
		    objective->settings.beta * (outcome->input.ratio[0] - outcome->input.ratio[1]));
	eval->wins += outcome->answers == 2 && outcome->input.logp[0] > outcome->input.logp[1];
	return DPO_OK;
}

enum dpo_status
dpo_eval_finish(struct dpo_eval *eval, const struct dpo_objective *objective, struct dpo_error *err)
{
	struct dpo_metrics *metrics = &eval->metrics;
	struct dpo_objective_result *results;
	enum dpo_status status;

	if (!objective->whole_batch || metrics->rows == 0)
		return DPO_OK;
	if (!(results = dpo_alloc(metrics->rows, sizeof *results)))
		return dpo_fail_memory(err);
	status = dpo_objective_batch(objective, metrics->rows, eval->inputs, results, err);
	for (size_t i = 0; i < metrics->rows && status == DPO_OK; i++)
		for (size_t k = 0; k < objective->n; k++)
			metrics->loss[k] += results[i].value[k];
	free(results);
	return status;
}

void
dpo_eval_free(struct dpo_eval *eval)
{
	free(eval->inputs);
	*eval = (struct dpo_eval){ 0 };
}

struct dpo_share
dpo_eval_share(size_t count, size_t n)
{
	const double z = 1.959963984540054;
	double total = (double)n, p, centre, half, scale;

	if (n == 0)
		return (struct dpo_share){ NAN, NAN, NAN };
	p = (double)count / total;
	scale = 1 + z * z / total;
	centre = (p + z * z / (2 * total)) / scale;
	half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale;
	return (struct dpo_share){ p, fmax(0, centre - half), fmin(1, centre + half) };
}
