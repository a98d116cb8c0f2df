/* dpo-train - train a policy on preference pairs
 *
 * Reads pairs with reference log-probs (dpo-reflogp), trains the model by Direct Preference Optimization, and writes the
 * policy as a model stream. Supervised rows are learned with --loss-type sft. Only the policy is in memory, and the
 * reference only where --sync-ref-model moves it. A run with --checkpoint that is stopped or killed goes on from its last
 * checkpoint when the same command is given again, and ends in the same bytes.
 *
 *	dpo-train -m MODEL --beta 0.1 --learning-rate 1e-5 --log log.jsonl prefs.ref > policy.dpo
 */
#include "base/json.h"
#include "policy.h"
#include "stepopts.h"
#include "training.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct training_options defaults = {
	.dtype = "fp32",
	.loss = LOSS_DEFAULTS, .schedule = "linear", .order = "shuffle", .learning_rate = 1e-6, .num_cycles = NAN,
	.min_lr = NAN, .min_lr_rate = NAN, .lr_end = 1e-7, .power = 1, .timescale = NAN, .decay_type = "cosine",
	.optim = "adamw", .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .rms_alpha = 0.99, .rms_epsilon = 1e-8,
	.max_grad_norm = 1, .epochs = 3, .max_steps = -1, .batch_size = 8, .accumulation = 1, .grad_slots = 1, .seed = 42,
	.lora_alpha = 32,
	.logging_steps = 10, .save_steps = 500, .mixup_alpha = 0.6, .sync_steps = 512,
};

static const char *const truths[] = { "true", "false", NULL };
static const char *const orders[] = { "shuffle", "sequential", NULL };

#define AT(field) offsetof(struct training_options, field)
#define HUGE_COUNT 1e9

