/* dpo-train - train a policy on preference pairs
 *
 * Reads pairs with reference log-probs (dpo-reflogp), trains the model by Direct Preference Optimization, and writes the
 * policy as a model stream. Supervised rows are learned with --loss-type sft. Only the policy is in memory, never the
 * reference. A run with --checkpoint that is stopped or killed goes on from its last checkpoint when the same command is
 * given again, and ends in the same bytes.
 *
 *	dpo-train -m MODEL --beta 0.1 --learning-rate 1e-5 --log log.jsonl prefs.ref > policy.dpo
 */
#include "bytes.h"
#include "cli.h"
#include "json.h"
#include "lineage.h"
#include "train.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STOPPED = 75 };	/* the exit status after a checkpoint */

struct options {
	struct cli_common common;
	const char *model, *init;
	const char *loss, *schedule, *order;
	double beta, learning_rate, warmup_steps, weight_decay, beta1, beta2, epsilon, max_grad_norm, epochs, max_time;
	int64_t max_steps, batch_size, accumulation, grad_slots, seed, logging_steps, eval_steps, save_steps;
	const char *log, *eval, *checkpoint;
	bool restart, other_reference;
};

static const struct options defaults = {
	.loss = "sigmoid", .schedule = "linear", .order = "shuffle", .beta = 0.1, .learning_rate = 1e-6, .beta1 = 0.9,
	.beta2 = 0.999, .epsilon = 1e-8, .max_grad_norm = 1, .epochs = 3, .max_steps = -1, .batch_size = 8,
	.accumulation = 1, .grad_slots = 1, .seed = 42, .logging_steps = 10, .save_steps = 500,
};

static const char *const orders[] = { "shuffle", "sequential", NULL };

#define AT(field) offsetof(struct options, field)
#define HUGE_COUNT 1e9
#define SEED_MAX 9007199254740991.0

static const struct cli_option table[] = {
	{ "model", 'm', CLI_TEXT, AT(model), "MODEL", "the model to train: a directory or a stream", 0, 0, NULL },
	{ "init", 0, CLI_TEXT, AT(init), "CONFIG", "start from random weights for this config.json", 0, 0, NULL },
	{ "loss-type", 0, CLI_CHOICE, AT(loss), "NAME", "the loss", 0, 0, dpo_loss_names },
	{ "beta", 0, CLI_NUMBER, AT(beta), "B", "strength of the pull to the reference", 0, 1e6, NULL },
	{ "learning-rate", 0, CLI_NUMBER, AT(learning_rate), "RATE", "peak learning rate of AdamW", 0, 1e6, NULL },
	{ "lr-scheduler-type", 0, CLI_CHOICE, AT(schedule), "NAME", "how the learning rate goes", 0, 0, dpo_schedule_names },
	{ "warmup-steps", 0, CLI_NUMBER, AT(warmup_steps), "N", "steps of warm-up; below 1 a share of all steps", 0, HUGE_COUNT, NULL },
	{ "weight-decay", 0, CLI_NUMBER, AT(weight_decay), "D", "decay of all but biases and norm weights", 0, 1e6, NULL },
	{ "adam-beta1", 0, CLI_NUMBER, AT(beta1), "B", "decay of AdamW's first moment", 0, 0.9999999, NULL },
	{ "adam-beta2", 0, CLI_NUMBER, AT(beta2), "B", "decay of AdamW's second moment", 0, 0.9999999, NULL },
	{ "adam-epsilon", 0, CLI_NUMBER, AT(epsilon), "E", "AdamW's epsilon", 0, 1, NULL },
	{ "max-grad-norm", 0, CLI_NUMBER, AT(max_grad_norm), "NORM", "clip the gradient to this norm; 0: do not", 0, 1e30, NULL },
	{ "num-train-epochs", 0, CLI_NUMBER, AT(epochs), "N", "passes over the data, also 0.5", 1e-9, HUGE_COUNT, NULL },
	{ "max-steps", 0, CLI_INTEGER, AT(max_steps), "N", "so many steps instead of epochs; -1: by epochs", -1, HUGE_COUNT, NULL },
	{ "batch-size", 0, CLI_INTEGER, AT(batch_size), "N", "rows per step; memory does not depend on it", 1, HUGE_COUNT, NULL },
	{ "gradient-accumulation-steps", 0, CLI_INTEGER, AT(accumulation), "N", "multiplies the batch size", 1, 1e6, NULL },
	{ "grad-slots", 0, CLI_INTEGER, AT(grad_slots), "N", "sum a step's gradient as a tree over N groups of rows", 1, 65536, NULL },
	{ "order", 0, CLI_CHOICE, AT(order), "NAME", "order of the rows", 0, 0, orders },
	{ "seed", 0, CLI_INTEGER, AT(seed), "N", "of shuffling and of random weights", 0, SEED_MAX, NULL },
	{ "log", 0, CLI_TEXT, AT(log), "FILE", "write metrics to FILE, a JSON object a line", 0, 0, NULL },
	{ "logging-steps", 0, CLI_INTEGER, AT(logging_steps), "N", "average and log every N steps", 1, HUGE_COUNT, NULL },
	{ "eval", 0, CLI_TEXT, AT(eval), "FILE", "held-out rows to evaluate on, at the end at least", 0, 0, NULL },
	{ "eval-steps", 0, CLI_INTEGER, AT(eval_steps), "N", "evaluate every N steps; 0: only at the end", 0, HUGE_COUNT, NULL },
	{ "checkpoint", 0, CLI_TEXT, AT(checkpoint), "FILE", "go on from FILE if it is there; write checkpoints to it", 0, 0, NULL },
	{ "save-steps", 0, CLI_INTEGER, AT(save_steps), "N", "write a checkpoint every N steps", 1, HUGE_COUNT, NULL },
	{ "restart", 0, CLI_FLAG, AT(restart), NULL, "discard the checkpoint and begin again", 0, 0, NULL },
	{ "max-time", 0, CLI_NUMBER, AT(max_time), "SECONDS", "stop with a checkpoint after so long; 0: never", 0, HUGE_COUNT, NULL },
	{ "other-reference", 0, CLI_FLAG, AT(other_reference), NULL, "the reference is another model than -m", 0, 0, NULL },
	CLI_COMMON(struct options),
};

