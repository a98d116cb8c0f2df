/* dpo-eval - evaluate a policy on held-out pairs
 *
 * Reads pairs with reference log-probs (dpo-reflogp) or supervised rows and prints what the policy makes of them: the
 * loss, the rewards, the share of pairs where the chosen answer is the likelier one, log-ratios to the reference. Names
 * are those of TRL's evaluation; means are over all rows.
 *
 *	dpo-eval -m policy.dpo heldout.ref
 */
#include "cli.h"
#include "eval.h"
#include "json.h"
#include "lineage.h"
#include "lossopts.h"
#include "model.h"
#include "rowset.h"
#include "size.h"
#include "stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct options {
	struct cli_common common;
	const char *model, *format;
	struct loss_options loss;
};

static const char *const formats[] = { "text", "json", "tsv", NULL };

static const struct cli_option table[] = {
	{ "model", 'm', CLI_TEXT, offsetof(struct options, model), "POLICY", "the policy: a model stream or directory", 0, 0, NULL },
	{ "format", 0, CLI_CHOICE, offsetof(struct options, format), "FORMAT", "how to print", 0, 0, formats },
	CLI_LOSS(struct options),
	CLI_COMMON(struct options),
};

static const struct cli_program program = {
	.name = "dpo-eval", .summary = "evaluate a policy on held-out pairs", .operands = "[FILE]", .max_operands = 1,
	.options = table, .n_options = sizeof table / sizeof *table, .example = "dpo-eval -m policy.dpo heldout.ref",
};

struct job {
	struct dpo_reader *reader;
	struct dpo_columns columns;
	struct dpo_value *values;
	struct dpo_model model;
	struct dpo_scorer *scorer;
	struct dpo_objective objective;
	struct dpo_eval eval;
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
	if (!(job->values = dpo_alloc(job->columns.n_columns, sizeof *job->values)))
		cli_check(dpo_fail_memory(&err), &err);
}

/* The reference must be where the policy came from. A bare directory does not know, and gets a warning. */
static enum dpo_status
check_reference(const struct job *job, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(job->reader);
	const char *reference = dpo_lineage_reference(header), *kernel = dpo_lineage_kernel(header);

	if (kernel && strcmp(kernel, dpo_lineage_kernel_here()) != 0)
		cli_warn("the reference was computed with BLAS kernel %s, this is %s: log-probs differ by rounding", kernel,
		    dpo_lineage_kernel_here());
	if (reference && dpo_lineage_descends(&job->model, reference))
		return DPO_OK;
	if (reference && cJSON_GetArraySize(job->model.stages) > 0)
		return dpo_fail(err, DPO_MISMATCH, "the reference is model %.16s, which the policy %.16s does not descend from",
		    reference, job->model.id);
	cli_warn("cannot tell whether the policy descends from the reference %.16s", reference ? reference : "(unknown)");
	return DPO_OK;
}

