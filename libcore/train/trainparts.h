/*
 * trainparts - what a training run is made of. Layer 15; uses buffer, model, score, optim, schedule, recipe, rowset,
 * outcome, reference, metrics, watch, best.
 *
 * train steps through it, gradient sums a step's gradient in it, trainsave saves and resumes it.
 */
#ifndef DPO_TRAINPARTS_H
#define DPO_TRAINPARTS_H

#include "base/buffer.h"
#include "decoder/model.h"
#include "decoder/score.h"
#include "loss/outcome.h"
#include "loss/reference.h"
#include "loss/rowset.h"
#include "measure/metrics.h"
#include "train/best.h"
#include "train/optim.h"
#include "train/recipe.h"
#include "train/schedule.h"
#include "train/watch.h"

enum { DPO_TRAIN_DEPTH_MAX = 33 };	/* of the tree over grad_slots */

struct dpo_train {
	struct dpo_recipe recipe;
	struct dpo_model *model;		/* borrowed */
	struct dpo_trained trained;		/* the part of it that changes */
	struct dpo_rowset *data, *eval;		/* borrowed; eval is NULL without */
	struct dpo_scorer *scorer;
	struct dpo_reference *reference;	/* owned; NULL if it stays as it is */
	struct dpo_optim optim;
	float *gradients[DPO_TRAIN_DEPTH_MAX];		/* owned; all zero between steps */
	struct dpo_tokens tokens;
	struct dpo_order order;
	struct dpo_schedule_plan schedule;
	uint64_t steps_per_epoch, total;

	uint64_t done;				/* steps */
	uint64_t evaluated;			/* the step after which the last evaluation was */
	uint64_t num_tokens;
	struct dpo_metric_window window;
	struct dpo_watch watch;
	struct dpo_best best;
	struct dpo_buffer log;
	double last_loss, eval_loss;

	bool (*tick)(void *context, size_t rows, bool evaluating);	/* of the current call (train.h) */
	void *context;
	bool stopped;
};

#endif
