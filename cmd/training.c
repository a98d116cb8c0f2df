#include "training.h"

#include "base/bytes.h"
#include "base/json.h"
#include "base/size.h"
#include "dryrun.h"
#include "export/adapter.h"
#include "loss/lineage.h"
#include "policy.h"
#include "train/trainsave.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOPPED = 75 };	/* the exit status after a checkpoint */
enum { TURN = 200 };	/* milliseconds */

/* ------------------------------------------------------------------ model and data */

/* Give the base a new adapter. */
static void
start_adapter(struct training *training)
{
	const struct training_options *options = training->options;
	struct dpo_model *model = &training->model;
	struct dpo_error err;
	cJSON *settings;

	cli_check(dpo_loraconfig_make(&settings, &(struct dpo_loraconfig_text){ .rank = options->lora_r,
	    .alpha = options->lora_alpha, .dropout = options->lora_dropout, .rslora = options->rslora,
	    .in_out = model->config.family->layout == DPO_LAYOUT_IN_OUT,
	    .targets = options->lora_targets ? options->lora_targets : dpo_lora_usual_targets(&model->params),
	    .save = options->lora_save, .ranks = options->lora_ranks, .alphas = options->lora_alphas }, &err), &err);
	cli_check(dpo_adapter_start(model, settings, training->recipe.seed, &err), &err);
}

/* Whatever the dropout was that an adapter was made with: it is the run's, in TRL as well. */
static void
set_dropout(struct training *training)
{
	struct dpo_error err;

	if (!dpo_lora_set_dropout(training->model.lora, training->options->lora_dropout))
		cli_check(dpo_fail_memory(&err), &err);
}

/* The configuration, and the tokenizer files beside it. */
static void
reads_config(const char *path)
{
	char *directory = cli_parent(path);

	cli_reads(path);
	cli_reads(directory);
	free(directory);
}

/* The model without its weights, enough for an estimate. */
static void
outline_model(struct training *training)
{
	const struct training_options *options = training->options;
	bool frozen = options->adapter || options->lora_r;
	struct dpo_error err;

	if (options->init) {
		reads_config(options->init);
		cli_check(dpo_model_init_outline(&training->model, options->init, &err), &err);
	} else {
		cli_check(dpo_model_outline(&training->model, cli_model(options->model), frozen, &err), &err);
	}
	if (options->adapter) {
		cli_reads(options->adapter);
		cli_check(dpo_adapter_open(&training->model, options->adapter, (int)options->common.threads, &err), &err);
		set_dropout(training);
	} else if (options->lora_r) {
		start_adapter(training);
	}
}

static void
open_model(struct training *training)
{
	const struct training_options *options = training->options;
	struct dpo_error err;

	cli_note_kernel();
	if (options->init) {
		reads_config(options->init);
		cli_check(dpo_model_init(&training->model, options->init, training->recipe.seed, &err), &err);
	} else if (options->adapter || options->lora_r) {
		/* A frozen base with a new adapter, or one to train further. */
		policy_open(&training->model, options->model, options->adapter, (int)options->common.threads);
		(options->adapter ? set_dropout : start_adapter)(training);
	} else {
		cli_check(dpo_model_open(&training->model, cli_model(options->model), (int)options->common.threads, &err), &err);
	}
}

/* Losses that read no reference are fine with any, but what is measured from it is not what it seems. */
static void
warn_of_reference(const struct training *training, const struct data *data, const char *reference)
{
	if (reference && !training->recipe.objective.reference_free && strcmp(reference, training->model.id) != 0)
		cli_warn("%s: the reference is model %.16s, not %.16s that is to be trained: rewards are measured from it",
		    dpo_reader_name(data->reader), reference, training->model.id);
}

/* The reference whose log-probs the rows carry must be the model, unless the user knows better. An outline has no id yet. */
static enum dpo_status
check_reference(const struct training *training, const struct data *data, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(data->reader);
	const char *reference = dpo_lineage_reference(header);

	if (!training->model.weights)
		return DPO_OK;
	if (!training->recipe.objective.reference) {
		warn_of_reference(training, data, reference);
		return DPO_OK;
	}
	policy_compare_reference(header, training->recipe.bf16);
	if (reference && strcmp(reference, training->model.id) == 0)
		return DPO_OK;
	if (training->options->sync_ref)
		return dpo_fail(err, DPO_MISMATCH, "the reference is model %.16s, not %.16s that is to be trained, which "
		    "--sync-ref-model needs", reference ? reference : "unknown", training->model.id);
	if (training->options->other_reference)
		return DPO_OK;
	return dpo_fail(err, DPO_MISMATCH, "the reference is model %.16s, not %.16s that is to be trained; "
	    "--other-reference allows it", reference ? reference : "unknown", training->model.id);
}