static const struct cli_option table[] = {
	{ "model", 'm', CLI_TEXT, AT(model), "MODEL", "the model to train: a directory or a stream", 0, 0, NULL },
	POLICY_DTYPE(struct training_options),
	{ "adapter", 'a', CLI_TEXT, AT(adapter), "ADAPTER", "train this adapter of the model further", 0, 0, NULL },
	{ "init", 0, CLI_TEXT, AT(init), "CONFIG", "start from random weights for this config.json", 0, 0, NULL },
	CLI_LOSS(struct training_options),
	{ "learning-rate", 0, CLI_NUMBER, AT(learning_rate), "RATE", "peak learning rate", 0, 1e6, NULL },
	{ "lr-scheduler-type", 0, CLI_CHOICE, AT(schedule), "NAME", "learning-rate schedule", 0, 0, dpo_schedule_names },
	{ "warmup-steps", 0, CLI_NUMBER, AT(warmup_steps), "N",
	    "steps of warm-up; below 1 a share of all steps", 0, HUGE_COUNT, NULL },
	{ "num-cycles", 0, CLI_NUMBER, AT(num_cycles), "N", "waves of a cosine schedule, or its restarts", 0, HUGE_COUNT, NULL },
	{ "min-lr", 0, CLI_NUMBER, AT(min_lr), "RATE", "cosine_with_min_lr: least learning rate", 0, 1e6, NULL },
	{ "min-lr-rate", 0, CLI_NUMBER, AT(min_lr_rate), "SHARE", "the same as a share of the peak", 0, 1, NULL },
	{ "lr-end", 0, CLI_NUMBER, AT(lr_end), "RATE", "polynomial: learning rate at the end", 0, 1e6, NULL },
	{ "power", 0, CLI_NUMBER, AT(power), "P", "exponent of the polynomial schedule", 0, 1000, NULL },
	{ "timescale", 0, CLI_NUMBER, AT(timescale), "N", "inverse_sqrt: steps until 0.7 of the peak", 1, HUGE_COUNT, NULL },
	{ "num-decay-steps", 0, CLI_INTEGER, AT(num_decay_steps), "N",
	    "warmup_stable_decay: steps of decay at the end", 1, HUGE_COUNT, NULL },
	{ "decay-type", 0, CLI_CHOICE, AT(decay_type), "NAME", "warmup_stable_decay: shape of the decay", 0, 0, dpo_decay_names },
	{ "min-lr-ratio", 0, CLI_NUMBER, AT(min_lr_ratio), "SHARE", "warmup_stable_decay: least share of the peak", 0, 1, NULL },
	{ "optim", 0, CLI_CHOICE, AT(optim), "NAME", "the optimizer", 0, 0, dpo_optim_names },
	{ "weight-decay", 0, CLI_NUMBER, AT(weight_decay), "D", "decay of all but biases and norm weights", 0, 1e6, NULL },
	{ "adam-beta1", 0, CLI_NUMBER, AT(beta1), "B", "decay of AdamW's first moment", 0, 0.9999999, NULL },
	{ "adam-beta2", 0, CLI_NUMBER, AT(beta2), "B", "decay of AdamW's second moment", 0, 0.9999999, NULL },
	{ "adam-epsilon", 0, CLI_NUMBER, AT(epsilon), "E", "AdamW's epsilon", 0, 1, NULL },
	{ "rmsprop-alpha", 0, CLI_NUMBER, AT(rms_alpha), "A", "decay of RMSprop's mean square", 0, 0.9999999, NULL },
	{ "rmsprop-epsilon", 0, CLI_NUMBER, AT(rms_epsilon), "E", "RMSprop's epsilon", 0, 1, NULL },
	{ "momentum", 0, CLI_NUMBER, AT(momentum), "M", "momentum of sgd", 0, 0.9999999, NULL },
	{ "max-grad-norm", 0, CLI_NUMBER, AT(max_grad_norm), "NORM", "clip the gradient to this norm; 0: do not", 0, 1e30, NULL },
	{ "num-train-epochs", 0, CLI_NUMBER, AT(epochs), "N", "passes over the data; may be a fraction", 1e-9, HUGE_COUNT, NULL },
	{ "max-steps", 0, CLI_INTEGER, AT(max_steps), "N",
	    "run N steps instead of whole epochs; -1: by epochs", -1, HUGE_COUNT, NULL },
	{ "batch-size", 0, CLI_INTEGER, AT(batch_size), "N", "rows per step; memory does not depend on it", 1, HUGE_COUNT, NULL },
	{ "gradient-accumulation-steps", 0, CLI_INTEGER, AT(accumulation), "N", "multiplies the batch size", 1, 1e6, NULL },
	{ "grad-slots", 0, CLI_INTEGER, AT(grad_slots), "N",
	    "sum a step's gradient as a tree over N groups of rows", 1, 65536, NULL },
	{ "gradient-checkpointing", 0, CLI_FLAG, AT(recompute), NULL,
	    "recompute activations: less memory, the same bytes", 0, 0, NULL },
	{ "lora-r", 0, CLI_INTEGER, AT(lora_r), "RANK",
	    "train a low-rank adapter of this rank; 0: all weights", 0, DPO_LORA_RANK_MAX, NULL },
	{ "lora-alpha", 0, CLI_NUMBER, AT(lora_alpha), "A", "the adapter is multiplied by A / RANK", -1e6, 1e6, NULL },
	{ "lora-dropout", 0, CLI_NUMBER, AT(lora_dropout), "P",
	    "share of the adapter's inputs dropped in training", 0, 0.999, NULL },
	{ "lora-target-modules", 0, CLI_TEXT, AT(lora_targets), "NAME,...", "modules to adapt, or all-linear", 0, 0, NULL },
	{ "lora-modules-to-save", 0, CLI_TEXT, AT(lora_save), "NAME,...",
	    "modules to train whole in addition to the adapter", 0, 0, NULL },
	{ "lora-rank-pattern", 0, CLI_TEXT, AT(lora_ranks), "NAME=R,...", "other ranks for some modules", 0, 0, NULL },
	{ "lora-alpha-pattern", 0, CLI_TEXT, AT(lora_alphas), "NAME=A,...", "other alphas for some modules", 0, 0, NULL },
	{ "use-rslora", 0, CLI_FLAG, AT(rslora), NULL, "multiply by A / sqrt(RANK) instead", 0, 0, NULL },
	{ "order", 0, CLI_CHOICE, AT(order), "NAME", "order of the rows", 0, 0, orders },
	{ "seed", 0, CLI_INTEGER, AT(seed), "N", "seed of shuffling, random weights and dropout", 0, DPO_JSON_EXACT - 1, NULL },
	{ "log", 0, CLI_TEXT, AT(log), "FILE", "write metrics to FILE, one JSON object per line", 0, 0, NULL },
	{ "logging-steps", 0, CLI_NUMBER, AT(logging_steps), "N",
	    "average and log every N steps; below 1 a share of all", 1e-9, HUGE_COUNT, NULL },
	{ "logging-first-step", 0, CLI_FLAG, AT(logging_first), NULL, "log the first step too", 0, 0, NULL },
	{ "eval", 0, CLI_TEXT, AT(eval), "FILE", "held-out rows to evaluate on, at least at the end", 0, 0, NULL },
	{ "eval-steps", 0, CLI_NUMBER, AT(eval_steps), "N",
	    "evaluate every N steps; below 1 a share of all; 0: only at the end", 0, HUGE_COUNT, NULL },
	{ "eval-on-start", 0, CLI_FLAG, AT(eval_first), NULL, "evaluate before the first step too", 0, 0, NULL },
	{ "early-stopping-patience", 0, CLI_INTEGER, AT(patience), "N",
	    "stop after N evaluations without a better one; 0: never", 0, HUGE_COUNT, NULL },
	{ "early-stopping-threshold", 0, CLI_NUMBER, AT(patience_threshold), "X", "least improvement that counts", 0, 1e30, NULL },
	{ "metric-for-best-model", 0, CLI_TEXT, AT(best_metric), "NAME",
	    "the evaluations' metric that decides (default: loss)", 0, 0, NULL },
	{ "greater-is-better", 0, CLI_CHOICE, AT(greater_is_better), "TRUTH",
	    "whether larger is better (default: unless NAME ends in loss)", 0, 0, truths },
	{ "load-best-model-at-end", 0, CLI_FLAG, AT(load_best), NULL, "write the weights of the best evaluation", 0, 0, NULL },
	{ "checkpoint", 0, CLI_TEXT, AT(checkpoint), "FILE", "resume from FILE if it exists; write checkpoints to it", 0, 0, NULL },
	{ "save-steps", 0, CLI_NUMBER, AT(save_steps), "N",
	    "write a checkpoint every N steps; below 1 a share of all", 1e-9, HUGE_COUNT, NULL },
	{ "restart", 0, CLI_FLAG, AT(restart), NULL, "discard the checkpoint and start over", 0, 0, NULL },
	{ "max-time", 0, CLI_NUMBER, AT(max_time), "SECONDS", "checkpoint and stop after SECONDS; 0: never", 0, HUGE_COUNT, NULL },
	{ "other-reference", 0, CLI_FLAG, AT(other_reference), NULL, "the reference is another model than -m", 0, 0, NULL },
	{ "sync-ref-model", 0, CLI_FLAG, AT(sync_ref), NULL, "move the reference towards the policy (TR-DPO)", 0, 0, NULL },
	{ "ref-model-mixup-alpha", 0, CLI_NUMBER, AT(mixup_alpha), "A", "the policy's share in the moved reference", 0, 1, NULL },
	{ "ref-model-sync-steps", 0, CLI_INTEGER, AT(sync_steps), "N", "move the reference every N steps", 1, HUGE_COUNT, NULL },
	{ "dry-run", 0, CLI_FLAG, AT(dry_run), NULL, "print the memory and time the run would take, and exit", 0, 0, NULL },
	{ "max-memory", 0, CLI_BYTES, AT(max_memory), "SIZE", "refuse a run that would take more memory; 0: any", 0, 1e15, NULL },
	CLI_COMMON(struct training_options),
};

