/* dpo-eval: rows with a reference under a policy. */
#include "base/json.h"
#include "evaljob.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

double
job_margin(const struct job *job, const struct dpo_outcome *outcome)
{
	return job->objective.settings.beta * (outcome->input.ratio[0] - outcome->input.ratio[1]);
}

/* The exact divergence along each answer. */
static enum dpo_status
measure_drift(struct job *job, const struct dpo_row *row, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t a = 0; a < row->example.n_answers && status == DPO_OK; a++) {
		struct dpo_example example = { .prompt = row->example.prompt, .n_prompt = row->example.n_prompt, .n_answers = 1,
		    .answer = { row->example.answer[a] }, .n_answer = { row->example.n_answer[a] } };
		struct dpo_answer_sums of[2];
		double kl;

		if ((status = dpo_drift_answer(&job->drift, &example, &kl, of, err)) != DPO_OK)
			return dpo_columns_blame(row, err);
		job->kl[a] += kl;
		job->reference_logp += a == 0 ? of[1].logps : 0;
	}
	return status;
}

static enum dpo_status
note_slice(struct job *job, const struct dpo_outcome *outcome, struct dpo_error *err)
{
	const struct dpo_value *value = &job->values[job->slice];
	char number[24];

	if (dpo_reader_header(job->reader)->columns[job->slice].type == DPO_STR)
		return dpo_slices_add(&job->slices, value->data, value->count, job_margin(job, outcome) > 0, err);
	snprintf(number, sizeof number, "%" PRId64, value->i64);
	return dpo_slices_add(&job->slices, number, strlen(number), job_margin(job, outcome) > 0, err);
}

static enum dpo_status
score_row(struct job *job, struct dpo_row *row, struct dpo_outcome *outcome, struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_columns_row(&job->columns, job->values, row, err)) != DPO_OK)
		return status;
	if ((status = dpo_rowset_suits(&job->objective, row, err)) != DPO_OK)
		return dpo_columns_blame(row, err);
	return dpo_outcome_score(outcome, &job->tokens, job->scorer, row, &job->objective, err);
}

static enum dpo_status
take_row(struct job *job, struct dpo_error *err)
{
	struct dpo_outcome outcome;
	struct dpo_row row;
	enum dpo_status status;

	if ((status = score_row(job, &row, &outcome, err)) != DPO_OK ||
	    (status = dpo_eval_add(&job->eval, &outcome, &job->objective, err)) != DPO_OK)
		return status;
	if (job->baseline.scorer && (status = job_compare(job, &row, &outcome, err)) != DPO_OK)
		return status;
	if (job->reference_scorer && (status = measure_drift(job, &row, err)) != DPO_OK)
		return status;
	if (job->slice < job->columns.n_columns && (status = note_slice(job, &outcome, err)) != DPO_OK)
		return status;
	if (job->writer)
		job_write_pair(job, &outcome);
	return DPO_OK;
}

static void
take_all(struct job *job, uint64_t total)
{
	struct cli_progress progress;
	struct dpo_error err;
	enum dpo_status status;

	cli_progress_start(&progress, "rows", 0, total);
	while ((status = dpo_reader_next(job->reader, job->values, &err)) == DPO_OK) {
		if (take_row(job, &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(job->reader));
		cli_progress_show(&progress, dpo_reader_records(job->reader), NULL);
	}
	cli_progress_end();
	cli_check(status, &err);
	job_same(job);
	if (dpo_eval_finish(&job->eval, &job->objective, &err) != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	if (job->eval.metrics.rows == 0) {
		(void)dpo_fail(&err, DPO_FORMAT, "no rows");
		cli_fail_at(&err, dpo_reader_name(job->reader));
	}
}

int
evaluate_rows(const struct options *options, const char *path)
{
	struct job job = { .objective = loss_objective(&options->loss) };
	struct report report = { 0 };
	struct dpo_error err;
	uint64_t total;

	report_begin(&report, options->format, &options->require);
	cli_check(dpo_columns_count(&total, path, &err), &err);
	job_open(&job, options, path);
	job_open_per_pair(&job, options);
	take_all(&job, total);
	job_close_per_pair(&job);
	job_report(&report, &job);
	job_close(&job);
	return report_write(&report, options->common.output);
}

/* ------------------------------------------------------------------ the implicit reward model */

static void
put_score(struct dpo_buffer *line, const struct job *job, const struct dpo_row *row, const struct dpo_outcome *outcome)
{
	static const char *const names[2][DPO_ANSWERS] = { { "reward", "" }, { "reward_chosen", "reward_rejected" } };

	dpo_buffer_clear(line);
	dpo_buffer_string(line, "{\"id\":");
	dpo_json_put_string(line, row->id, row->id_bytes);
	for (size_t a = 0; a < outcome->answers; a++)
		dpo_buffer_printf(line, ",\"%s\":%.9g", names[outcome->answers - 1][a],
		    job->objective.settings.beta * outcome->input.ratio[a]);
	dpo_buffer_string(line, "}\n");
}

int
score_rows(const struct options *options, const char *path)
{
	struct job job = { .objective = loss_objective(&options->loss) };
	struct dpo_buffer line = { 0 };
	struct dpo_outcome outcome;
	struct dpo_row row;
	struct dpo_out out;
	struct dpo_error err;
	enum dpo_status status;

	job_open(&job, options, path);
	cli_output(&out, options->common.output, false);
	cli_mark(&out);
	while ((status = dpo_reader_next(job.reader, job.values, &err)) == DPO_OK) {
		if (score_row(&job, &row, &outcome, &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(job.reader));
		put_score(&line, &job, &row, &outcome);
		if (line.failed)
			cli_check(dpo_fail_memory(&err), &err);
		cli_check(dpo_out_write(&out, line.data, line.len, &err), &err);
	}
	cli_check(status, &err);
	job_same(&job);
	cli_commit(&out);
	dpo_buffer_free(&line);
	job_close(&job);
	return 0;
}