/* What the stream's header says against tokenizer and loss. */
static enum dpo_status
check_header(const struct training *training, const struct data *data, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(data->reader);
	const struct dpo_objective *objective = &training->recipe.objective;
	struct dpo_columns columns;
	enum dpo_status status;

	if ((status = dpo_columns_find(&columns, header, err)) != DPO_OK)
		return status;
	policy_same_tokenizer(header, &training->model, dpo_reader_name(data->reader));
	if (objective->pair && columns.answers < 2)
		return dpo_fail(err, DPO_FORMAT, "supervised rows; the loss needs pairs");
	if (objective->reference && !columns.reference)
		return dpo_fail(err, DPO_FORMAT, "no \"%s\": run dpo-reflogp on it first", dpo_columns_ref_names[0]);
	return DPO_OK;
}

static void
load(struct training *training, struct data *data, const char *path)
{
	struct dpo_error err;
	const char *name = cli_input_name(path);

	cli_check(dpo_reader_open(&data->reader, cli_input(path), name, &err), &err);
	if (check_header(training, data, &err) != DPO_OK || check_reference(training, data, &err) != DPO_OK)
		cli_fail_at(&err, name);
	cli_check(dpo_spool_load(&data->spool, data->reader, &err), &err);
	cli_check(dpo_rowset_init(&data->rows, data->spool, dpo_reader_header(data->reader), &training->model.config,
	    &training->recipe.objective, name, &err), &err);
}

/* The reference of rows that were read beside an outline, now that the model has its id. */
static void
check_references(const struct training *training)
{
	const struct data *sets[] = { &training->data, &training->eval };
	struct dpo_error err;

	for (size_t i = 0; i < 2; i++)
		if (sets[i]->reader && check_reference(training, sets[i], &err) != DPO_OK)
			cli_fail_at(&err, dpo_reader_name(sets[i]->reader));
}

/* Of a share, so many of all steps, rounded up as by Hugging Face's Trainer. */
static uint64_t
whole_steps(double steps, uint64_t total)
{
	return (uint64_t)(steps < 1 ? ceil(steps * (double)total) : steps);
}

/* How often something is done, now that the number of all steps is known. */
static void
set_intervals(struct training *training)
{
	const struct training_options *options = training->options;
	uint64_t per_epoch, total = dpo_recipe_steps(&training->recipe, training->data.rows.rows, &per_epoch);

	training->recipe.logging_steps = whole_steps(options->logging_steps, total);
	training->recipe.eval_steps = whole_steps(options->eval_steps, total);
	training->save_steps = whole_steps(options->save_steps, total);
}

void
training_open(struct training *training, const char *path)
{
	bool ahead = training->options->dry_run || training->options->max_memory > 0;

	(ahead ? outline_model : open_model)(training);
	load(training, &training->data, path);
	if (training->options->eval)
		load(training, &training->eval, training->options->eval);
	set_intervals(training);
	dryrun_estimate(training);
	if (!ahead)
		return;
	dpo_model_free(&training->model);
	open_model(training);
	check_references(training);
}

/* ------------------------------------------------------------------ what the run is */

static bool
add_tip(cJSON *object, const char *key, const struct data *data)
{
	char hex[DPO_HEX_BYTES] = "";

	if (data->reader)
		dpo_bytes_hex(hex, dpo_reader_tip(data->reader), DPO_HASH_BYTES);
	return cJSON_AddStringToObject(object, key, hex) != NULL;
}

/* What the adapter is, if one is trained. */
static bool
add_lora(cJSON *object, const struct training *training)
{
	const struct dpo_lora *lora = training->model.lora;
	cJSON *copy = lora ? cJSON_Duplicate(lora->settings, true) : NULL;

	return !lora || (copy && cJSON_AddItemToObject(object, "lora", copy));
}

