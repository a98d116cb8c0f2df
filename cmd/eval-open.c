/* dpo-eval on rows: opening rows, policy, baseline and reference, and what must belong together. */
#include "base/size.h"
#include "evaljob.h"
#include "loss/lineage.h"
#include "policy.h"

#include <stdlib.h>
#include <string.h>

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
	const char *name = cli_input_name(path);
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
	else if ((job->objective.reference || options->score) && !job->columns.reference)
		status = dpo_fail(&err, DPO_FORMAT, "no \"%s\": run dpo-reflogp on it first", dpo_columns_ref_names[0]);
	if (status != DPO_OK)
		cli_fail_at(&err, name);
	if (!(job->values = dpo_alloc(job->columns.n_columns + PAIR_COLUMNS,
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
	const struct dpo_header *header = dpo_reader_header(job->reader);
	int threads = (int)options->common.threads;
	struct dpo_error err;

	job->bf16 = policy_bf16(options->dtype);
	cli_note_kernel();
	policy_open(&job->model, options->model, options->adapter, threads);
	policy_same_tokenizer(header, &job->model, dpo_reader_name(job->reader));
	if (job->columns.reference) {
		policy_compare_reference(header, job->bf16);
		if (check_reference(job, &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(job->reader));
	}
	job->scorer = policy_scorer(&job->model, job->bf16, threads);
}

static struct dpo_scorer *
open_scorer(struct dpo_model *model, const char *path, const char *adapter, const struct job *job, int threads)
{
	struct dpo_error err;

	policy_open(model, path, adapter, threads);
	if (strcmp(model->tokenizer_id, job->model.tokenizer_id) != 0 ||
	    model->config.vocab_size != job->model.config.vocab_size) {
		(void)dpo_fail(&err, DPO_MISMATCH, "its tokenizer is not the policy's");
		cli_fail_at(&err, path);
	}
	return policy_scorer(model, job->bf16, threads);
}

/* What the options ask for besides the policy. */
static void
open_others(struct job *job, const struct options *options)
{
	const struct dpo_header *header = dpo_reader_header(job->reader);
	int threads = (int)options->common.threads;
	struct dpo_error err;

	if (options->baseline)
		job->baseline.scorer = open_scorer(&job->baseline.model, options->baseline, options->baseline_adapter, job,
		    threads);
	if (options->reference) {
		job->reference_scorer = open_scorer(&job->reference, options->reference, NULL, job, threads);
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

void
job_open(struct job *job, const struct options *options, const char *path)
{
	open_input(job, options, path);
	open_policy(job, options);
	open_others(job, options);
}

void
job_same(struct job *job)
{
	policy_same(&job->model);
	policy_same(&job->reference);
	policy_same(&job->baseline.model);
}

void
job_close(struct job *job)
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
