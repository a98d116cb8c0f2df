/* dpo-eval: rows with a reference under a policy. */
#include "bootstrap.h"
#include "drift.h"
#include "eval.h"
#include "evaluation.h"
#include "json.h"
#include "lineage.h"
#include "model.h"
#include "policy.h"
#include "rowset.h"
#include "size.h"
#include "slices.h"
#include "stream.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Resampling of a comparison. */
enum { ROUNDS = 2000 };
static const double CONFIDENCE = 0.95;

/* Row by row: this policy's number less the baseline's. */
enum difference { ACCURACY, MARGIN, LOGP, DIFFERENCES };

static const char *const difference_names[] = { "rewards/accuracies", "rewards/margins", "logps/chosen" };

/* Columns of --per-pair, behind the row's own. */
static const char *const pair_columns[] = { "policy_chosen_logp", "policy_rejected_logp", "reward_chosen", "reward_rejected" };

struct comparison {
	struct dpo_model model;
	struct dpo_scorer *scorer;	/* NULL: there is no baseline */
	struct dpo_tokens tokens;
	double *rows[DIFFERENCES];	/* owned; [n] each */
	size_t n, capacity[DIFFERENCES];
};

struct job {
	struct dpo_reader *reader;
	struct dpo_columns columns;
	struct dpo_value *values;	/* owned; the input's columns, and ours of --per-pair */
	struct dpo_model model, reference;
	bool bf16;
	struct dpo_scorer *scorer, *reference_scorer;	/* the latter NULL without -r */
	struct dpo_objective objective;
	struct dpo_tokens tokens;
	struct dpo_eval eval;
	struct comparison baseline;
	struct dpo_drift drift;
	double kl[DPO_ANSWERS], reference_logp;	/* sums over rows, with -r */
	struct dpo_slices slices;
	size_t slice;			/* its column; n_columns: none */
	struct dpo_writer *writer;	/* of --per-pair, or NULL */
	struct dpo_out per_pair;
};

/* ------------------------------------------------------------------ input */

/* Without --loss-type supervised rows are measured by sft. */
static struct dpo_objective
supervised(const struct options *options)
{
	struct loss_options loss = options->loss;

	loss.types = "sft";
	return loss_objective(&loss);
}

static void
open_input(struct job *job, const struct options *options, const char *path)
{
	const char *name = strcmp(path, "-") ? path : "standard input";
	struct dpo_error err;
	enum dpo_status status;

	cli_check(dpo_reader_open(&job->reader, cli_input(path), name, &err), &err);
	if (dpo_columns_find(&job->columns, dpo_reader_header(job->reader), &err) != DPO_OK)
		cli_fail_at(&err, name);
	if (!cli_given("loss-type") && job->columns.answers == 1)
		job->objective = supervised(options);
	status = dpo_columns_objectives(&job->columns, dpo_reader_header(job->reader), job->objective.columns,
	    job->objective.n_columns, &err);
	if (status != DPO_OK)
		cli_fail_at(&err, name);
	if (job->objective.pair && job->columns.answers < 2)
		status = dpo_fail(&err, DPO_FORMAT, "supervised rows; the loss needs pairs");
	else if (job->objective.reference && !job->columns.reference)
		status = dpo_fail(&err, DPO_FORMAT, "no \"%s\": run dpo-reflogp on it first", dpo_columns_ref_names[0]);
	if (status != DPO_OK)
		cli_fail_at(&err, name);
	if (!(job->values = dpo_alloc(job->columns.n_columns + sizeof pair_columns / sizeof *pair_columns,
	    sizeof *job->values)))
		cli_check(dpo_fail_memory(&err), &err);
}