/* Settings, ids of model and data, and what shapes the log: a checkpoint of anything else is of another run. */
static cJSON *
make_run(const struct training *training)
{
	const char *reference = dpo_lineage_reference(dpo_reader_header(training->data.reader));
	cJSON *run = dpo_recipe_json(&training->recipe);
	bool good = run && cJSON_AddNumberToObject(run, "logging_steps", (double)training->recipe.logging_steps) &&
	    (training->recipe.best_metric || cJSON_AddNumberToObject(run, "eval_steps", (double)training->recipe.eval_steps)) &&
	    (!training->recipe.logging_first || cJSON_AddTrueToObject(run, "logging_first_step")) &&
	    (!training->recipe.eval_first || cJSON_AddTrueToObject(run, "eval_on_start")) &&
	    cJSON_AddStringToObject(run, "model", training->model.id) &&
	    cJSON_AddNumberToObject(run, "pad_token", (double)training->model.config.pad_token) &&
	    cJSON_AddStringToObject(run, "tokenizer", training->model.tokenizer_id) &&
	    cJSON_AddStringToObject(run, "reference", reference ? reference : "") &&
	    cJSON_AddStringToObject(run, "kernel", dpo_lineage_kernel_here(training->recipe.bf16)) &&
	    add_tip(run, "data", &training->data) && add_tip(run, "eval", &training->eval) && add_lora(run, training);
	struct dpo_error err;

	if (!good)
		cli_check(dpo_fail_memory(&err), &err);
	return run;
}

/* A reference that moved ended as weights that no file holds: their id, into the stage. */
static enum dpo_status
add_synced_reference(const struct training *training, const cJSON *stages, struct dpo_error *err)
{
	cJSON *stage = cJSON_GetArrayItem(stages, cJSON_GetArraySize(stages) - 1);
	struct dpo_model moved = training->model;
	enum dpo_status status;

	if (!(moved.weights = dpo_train_reference(training->train)))
		return DPO_OK;
	if ((status = dpo_model_identify(&moved, (int)training->options->common.threads, err)) != DPO_OK)
		return status;
	return cJSON_AddStringToObject(stage, "synced_reference", moved.id) ? DPO_OK : dpo_fail_memory(err);
}

/* The policy's chain: that of the model, and this stage. */
static enum dpo_status
make_stages(const struct training *training, struct dpo_header *header, struct dpo_error *err)
{
	const char *reference = dpo_lineage_reference(dpo_reader_header(training->data.reader));
	const char *tokenizer = training->model.tokenizer_id;
	cJSON *settings = dpo_recipe_json(&training->recipe), *stages = cJSON_Duplicate(training->model.stages, true), *stage;
	const struct dpo_lora *lora = training->model.lora;
	enum dpo_status status = dpo_header_init(header, lora ? "adapter" : "model", err);

	if (!settings || !stages || !add_lora(settings, training) ||
	    !cJSON_AddStringToObject(settings, "kernel", dpo_lineage_kernel_here(training->recipe.bf16)))
		return dpo_fail_memory(err);
	if (status != DPO_OK)
		return status;
	cJSON_Delete(header->stages);
	header->stages = stages;
	status = dpo_header_stage(header, "dpo-train", settings, *tokenizer ? tokenizer : NULL, training->model.id, err);
	if (status != DPO_OK)
		return status;
	stage = cJSON_GetArrayItem(stages, cJSON_GetArraySize(stages) - 1);
	if (!add_tip(stage, "data", &training->data) || (lora && !cJSON_AddStringToObject(stage, "base", lora->base_id)) ||
	    (training->recipe.best_metric && !add_tip(stage, "eval", &training->eval)) ||
	    (training->recipe.objective.reference && !cJSON_AddStringToObject(stage, "reference", reference ? reference : "")))
		return dpo_fail_memory(err);
	return DPO_OK;
}

/* What cannot stand in the policy's header is an option's fault, and not to be found out after the training. */
static void
check_stages(const struct training *training)
{
	struct dpo_header header = { 0 };
	struct dpo_buffer text = { 0 };
	struct dpo_error err;

	cli_check(make_stages(training, &header, &err), &err);
	cli_check(dpo_header_add(&header, "file", DPO_STR, &err), &err);
	if (dpo_header_write(&header, &text, &err) != DPO_OK)
		cli_usage("%s", err.text);
	dpo_buffer_free(&text);
	dpo_header_free(&header);
}

/* ------------------------------------------------------------------ log and checkpoint */

static _Noreturn void
fail_on(const char *path)
{
	struct dpo_error err;

	(void)dpo_fail_errno(&err, "%s", path);
	cli_fail(&err);
}

