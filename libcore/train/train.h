/*
 * train - optimizer steps over a spool of pairs or supervised rows. Layer 17; uses error, size, buffer, model, score,
 * schedule, optim, recipe, rowset, reference, metrics, watch, best, eval, trainparts, gradient. Checkpoints are trainsave's.
 *
 * Invariants:
 *  1. The state after step s depends on settings, model and data alone: not on threads, nor on where the run was stopped
 *     and resumed. There is no random state: the order of epoch e is drawn from (seed, e).
 *  2. Weights, moments and log change only at the end of a step; a step that is stopped midway leaves no trace.
 *  3. The gradient of a step is the sum over a fixed binary tree of grad_slots contiguous groups of its rows, each group
 *     summed in row order.
 */
#ifndef DPO_TRAIN_H
#define DPO_TRAIN_H

#include "base/buffer.h"
#include "base/error.h"
#include "decoder/model.h"
#include "decoder/score.h"
#include "loss/rowset.h"
#include "train/recipe.h"
#include "train/watch.h"

struct dpo_train;

/*
 * A run at step 0. Everything is borrowed but the recipe, which is copied; what dpo_model_trained names is trained in
 * place, while model->id stays that of the start. eval is NULL for none. Memory besides the model: one float per trained
 * parameter, one more for each doubling of grad_slots, the states of the optimizer, one more if the best weights are kept
 * (best.h), and what reference.h says if the reference moves.
 */
enum dpo_status dpo_train_new(struct dpo_train **train, const struct dpo_recipe *recipe, struct dpo_model *model,
	struct dpo_rowset *data, struct dpo_rowset *eval, int threads, struct dpo_error *err) DPO_MUST_CHECK;
/* Floats of gradients for each trained parameter: the depth of the tree over the slots. */
size_t dpo_train_depth(uint64_t grad_slots);
void dpo_train_free(struct dpo_train *train);

/* Called before each row; true stops the step. rows: rows of this call done so far; evaluating: rows of the eval set. */
typedef bool dpo_train_tick(void *context, size_t rows, bool evaluating);

/*
 * Do one unit of work: an optimizer step, or the evaluation that is due after the last one. DPO_END if nothing is left, or
 * the evaluations say so (best.h).
 * *stopped is true if the tick stopped it; the state is then as before the call. Errors name step and record; a loss or a
 * gradient that is not finite is DPO_NONFINITE.
 */
enum dpo_status dpo_train_step(struct dpo_train *train, dpo_train_tick *tick, void *context, bool *stopped,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * After DPO_END, once: append what remains to the log, with a line for each warning (watch.h; also in found, *n of them)
 * and one about the best evaluation, and give the model the best weights if the recipe asks for them.
 */
enum dpo_status dpo_train_end(struct dpo_train *train, struct dpo_finding found[DPO_WATCH_FINDINGS], size_t *n,
	struct dpo_error *err) DPO_MUST_CHECK;

uint64_t dpo_train_done(const struct dpo_train *train);		/* steps */
uint64_t dpo_train_total(const struct dpo_train *train);
uint64_t dpo_train_rows(const struct dpo_train *train, uint64_t steps);	/* rows in the first `steps` steps */
/* The weights of the reference as it is now, where the recipe moves it; else NULL. Borrowed. */
float *dpo_train_reference(const struct dpo_train *train);
/* The log so far, one JSON object a line. Borrowed. */
const struct dpo_buffer *dpo_train_log(const struct dpo_train *train);
/* Loss of the last step; of the last evaluation of this process. */
double dpo_train_loss(const struct dpo_train *train);
double dpo_train_eval_loss(const struct dpo_train *train);

#endif
