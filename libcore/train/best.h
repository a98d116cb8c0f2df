/*
 * best - the best evaluation so far, its weights, and when to stop early. Layer 14; uses error, size, buffer, json,
 * state, params, recipe, metrics.
 *
 * Like Hugging Face's Trainer with EarlyStoppingCallback: with the metric m of an evaluation and the best b so far, the
 * evaluation is a new best if m < b (m > b where greater is better); it counts against the patience unless it is the first,
 * or a new best by more than the threshold. After `patience` such evaluations in a row the run stops. Metrics are compared
 * as the log shows them, rounded to float.
 */
#ifndef DPO_BEST_H
#define DPO_BEST_H

#include "base/buffer.h"
#include "base/error.h"
#include "measure/metrics.h"
#include "model/params.h"
#include "train/recipe.h"

struct dpo_best {
	bool on;			/* the recipe asks for any of it */
	enum dpo_metric metric;
	bool greater;			/* is better */
	uint64_t patience;		/* 0: never stop */
	double threshold;
	bool seen;			/* there was there was there was an evaluation; what follows is of the best one */
	double value;
	uint64_t step;
	uint64_t worse;			/* evaluations in a row that count against the patience */
	const struct dpo_params *params;	/* borrowed */
	float *weights;			/* owned; params->total floats, or NULL if they are not kept */
};

/*
 * present: which metrics the evaluations will have (dpo_metrics_mean). DPO_USAGE for a metric that is unknown or not among
 * them. load_best_model_at_end takes 4 bytes per parameter. Free it even on error.
 */
enum dpo_status dpo_best_init(struct dpo_best *best, const struct dpo_recipe *recipe, const bool present[DPO_METRICS],
	const struct dpo_params *params, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_best_free(struct dpo_best *best);

/* The evaluation after `step`; weights are those of the model. */
void dpo_best_take(struct dpo_best *best, const struct dpo_metric_values *values, uint64_t step, const float *weights);

/* Whether patience has run out. */
bool dpo_best_stops(const struct dpo_best *best);

/* Append the log's line about the best, {"metric_for_best_model":...,"best_metric":...,"best_step":...,"epoch":E,"step":S}. */
void dpo_best_line(const struct dpo_best *best, struct dpo_buffer *log, double epoch, uint64_t step);

/* Append "best":{...} of a checkpoint's state, and read it back. The weights are the caller's to save. */
void dpo_best_save(const struct dpo_best *best, struct dpo_buffer *state);
enum dpo_status dpo_best_resume(struct dpo_best *best, const cJSON *state, struct dpo_error *err) DPO_MUST_CHECK;

#endif
