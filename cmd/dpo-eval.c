/* dpo-eval - evaluate a policy on held-out pairs, its generations, or the pairs themselves
 *
 * Reads pairs with reference log-probs (dpo-reflogp) or supervised rows and prints what the policy makes of them: the
 * loss, the rewards, the share of pairs where the chosen answer is the likelier one, log-ratios to the reference. Names
 * are those of TRL's evaluation; means are over all rows. --samples looks at completions that dpo-gen wrote, --data at pairs
 * without any model.
 *
 *	dpo-eval -m policy.dpo heldout.ref
 */
#include "evaluation.h"
#include "policy.h"

static const struct cli_option table[] = {
	{ "model", 'm', CLI_TEXT, offsetof(struct options, model), "POLICY",
	    "the policy: a model stream or directory", 0, 0, NULL },
	POLICY_ADAPTER(struct options),
	POLICY_DTYPE(struct options),
	{ "reference", 'r', CLI_TEXT, offsetof(struct options, reference), "REF",
	    "give the exact divergence from this model too", 0, 0, NULL },
	{ "baseline", 0, CLI_TEXT, offsetof(struct options, baseline), "POLICY",
	    "compare with this policy row by row", 0, 0, NULL },
	{ "baseline-adapter", 0, CLI_TEXT, offsetof(struct options, baseline_adapter), "ADAPTER",
	    "the baseline is that with this adapter", 0, 0, NULL },
	{ "format", 0, CLI_CHOICE, offsetof(struct options, format), "FORMAT", "how to print", 0, 0, report_formats },
	{ "require", 0, CLI_LIST, offsetof(struct options, require), "NAME>=X",
	    "exit 5 unless the number is so (>= <= > <); may be repeated", 0, 0, NULL },
	{ "slice", 0, CLI_TEXT, offsetof(struct options, slice), "COLUMN",
	    "accuracy for each value of a column that was kept", 0, 0, NULL },
	{ "per-pair", 0, CLI_TEXT, offsetof(struct options, per_pair), "FILE",
	    "write the rows with their numbers as a stream", 0, 0, NULL },
	{ "score", 0, CLI_FLAG, offsetof(struct options, score), NULL,
	    "print the implicit reward of each answer, a line a row", 0, 0, NULL },
	{ "samples", 0, CLI_FLAG, offsetof(struct options, samples), NULL, "look at completions that dpo-gen wrote", 0, 0, NULL },
	{ "data", 0, CLI_FLAG, offsetof(struct options, data), NULL, "look at the pairs alone, without a model", 0, 0, NULL },
	{ "against", 0, CLI_TEXT, offsetof(struct options, against), "FILE",
	    "with --data: count what this stream has too", 0, 0, NULL },
	CLI_LOSS(struct options),
	CLI_COMMON(struct options),
};

static const struct cli_program program = {
	.name = "dpo-eval", .summary = "evaluate a policy on held-out pairs", .operands = "[FILE]", .max_operands = 1,
	.options = table, .n_options = sizeof table / sizeof *table, .example = "dpo-eval -m policy.dpo heldout.ref",
};

/* What acts in the ways of looking that are not a report on rows under a policy. */
enum { SCORE = 1, SAMPLES = 2, DATA = 4 };

static const struct cli_use of_modes[] = {
	{ "model", SCORE | SAMPLES }, { "adapter", SCORE | SAMPLES }, { "dtype", SCORE | SAMPLES }, { "reference", SAMPLES },
	{ "format", SAMPLES | DATA }, { "require", SAMPLES | DATA }, { "against", DATA }, { "baseline", 0 },
	{ "baseline-adapter", 0 }, { "slice", 0 }, { "per-pair", 0 }, LOSS_USES(SCORE), { NULL, 0 },
};

static void
check_mode(const struct options *options)
{
	const struct cli_mode modes[] = { { "score", options->score, SCORE }, { "samples", options->samples, SAMPLES },
		{ "data", options->data, DATA }, { NULL, false, 0 } };

	cli_one_mode(modes, "--data, --samples and --score", of_modes);
	if (options->against && !options->data)
		cli_usage("--against is for --data");
}

static void
check(const struct options *options, const char *path)
{
	const char *const inputs[] = { options->model, options->adapter, options->reference, options->baseline,
		options->baseline_adapter, options->against, path };

	cli_one_stdin(inputs, sizeof inputs / sizeof *inputs);
	check_mode(options);
	if (!options->data && !options->samples && !options->model)
		cli_usage("-m POLICY is missing");
	if (options->adapter && !options->model)
		cli_usage("-a ADAPTER without -m POLICY");
	if (options->baseline_adapter && !options->baseline)
		cli_usage("--baseline-adapter ADAPTER without --baseline POLICY");
	(void)policy_bf16(options->dtype);
	if (options->samples && !options->model && cli_given("dtype"))
		cli_usage("--dtype without -m");
	if (options->samples && options->reference && !options->model)
		cli_usage("-r without -m POLICY");
	if (options->per_pair && cli_same_output(options->per_pair, options->common.output))
		cli_usage("%s: is named for two outputs", options->per_pair);
}

int
main(int argc, char **argv)
{
	struct options options = { .format = "text", .dtype = policy_dtypes[0], .loss = LOSS_DEFAULTS };
	char **operands;
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *path = n ? operands[0] : "-";
	int code;

	(void)loss_objective(&options.loss);	/* --formula prints and exits; a bad loss is a usage error in every mode */
	check(&options, path);
	if (options.data)
		code = evaluate_data(&options, path);
	else if (options.samples)
		code = evaluate_samples(&options, path);
	else if (options.score)
		code = score_rows(&options, path);
	else
		code = evaluate_rows(&options, path);
	return cli_finish(code);
}
