/*
 * dpo-export - write a trained model for other programs
 *
 * Reads a model (the stream of dpo-train, or a Hugging Face directory) and writes a Hugging Face
 * directory, with the configuration and tokenizer files byte for byte as they came in, or one bare
 * safetensors file. Weights are F32. Nothing is to be seen at the output before the whole input,
 * its END included, was read and verified.
 *
 *	dpo-train -m MODEL pairs.ref | dpo-export -f hf -o tuned
 */
#include "cli.h"
#include "export.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
	struct cli_common common;
	const char *format;
	bool force;
};

static const char *const formats[] = { "hf", "safetensors", NULL };

static const struct cli_option table[] = {
	{ "format", 'f', CLI_CHOICE, offsetof(struct options, format), "FORMAT", "what to write",
	    .choices = formats },
	{ "force", 0, CLI_FLAG, offsetof(struct options, force), NULL,
	    "replace an exported directory that exists", 0, 0, NULL },
	CLI_COMMON(struct options),
};

static const struct cli_program program = {
	.name = "dpo-export", .summary = "write a trained model for other programs",
	    .operands = "[POLICY]",
	.max_operands = 1, .options = table, .n_options = sizeof table / sizeof *table,
	.example = "dpo-export -f hf -o tuned policy.dpo",
};

/* The directory being built, for the signal handler. */
static const struct dpo_export *volatile building;

static void
remove_building(int number)
{
	if (building)
		dpo_export_remove(building);
	signal(number, SIG_DFL);
	raise(number);
}

/* From here on a signal that ends the program also removes the unfinished directory. */
static void
guard_directory(const struct dpo_export *export)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGXFSZ };
	struct sigaction action = { .sa_handler = remove_building }, before;

	building = export;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
}

static bool
same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The output is neither the input nor a file in the directory that is the input. */
static void
check_output(const char *output, const char *policy)
{
	const char *slash = strrchr(output, '/');
	struct dpo_error err;
	char *parent;

	if (strcmp(policy, "-") == 0)
		return;
	if (same_file(output, policy))
		cli_usage("%s: is an input; write elsewhere", output);
	if (!(parent = slash ? dpo_size_copy(output, (size_t)(slash - output) + 1) :
	    dpo_size_copy(".", 1)))
		cli_check(dpo_fail_memory(&err), &err);
	else if (same_file(parent, policy))
		cli_usage("%s: lies in the model that is read; write elsewhere", output);
	free(parent);
}

static void
write_directory(const struct dpo_model *model, const char *path, bool force)
{
	struct dpo_export export;
	struct dpo_error err;
	enum dpo_status status = dpo_export_begin(&export, model, path, force, &err);

	guard_directory(&export);
	if (status == DPO_OK)
		status = dpo_export_write(&export, &err);
	if (status == DPO_OK)
		status = dpo_export_commit(&export, &err);
	building = NULL;
	dpo_export_free(&export);
	cli_check(status, &err);
}

static void
write_safetensors(const struct dpo_model *model, const char *path)
{
	struct dpo_error err;
	struct dpo_out out;

	cli_output(&out, path, true);
	cli_check(dpo_export_safetensors(model, &out, &err), &err);
	cli_commit(&out);
}

int
main(int argc, char **argv)
{
	struct options options = { .format = formats[0] };
	struct dpo_model model;
	struct dpo_error err;
	char **operands;
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *policy = n ? operands[0] : "-", *output = options.common.output;
	bool directory = strcmp(options.format, "hf") == 0;

	if (directory && (!output || strcmp(output, "-") == 0))
		cli_usage("-f hf writes a directory: name it with -o");
	if (strcmp(policy, "-") == 0 && isatty(STDIN_FILENO))
		cli_usage("no input: name a model or pipe one in");
	policy = cli_model(policy);
	if (output)
		check_output(output, policy);
	cli_check(dpo_model_open(&model, policy, (int)options.common.threads, &err), &err);
	if (directory)
		write_directory(&model, output, options.force);
	else
		write_safetensors(&model, output);
	cli_note("%zu tensors, %zu parameters, model %.12s", model.params.count,
	    model.params.parameters, model.id);
	dpo_model_free(&model);
	return cli_finish(0);
}
