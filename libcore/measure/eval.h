/*
 * eval - a policy on held-out rows. Layer 14; uses error, size, calibration, moments,
 * objective, outcome, metrics.
 *
 * All means are over rows or over scored tokens of the whole set. (TRL averages over evaluation batches, which differs for
 * token means and when the last batch is smaller.) A loss of the whole batch sorts the whole set: its inputs are kept until
 * dpo_eval_finish, some hundred bytes a row, and sorting them takes some hundreds more.
 */
#ifndef DPO_EVAL_H
#define DPO_EVAL_H

#include "measure/calibration.h"
#include "measure/metrics.h"
#include "measure/moments.h"

/* Sums over the rows seen; {0} is empty. */
struct dpo_eval {
	struct dpo_metrics metrics;
	double ratio[DPO_ANSWERS];	/* log-ratios to the reference, nats */
	size_t wins;			/* pairs with log p(chosen) > log p(rejected) */
	struct dpo_calibration calibration;	/* of the reward margins; with a reference */
	struct dpo_moments rewards;	/* x: the reward of an answer, y: its tokens; with a reference, both answers of a pair */
	struct dpo_loss_input *inputs;	/* owned; of each row, where the objective sorts them */
	size_t capacity;
};

enum dpo_status dpo_eval_add(struct dpo_eval *eval, const struct dpo_outcome *outcome,
	const struct dpo_objective *objective, struct dpo_error *err) DPO_MUST_CHECK;
/* After the last row: the losses of the whole batch. */
enum dpo_status dpo_eval_finish(struct dpo_eval *eval, const struct dpo_objective *objective, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_eval_free(struct dpo_eval *eval);

/* A share with its interval. */
struct dpo_share {
	double share, low, high;
};

/*
 * `count` of n as a share with the 95% interval of Wilson (1927), "Probable inference, the law of succession, and
 * statistical inference", J. Am. Stat. Assoc. 22: with z = 1.959964,
 *
 *	(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
 *
 * Of n 0 nothing is defined: all three are NaN.
 */
struct dpo_share dpo_eval_share(size_t count, size_t n);

#endif
