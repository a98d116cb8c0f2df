/*
 * recipe - the settings of a training run, with TRL's names. Layer 8; uses buffer, json, objective, schedule, optim.
 */
#ifndef DPO_RECIPE_H
#define DPO_RECIPE_H

#include "loss/objective.h"
#include "train/optim.h"
#include "train/schedule.h"

#include <cjson/cJSON.h>

struct dpo_recipe {
	struct dpo_objective objective;
	struct dpo_optim_settings optim;
	bool bf16;			/* products in bf16 (linear.h), weights and all else in float */
	double learning_rate;		/* the peak */
	struct dpo_schedule_settings schedule;
	double max_grad_norm;		/* 0: no clipping */
	double epochs;
	uint64_t max_steps;		/* 0: as many as the epochs have */
	uint64_t batch_size;		/* rows per step */
	uint64_t grad_slots;		/* contiguous groups of a batch's rows over which a fixed binary tree sums its gradient */
	uint64_t seed;
	bool shuffle;
	double ref_mixup_alpha;		/* of reference.h */
	uint64_t ref_sync_steps;	/* 0: the reference stays as it is */
	/* Evaluations that decide (best.h). */
	const char *best_metric;	/* without "eval_"; NULL: none decides */
	bool greater_is_better;
	uint64_t patience;		/* 0: never stop early */
	double patience_threshold;
	bool load_best;			/* the policy is that of the best evaluation */

	uint64_t logging_steps;
	uint64_t eval_steps;		/* 0: only after the last step */
	bool logging_first, eval_first;	/* the first step is logged too; there is an evaluation before it, which decides nothing */
	bool recompute;			/* activations in the backward pass (decoder.h): less memory, the same bits */
};

/* Optimizer steps of the run, and in *per_epoch those of one pass over that many rows. */
uint64_t dpo_recipe_steps(const struct dpo_recipe *recipe, uint64_t rows, uint64_t *per_epoch);

/*
 * The settings that shape the policy, as a JSON object: without what stands from logging_steps on, but eval_steps where
 * evaluations decide. NULL if out of memory. Caller deletes.
 */
cJSON *dpo_recipe_json(const struct dpo_recipe *recipe);

#endif