static const struct cli_program program = {
	.name = "dpo-train", .summary = "train a policy on preference pairs", .operands = "[FILE]", .max_operands = 1,
	.options = table, .n_options = sizeof table / sizeof *table,
	.example = "dpo-train -m MODEL --log log.jsonl prefs.ref > policy.dpo",
};

/* A stream of rows held in memory. */
struct data {
	struct dpo_reader *reader;
	struct dpo_spool *spool;
	struct dpo_rowset rows;
};

struct training {
	const struct options *options;
	struct dpo_recipe recipe;
	struct dpo_model model;
	struct data data, eval;
	struct dpo_train *train;
	cJSON *run;		/* what a checkpoint must agree with */
	FILE *log;
	size_t logged;		/* bytes of the log that are in the file */
	uint64_t saved;		/* the step of the last checkpoint */
	struct cli_progress progress;
	double deadline;	/* 0: none */
};

/* ------------------------------------------------------------------ options */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void
check_options(const struct options *options, const char *path)
{
	if (!options->model == !options->init)
		cli_usage("one of -m MODEL and --init CONFIG must be there");
	if (options->model && strcmp(options->model, "-") == 0 && strcmp(path, "-") == 0)
		cli_usage("model and rows cannot both be standard input");
	if (options->eval && strcmp(options->eval, "-") == 0)
		cli_usage("--eval: standard input is for the rows to train on");
	if (options->max_steps == 0)
		cli_usage("--max-steps: 0 steps train nothing");
	if (options->warmup_steps > 0 && strcmp(options->schedule, "constant") == 0)
		cli_usage("--warmup-steps: constant has no warm-up; use constant_with_warmup");
	if (options->eval_steps && !options->eval)
		cli_usage("--eval-steps without --eval");
	if (!options->checkpoint && (options->max_time > 0 || options->restart))
		cli_usage("--max-time and --restart need --checkpoint");
	if (options->log && strcmp(options->log, "-") == 0)
		cli_usage("--log: standard output is for the policy");
}

