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
#include "export/adapter.h"
#include "export/export.h"
#include "export/exportgguf.h"
#include "export/merge.h"
#include "policy.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
	struct cli_common common;
	const char *format, *dtype, *adapter;
	int64_t max_shard_size;
	bool force, modelfile, merge;
};

static const char *const formats[] = { "hf", "safetensors", "gguf", "peft", NULL };
static const char *const dtypes[] = { "f32", "f16", "bf16", NULL };

static const struct cli_option table[] = {
	{ "format", 'f', CLI_CHOICE, offsetof(struct options, format), "FORMAT", "what to write",
	    .choices = formats },
	{ "adapter", 'a', CLI_TEXT, offsetof(struct options, adapter), "ADAPTER",
	    "the adapter to write or to merge: a stream or PEFT directory", 0, 0, NULL },
	{ "merge", 0, CLI_FLAG, offsetof(struct options, merge), NULL,
	    "fold the adapter into the weights, and verify log-probs", 0, 0, NULL },
	{ "dtype", 0, CLI_CHOICE, offsetof(struct options, dtype), "DTYPE", "how the weights are stored",
	    .choices = dtypes },
	{ "max-shard-size", 0, CLI_BYTES, offsetof(struct options, max_shard_size), "SIZE",
	    "with -f hf: the most of one file of weights", 1, 1e15, NULL },
	{ "modelfile", 0, CLI_FLAG, offsetof(struct options, modelfile), NULL,
	    "with -f gguf: write Ollama's Modelfile beside it", 0, 0, NULL },
	{ "force", 0, CLI_FLAG, offsetof(struct options, force), NULL,
	    "replace a directory or Modelfile that exists", 0, 0, NULL },
	CLI_COMMON(struct options),
};

static const struct cli_program program = {
	.name = "dpo-export", .summary = "write a trained model for other programs",
	    .operands = "[POLICY]",
	.max_operands = 1, .options = table, .n_options = sizeof table / sizeof *table,
	.example = "dpo-export -f hf -o tuned policy.dpo",
};

/* The directory being built, for the signal handler; while it is put into its place a signal is only noted. */
static const struct dpo_export *volatile building;
static volatile sig_atomic_t committing, noted;

static void
remove_building(int number)
{
	if (committing) {
		noted = number;
		return;
	}
	if (building)
		dpo_export_remove(building);
	signal(number, SIG_DFL);
	raise(number);
}

/* From here on a signal that ends the program also removes the unfinished directory. */
static void
guard_directory(const struct dpo_export *export)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGXCPU };
	struct sigaction action = { .sa_handler = remove_building, .sa_flags = SA_RESTART }, before;

	building = export;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
}

/* Any thread may be the one that a signal comes to, so it is not blocked but noted. */
static enum dpo_status
commit(struct dpo_export *export, struct dpo_error *err)
{
	enum dpo_status status;

	committing = 1;
	status = dpo_export_commit(export, err);
	if (status == DPO_OK)
		building = NULL;
	committing = 0;
	if (noted)
		raise(noted);
	return status;
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
	char *parent;

	if (strcmp(policy, "-") == 0)
		return;
	if (same_file(output, policy))
		cli_usage("%s: is an input; write elsewhere", output);
	parent = cli_parent(output);
	if (same_file(parent, policy))
		cli_usage("%s: is inside the model being read; write elsewhere", output);
	free(parent);
}

static enum dpo_dtype
find_dtype(const char *name)
{
	return strcmp(name, "f16") == 0 ? DPO_DTYPE_F16 : strcmp(name, "bf16") == 0 ? DPO_DTYPE_BF16 : DPO_DTYPE_F32;
}

static void
write_directory(const struct dpo_model *model, const struct options *options)
{
	struct dpo_export_form form = { find_dtype(options->dtype), cli_given("dtype"), model->lora != NULL,
		(size_t)options->max_shard_size };
	struct dpo_export export;
	struct dpo_error err;
	enum dpo_status status = dpo_export_begin(&export, model, form, options->common.output, options->force, &err);

	guard_directory(&export);
	if (status == DPO_OK)
		status = dpo_export_write(&export, &err);
	if (status == DPO_OK)
		status = commit(&export, &err);
	building = NULL;
	dpo_export_free(&export);
	cli_check(status, &err);
}

static void
write_safetensors(const struct dpo_model *model, const struct options *options)
{
	struct dpo_error err;
	struct dpo_out out;

	cli_output(&out, options->common.output, true);
	cli_check(dpo_export_safetensors(model, find_dtype(options->dtype), &out, &err), &err);
	cli_commit(&out);
}

/* The Modelfile lies beside the GGUF file; NULL without the option. Caller frees. */
static char *
modelfile_path(const struct options *options)
{
	char *directory, *path;
	struct dpo_error err;

	if (!options->modelfile)
		return NULL;
	directory = cli_parent(options->common.output);
	if (!(path = dpo_file_join(directory, "Modelfile")))
		cli_check(dpo_fail_memory(&err), &err);
	free(directory);
	return path;
}

static const char *
last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Nobody named the Modelfile: one that is there and says something else is somebody's work. */
static void
check_modelfile(const char *path, const struct dpo_buffer *text)
{
	struct dpo_buffer there = { 0 };
	struct dpo_error err;

	if (access(path, F_OK) != 0)
		return;
	cli_check(dpo_file_read(&there, path, SIZE_MAX, &err), &err);
	if (there.len != text->len || memcmp(there.data, text->data, text->len) != 0)
		cli_usage("%s: exists with other contents; --force replaces it", path);
	dpo_buffer_free(&there);
}

