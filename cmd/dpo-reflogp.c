/* dpo-reflogp - add a reference model's log-probabilities to pairs
 *
 * Reads a stream of pairs (or supervised rows) that dpo-tok made and writes it with one or two columns more:
 * ref_chosen_logps and ref_rejected_logps, one number per answer token. Every other column passes through. The numbers
 * are computed once and serve every later run of dpo-train and dpo-eval, whatever its beta, loss or learning rate.
 *
 *	dpo-tok -m MODEL prefs.jsonl | dpo-reflogp -m MODEL -o prefs.ref
 */
#include "base/size.h"
#include "cli.h"
#include "decoder/model.h"
#include "decoder/score.h"
#include "loss/columns.h"
#include "loss/lineage.h"
#include "loss/outcome.h"
#include "policy.h"
#include "stream/stream.h"

#include <stdlib.h>
#include <string.h>

struct options {
	struct cli_common common;
	const char *model, *adapter, *dtype;
};

static const struct cli_option table[] = {
	CLI_COMMON(struct options),
	{ "model", 'm', CLI_TEXT, offsetof(struct options, model), "MODEL",
	    "the reference: a model directory or stream", 0, 0, NULL },
	POLICY_ADAPTER(struct options),
	POLICY_DTYPE(struct options),
};

static const struct cli_program program = {
	.name = "dpo-reflogp",
	.summary = "add a reference model's log-probabilities to pairs",
	.operands = "[FILE]",
	.max_operands = 1,
	.options = table,
	.n_options = sizeof table / sizeof *table,
	.example = "dpo-tok -m MODEL prefs.jsonl | dpo-reflogp -m MODEL -o prefs.ref",
};

struct job {
	struct dpo_reader *reader;
	struct dpo_columns columns;
	struct dpo_model model;
	bool bf16;
	struct dpo_scorer *scorer;
	struct dpo_writer *writer;
	struct dpo_value *values;	/* of the output: the input's columns, then ours */
	struct dpo_tokens tokens;
};

/* The input, which may not have our columns yet. */
static void
open_input(struct job *job, const char *path)
{
	struct dpo_error err;

	cli_check(dpo_reader_open(&job->reader, cli_input(path), cli_input_name(path), &err), &err);
	if (dpo_columns_find(&job->columns, dpo_reader_header(job->reader), &err) != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	if (!job->columns.reference)
		return;
	(void)dpo_fail(&err, DPO_FORMAT, "has \"%s\" already", dpo_columns_ref_names[0]);
	cli_fail_at(&err, dpo_reader_name(job->reader));
}

static void
open_model(struct job *job, const struct options *options)
{
	job->bf16 = policy_bf16(options->dtype);
	cli_note_kernel();
	policy_open(&job->model, options->model, options->adapter, (int)options->common.threads);
	policy_same_tokenizer(dpo_reader_header(job->reader), &job->model, dpo_reader_name(job->reader));
	job->scorer = policy_scorer(&job->model, job->bf16, (int)options->common.threads);
}

/* The input's header with our columns and stage. */
static enum dpo_status
make_header(const struct job *job, struct dpo_header *header, struct dpo_error *err)
{
	cJSON *settings = cJSON_CreateObject();
	enum dpo_status status = dpo_header_copy(header, dpo_reader_header(job->reader), err);

	for (size_t a = 0; a < job->columns.answers && status == DPO_OK; a++)
		status = dpo_header_add(header, dpo_columns_ref_names[a], DPO_F32S, err);
	if (status == DPO_OK && (!cJSON_AddStringToObject(settings, "dtype", policy_dtypes[job->bf16]) ||
	    !cJSON_AddStringToObject(settings, "kernel", dpo_lineage_kernel_here(job->bf16))))
		status = dpo_fail_memory(err);
	if (status != DPO_OK) {
		cJSON_Delete(settings);
		return status;
	}
	return dpo_header_stage(header, "dpo-reflogp", settings, *job->model.tokenizer_id ? job->model.tokenizer_id : NULL,
	    job->model.id, err);
}

static void
open_output(struct job *job, struct dpo_out *out, const char *path)
{
	struct dpo_header header = { 0 };
	struct dpo_error err;

	cli_check(make_header(job, &header, &err), &err);
	if (!(job->values = dpo_alloc(header.n_columns, sizeof *job->values)))
		cli_check(dpo_fail_memory(&err), &err);
	cli_output(out, path, true);
	cli_check(dpo_writer_open(&job->writer, out, &header, DPO_LEVEL_TABLE, &err), &err);
	dpo_header_free(&header);
}

/* One record: score it and put the log-probs into the last columns. */
static enum dpo_status
score_record(struct job *job, struct dpo_error *err)
{
	size_t n = dpo_reader_header(job->reader)->n_columns;
	struct dpo_row row;
	enum dpo_status status = dpo_columns_row(&job->columns, job->values, &row, err);

	if (status != DPO_OK)
		return status;
	if (!dpo_tokens_reserve(&job->tokens, &row.example))
		return dpo_fail_memory(err);
	if (dpo_score(job->scorer, &row.example, job->tokens.logps, NULL, err) != DPO_OK)
		return dpo_columns_blame(&row, err);
	for (size_t a = 0; a < row.example.n_answers; a++)
		job->values[n + a] = (struct dpo_value){ .data = job->tokens.logps[a], .count = row.example.n_answer[a] };
	return DPO_OK;
}

static void
score_all(struct job *job, uint64_t total)
{
	struct cli_progress progress;
	struct dpo_error err;
	enum dpo_status status;

	cli_progress_start(&progress, "rows", 0, total);
	while ((status = dpo_reader_next(job->reader, job->values, &err)) == DPO_OK) {
		if (score_record(job, &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(job->reader));
		cli_check(dpo_writer_put(job->writer, job->values, &err), &err);
		cli_progress_show(&progress, dpo_reader_records(job->reader), NULL);
	}
	cli_progress_end();
	cli_check(status, &err);
	policy_same(&job->model);
	cli_check(dpo_writer_end(job->writer, dpo_reader_tip(job->reader), &err), &err);
}

int
main(int argc, char **argv)
{
	struct options options = { .dtype = policy_dtypes[0] };
	struct job job = { 0 };
	struct dpo_out out;
	struct dpo_error err;
	char **operands;
	uint64_t total;
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *path = n ? operands[0] : "-";

	if (!options.model)
		cli_usage("-m MODEL is missing");
	cli_one_stdin((const char *const []){ options.model, options.adapter, path }, 3);
	cli_check(dpo_columns_count(&total, path, &err), &err);
	open_input(&job, path);
	open_model(&job, &options);
	open_output(&job, &out, options.common.output);
	score_all(&job, total);
	cli_commit(&out);

	cli_note("%llu rows; reference %.16s", (unsigned long long)dpo_reader_records(job.reader), job.model.id);
	dpo_writer_close(job.writer);
	dpo_reader_close(job.reader);
	dpo_scorer_free(job.scorer);
	dpo_model_free(&job.model);
	dpo_tokens_free(&job.tokens);
	free(job.values);
	return cli_finish(0);
}