/* Once all inputs are known: the three outputs may not be one of them, nor each other. */
static void
check_outputs(const struct options *options)
{
	const char *outputs[] = { options->common.output, options->log, options->checkpoint };

	for (size_t i = 0; i < 3; i++) {
		if (outputs[i] && cli_is_input(outputs[i]))
			cli_usage("%s: is an input; write to another file", outputs[i]);
		for (size_t k = 0; k < i; k++)
			if (outputs[i] && outputs[k] && strcmp(outputs[i], outputs[k]) == 0)
				cli_usage("%s: is two outputs at once", outputs[i]);
	}
}

static struct dpo_recipe
make_recipe(const struct options *options)
{
	return (struct dpo_recipe){
		.loss = dpo_loss_find(options->loss), .loss_settings = { .beta = options->beta },
		.optim = { options->beta1, options->beta2, options->epsilon, options->weight_decay },
		.learning_rate = options->learning_rate, .schedule = dpo_schedule_find(options->schedule),
		.warmup_steps = options->warmup_steps, .max_grad_norm = options->max_grad_norm, .epochs = options->epochs,
		.max_steps = options->max_steps > 0 ? (uint64_t)options->max_steps : 0,
		.batch_size = (uint64_t)(options->batch_size * options->accumulation),
		.grad_slots = (uint64_t)options->grad_slots, .seed = (uint64_t)options->seed,
		.shuffle = strcmp(options->order, "shuffle") == 0, .logging_steps = (uint64_t)options->logging_steps,
		.eval_steps = (uint64_t)options->eval_steps,
	};
}

/* ------------------------------------------------------------------ model and data */

static void
open_model(struct training *training)
{
	const struct options *options = training->options;
	struct dpo_error err;

	cli_reads(options->init ? options->init : options->model);
	if (options->init)
		cli_check(dpo_model_init(&training->model, options->init, training->recipe.seed, &err), &err);
	else
		cli_check(dpo_model_open(&training->model, options->model, (int)options->common.threads, &err), &err);
}

/* The reference whose log-probs the rows carry must be the model, unless the user knows better. */
static enum dpo_status
check_reference(const struct training *training, const struct dpo_header *header, struct dpo_error *err)
{
	const char *reference = dpo_lineage_reference(header), *kernel = dpo_lineage_kernel(header);

	if (kernel && strcmp(kernel, dpo_lineage_kernel_here()) != 0)
		cli_warn("the reference was computed with BLAS kernel %s, this is %s: log-probs differ by rounding", kernel,
		    dpo_lineage_kernel_here());
	if (training->options->other_reference || (reference && strcmp(reference, training->model.id) == 0))
		return DPO_OK;
	return dpo_fail(err, DPO_MISMATCH, "the reference is model %.16s, not %.16s that is to be trained; "
	    "--other-reference allows it", reference ? reference : "unknown", training->model.id);
}

/* What the stream's header says against model and loss. */
static enum dpo_status
check_header(const struct training *training, const struct data *data, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(data->reader);
	const struct dpo_loss *loss = training->recipe.loss;
	struct dpo_columns columns;
	enum dpo_status status;
	bool known;

	if ((status = dpo_columns_find(&columns, header, err)) != DPO_OK ||
	    (status = dpo_lineage_tokenizer(header, &training->model, &known, err)) != DPO_OK)
		return status;
	if (!known)
		cli_warn("%s: cannot tell whether its tokens are this model's: no tokenizer id", dpo_reader_name(data->reader));
	if (loss->pair && columns.answers < 2)
		return dpo_fail(err, DPO_FORMAT, "supervised rows; the loss %s needs pairs", loss->name);
	if (loss->reference && !columns.reference)
		return dpo_fail(err, DPO_FORMAT, "no \"%s\": run dpo-reflogp on it first", dpo_columns_ref_names[0]);
	return loss->reference ? check_reference(training, header, err) : DPO_OK;
}

