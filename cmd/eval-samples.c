/* dpo-eval --samples: what a policy says when it is let speak. Completions as dpo-gen writes them. */
#include "measure/drift.h"
#include "measure/diversity.h"
#include "evaluation.h"
#include "base/json.h"
#include "base/lines.h"
#include "decoder/model.h"
#include "measure/moments.h"
#include "policy.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct job {
	struct dpo_model models[2];		/* policy, reference */
	struct dpo_scorer *scorers[2];		/* NULL where there is no model */
	struct dpo_drift drift;
	struct dpo_diversity diversity;
	struct dpo_ids prompt, completion;	/* of the current row */
	float *logps;				/* owned; scratch */
	size_t logps_capacity;
	size_t rows, eos, reasons;		/* reasons: rows that tell why they ended */
	struct dpo_moments length, kl, log_ratio;
	double entropy[2];			/* sums over tokens */
	size_t scored;
};

/* ------------------------------------------------------------------ rows */

static enum dpo_status
read_ids(struct dpo_ids *ids, const cJSON *row, const char *name, struct dpo_error *err)
{
	enum dpo_status status;

	ids->count = 0;
	if ((status = dpo_json_ids(ids, dpo_json_get(row, name), name, err)) == DPO_OK && ids->count == 0)
		status = dpo_fail(err, DPO_FORMAT, "\"%s\" is empty", name);
	return status;
}

static enum dpo_status
score(struct job *job, struct dpo_error *err)
{
	struct dpo_example example = { .prompt = job->prompt.ids, .n_prompt = job->prompt.count, .n_answers = 1,
	    .answer = { job->completion.ids }, .n_answer = { job->completion.count } };
	struct dpo_answer_sums of[2] = { { 0 } };
	void *logps = job->logps;
	enum dpo_status status;
	double kl;

	if (job->scorers[1]) {
		if ((status = dpo_drift_answer(&job->drift, &example, &kl, of, err)) != DPO_OK)
			return status;
		dpo_moments_add(&job->kl, kl, 0);
	} else {
		if (!dpo_size_grow(&logps, &job->logps_capacity, job->completion.count, sizeof *job->logps))
			return dpo_fail_memory(err);
		job->logps = logps;
		if ((status = dpo_score(job->scorers[0], &example, &job->logps, of, err)) != DPO_OK)
			return status;
	}
	job->scored += of[0].scored;
	job->entropy[0] += of[0].entropy;
	job->entropy[1] += of[1].entropy;
	return DPO_OK;
}

static enum dpo_status
take_row(struct job *job, const cJSON *row, struct dpo_error *err)
{
	const cJSON *reason = dpo_json_get(row, "finish_reason"), *logp = dpo_json_get(row, "logp");
	const cJSON *ref_logp = dpo_json_get(row, "ref_logp");
	enum dpo_status status;

	if ((status = read_ids(&job->completion, row, "completion_ids", err)) != DPO_OK)
		return status;
	job->rows++;
	dpo_moments_add(&job->length, (double)job->completion.count, 0);
	if (cJSON_IsString(reason)) {
		job->reasons++;
		job->eos += strcmp(reason->valuestring, "eos") == 0;
	}
	if (cJSON_IsNumber(logp) && cJSON_IsNumber(ref_logp))
		dpo_moments_add(&job->log_ratio, logp->valuedouble - ref_logp->valuedouble, 0);
	if ((status = dpo_diversity_add(&job->diversity, job->completion.ids, job->completion.count, err)) != DPO_OK)
		return status;
	if (!job->scorers[0])
		return DPO_OK;
	status = read_ids(&job->prompt, row, "prompt_ids", err);
	return status == DPO_OK ? score(job, err) : status;
}

