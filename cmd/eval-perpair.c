/* dpo-eval --per-pair: the rows as they came in, with the policy's log-probs and the rewards, as a stream. */
#include "evaljob.h"
#include "loss/lineage.h"
#include "policy.h"

static const char *const pair_columns[PAIR_COLUMNS] = { "policy_chosen_logp", "policy_rejected_logp", "reward_chosen",
	"reward_rejected" };

/* What shapes the columns, beside the rows and the policy. */
static bool
add_settings(cJSON *settings, const struct job *job)
{
	const struct dpo_objective *o = &job->objective;

	return cJSON_AddNumberToObject(settings, "beta", o->settings.beta) &&
	    (!o->use_ld_alpha || cJSON_AddNumberToObject(settings, "ld_alpha", o->ld_alpha)) &&
	    (!o->reference_free || cJSON_AddTrueToObject(settings, "reference_free")) &&
	    cJSON_AddStringToObject(settings, "dtype", policy_dtypes[job->bf16]) &&
	    cJSON_AddStringToObject(settings, "kernel", dpo_lineage_kernel_here(job->bf16));
}

static enum dpo_status
make_header(const struct job *job, struct dpo_header *header, struct dpo_error *err)
{
	cJSON *settings = cJSON_CreateObject();
	enum dpo_status status = dpo_header_copy(header, dpo_reader_header(job->reader), err);

	for (size_t i = 0; i < PAIR_COLUMNS && status == DPO_OK; i++)
		if ((job->columns.reference || i < 2) && i % 2 < job->columns.answers)
			status = dpo_header_add(header, pair_columns[i], DPO_F32, err);
	if (status == DPO_OK && !add_settings(settings, job))
		status = dpo_fail_memory(err);
	if (status != DPO_OK) {
		cJSON_Delete(settings);
		return status;
	}
	return dpo_header_stage(header, "dpo-eval", settings, *job->model.tokenizer_id ? job->model.tokenizer_id : NULL,
	    job->model.id, err);
}

void
job_open_per_pair(struct job *job, const struct options *options)
{
	struct dpo_header header = { 0 };
	struct dpo_error err;

	if (!options->per_pair)
		return;
	if (make_header(job, &header, &err) != DPO_OK)
		cli_fail_at(&err, dpo_reader_name(job->reader));
	cli_output(&job->per_pair, options->per_pair, true);
	cli_check(dpo_writer_open(&job->writer, &job->per_pair, &header, DPO_LEVEL_TABLE, &err), &err);
	dpo_header_free(&header);
}

void
job_write_pair(struct job *job, const struct dpo_outcome *outcome)
{
	size_t n = job->columns.n_columns;
	struct dpo_error err;

	for (size_t a = 0; a < outcome->answers; a++)
		job->values[n++].f32 = (float)outcome->input.logp[a];
	for (size_t a = 0; a < outcome->answers && outcome->reference; a++)
		job->values[n++].f32 = (float)(job->objective.settings.beta * outcome->input.ratio[a]);
	cli_check(dpo_writer_put(job->writer, job->values, &err), &err);
}

void
job_close_per_pair(struct job *job)
{
	struct dpo_error err;

	if (!job->writer)
		return;
	cli_check(dpo_writer_end(job->writer, dpo_reader_tip(job->reader), &err), &err);
	dpo_writer_close(job->writer);
	cli_commit(&job->per_pair);
}