static void
write_gguf(const struct dpo_model *model, const struct options *options)
{
	char *modelfile = modelfile_path(options);
	struct dpo_buffer text = { 0 };
	struct dpo_error err;
	struct dpo_out out;

	if (modelfile)
		dpo_export_modelfile(model, last_name(options->common.output), &text);
	if (text.failed)
		cli_check(dpo_fail_memory(&err), &err);
	if (modelfile && !options->force)
		check_modelfile(modelfile, &text);
	cli_output(&out, options->common.output, true);
	cli_check(dpo_export_gguf(model, find_dtype(options->dtype), &out, &err), &err);
	cli_commit(&out);
	if (modelfile)
		cli_check(dpo_file_write(modelfile, text.data, text.len, &err), &err);
	dpo_buffer_free(&text);
	free(modelfile);
}

static void
check_options(const struct options *options, const char *policy)
{
	const char *output = options->common.output, *adapter = options->adapter;
	bool peft = strcmp(options->format, "peft") == 0;

	if ((peft || strcmp(options->format, "hf") == 0) && (!output || strcmp(output, "-") == 0))
		cli_usage("-f %s writes a directory: name it with -o", options->format);
	if (options->modelfile && (strcmp(options->format, "gguf") != 0 || !output || strcmp(output, "-") == 0))
		cli_usage("--modelfile goes with -f gguf -o FILE, which it names");
	if (options->modelfile && strcmp(last_name(output), "Modelfile") == 0)
		cli_usage("%s: is named for two outputs", output);
	if (cli_given("max-shard-size") && strcmp(options->format, "hf") != 0)
		cli_usage("--max-shard-size has no effect with -f %s", options->format);
	if (peft && options->merge)
		cli_usage("-f peft writes an adapter, --merge makes a model");
	if (options->merge && !adapter)
		cli_usage("--merge without -a ADAPTER");
	if (adapter && !peft && !options->merge)
		cli_usage("-a ADAPTER: write it with -f peft, or fold it in with --merge");
	cli_one_stdin((const char *const []){ policy, adapter }, 2);
	if (strcmp(policy, "-") == 0 && isatty(STDIN_FILENO))
		cli_usage("no input: name a model or pipe one in");
}

/* A pipe's end is the end of what it brought. */
static bool
is_read_once(const char *path)
{
	struct stat about;

	return strcmp(path, "-") == 0 || (stat(path, &about) == 0 && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode));
}

/* Before the model is read, which may come once only: what stands in the way of the outputs. */
static void
check_places(const struct options *options, const char *policy)
{
	bool once = is_read_once(policy) || (options->adapter && is_read_once(options->adapter));
	bool peft = strcmp(options->format, "peft") == 0;
	char *modelfile = modelfile_path(options);
	struct dpo_error err;

	if (peft || strcmp(options->format, "hf") == 0)
		cli_check(dpo_export_place(options->common.output, peft, options->force, &err), &err);
	else
		cli_place(options->common.output);
	if (modelfile && once && !options->force && access(modelfile, F_OK) == 0)
		cli_usage("%s: exists, and may say something else than the model will; --force replaces it", modelfile);
	free(modelfile);
}

static void
check_outputs(const struct options *options, const char *policy)
{
	char *modelfile = modelfile_path(options);
	const char *outputs[] = { options->common.output, modelfile };

	cli_reads(policy);
	for (size_t i = 0; i < 2; i++) {
		if (outputs[i])
			check_output(outputs[i], policy);
		if (outputs[i] && options->adapter)
			check_output(outputs[i], options->adapter);
	}
	check_places(options, policy);
	free(modelfile);
}

/* The model, with the adapter in it or folded in; or an adapter alone. */
static void
open_model(struct dpo_model *model, const struct options *options, const char *policy)
{
	int threads = (int)options->common.threads;
	struct dpo_merge_check check;
	struct dpo_error err;
	struct stat about;

	if (!options->adapter && strcmp(options->format, "peft") == 0) {
		if (stat(policy, &about) == 0 && S_ISDIR(about.st_mode))
			cli_usage("-f peft: %s is a directory; the adapter to write is a stream, or named with -a", policy);
		check_outputs(options, policy);
		cli_check(dpo_adapter_open_alone(model, policy, &err), &err);
		return;
	}
	check_outputs(options, cli_model(policy));
	if (options->adapter && !options->merge) {
		policy_open(model, policy, options->adapter, threads);
		return;
	}
	cli_check(dpo_model_open(model, cli_model(policy), threads, &err), &err);
	if (!options->merge)
		return;
	cli_reads(options->adapter);
	cli_check(dpo_adapter_open(model, options->adapter, threads, &err), &err);
	if (dpo_merge(model, &check, threads, &err) != DPO_OK)
		cli_fail_at(&err, options->adapter);
	cli_note("merged: log-probs of %zu tokens are within %.2g nats of the adapter's", check.tokens, check.worst);
}

int
main(int argc, char **argv)
{
	struct options options = { .format = formats[0], .dtype = dtypes[0], .max_shard_size = 5000000000 };
	struct dpo_trained written;
	struct dpo_model model;
	char **operands;
	size_t n = cli_parse(&program, &options, argc, argv, &operands);
	const char *policy = n ? operands[0] : "-";

	check_options(&options, policy);
	open_model(&model, &options, policy);
	if (strcmp(options.format, "gguf") == 0)
		write_gguf(&model, &options);
	else if (strcmp(options.format, "safetensors") == 0)
		write_safetensors(&model, &options);
	else
		write_directory(&model, &options);
	written = dpo_model_trained(&model);
	cli_note("%zu tensors, %zu parameters, %s %.12s", written.params->count, written.params->parameters,
	    *model.id ? "model" : "adapter of model", *model.id ? model.id : model.lora->base_id);
	dpo_model_free(&model);
	return cli_finish(0);
}
