#define _GNU_SOURCE	/* renameat2 */
#include "export/export.h"

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/json.h"
#include "base/jsonedit.h"
#include "base/size.h"
#include "export/adapter.h"
#include "export/safewrite.h"
#include "model/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char index_name[] = "model.safetensors.index.json";

/* ------------------------------------------------------------------ weights */

/* Tensors first to last - 1 of a table, each name with a prefix. */
static enum dpo_status
write_tensors(const struct dpo_params *params, const float *block, const char *prefix, size_t first, size_t last,
    enum dpo_dtype dtype, struct dpo_out *out, struct dpo_error *err)
{
	struct dpo_safetensors_item *items = dpo_alloc(last - first, sizeof *items);
	char (*names)[2 * sizeof params->list->name] = dpo_alloc(last - first, sizeof *names);
	enum dpo_status status = items && names ? DPO_OK : dpo_fail_memory(err);

	for (size_t t = first; t < last && status == DPO_OK; t++) {
		const struct dpo_tensor *tensor = &params->list[t];

		snprintf(names[t - first], sizeof *names, "%s%s", prefix, tensor->name);
		items[t - first] = (struct dpo_safetensors_item){ names[t - first], tensor->shape, tensor->rank,
			block + tensor->offset };
	}
	if (status == DPO_OK)
		status = dpo_safetensors_write(out, items, last - first, dtype, err);
	free(items);
	free(names);
	return status;
}

enum dpo_status
dpo_export_safetensors(const struct dpo_model *model, enum dpo_dtype dtype, struct dpo_out *out, struct dpo_error *err)
{
	return write_tensors(&model->params, model->weights, "", 0, model->params.count, dtype, out, err);
}

/* Tensors in table order, a new file where the next would make the last too large. */
static bool
plan_shards(struct dpo_export *export)
{
	const struct dpo_params *params = export->params;
	size_t bytes = 0;

	if (!(export->shards = dpo_alloc(params->count + 1, sizeof *export->shards)))
		return false;
	export->n_shards = 1;
	for (size_t t = 0; t < params->count; t++) {
		size_t more = params->list[t].count * dpo_dtype_size(export->form.dtype);

		if (export->form.shard_bytes && bytes > 0 && bytes + more > export->form.shard_bytes) {
			export->shards[export->n_shards++] = t;
			bytes = 0;
		}
		bytes += more;
	}
	export->shards[export->n_shards] = params->count;
	return true;
}

static void
name_shard(char name[64], const struct dpo_export *export, size_t shard)
{
	if (export->form.adapter)
		snprintf(name, 64, DPO_ADAPTER_WEIGHTS);
	else if (export->n_shards == 1)
		snprintf(name, 64, "model.safetensors");
	else
		snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, export->n_shards);
}

/* Is this the name of weights that an export writes? */
static bool
is_weights(const char *name)
{
	unsigned n, of;
	int end = 0;

	if (strcmp(name, "model.safetensors") == 0 || strcmp(name, index_name) == 0)
		return true;
	return sscanf(name, "model-%5u-of-%5u.safetensors%n", &n, &of, &end) == 2 && end > 0 && !name[end];
}

/* ------------------------------------------------------------------ names */

/* Caller frees. */
static char *
without_slashes(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return dpo_size_copy(path, n);
}

/* path without slashes at its end, its parent, and a name of our own in the parent. */
static bool
name_directory(struct dpo_export *export, const char *path)
{
	struct dpo_buffer temp = { 0 };
	size_t n, slash;
	uint8_t raw[8];
	char hex[17];

	if (!(export->path = without_slashes(path)))
		return false;
	n = strlen(export->path);
	for (slash = n; slash > 0 && path[slash - 1] != '/'; slash--)
		;
	export->parent = slash ? dpo_size_copy(path, slash) : dpo_size_copy(".", 1);
	randombytes_buf(raw, sizeof raw);
	dpo_bytes_hex(hex, raw, sizeof raw);
	dpo_buffer_printf(&temp, "%.*s.%.*s.%s.tmp", (int)slash, path, n - slash < 200 ?
	    (int)(n - slash) : 200, path + slash, hex);
	export->temp = temp.failed ? NULL : dpo_size_copy(temp.data, temp.len);
	dpo_buffer_free(&temp);
	return export->parent && export->temp;
}