static const struct cli_program program = {
	.name = "dpo-train", .summary = "train a policy on preference pairs", .operands = "[FILE]", .max_operands = 1,
	.options = table, .n_options = sizeof table / sizeof *table,
	.example = "dpo-train -m MODEL --log log.jsonl prefs.ref > policy.dpo",
};

/* ------------------------------------------------------------------ options */

/* Evaluations that decide need evaluations, and something to decide. */
static void
check_best(const struct training_options *options)
{
	static const char *const only_with_it[] = { "metric-for-best-model", "greater-is-better" };
	bool decides = options->patience > 0 || options->load_best;

	for (size_t i = 0; i < sizeof only_with_it / sizeof *only_with_it; i++)
		if (!decides && cli_given(only_with_it[i]))
			cli_usage("--%s without --early-stopping-patience or --load-best-model-at-end", only_with_it[i]);
	if (options->patience == 0 && cli_given("early-stopping-threshold"))
		cli_usage("--early-stopping-threshold without --early-stopping-patience");
	if (decides && !(options->eval_steps > 0))
		cli_usage("--early-stopping-patience and --load-best-model-at-end need --eval FILE and --eval-steps N");
}

/* A new adapter has a shape to be told; one that is trained further has one. Dropout is the run's. */
static void
check_adapter(const struct training_options *options)
{
	static const char *const shape[] = { "lora-r", "lora-alpha", "lora-target-modules", "lora-modules-to-save",
		"lora-rank-pattern", "lora-alpha-pattern", "use-rslora" };
	bool adapts = options->adapter || options->lora_r;

	if (adapts && options->init)
		cli_usage("--init: an adapter needs a model that was trained");
	if (adapts && options->sync_ref)
		cli_usage("--sync-ref-model moves a whole model, of which an adapter trains a part");
	for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
		if (options->adapter && cli_given(shape[i]))
			cli_usage("--%s: -a ADAPTER brings its own rank, scale and modules", shape[i]);
		else if (i > 0 && !adapts && cli_given(shape[i]))
			cli_usage("--%s needs --lora-r", shape[i]);
	if (!adapts && cli_given("lora-dropout"))
		cli_usage("--lora-dropout needs --lora-r or -a");
}