static void
load(struct training *training, struct data *data, const char *path)
{
	struct dpo_error err;
	const char *name = strcmp(path, "-") ? path : "standard input";

	cli_check(dpo_reader_open(&data->reader, cli_input(path), name, &err), &err);
	if (check_header(training, data, &err) != DPO_OK)
		cli_fail_at(&err, name);
	cli_check(dpo_spool_load(&data->spool, data->reader, &err), &err);
	cli_check(dpo_rowset_init(&data->rows, data->spool, dpo_reader_header(data->reader), &training->model.config,
	    training->recipe.loss->difference, name, &err), &err);
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

/* Settings, ids of model and data, and what shapes the log: a checkpoint of anything else is of another run. */
static cJSON *
make_run(const struct training *training)
{
	const char *reference = dpo_lineage_reference(dpo_reader_header(training->data.reader));
	cJSON *run = dpo_recipe_json(&training->recipe);
	bool good = run && cJSON_AddNumberToObject(run, "logging_steps", (double)training->recipe.logging_steps) &&
	    cJSON_AddNumberToObject(run, "eval_steps", (double)training->recipe.eval_steps) &&
	    cJSON_AddStringToObject(run, "model", training->model.id) &&
	    cJSON_AddStringToObject(run, "tokenizer", training->model.tokenizer_id) &&
	    cJSON_AddStringToObject(run, "reference", reference ? reference : "") &&
	    cJSON_AddStringToObject(run, "kernel", dpo_lineage_kernel_here()) &&
	    add_tip(run, "data", &training->data) && add_tip(run, "eval", &training->eval);
	struct dpo_error err;

	if (!good)
		cli_check(dpo_fail_memory(&err), &err);
	return run;
}

/* The policy's chain: that of the model, and this stage. */
static enum dpo_status
make_stages(const struct training *training, struct dpo_header *header, struct dpo_error *err)
{
	const char *reference = dpo_lineage_reference(dpo_reader_header(training->data.reader));
	const char *tokenizer = training->model.tokenizer_id;
	cJSON *settings = dpo_recipe_json(&training->recipe), *stages = cJSON_Duplicate(training->model.stages, true), *stage;
	enum dpo_status status = dpo_header_init(header, "model", err);

	if (!settings || !stages || !cJSON_AddStringToObject(settings, "dtype", "fp32") ||
	    !cJSON_AddStringToObject(settings, "kernel", dpo_lineage_kernel_here()))
		return dpo_fail_memory(err);
	if (status != DPO_OK)
		return status;
	cJSON_Delete(header->stages);
	header->stages = stages;
	status = dpo_header_stage(header, "dpo-train", settings, *tokenizer ? tokenizer : NULL, training->model.id, err);
	if (status != DPO_OK)
		return status;
	stage = cJSON_GetArrayItem(stages, cJSON_GetArraySize(stages) - 1);
	if (!add_tip(stage, "data", &training->data) ||
	    (training->recipe.loss->reference && !cJSON_AddStringToObject(stage, "reference", reference ? reference : "")))
		return dpo_fail_memory(err);
	return DPO_OK;
}

/* ------------------------------------------------------------------ log and checkpoint */

static _Noreturn void
fail_on(const char *path)
{
	struct dpo_error err;

	(void)dpo_fail_errno(&err, "%s", path);
	cli_fail(&err);
}

/* Bring the file up to the log in memory. */
static void
write_log(struct training *training)
{
	const struct dpo_buffer *log = dpo_train_log(training->train);
	size_t n = log->len - training->logged;

	if (!training->log || n == 0)
		return;
	if (fwrite(log->data + training->logged, 1, n, training->log) != n || fflush(training->log) != 0)
		fail_on(training->options->log);
	training->logged = log->len;
}

static void
open_log(struct training *training)
{
	const char *path = training->options->log;

	if (path && !(training->log = fopen(path, "we")))
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
	status = dpo_train_save(training->train, training->run, &out, &err);
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
	if (dpo_train_resume(training->train, checkpoint, &err) != DPO_OK)
		cli_fail_at(&err, path);
	dpo_checkpoint_close(checkpoint);
	training->saved = dpo_train_done(training->train);
	cli_note("going on after step %llu of %llu", (unsigned long long)training->saved,
	    (unsigned long long)dpo_train_total(training->train));
}

/* ------------------------------------------------------------------ training */

/* Before every row: show progress; whether to stop. */
static bool
tick(void *context, size_t rows, bool evaluating)
{
	struct training *training = context;
	uint64_t done = dpo_train_done(training->train);
	char detail[96];

	snprintf(detail, sizeof detail, "%s %llu/%llu, loss %.4g", evaluating ? "evaluation after step" : "step",
	    (unsigned long long)done, (unsigned long long)dpo_train_total(training->train), dpo_train_loss(training->train));
	cli_progress_show(&training->progress, dpo_train_rows(training->train, done) + (evaluating ? 0 : rows), detail);
	return cli_signal() != 0 || (training->deadline > 0 && now() >= training->deadline);
}

/* Leave a checkpoint and end: by the signal for SIGINT, else with status 75. */
static _Noreturn void
stop(struct training *training)
{
	cli_progress_end(&training->progress);
	save(training);
	cli_note("stopped after step %llu of %llu; the same command goes on from there", (unsigned long long)training->saved,
	    (unsigned long long)dpo_train_total(training->train));
	if (cli_signal() == SIGINT)
		cli_reraise(SIGINT);
	exit(cli_finish(STOPPED));
}

static void
train(struct training *training)
{
	struct dpo_train *run = training->train;
	uint64_t every = (uint64_t)training->options->save_steps, done;
	enum dpo_status status;
	struct dpo_error err;
	bool stopped;

	cli_progress_start(&training->progress, "rows", dpo_train_rows(run, dpo_train_done(run)),
	    dpo_train_rows(run, dpo_train_total(run)));
	while ((status = dpo_train_step(run, tick, training, &stopped, &err)) == DPO_OK) {
		if (stopped)
			stop(training);
		write_log(training);
		done = dpo_train_done(run);
		if (training->options->checkpoint && done % every == 0 && done != training->saved)
			save(training);
	}
	cli_progress_end(&training->progress);
	cli_check(status, &err);
}

/*
 * Find out now whether the output can be written. What is not a pipe is closed again until there is something to write,
 * so that a run that is killed leaves no temporary file.
 */
static void
try_output(struct dpo_out *out, const char *path)
{
	cli_output(out, path, true);
	if (out->temp)
		dpo_out_abort(out);
}

/* Write the policy; only then is the checkpoint of no more use. */
static void
finish(struct training *training, struct dpo_out *out)
{
	const struct options *options = training->options;
	struct dpo_header header = { 0 };
	struct dpo_error err;

	if (out->fd < 0)
		cli_output(out, options->common.output, true);
	cli_check(make_stages(training, &header, &err), &err);
	cli_check(dpo_model_identify(&training->model, (int)options->common.threads, &err), &err);
	cli_check(dpo_model_write(&training->model, header.stages, dpo_reader_tip(training->data.reader), out, &err), &err);
	dpo_header_free(&header);
	cli_commit(out);
	if (training->log && ((fsync(fileno(training->log)) != 0 && errno != EINVAL && errno != EROFS) ||
	    fclose(training->log) != 0))
		fail_on(options->log);
	if (options->checkpoint && unlink(options->checkpoint) != 0 && errno != ENOENT)
		fail_on(options->checkpoint);
	cli_note("%llu steps on %zu rows, last loss %.4f: policy %.16s",
	    (unsigned long long)dpo_train_total(training->train), training->data.rows.rows, dpo_train_loss(training->train),
	    training->model.id);
}

static void
close_data(struct data *data)
{
	dpo_rowset_free(&data->rows);
	dpo_spool_free(data->spool);
	dpo_reader_close(data->reader);
}

int
main(int argc, char **argv)
{
	struct options options = defaults;
	struct training training = { .options = &options };
	struct dpo_out out;
	struct dpo_error err;
	char **operands;
	double started = now();
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *path = n ? operands[0] : "-";

	check_options(&options, path);
	training.recipe = make_recipe(&options);
	training.deadline = options.max_time > 0 ? started + options.max_time : 0;
	open_model(&training);
	load(&training, &training.data, path);
	if (options.eval)
		load(&training, &training.eval, options.eval);
	check_outputs(&options);
	training.run = make_run(&training);
	try_output(&out, options.common.output);
	cli_check(dpo_train_new(&training.train, &training.recipe, &training.model, &training.data.rows,
	    options.eval ? &training.eval.rows : NULL, (int)options.common.threads, &err), &err);
	if (options.checkpoint) {
		cli_signals_defer();
		resume(&training);
	}
	open_log(&training);
	train(&training);
	finish(&training, &out);

	dpo_train_free(training.train);
	close_data(&training.data);
	close_data(&training.eval);
	dpo_model_free(&training.model);
	cJSON_Delete(training.run);
	return cli_finish(0);
}