static void
open_model(struct job *job, const struct options *options)
{
	int threads = (int)options->common.threads;
	struct dpo_error err;
	enum dpo_status status;
	bool known;

	cli_check(dpo_model_open_frozen(&job->model, cli_model(options->model), threads, &err), &err);
	status = dpo_lineage_tokenizer(dpo_reader_header(job->reader), &job->model, &known, &err);
	if (status == DPO_OK && job->columns.reference)
		status = check_reference(job, &err);
	if (status != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	if (!known)
		cli_warn("%s: cannot tell whether its tokens are this model's: no tokenizer id", dpo_reader_name(job->reader));
	cli_check(dpo_scorer_new(&job->scorer, &job->model.config, &job->model.params, job->model.weights, false, threads,
	    &err), &err);
}

static enum dpo_status
suits(const struct job *job, const struct dpo_row *row, struct dpo_error *err)
{
	enum dpo_status status = dpo_rowset_suits(&job->objective, row, err);

	return status == DPO_OK ? DPO_OK : dpo_columns_blame(row, err);
}

static void
score_all(struct job *job, uint64_t total)
{
	struct dpo_tokens tokens = { 0 };
	struct cli_progress progress;
	struct dpo_outcome outcome;
	struct dpo_row row;
	struct dpo_error err;
	enum dpo_status status;

	cli_progress_start(&progress, "rows", 0, total);
	while ((status = dpo_reader_next(job->reader, job->values, &err)) == DPO_OK) {
		if (dpo_columns_row(&job->columns, job->values, &row, &err) != DPO_OK ||
		    suits(job, &row, &err) != DPO_OK ||
		    dpo_outcome_score(&outcome, &tokens, job->scorer, &row, &job->objective, &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(job->reader));
		cli_check(dpo_eval_add(&job->eval, &outcome, &job->objective, &err), &err);
		cli_progress_show(&progress, dpo_reader_records(job->reader), NULL);
	}
	cli_progress_end(&progress);
	cli_check(status, &err);
	dpo_tokens_free(&tokens);
	if (dpo_eval_finish(&job->eval, &job->objective, &err) != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	if (job->eval.metrics.rows == 0) {
		(void)dpo_fail(&err, DPO_FORMAT, "no rows");
		cli_fail_at(&err, dpo_reader_name(job->reader));
	}
}

/* ------------------------------------------------------------------ report */

struct report {
	struct dpo_buffer text;
	const char *format;
	size_t lines;
};

/* One number of the report. Computed numbers have no more than float's precision. */
static void
put(struct report *report, const char *name, double value, bool exact)
{
	struct dpo_buffer *text = &report->text;
	bool json = strcmp(report->format, "json") == 0;

	if (strcmp(report->format, "text") == 0) {
		dpo_buffer_printf(text, exact ? "%-32s %.0f\n" : "%-32s %.6g\n", name, value);
		return;
	}
	dpo_buffer_printf(text, json ? "%s\"eval_%s\":" : "%seval_%s\t", json ? report->lines ? "," : "{" : "", name);
	dpo_json_put_number(text, exact ? value : (double)(float)value);
	if (!json)
		dpo_buffer_byte(text, '\n');
	report->lines++;
}

static void
put_win_rate(struct report *report, const struct dpo_eval *eval)
{
	struct dpo_share share = dpo_eval_share(eval->wins, eval->metrics.rows);

	put(report, "win_rate", share.share, false);
	put(report, "win_rate/low", share.low, false);
	put(report, "win_rate/high", share.high, false);
}

static void
put_all(struct report *report, const struct job *job)
{
	const struct dpo_metrics *metrics = &job->eval.metrics;
	double rows = (double)metrics->rows;
	struct dpo_metric_values values;

	dpo_metrics_mean(metrics, &job->objective, &values);
	put(report, "rows", rows, true);
	for (int i = 0; i < DPO_METRICS; i++)
		if (values.present[i])
			put(report, dpo_metric_name((enum dpo_metric)i), values.value[i], false);
	if (metrics->answers == 2)
		put_win_rate(report, &job->eval);
	if (metrics->reference)
		put(report, "log_ratios/chosen", job->eval.ratio[0] / rows, false);
	if (metrics->reference && metrics->answers == 2)
		put(report, "log_ratios/rejected", job->eval.ratio[1] / rows, false);
	if (job->objective.per_token)
		put(report, "perplexity", exp(-metrics->logp[0] / (metrics->scored[0] ? (double)metrics->scored[0] : 1)), false);
	if (strcmp(report->format, "json") == 0)
		dpo_buffer_string(&report->text, "}\n");
}

static void
write_report(const struct job *job, const struct options *options)
{
	struct report report = { .format = options->format };
	struct dpo_error err;
	struct dpo_out out;

	put_all(&report, job);
	if (report.text.failed)
		cli_check(dpo_fail_memory(&err), &err);
	cli_output(&out, options->common.output, false);
	cli_check(dpo_out_write(&out, report.text.data, report.text.len, &err), &err);
	cli_commit(&out);
	dpo_buffer_free(&report.text);
}

int
main(int argc, char **argv)
{
	struct options options = { .format = "text", .loss = LOSS_DEFAULTS };
	struct job job = { 0 };
	struct dpo_error err;
	char **operands;
	uint64_t total;
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *path = n ? operands[0] : "-";

	job.objective = loss_objective(&options.loss);
	if (!options.model)
		cli_usage("-m POLICY is missing");
	if (strcmp(options.model, "-") == 0 && strcmp(path, "-") == 0)
		cli_usage("policy and rows cannot both be standard input");
	cli_check(dpo_columns_count(&total, path, &err), &err);
	open_input(&job, &options, path);
	open_model(&job, &options);
	score_all(&job, total);
	write_report(&job, &options);

	dpo_eval_free(&job.eval);
	dpo_reader_close(job.reader);
	dpo_scorer_free(job.scorer);
	dpo_model_free(&job.model);
	free(job.values);
	return cli_finish(0);
}
