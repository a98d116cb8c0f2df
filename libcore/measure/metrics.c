#include "measure/metrics.h"

#include "base/json.h"

#include <inttypes.h>
#include <string.h>

/* What a metric is of, besides a scored answer. */
enum { REFERENCE = 1, PAIR = 2, STEP = 4 };

static const struct { const char *name; unsigned of; } metrics_table[DPO_METRICS] = {
	[DPO_METRIC_LOSS] = { "loss", 0 },
	[DPO_METRIC_GRAD_NORM] = { "grad_norm", STEP },
	[DPO_METRIC_LEARNING_RATE] = { "learning_rate", STEP },
	[DPO_METRIC_REWARDS_CHOSEN] = { "rewards/chosen", REFERENCE },
	[DPO_METRIC_REWARDS_REJECTED] = { "rewards/rejected", REFERENCE | PAIR },
	[DPO_METRIC_REWARDS_ACCURACIES] = { "rewards/accuracies", REFERENCE | PAIR },
	[DPO_METRIC_REWARDS_MARGINS] = { "rewards/margins", REFERENCE | PAIR },
	[DPO_METRIC_LOGPS_CHOSEN] = { "logps/chosen", 0 },
	[DPO_METRIC_LOGPS_REJECTED] = { "logps/rejected", PAIR },
	[DPO_METRIC_LOGITS_CHOSEN] = { "logits/chosen", 0 },
	[DPO_METRIC_LOGITS_REJECTED] = { "logits/rejected", PAIR },
	[DPO_METRIC_ENTROPY] = { "entropy", 0 },
	[DPO_METRIC_MEAN_TOKEN_ACCURACY] = { "mean_token_accuracy", 0 },
};

const char *
dpo_metric_name(enum dpo_metric metric)
{
	return metrics_table[metric].name;
}

enum dpo_metric
dpo_metric_find(const char *name)
{
	int i = 0;

	while (i < DPO_METRICS && strcmp(metrics_table[i].name, name) != 0)
		i++;
	return (enum dpo_metric)i;
}

void
dpo_metrics_add(struct dpo_metrics *metrics, const struct dpo_outcome *outcome, double beta)
{
	double reward[DPO_ANSWERS] = { beta * outcome->input.ratio[0], beta * outcome->input.ratio[1] };

	metrics->rows++;
	metrics->answers = outcome->answers;
	metrics->reference = outcome->reference;
	for (size_t k = 0; k < DPO_OBJECTIVE_LOSSES; k++)
		metrics->loss[k] += outcome->weight * outcome->result.value[k];
	metrics->margin += reward[0] - reward[1];
	metrics->accurate += reward[0] > reward[1];
	metrics->correct += outcome->sums[0].correct;
	metrics->tokens += outcome->tokens;
	for (size_t a = 0; a < outcome->answers; a++) {
		metrics->reward[a] += reward[a];
		metrics->logp[a] += outcome->input.logp[a];
		metrics->scored[a] += outcome->sums[a].scored;
		metrics->logits[a] += outcome->sums[a].logits;
		metrics->entropy[a] += outcome->sums[a].entropy;
	}
}

/* TRL gives 0 for a mean over no tokens. */
static double
ratio(double sum, size_t n)
{
	return n ? sum / (double)n : 0.0;
}

void
dpo_metrics_present(size_t answers, bool reference, bool present[DPO_METRICS])
{
	unsigned there = (reference ? REFERENCE : 0) | (answers == 2 ? PAIR : 0);

	for (size_t i = 0; i < DPO_METRICS; i++)
		present[i] = !(metrics_table[i].of & ~there);
}

void
dpo_metrics_mean(const struct dpo_metrics *metrics, const struct dpo_objective *objective,
    struct dpo_metric_values *values)
{
	const struct dpo_metrics *m = metrics;

	*values = (struct dpo_metric_values){ .value = {
		[DPO_METRIC_LOSS] = dpo_objective_total(objective, m->loss, m->rows, m->scored[0]),
		[DPO_METRIC_REWARDS_CHOSEN] = ratio(m->reward[0], m->rows),
		[DPO_METRIC_REWARDS_REJECTED] = ratio(m->reward[1], m->rows),
		[DPO_METRIC_REWARDS_ACCURACIES] = ratio((double)m->accurate, m->rows),
		[DPO_METRIC_REWARDS_MARGINS] = ratio(m->margin, m->rows),
		[DPO_METRIC_LOGPS_CHOSEN] = ratio(m->logp[0], m->rows),
		[DPO_METRIC_LOGPS_REJECTED] = ratio(m->logp[1], m->rows),
		[DPO_METRIC_LOGITS_CHOSEN] = ratio(m->logits[0], m->scored[0]),
		[DPO_METRIC_LOGITS_REJECTED] = ratio(m->logits[1], m->scored[1]),
		[DPO_METRIC_ENTROPY] = ratio(m->entropy[0] + m->entropy[1], m->scored[0] + m->scored[1]),
		[DPO_METRIC_MEAN_TOKEN_ACCURACY] = ratio((double)m->correct, m->scored[0]),
	} };
	dpo_metrics_present(m->answers, m->reference, values->present);
}

static bool
of_last_step(size_t metric)
{
	return metrics_table[metric].of & STEP;
}

void
dpo_metrics_window_add(struct dpo_metric_window *window, const struct dpo_metric_values *values)
{
	window->steps++;
	for (size_t i = 0; i < DPO_METRICS; i++) {
		window->sum.present[i] = values->present[i];
		if (of_last_step(i))
			window->sum.value[i] = values->value[i];
		else
			window->sum.value[i] += values->value[i];
	}
}

static void
put_metric(struct dpo_buffer *log, const struct dpo_metric_window *window, enum dpo_metric metric, const char *prefix)
{
	double value = window->sum.value[metric];

	if (!of_last_step(metric))
		value /= (double)window->steps;
	dpo_buffer_printf(log, "\"%s%s\":", prefix, metrics_table[metric].name);
	dpo_json_put_number(log, metric == DPO_METRIC_LEARNING_RATE ? value : (double)(float)value);
	dpo_buffer_byte(log, ',');
}

void
dpo_metrics_line(struct dpo_buffer *log, const struct dpo_metric_window *window, const char *prefix,
    uint64_t num_tokens, double epoch, uint64_t step)
{
	dpo_buffer_byte(log, '{');
	for (int i = 0; i < DPO_METRICS; i++)
		if (window->sum.present[i])
			put_metric(log, window, (enum dpo_metric)i, prefix);
	if (num_tokens)
		dpo_buffer_printf(log, "\"%snum_tokens\":%" PRIu64 ",", prefix, num_tokens);
	dpo_buffer_string(log, "\"epoch\":");
	dpo_json_put_number(log, epoch);
	dpo_buffer_printf(log, ",\"step\":%" PRIu64 "}\n", step);
}