/* Each input is read once; for --dry-run and --max-memory the model a second time. */
static void
check_inputs(const struct training_options *options, const char *path)
{
	const char *const inputs[] = { options->model, options->init, options->adapter, options->eval, path };
	struct stat about;

	cli_one_stdin(inputs, sizeof inputs / sizeof *inputs);
	for (size_t i = 0; i < 3 && (options->dry_run || options->max_memory > 0); i++)
		if (inputs[i] && (strcmp(inputs[i], "-") == 0 || (stat(inputs[i], &about) == 0 && !S_ISDIR(about.st_mode) &&
		    !S_ISREG(about.st_mode))))
			cli_usage("%s: --dry-run and --max-memory read a model twice: name a directory or a regular file",
			    cli_input_name(inputs[i]));
}

/* Options that act only beside another. */
static void
check_company(const struct training_options *options)
{
	bool logs = options->log, saves = options->checkpoint, evaluates = options->eval;
	const struct { const char *option, *needs; bool there; } company[] = {
		{ "logging-steps", "log", logs }, { "logging-first-step", "log", logs },
		{ "eval-steps", "eval", evaluates }, { "eval-on-start", "eval", evaluates },
		{ "save-steps", "checkpoint", saves }, { "restart", "checkpoint", saves }, { "max-time", "checkpoint", saves },
		{ "ref-model-mixup-alpha", "sync-ref-model", options->sync_ref },
		{ "ref-model-sync-steps", "sync-ref-model", options->sync_ref },
	};

	for (size_t i = 0; i < sizeof company / sizeof *company; i++)
		if (!company[i].there && cli_given(company[i].option))
			cli_usage("--%s needs --%s", company[i].option, company[i].needs);
}

/* Steps between two of a kind: whole ones, or a share of all. */
static void
check_intervals(const struct training_options *options)
{
	const struct { const char *option; double steps; } intervals[] = { { "logging-steps", options->logging_steps },
		{ "eval-steps", options->eval_steps }, { "save-steps", options->save_steps } };

	for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++)
		if (intervals[i].steps > 1 && intervals[i].steps > floor(intervals[i].steps))
			cli_usage("--%s: %g is neither a whole number nor below 1", intervals[i].option, intervals[i].steps);
}

