/* dpo-eval on rows: the report. */
#include "evaljob.h"

#include <math.h>

static void
put_share(struct report *report, const char *name, size_t count, size_t n)
{
	struct dpo_share share = dpo_eval_share(count, n);
	struct dpo_buffer full = { 0 };

	report_put(report, name, share.share, false);
	dpo_buffer_printf(&full, "%s/low", name);
	report_put(report, dpo_buffer_text(&full), share.low, false);
	dpo_buffer_clear(&full);
	dpo_buffer_printf(&full, "%s/high", name);
	report_put(report, dpo_buffer_text(&full), share.high, false);
	dpo_buffer_free(&full);
}

static void
put_rewards(struct report *report, const struct dpo_eval *eval)
{
	bool pairs = eval->metrics.answers == 2;
	double rows = (double)eval->metrics.rows;

	report_put(report, "log_ratios/chosen", eval->ratio[0] / rows, false);
	if (pairs) {
		report_put(report, "log_ratios/rejected", eval->ratio[1] / rows, false);
		report_put(report, "calibration/error", dpo_calibration_ece(&eval->calibration), false);
		report_put(report, "calibration/brier", dpo_calibration_brier(&eval->calibration), false);
	}
	report_put(report, "reward_length_correlation", dpo_moments_correlation(&eval->rewards), false);
}

static void
put_drift(struct report *report, const struct job *job)
{
	const struct dpo_metrics *metrics = &job->eval.metrics;
	double rows = (double)metrics->rows;

	report_put(report, "kl/chosen", job->kl[0] / rows, false);
	if (metrics->answers == 2)
		report_put(report, "kl/rejected", job->kl[1] / rows, false);
	if (job->objective.per_token)
		report_put(report, "perplexity/reference", exp(-job->reference_logp / (double)metrics->scored[0]), false);
}

static void
put_slices(struct report *report, const struct dpo_slices *slices)
{
	struct dpo_buffer name = { 0 };

	for (size_t i = 0; i < slices->table.count; i++) {
		const struct dpo_slice *slice = &slices->list[i];

		dpo_buffer_clear(&name);
		dpo_buffer_printf(&name, "slice/%s/rows", slice->value);
		report_put(report, dpo_buffer_text(&name), (double)slice->rows, true);
		dpo_buffer_clear(&name);
		dpo_buffer_printf(&name, "slice/%s/rewards/accuracies", slice->value);
		put_share(report, dpo_buffer_text(&name), slice->right, slice->rows);
	}
	dpo_buffer_free(&name);
}

void
job_report(struct report *report, const struct job *job)
{
	const struct dpo_metrics *metrics = &job->eval.metrics;
	struct dpo_metric_values values;

	dpo_metrics_mean(metrics, &job->objective, &values);
	report_put(report, "rows", (double)metrics->rows, true);
	for (int i = 0; i < DPO_METRICS; i++)
		if (values.present[i])
			report_put(report, dpo_metric_name((enum dpo_metric)i), values.value[i], false);
	if (metrics->answers == 2)
		put_share(report, "win_rate", job->eval.wins, metrics->rows);
	if (metrics->reference)
		put_rewards(report, &job->eval);
	if (job->objective.per_token)
		report_put(report, "perplexity", exp(-metrics->logp[0] / (metrics->scored[0] ? (double)metrics->scored[0] : 1)),
		    false);
	if (job->reference_scorer)
		put_drift(report, job);
	if (job->baseline.scorer)
		job_put_comparison(report, job);
	put_slices(report, &job->slices);
}