/* Wait until the log takes PIPE_BUF bytes at once; false: a signal came first, which no stalled reader of a pipe is to hold up. */
static bool
log_takes_more(int fd)
{
	struct pollfd log = { .fd = fd, .events = POLLOUT };

	while (poll(&log, 1, TURN) <= 0)
		if (cli_signal() != 0)
			return false;
	return true;
}

/* Bring the file up to the log in memory, as far as it gets before the signal that ends the run. */
static void
write_log(struct training *training)
{
	const struct dpo_buffer *log = dpo_train_log(training->train);
	ssize_t done;

	while (training->log >= 0 && training->logged < log->len && log_takes_more(training->log)) {
		done = write(training->log, log->data + training->logged, dpo_size_least(log->len - training->logged, PIPE_BUF));
		if (done < 0 && errno != EINTR)
			fail_on(training->options->log);
		training->logged += done > 0 ? (size_t)done : 0;
	}
}

static int
open_for_log(const char *path)
{
	int descriptor = dpo_file_descriptor(path);

	return descriptor < 0 ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
}

/* That of a pipe waits for its reader; a signal in the meantime ends the run before its first step. */
static void
open_log(struct training *training)
{
	const char *path = training->options->log;

	training->log = -1;
	while (path && (training->log = open_for_log(path)) < 0 && cli_signal() == 0)
		if (errno != EINTR)
			fail_on(path);
	write_log(training);
}

static void
save(struct training *training)
{
	struct dpo_error err;
	struct dpo_out out;
	enum dpo_status status;

	cli_check(dpo_out_open(&out, training->options->checkpoint, &err), &err);
	cli_guard(out.temp);
	status = dpo_train_save(training->train, training->run, &out, (int)training->options->common.threads, &err);
	if (status == DPO_OK)
		status = dpo_out_commit(&out, &err);
	else
		dpo_out_abort(&out);
	cli_guard(NULL);
	cli_check(status, &err);
	training->saved = dpo_train_done(training->train);
}

static void
resume(struct training *training)
{
	const char *path = training->options->checkpoint;
	struct dpo_checkpoint *checkpoint;
	struct dpo_error err;

	dpo_checkpoint_sweep(path);
	if (training->options->restart && unlink(path) != 0 && errno != ENOENT)
		fail_on(path);
	cli_check(dpo_checkpoint_open(&checkpoint, path, &err), &err);
	if (!checkpoint)
		return;
	cli_check(dpo_checkpoint_same(checkpoint, training->run, &err), &err);
	if (!cJSON_Compare(dpo_json_get(dpo_checkpoint_run(checkpoint), "kernel"), dpo_json_get(training->run, "kernel"), true))
		cli_warn("%s: written with another BLAS kernel; the result will differ by rounding", path);
	if (dpo_train_resume(training->train, checkpoint, (int)training->options->common.threads, &err) != DPO_OK)
		cli_fail_at(&err, path);
	dpo_checkpoint_close(checkpoint);
	training->saved = dpo_train_done(training->train);
	cli_note("resuming after step %llu of %llu", (unsigned long long)training->saved,
	    (unsigned long long)dpo_train_total(training->train));
}

/* ------------------------------------------------------------------ the run */

void
training_begin(struct training *training)
{
	const struct training_options *options = training->options;
	struct dpo_error err;

	if (training->recipe.load_best)
		cli_note("--load-best-model-at-end keeps a second copy of the trained weights: %.1f MB",
		    (double)dpo_model_trained(&training->model).params->total * sizeof(float) / 1e6);
	check_stages(training);
	training->run = make_run(training);
	cli_check(dpo_train_new(&training->train, &training->recipe, &training->model, &training->data.rows,
	    options->eval ? &training->eval.rows : NULL, (int)options->common.threads, &err), &err);
	if (options->sync_ref && (uint64_t)options->sync_steps > dpo_train_total(training->train))
		cli_warn("--ref-model-sync-steps %lld: the run ends after %llu steps, and the reference stays as it is",
		    (long long)options->sync_steps, (unsigned long long)dpo_train_total(training->train));
	if (options->checkpoint) {
		cli_signals_defer();
		resume(training);
	}
	open_log(training);
}

/* Before every row: show progress; whether to stop. */
static bool
tick(void *context, size_t rows, bool evaluating)
{
	struct training *training = context;
	uint64_t done = dpo_train_done(training->train);
	char detail[96];

	training->evaluating = evaluating;
	snprintf(detail, sizeof detail, "%s %llu/%llu, loss %.4g", evaluating ? "evaluation after step" : "step",
	    (unsigned long long)done, (unsigned long long)dpo_train_total(training->train), dpo_train_loss(training->train));
	cli_progress_show(&training->progress, dpo_train_rows(training->train, done) + (evaluating ? 0 : rows), detail);
	return cli_signal() != 0 || (training->deadline > 0 && training->advanced && cli_clock() >= training->deadline);
}