static bool
add_path(struct dpo_export *export, const char *name)
{
	void *paths = export->paths;

	if (!dpo_size_grow(&paths, &export->paths_capacity, export->n_paths + 1, sizeof *export->paths))
		return false;
	export->paths = paths;
	return (export->paths[export->n_paths] = dpo_file_join(export->temp, name)) &&
	    ++export->n_paths;
}

/*
 * The files of this model and, for a directory that is swapped out, every name an export may have.
 */
static bool
name_files(struct dpo_export *export)
{
	const struct dpo_files *files = export->files;
	char name[64];

	for (size_t i = 0; i < export->n_shards; i++) {
		name_shard(name, export, i);
		if (!add_path(export, name))
			return false;
	}
	if (!export->form.adapter && !add_path(export, index_name))
		return false;
	for (size_t i = 0; i < files->count; i++)
		if (!add_path(export, files->list[i].name))
			return false;
	for (size_t i = 0; dpo_files_names[i] && !export->form.adapter; i++)
		if (!dpo_files_find(files, dpo_files_names[i]) &&
		    !add_path(export, dpo_files_names[i]))
			return false;
	return true;
}

/* ------------------------------------------------------------------ the place */

/* Whether an export of this kind may have written a file of that name. */
static bool
is_written(const char *name, bool adapter)
{
	if (adapter)
		return strcmp(name, DPO_ADAPTER_CONFIG) == 0 || strcmp(name, DPO_ADAPTER_WEIGHTS) == 0;
	for (size_t i = 0; dpo_files_names[i]; i++)
		if (strcmp(name, dpo_files_names[i]) == 0)
			return true;
	return is_weights(name);
}

static bool
is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What stands at path may be swapped out and deleted: a directory with nothing in it that an export does not write. */
static enum dpo_status
check_replaceable(const char *path, bool adapter, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	DIR *directory = opendir(path);
	const struct dirent *entry;

	if (!directory)
		return dpo_fail_errno(err, "%s", path);
	while (status == DPO_OK && (entry = readdir(directory)))
		if (!is_dots(entry->d_name) && !is_written(entry->d_name, adapter))
			status = dpo_fail(err, DPO_USAGE, "%s: holds \"%s\", which no export writes, and is not replaced", path,
			    entry->d_name);
	closedir(directory);
	return status;
}

static enum dpo_status
check_there(const char *path, bool adapter, bool force, struct dpo_error *err)
{
	struct stat about;

	if (lstat(path, &about) != 0)
		return errno == ENOENT ? DPO_OK : dpo_fail_errno(err, "%s", path);
	if (!force)
		return dpo_fail(err, DPO_USAGE, "%s: exists; --force replaces it", path);
	if (!S_ISDIR(about.st_mode))
		return dpo_fail(err, DPO_USAGE, "%s: is not a directory and is not replaced", path);
	return check_replaceable(path, adapter, err);
}

enum dpo_status
dpo_export_place(const char *path, bool adapter, bool force, struct dpo_error *err)
{
	char *bare = without_slashes(path);
	enum dpo_status status = bare ? dpo_file_place(bare, err) : dpo_fail_memory(err);

	if (status == DPO_OK)
		status = check_there(bare, adapter, force, err);
	free(bare);
	return status;
}

/* What stands at path now, if anything, will be swapped: its files of weights are further ones to delete. */
static bool
name_old_weights(struct dpo_export *export)
{
	DIR *directory = opendir(export->path);
	const struct dirent *entry;
	bool good = true;

	if (!(export->replace = directory != NULL))
		return true;
	while (good && (entry = readdir(directory)))
		good = export->form.adapter || !is_weights(entry->d_name) || add_path(export, entry->d_name);
	closedir(directory);
	return good;
}