/* The reference must be where the policy came from. A bare directory does not know, and gets a warning. */
static enum dpo_status
check_reference(const struct job *job, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(job->reader);
	const char *reference = dpo_lineage_reference(header);

	if (reference && dpo_lineage_descends(&job->model, reference))
		return DPO_OK;
	if (reference && cJSON_GetArraySize(job->model.stages) > 0)
		return dpo_fail(err, DPO_MISMATCH, "the reference is model %.16s, which the policy %.16s does not descend from",
		    reference, job->model.id);
	cli_warn("cannot tell whether the policy descends from the reference %.16s", reference ? reference : "(unknown)");
	return DPO_OK;
}

static void
open_policy(struct job *job, const struct options *options)
{
	int threads = (int)options->common.threads;
	struct dpo_error err;
	enum dpo_status status;
	bool known;

	job->bf16 = policy_bf16(options->dtype);
	cli_note_kernel();
	policy_open(&job->model, options->model, options->adapter, threads);
	status = dpo_lineage_tokenizer(dpo_reader_header(job->reader), &job->model, &known, &err);
	if (status == DPO_OK && job->columns.reference)
		policy_compare_reference(dpo_reader_header(job->reader), job->bf16);
	if (status == DPO_OK && job->columns.reference)
		status = check_reference(job, &err);
	if (status != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	if (!known)
		cli_warn("%s: cannot tell whether its tokens are this model's: no tokenizer id", dpo_reader_name(job->reader));
	cli_check(dpo_scorer_new(&job->scorer, &job->model.config, &job->model.params, job->model.weights, false, threads,
	    &err), &err);
	dpo_scorer_adapt(job->scorer, job->model.lora);
	dpo_scorer_bf16(job->scorer, job->bf16);
}


static void
open_scorer(struct dpo_scorer **scorer, struct dpo_model *model, const char *path, const struct job *job, int threads)
{
	struct dpo_error err;

	policy_open(model, path, NULL, threads);
	if (strcmp(model->tokenizer_id, job->model.tokenizer_id) != 0 ||
	    model->config.vocab_size != job->model.config.vocab_size) {
		(void)dpo_fail(&err, DPO_MISMATCH, "its tokenizer is not the policy's");
		cli_fail_at(&err, path);
	}
	cli_check(dpo_scorer_new(scorer, &model->config, &model->params, model->weights, false, threads, &err), &err);
	dpo_scorer_bf16(*scorer, job->bf16);
}

/* What the options ask for besides the policy. */
static void
open_others(struct job *job, const struct options *options)
{
	const struct dpo_header *header = dpo_reader_header(job->reader);
	int threads = (int)options->common.threads;
	struct dpo_error err;

	if (options->baseline)
		open_scorer(&job->baseline.scorer, &job->baseline.model, options->baseline, job, threads);
	if (options->reference) {
		open_scorer(&job->reference_scorer, &job->reference, options->reference, job, threads);
		job->drift = (struct dpo_drift){ .policy = job->scorer, .reference = job->reference_scorer,
		    .vocab = job->model.config.vocab_size, .threads = threads };
	}
	job->slice = header->n_columns;
	if (!options->slice)
		return;
	job->slice = dpo_header_find(header, options->slice);
	if (job->slice == header->n_columns || (header->columns[job->slice].type != DPO_STR &&
	    header->columns[job->slice].type != DPO_I64)) {
		(void)dpo_fail(&err, DPO_FORMAT, "no column \"%s\" of type str or i64: dpo-tok --keep it", options->slice);
		cli_fail_at(&err, dpo_reader_name(job->reader));
	}
	if (!job->columns.reference || job->columns.answers < 2)
		cli_usage("--slice needs pairs with a reference");
}

/* ------------------------------------------------------------------ a row's numbers as a stream */

static enum dpo_status
make_header(const struct job *job, struct dpo_header *header, struct dpo_error *err)
{
	cJSON *settings = cJSON_CreateObject();
	enum dpo_status status = dpo_header_copy(header, dpo_reader_header(job->reader), err);

	for (size_t i = 0; i < 4 && status == DPO_OK; i++)
		if ((job->columns.reference || i < 2) && i % 2 < job->columns.answers)
			status = dpo_header_add(header, pair_columns[i], DPO_F32, err);
	if (status == DPO_OK && !cJSON_AddNumberToObject(settings, "beta", job->objective.settings.beta))
		status = dpo_fail_memory(err);
	if (status != DPO_OK) {
		cJSON_Delete(settings);
		return status;
	}
	return dpo_header_stage(header, "dpo-eval", settings, *job->model.tokenizer_id ? job->model.tokenizer_id : NULL,
	    job->model.id, err);
}

static void
open_per_pair(struct job *job, const struct options *options)
{
	struct dpo_header header = { 0 };
	struct dpo_error err;

	if (!options->per_pair)
		return;
	if (cli_is_input(options->per_pair))
		cli_usage("--per-pair names an input");
	if (make_header(job, &header, &err) != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	cli_check(dpo_out_open(&job->per_pair, options->per_pair, &err), &err);
	cli_guard(job->per_pair.temp);
	cli_check(dpo_writer_open(&job->writer, &job->per_pair, &header, DPO_LEVEL_TABLE, &err), &err);
	dpo_header_free(&header);
}

static void
write_pair(struct job *job, const struct dpo_outcome *outcome)
{
	size_t n = job->columns.n_columns;
	struct dpo_error err;

	for (size_t a = 0; a < outcome->answers; a++)
		job->values[n++].f32 = (float)outcome->input.logp[a];
	for (size_t a = 0; a < outcome->answers && outcome->reference; a++)
		job->values[n++].f32 = (float)(job->objective.settings.beta * outcome->input.ratio[a]);
	cli_check(dpo_writer_put(job->writer, job->values, &err), &err);
}

static void
close_per_pair(struct job *job)
{
	struct dpo_error err;

	if (!job->writer)
		return;
	cli_check(dpo_writer_end(job->writer, dpo_reader_tip(job->reader), &err), &err);
	dpo_writer_close(job->writer);
	cli_check(dpo_out_commit(&job->per_pair, &err), &err);
	cli_guard(NULL);
}

/* ------------------------------------------------------------------ rows */

static double
margin_of(const struct job *job, const struct dpo_outcome *outcome)
{
	return job->objective.settings.beta * (outcome->input.ratio[0] - outcome->input.ratio[1]);
}

static enum dpo_status
compare(struct job *job, const struct dpo_row *row, const struct dpo_outcome *ours, struct dpo_error *err)
{
	struct comparison *c = &job->baseline;
	struct dpo_outcome theirs;
	enum dpo_status status = dpo_outcome_score(&theirs, &c->tokens, c->scorer, row, &job->objective, err);
	double margins[2] = { margin_of(job, ours), margin_of(job, &theirs) };
	const double differences[] = { (double)(margins[0] > 0) - (double)(margins[1] > 0), margins[0] - margins[1],
		ours->input.logp[0] - theirs.input.logp[0] };

	if (status != DPO_OK)
		return status;
	for (size_t i = 0; i < DIFFERENCES; i++) {
		void *list = c->rows[i];
		bool fits = dpo_size_grow(&list, &c->capacity[i], c->n + 1, sizeof *c->rows[i]);

		c->rows[i] = list;
		if (!fits)
			return dpo_fail_memory(err);
		c->rows[i][c->n] = differences[i];
	}
	c->n++;
	return DPO_OK;
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
		return dpo_slices_add(&job->slices, value->data, value->count, margin_of(job, outcome) > 0, err);
	snprintf(number, sizeof number, "%" PRId64, value->i64);
	return dpo_slices_add(&job->slices, number, strlen(number), margin_of(job, outcome) > 0, err);
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
	if (job->baseline.scorer && (status = compare(job, &row, &outcome, err)) != DPO_OK)
		return status;
	if (job->reference_scorer && (status = measure_drift(job, &row, err)) != DPO_OK)
		return status;
	if (job->slice < job->columns.n_columns && (status = note_slice(job, &outcome, err)) != DPO_OK)
		return status;
	if (job->writer)
		write_pair(job, &outcome);
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
	cli_progress_end(&progress);
	cli_check(status, &err);
	if (dpo_eval_finish(&job->eval, &job->objective, &err) != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	if (job->eval.metrics.rows == 0) {
		(void)dpo_fail(&err, DPO_FORMAT, "no rows");
		cli_fail_at(&err, dpo_reader_name(job->reader));
	}
}

/* ------------------------------------------------------------------ report */

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
put_comparison(struct report *report, const struct job *job)
{
	const struct comparison *c = &job->baseline;
	struct dpo_buffer name = { 0 };
	struct dpo_interval interval;
	struct dpo_error err;

	for (size_t i = job->columns.answers == 2 && job->columns.reference ? 0 : LOGP; i < DIFFERENCES; i++) {
		static const char *const ends[] = { "", "/low", "/high" };

		if (!dpo_bootstrap(&interval, c->rows[i], c->n, CONFIDENCE, ROUNDS, 1))
			cli_check(dpo_fail_memory(&err), &err);
		for (size_t k = 0; k < 3; k++) {
			dpo_buffer_clear(&name);
			dpo_buffer_printf(&name, "difference/%s%s", difference_names[i], ends[k]);
			report_put(report, dpo_buffer_text(&name), k == 0 ? interval.mean : k == 1 ? interval.low : interval.high,
			    false);
		}
	}
	dpo_buffer_free(&name);
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

static void
put_all(struct report *report, const struct job *job)
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
		report_put(report, "perplexity", exp(-metrics->logp[0] / (metrics->scored[0] ? (double)metrics->scored[0] : 1)), false);
	if (job->reference_scorer)
		put_drift(report, job);
	if (job->baseline.scorer)
		put_comparison(report, job);
	put_slices(report, &job->slices);
}

static void
close_all(struct job *job)
{
	dpo_eval_free(&job->eval);
	dpo_reader_close(job->reader);
	dpo_scorer_free(job->scorer);
	dpo_scorer_free(job->reference_scorer);
	dpo_scorer_free(job->baseline.scorer);
	dpo_model_free(&job->model);
	dpo_model_free(&job->reference);
	dpo_model_free(&job->baseline.model);
	dpo_tokens_free(&job->tokens);
	dpo_tokens_free(&job->baseline.tokens);
	dpo_drift_free(&job->drift);
	dpo_slices_free(&job->slices);
	for (size_t i = 0; i < DIFFERENCES; i++)
		free(job->baseline.rows[i]);
	free(job->values);
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
	open_input(&job, options, path);
	open_policy(&job, options);
	open_others(&job, options);
	open_per_pair(&job, options);
	take_all(&job, total);
	close_per_pair(&job);
	put_all(&report, &job);
	close_all(&job);
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

	open_input(&job, options, path);
	if (!job.columns.reference) {
		(void)dpo_fail(&err, DPO_FORMAT, "no \"%s\": run dpo-reflogp on it first", dpo_columns_ref_names[0]);
		cli_fail_at(&err, dpo_reader_name(job.reader));
	}
	open_policy(&job, options);
	cli_output(&out, options->common.output, false);
	while ((status = dpo_reader_next(job.reader, job.values, &err)) == DPO_OK) {
		if (score_row(&job, &row, &outcome, &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(job.reader));
		put_score(&line, &job, &row, &outcome);
		if (line.failed)
			cli_check(dpo_fail_memory(&err), &err);
		cli_check(dpo_out_write(&out, line.data, line.len, &err), &err);
	}
	cli_check(status, &err);
	cli_commit(&out);
	dpo_buffer_free(&line);
	close_all(&job);
	return 0;
}