/* An evaluation that no log tells. */
static void
tell_evaluation(struct training *training)
{
	if (training->log < 0 && training->evaluating)
		cli_note("evaluation after step %llu: loss %.4f", (unsigned long long)dpo_train_done(training->train),
		    dpo_train_eval_loss(training->train));
}

/* Leave a checkpoint and end: by the signal for SIGINT, else with status 75. */
static _Noreturn void
stop(struct training *training)
{
	cli_progress_end();
	save(training);
	cli_note("stopped after step %llu of %llu; the same command continues from there", (unsigned long long)training->saved,
	    (unsigned long long)dpo_train_total(training->train));
	if (cli_signal() == SIGINT)
		cli_reraise(SIGINT);
	exit(cli_finish(STOPPED));
}

void
training_run(struct training *training)
{
	struct dpo_train *run = training->train;
	uint64_t done;
	enum dpo_status status;
	struct dpo_error err;
	bool stopped;

	cli_progress_start(&training->progress, "rows", dpo_train_rows(run, dpo_train_done(run)),
	    dpo_train_rows(run, dpo_train_total(run)));
	for (;;) {
		status = dpo_train_step(run, tick, training, &stopped, &err);
		policy_same(&training->model);	/* the base of an adapter; else the step is of no model */
		if (status != DPO_OK)
			break;
		if (stopped)
			stop(training);
		training->advanced = true;
		write_log(training);
		tell_evaluation(training);
		done = dpo_train_done(run);
		if (training->options->checkpoint && done % training->save_steps == 0 && done != training->saved)
			save(training);
	}
	cli_progress_end();
	cli_check(status, &err);
	/* The last moment for a checkpoint; the policy is written all at once, to a pipe that may be stalled. */
	if (cli_signals_default() != 0)
		stop(training);
}

/* After the last step: what there is to be said of the run, and the weights that it ends in. */
static void
end(struct training *training)
{
	struct dpo_finding found[DPO_WATCH_FINDINGS];
	struct dpo_error err;
	size_t n;

	cli_check(dpo_train_end(training->train, found, &n, &err), &err);
	write_log(training);
	for (size_t i = 0; i < n; i++)
		cli_warn("%s", found[i].text);
	if (dpo_train_done(training->train) < dpo_train_total(training->train))
		cli_note("stopped early, after step %llu of %llu", (unsigned long long)dpo_train_done(training->train),
		    (unsigned long long)dpo_train_total(training->train));
}

void
training_finish(struct training *training, struct dpo_out *out)
{
	const struct training_options *options = training->options;
	struct dpo_header header = { 0 };
	struct dpo_error err;

	end(training);
	if (out->fd < 0)
		cli_output(out, options->common.output, true);
	cli_check(make_stages(training, &header, &err), &err);
	cli_check(add_synced_reference(training, header.stages, &err), &err);
	cli_check(dpo_model_identify(&training->model, (int)options->common.threads, &err), &err);
	cli_check((training->model.lora ? dpo_adapter_write : dpo_model_write)(&training->model, header.stages,
	    dpo_reader_tip(training->data.reader), out, (int)options->common.threads, &err), &err);
	dpo_header_free(&header);
	cli_commit(out);
	if (training->log >= 0 && ((fsync(training->log) != 0 && errno != EINVAL && errno != EROFS) || close(training->log) != 0))
		fail_on(options->log);
	if (options->checkpoint && unlink(options->checkpoint) != 0 && errno != ENOENT)
		fail_on(options->checkpoint);
	cli_note("%llu steps on %zu rows, last loss %.4f: policy %.16s",
	    (unsigned long long)dpo_train_done(training->train), training->data.rows.rows, dpo_train_loss(training->train),
	    training->model.id);
}

static void
close_data(struct data *data)
{
	dpo_rowset_free(&data->rows);
	dpo_spool_free(data->spool);
	dpo_reader_close(data->reader);
}

void
training_close(struct training *training)
{
	dpo_train_free(training->train);
	close_data(&training->data);
	close_data(&training->eval);
	dpo_model_free(&training->model);
	cJSON_Delete(training->run);
}