enum dpo_status
dpo_export_begin(struct dpo_export *export, const struct dpo_model *model, struct dpo_export_form form,
    const char *path, bool force, struct dpo_error *err)
{
	enum dpo_status status;

	*export = (struct dpo_export){ .form = form, .params = &model->params, .block = model->weights,
	    .files = &model->files };
	if (form.adapter) {
		export->params = &model->lora->params;
		export->block = model->lora->block;
		export->files = &export->own;
		export->form.shard_bytes = 0;
		if ((status = dpo_adapter_files(&export->own, model->lora, err)) != DPO_OK)
			return status;
	}
	if ((status = dpo_export_place(path, form.adapter, force, err)) != DPO_OK)
		return status;
	return plan_shards(export) && name_directory(export, path) && name_files(export) &&
	    (!force || name_old_weights(export)) ? DPO_OK : dpo_fail_memory(err);
}

/* ------------------------------------------------------------------ writing */

static enum dpo_status
create(struct dpo_out *out, const struct dpo_export *export, const char *name,
    struct dpo_error *err)
{
	*out = (struct dpo_out){ .fd = -1, .path = dpo_file_join(export->temp, name) };
	if (!out->path)
		return dpo_fail_memory(err);
	out->fd = open(out->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	return out->fd < 0 ? dpo_fail_errno(err, "%s", out->path) : DPO_OK;
}

/* Sync and close; `status` is how the writing went. */
static enum dpo_status
finish(struct dpo_out *out, enum dpo_status status, struct dpo_error *err)
{
	if (status == DPO_OK && fsync(out->fd) != 0)
		status = dpo_fail_errno(err, "%s: fsync", out->path);
	if (status == DPO_OK)
		return dpo_out_commit(out, err);
	dpo_out_abort(out);
	return status;
}

static enum dpo_status
write_shard(const struct dpo_export *export, size_t shard, struct dpo_error *err)
{
	struct dpo_out out;
	enum dpo_status status;
	char name[64];

	name_shard(name, export, shard);
	if ((status = create(&out, export, name, err)) == DPO_OK)
		status = write_tensors(export->params, export->block, export->form.adapter ? DPO_ADAPTER_PREFIX : "",
		    export->shards[shard], export->shards[shard + 1], export->form.dtype, &out, err);
	return finish(&out, status, err);
}

static enum dpo_status
write_bytes(const struct dpo_export *export, const char *name, const void *bytes, size_t n, struct dpo_error *err)
{
	struct dpo_out out;
	enum dpo_status status = create(&out, export, name, err);

	if (status == DPO_OK)
		status = dpo_out_write(&out, bytes, n, err);
	return finish(&out, status, err);
}

/* config.json says in what type the weights are, as transformers 4 and 5 call it, if it says so at all. */
static enum dpo_status
write_config(const struct dpo_export *export, const struct dpo_named_file *file, struct dpo_error *err)
{
	static const char *const names[] = {
		[DPO_DTYPE_F32] = "float32", [DPO_DTYPE_F16] = "float16", [DPO_DTYPE_BF16] = "bfloat16",
	};
	struct dpo_buffer half = { 0 }, text = { 0 };
	enum dpo_status status;

	dpo_jsonedit_string(&half, (const char *)file->bytes, file->n, "dtype", names[export->form.dtype]);
	if (!half.failed)
		dpo_jsonedit_string(&text, (const char *)half.data, half.len, "torch_dtype", names[export->form.dtype]);
	status = half.failed || text.failed ? dpo_fail_memory(err) : write_bytes(export, file->name, text.data, text.len, err);
	dpo_buffer_free(&half);
	dpo_buffer_free(&text);
	return status;
}

static enum dpo_status
write_file(const struct dpo_export *export, const struct dpo_named_file *file, struct dpo_error *err)
{
	if (export->form.told && strcmp(file->name, "config.json") == 0)
		return write_config(export, file, err);
	return write_bytes(export, file->name, file->bytes, file->n, err);
}

/* Which tensor is in which file, as transformers writes it. */
static enum dpo_status
write_index(const struct dpo_export *export, struct dpo_error *err)
{
	const struct dpo_params *params = export->params;
	struct dpo_buffer text = { 0 };
	enum dpo_status status;
	char name[64];

	dpo_buffer_printf(&text, "{\n  \"metadata\": {\n    \"total_parameters\": %zu,\n    \"total_size\": %zu\n  },\n"
	    "  \"weight_map\": {", params->parameters, params->parameters * dpo_dtype_size(export->form.dtype));
	for (size_t shard = 0; shard < export->n_shards; shard++)
		for (size_t t = export->shards[shard]; t < export->shards[shard + 1]; t++) {
			name_shard(name, export, shard);
			dpo_buffer_printf(&text, "%s\n    \"%s\": \"%s\"", t ? "," : "", params->list[t].name, name);
		}
	dpo_buffer_string(&text, "\n  }\n}\n");
	status = text.failed ? dpo_fail_memory(err) :
	    write_bytes(export, index_name, text.data, text.len, err);
	dpo_buffer_free(&text);
	return status;
}

enum dpo_status
dpo_export_write(struct dpo_export *export, struct dpo_error *err)
{
	const struct dpo_files *files = export->files;
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < files->count; i++)
		if (is_weights(files->list[i].name))
			return dpo_fail(err, DPO_FORMAT, "the model carries a file named %s", files->list[i].name);
	if (mkdir(export->temp, 0777) != 0)
		return dpo_fail_errno(err, "%s", export->path);
	for (size_t i = 0; i < export->n_shards && status == DPO_OK; i++)
		status = write_shard(export, i, err);
	if (status == DPO_OK && export->n_shards > 1)
		status = write_index(export, err);
	for (size_t i = 0; i < files->count && status == DPO_OK; i++)
		status = write_file(export, &files->list[i], err);
	return status == DPO_OK ? dpo_file_sync_directory(export->temp, err) : status;
}

