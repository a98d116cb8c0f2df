/*
 * metrics - TRL's metrics of a batch, their mean over a window of steps, and their line in the log. Layer 13; uses
 * buffer, json, outcome.
 *
 * Names and meanings are those of TRL 1.16.0's DPOTrainer: rewards are beta times the log-ratio of an answer; accuracies
 * is the share of pairs with reward(chosen) > reward(rejected), strictly; logps are sums over an answer, then means over
 * pairs; logits and entropy are means over the scored tokens of the batch (entropy over both answers);
 * mean_token_accuracy is over chosen tokens. A metric that needs a rejected answer or a reference is left out where there
 * is none. Sums are in double, in row order.
 */
#ifndef DPO_METRICS_H
#define DPO_METRICS_H

#include "base/buffer.h"
#include "loss/outcome.h"

enum dpo_metric {
	DPO_METRIC_LOSS,
	DPO_METRIC_GRAD_NORM,
	DPO_METRIC_LEARNING_RATE,
	DPO_METRIC_REWARDS_CHOSEN,
	DPO_METRIC_REWARDS_REJECTED,
	DPO_METRIC_REWARDS_ACCURACIES,
	DPO_METRIC_REWARDS_MARGINS,
	DPO_METRIC_LOGPS_CHOSEN,
	DPO_METRIC_LOGPS_REJECTED,
	DPO_METRIC_LOGITS_CHOSEN,
	DPO_METRIC_LOGITS_REJECTED,
	DPO_METRIC_ENTROPY,
	DPO_METRIC_MEAN_TOKEN_ACCURACY,
	DPO_METRICS
};

/* The name in the log, "rewards/chosen". */
const char *dpo_metric_name(enum dpo_metric metric);
/* The metric of that name, or DPO_METRICS. */
enum dpo_metric dpo_metric_find(const char *name);

/* Sums over the rows of a batch; {0} is empty. */
struct dpo_metrics {
	size_t rows;
	size_t answers;			/* of each row */
	bool reference;
	double loss[DPO_OBJECTIVE_LOSSES];	/* by loss, of weight times its value */
	double reward[DPO_ANSWERS], margin, logp[DPO_ANSWERS];
	size_t accurate, correct;
	size_t scored[DPO_ANSWERS];
	double logits[DPO_ANSWERS], entropy[DPO_ANSWERS];
	uint64_t tokens;		/* TRL's num_tokens: prompt and answer, of each answer */
};

void dpo_metrics_add(struct dpo_metrics *metrics, const struct dpo_outcome *outcome, double beta);

/* Which metrics rows of so many answers, with a reference or without, have. grad_norm and learning_rate are a step's. */
void dpo_metrics_present(size_t answers, bool reference, bool present[DPO_METRICS]);

/* Means of a batch, and which of them exist. grad_norm and learning_rate are for the caller to fill in. */
struct dpo_metric_values {
	double value[DPO_METRICS];
	bool present[DPO_METRICS];
};
void dpo_metrics_mean(const struct dpo_metrics *metrics, const struct dpo_objective *objective,
	struct dpo_metric_values *values);

/*
 * A window of steps: the unweighted mean over steps of each metric, except grad_norm and learning_rate, which are those of
 * the last step (as Hugging Face's Trainer logs them). {0} is empty.
 */
struct dpo_metric_window {
	uint64_t steps;
	struct dpo_metric_values sum;
};
void dpo_metrics_window_add(struct dpo_metric_window *window, const struct dpo_metric_values *values);

/*
 * Append one line to a log: {"loss":...,"num_tokens":N,"epoch":E,"step":S} in fixed order, each name but epoch and step
 * preceded by `prefix`. Metrics except the learning rate are rounded to float. num_tokens 0 is left out.
 */
void dpo_metrics_line(struct dpo_buffer *log, const struct dpo_metric_window *window, const char *prefix,
	uint64_t num_tokens, double epoch, uint64_t step);

#endif