static void
check_options(const struct training_options *options, const struct dpo_objective *objective)
{
	if (!options->model == !options->init)
		cli_usage("give either -m MODEL or --init CONFIG");
	check_adapter(options);
	if (options->max_steps == 0)
		cli_usage("--max-steps: 0 steps train nothing");
	stepopts_check(options);
	check_company(options);
	check_intervals(options);
	check_best(options);
	if ((options->sync_ref || options->other_reference) && !objective->reference)
		cli_usage("--%s: the loss reads no reference", options->sync_ref ? "sync-ref-model" : "other-reference");
	if ((options->log && strcmp(options->log, "-") == 0) || (options->checkpoint && strcmp(options->checkpoint, "-") == 0))
		cli_usage("--log and --checkpoint: standard output is for the policy");
}

/* Before anything is read: what a pipe brings may have taken hours, and a run is lost with its first checkpoint. */
static void
check_places(const struct training_options *options)
{
	cli_place(options->common.output);
	if (options->checkpoint)
		cli_place(options->checkpoint);
	if (options->log && access(options->log, F_OK) != 0)	/* one that is there is written in place */
		cli_place(options->log);
}

/* Once all inputs are known: the three outputs may not be one of them, nor each other. */
static void
check_outputs(const struct training_options *options)
{
	const char *outputs[] = { options->common.output, options->log, options->checkpoint };

	for (size_t i = 0; i < 3; i++) {
		if (outputs[i] && cli_is_input(outputs[i]))
			cli_usage("%s: is an input; write to another file", outputs[i]);
		for (size_t k = 0; k < i; k++)
			if (outputs[i] && (outputs[k] || k == 0) && cli_same_output(outputs[i], outputs[k]))
				cli_usage("%s: is named for two outputs", outputs[i]);
	}
}

/* The metric that decides, without "eval_"; NULL if none does. */
static const char *
best_metric(const struct training_options *options)
{
	const char *name = options->best_metric ? options->best_metric : "loss";

	if (options->patience == 0 && !options->load_best)
		return NULL;
	return strncmp(name, "eval_", 5) == 0 ? name + 5 : name;
}

/* Hugging Face's rule: what ends in "loss" should be small. */
static bool
greater_is_better(const struct training_options *options)
{
	const char *name = options->best_metric ? options->best_metric : "loss";
	size_t n = strlen(name);

	if (options->greater_is_better)
		return strcmp(options->greater_is_better, "true") == 0;
	return n < 4 || strcmp(name + n - 4, "loss") != 0;
}

static struct dpo_recipe
make_recipe(const struct training_options *options)
{
	return (struct dpo_recipe){
		.objective = loss_objective(&options->loss), .optim = stepopts_optim(options),
		.bf16 = policy_bf16(options->dtype), .learning_rate = options->learning_rate,
		    .schedule = stepopts_schedule(options),
		.max_grad_norm = options->max_grad_norm, .epochs = options->epochs,
		.max_steps = options->max_steps > 0 ? (uint64_t)options->max_steps : 0,
		.batch_size = (uint64_t)(options->batch_size * options->accumulation),
		.grad_slots = (uint64_t)options->grad_slots, .seed = (uint64_t)options->seed,
		.shuffle = strcmp(options->order, "shuffle") == 0, .best_metric = best_metric(options),
		.greater_is_better = greater_is_better(options), .patience = (uint64_t)options->patience,
		.patience_threshold = options->patience_threshold, .load_best = options->load_best,
		.logging_first = options->logging_first, .eval_first = options->eval_first,
		.recompute = options->recompute, .ref_mixup_alpha = options->mixup_alpha,
		.ref_sync_steps = options->sync_ref ? (uint64_t)options->sync_steps : 0,
	};
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

int
main(int argc, char **argv)
{
	struct training_options options = defaults;
	struct training training = { .options = &options };
	struct dpo_out out;
	char **operands;
	double started = cli_clock();
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *path = n ? operands[0] : "-";

	stepopts_formula(options.loss.formula);
	training.recipe = make_recipe(&options);
	check_options(&options, &training.recipe.objective);
	check_inputs(&options, path);
	if (!options.dry_run)
		check_places(&options);
	training.deadline = options.max_time > 0 ? started + options.max_time : 0;
	training_open(&training, path);
	check_outputs(&options);
	try_output(&out, options.common.output);
	training_begin(&training);
	training_run(&training);
	training_finish(&training, &out);
	training_close(&training);
	return cli_finish(0);
}