static void
read_all(struct job *job, const char *path)
{
	const char *name = cli_input_name(path), *line;
	struct cli_progress progress;
	struct dpo_lines *lines;
	struct dpo_error err;
	enum dpo_status status;
	cJSON *row;
	size_t n;

	cli_check(dpo_lines_open(&lines, cli_input(path), name, &err), &err);
	cli_progress_start(&progress, "completions", 0, 0);
	while ((status = dpo_lines_next(lines, &line, &n, &err)) == DPO_OK) {
		if ((status = dpo_json_parse(&row, line, n, &err)) == DPO_OK)
			status = take_row(job, row, &err);
		cJSON_Delete(row);
		if (status != DPO_OK) {
			dpo_error_prefix(&err, "%s:%" PRIu64, name, dpo_lines_number(lines));
			cli_fail(&err);
		}
		cli_progress_show(&progress, job->rows, NULL);
	}
	cli_progress_end();
	cli_check(status == DPO_END ? DPO_OK : status, &err);
	dpo_lines_close(lines);
	if (job->rows == 0) {
		(void)dpo_fail(&err, DPO_FORMAT, "no rows");
		cli_fail_at(&err, name);
	}
}

/* ------------------------------------------------------------------ models */

static void
open_model(struct job *job, size_t which, const char *path, const char *adapter, bool bf16, int threads)
{
	policy_open(&job->models[which], path, adapter, threads);
	job->scorers[which] = policy_scorer(&job->models[which], bf16, threads);
}

static void
open_models(struct job *job, const struct options *options)
{
	const char *model = options->model, *reference = options->reference;
	int threads = (int)options->common.threads;
	struct dpo_error err;
	bool bf16;

	if (!model)
		return;
	bf16 = policy_bf16(options->dtype);
	open_model(job, 0, model, options->adapter, bf16, threads);
	if (!reference)
		return;
	open_model(job, 1, reference, NULL, bf16, threads);
	if (strcmp(job->models[0].tokenizer_id, job->models[1].tokenizer_id) != 0 ||
	    job->models[0].config.vocab_size != job->models[1].config.vocab_size) {
		(void)dpo_fail(&err, DPO_MISMATCH, "its tokenizer is not the policy's");
		cli_fail_at(&err, reference);
	}
	job->drift = (struct dpo_drift){ .policy = job->scorers[0], .reference = job->scorers[1],
	    .vocab = job->models[0].config.vocab_size, .threads = threads };
}

/* ------------------------------------------------------------------ report */

static void
put_mean(struct report *report, const char *name, const char *error_name, const struct dpo_moments *moments)
{
	report_put(report, name, dpo_moments_mean(moments), false);
	report_put(report, error_name, dpo_moments_error(moments), false);
}

static void
put_diversity(struct report *report, const struct dpo_diversity *set)
{
	struct dpo_diversity_values values;
	struct dpo_error err;

	cli_check(dpo_diversity_measure(set, &values, &err), &err);
	report_put(report, "distinct-1", values.distinct[0], false);
	report_put(report, "distinct-2", values.distinct[1], false);
	report_put(report, "distinct-3", values.distinct[2], false);
	report_put(report, "self_bleu", values.self_bleu, false);
	report_put(report, "repetition", values.repetition, false);
}

int
evaluate_samples(const struct options *options, const char *path)
{
	struct report report = { 0 };
	struct job job = { 0 };

	report_begin(&report, options->format, &options->require);
	open_models(&job, options);
	read_all(&job, path);
	for (size_t i = 0; i < 2; i++)
		policy_same(&job.models[i]);
	report_put(&report, "rows", (double)job.rows, true);
	report_put(&report, "length", dpo_moments_mean(&job.length), false);
	report_put(&report, "length/deviation", dpo_moments_deviation(&job.length), false);
	report_put(&report, "ended_in_eos", job.reasons ? (double)job.eos / (double)job.reasons : (double)NAN, false);
	put_diversity(&report, &job.diversity);
	put_mean(&report, "log_ratio", "log_ratio/error", &job.log_ratio);
	if (job.scorers[0])
		report_put(&report, "entropy", job.entropy[0] / (double)job.scored, false);
	if (job.scorers[1]) {
		report_put(&report, "entropy/reference", job.entropy[1] / (double)job.scored, false);
		put_mean(&report, "kl", "kl/error", &job.kl);
		report_put(&report, "kl/token", dpo_moments_mean(&job.kl) * (double)job.rows / (double)job.scored, false);
	}
	for (size_t i = 0; i < 2; i++) {
		dpo_scorer_free(job.scorers[i]);
		dpo_model_free(&job.models[i]);
	}
	dpo_drift_free(&job.drift);
	dpo_diversity_free(&job.diversity);
	free(job.prompt.ids);
	free(job.completion.ids);
	free(job.logps);
	return report_write(&report, options->common.output);
}