/* ------------------------------------------------------------------ into place */

/* Where the file system cannot exchange two names, the old one steps aside for a moment. */
static int
swap_in_steps(const struct dpo_export *export)
{
	char *aside = dpo_file_join(export->temp, "");
	int bad;

	if (!aside)
		return -1;
	memcpy(aside + strlen(aside) - 4, "old", 3);	/* .tmp/ becomes .old */
	aside[strlen(aside) - 1] = '\0';
	bad = rename(export->path, aside);
	if (!bad && (bad = rename(export->temp, export->path)) != 0)
		(void)rename(aside, export->path);
	else if (!bad)
		bad = rename(aside, export->temp);
	free(aside);
	return bad;
}

/* path <-> temp, which then holds what was at path. */
static int
swap(const struct dpo_export *export)
{
	int bad = renameat2(AT_FDCWD, export->temp, AT_FDCWD, export->path, RENAME_EXCHANGE);

	return bad && (errno == EINVAL || errno == ENOSYS) ? swap_in_steps(export) : bad;
}

enum dpo_status
dpo_export_commit(struct dpo_export *export, struct dpo_error *err)
{
	enum dpo_status status;

	if ((export->replace ? swap(export) : rename(export->temp, export->path)) != 0)
		return dpo_fail_errno(err, "%s: rename", export->path);
	if ((status = dpo_file_sync_directory(export->parent, err)) == DPO_OK)
		dpo_export_remove(export);
	else if (export->replace)
		(void)swap(export);
	return status;
}

void
dpo_export_remove(const struct dpo_export *export)
{
	for (size_t i = 0; i < export->n_paths; i++)
		unlink(export->paths[i]);
	if (export->temp)
		rmdir(export->temp);
}

void
dpo_export_free(struct dpo_export *export)
{
	dpo_export_remove(export);
	for (size_t i = 0; i < export->n_paths; i++)
		free(export->paths[i]);
	free(export->paths);
	dpo_files_free(&export->own);
	free(export->shards);
	free(export->temp);
	free(export->parent);
	free(export->path);
	*export = (struct dpo_export){ 0 };
}
