/* inputs - see cli.h. Here: what is read, and which files an output may not be. */
#include "cli.h"
#include "cli_private.h"
#include "export/adapter.h"
#include "model/files.h"
#include "model/hub.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Kept until exit: files read so far, and paths of models found. */
static struct {
	struct input { dev_t device; ino_t inode; } *inputs;
	size_t n_inputs;
	char **models;
	size_t n_models;
} state;

static void
remember(const struct stat *about)
{
	struct input *inputs = realloc(state.inputs, (state.n_inputs + 1) * sizeof *inputs);

	if (!inputs)
		cli_out_of_memory();
	inputs[state.n_inputs++] = (struct input){ about->st_dev, about->st_ino };
	state.inputs = inputs;
}

static bool
is_model_file(const char *name)
{
	static const char *const ends[] = { ".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json",
	    DPO_ADAPTER_CONFIG };
	size_t n = strlen(name);

	for (size_t i = 0; dpo_files_names[i]; i++)
		if (strcmp(name, dpo_files_names[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (n >= strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
			return true;
	return false;
}

/* Only the files that make a model, which may be links: others can be outputs of earlier runs. */
static void
remember_model(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	struct stat about;

	while (directory && (entry = readdir(directory)))
		if (is_model_file(entry->d_name) && fstatat(dirfd(directory), entry->d_name, &about, 0) == 0)
			remember(&about);
	if (directory)
		closedir(directory);
}

void
cli_reads(const char *path)
{
	struct stat about;

	if (stat(path, &about) != 0 || S_ISCHR(about.st_mode))
		return;
	remember(&about);
	if (S_ISDIR(about.st_mode))
		remember_model(path);
}

const char *
cli_model(const char *name)
{
	struct dpo_error err;
	char **models, *path;

	cli_check(dpo_hub_find(&path, name, &err), &err);
	if (!(models = realloc(state.models, (state.n_models + 1) * sizeof *models)))
		cli_out_of_memory();
	state.models = models;
	state.models[state.n_models++] = path;
	cli_reads(path);
	return path;
}

enum dpo_status
cli_try_input(int *fd, const char *path, struct dpo_error *err)
{
	enum dpo_status status = dpo_file_open(fd, path ? path : "-", err);

	if (status != DPO_OK)
		return status;
	if (isatty(*fd))
		cli_usage("no input: name a file or pipe something in");
	if (path && strcmp(path, "-") != 0)
		cli_reads(path);
	return DPO_OK;
}

int
cli_input(const char *path)
{
	struct dpo_error err;
	int fd;

	cli_check(cli_try_input(&fd, path, &err), &err);
	return fd;
}

const char *
cli_input_name(const char *path)
{
	return path && strcmp(path, "-") != 0 ? path : "standard input";
}

static size_t
is_stdin(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

static void
at_most_one(size_t count)
{
	if (count > 1)
		cli_usage("only one input can be standard input");
}

void
cli_one_stdin(const char *const *paths, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += is_stdin(paths[i]);
	at_most_one(count);
}

void
cli_one_stdin_of(const char *model, char *const *operands, size_t n)
{
	size_t count = is_stdin(model);

	for (size_t i = 0; i < n; i++)
		count += is_stdin(operands[i]);
	at_most_one(count);
}

bool
cli_is_input(const char *path)
{
	struct stat about;

	if (!path || strcmp(path, "-") == 0 || stat(path, &about) != 0)
		return false;
	for (size_t i = 0; i < state.n_inputs; i++)
		if (state.inputs[i].device == about.st_dev && state.inputs[i].inode == about.st_ino)
			return true;
	return false;
}

char *
cli_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash ? dpo_size_copy(path, (size_t)(slash - path) + 1) : dpo_size_copy(".", 1);

	if (!parent)
		cli_out_of_memory();
	return parent;
}

/* ------------------------------------------------------------------ two outputs */

static bool
same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool
look(const char *path, struct stat *about)
{
	return !path || strcmp(path, "-") == 0 ? fstat(STDOUT_FILENO, about) == 0 : stat(path, about) == 0;
}

static const char *
last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Of files that are not there yet. */
static bool
same_place(const char *a, const char *b)
{
	char *parents[] = { cli_parent(a), cli_parent(b) };
	struct stat x, y;
	bool is = strcmp(last_name(a), last_name(b)) == 0 && look(parents[0], &x) && look(parents[1], &y) && same(&x, &y);

	free(parents[0]);
	free(parents[1]);
	return is;
}

bool
cli_same_output(const char *a, const char *b)
{
	struct stat x, y, null;
	bool there[] = { look(a, &x), look(b, &y) };

	if (there[0] && there[1])
		return same(&x, &y) && !(look("/dev/null", &null) && same(&x, &null));
	return !there[0] && !there[1] && a && b && same_place(a, b);
}
