#define _GNU_SOURCE	/* renameat2 */
#include "export.h"

#include "bytes.h"
#include "safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char weights_name[] = "model.safetensors";

enum dpo_status
dpo_export_safetensors(const struct dpo_model *model, struct dpo_out *out, struct dpo_error *err)
{
	const struct dpo_params *params = &model->params;
	struct dpo_safetensors_item *items = dpo_alloc(params->count, sizeof *items);
	enum dpo_status status;

	if (!items)
		return dpo_fail_memory(err);
	for (size_t t = 0; t < params->count; t++)
		items[t] = (struct dpo_safetensors_item){ params->list[t].name,
		    params->list[t].shape,
			params->list[t].rank, model->weights + params->list[t].offset };
	status = dpo_safetensors_write(out, items, params->count, err);
	free(items);
	return status;
}

/* ------------------------------------------------------------------ names */

/* path without slashes at its end, its parent, and a name of our own in the parent. */
static bool
name_directory(struct dpo_export *export, const char *path)
{
	size_t n = strlen(path), slash;
	struct dpo_buffer temp = { 0 };
	uint8_t raw[8];
	char hex[17];

	while (n > 1 && path[n - 1] == '/')
		n--;
	for (slash = n; slash > 0 && path[slash - 1] != '/'; slash--)
		;
	export->path = dpo_size_copy(path, n);
	export->parent = slash ? dpo_size_copy(path, slash) : dpo_size_copy(".", 1);
	randombytes_buf(raw, sizeof raw);
	dpo_bytes_hex(hex, raw, sizeof raw);
	dpo_buffer_printf(&temp, "%.*s.%.*s.%s.tmp", (int)slash, path, n - slash < 200 ?
	    (int)(n - slash) : 200, path + slash, hex);
	export->temp = temp.failed ? NULL : dpo_size_copy(temp.data, temp.len);
	dpo_buffer_free(&temp);
	return export->path && export->parent && export->temp;
}

static bool
add_path(struct dpo_export *export, const char *name)
{
	return (export->paths[export->n_paths] = dpo_file_join(export->temp, name)) &&
	    ++export->n_paths;
}

/*
 * The files of this model and, for a directory that is swapped out, every name an export may have.
 */
static bool
name_files(struct dpo_export *export)
{
	const struct dpo_files *files = &export->model->files;
	size_t known = 0;

	while (dpo_files_names[known])
		known++;
	if (!(export->paths = dpo_alloc(1 + files->count + known, sizeof *export->paths)) ||
	    !add_path(export, weights_name))
		return false;
	for (size_t i = 0; i < files->count; i++)
		if (!add_path(export, files->list[i].name))
			return false;
	for (size_t i = 0; i < known; i++)
		if (!dpo_files_find(files, dpo_files_names[i]) &&
		    !add_path(export, dpo_files_names[i]))
			return false;
	return true;
}

/* ------------------------------------------------------------------ the place */

static bool
is_ours(const struct dpo_export *export, const char *name)
{
	size_t n = strlen(export->temp) + 1;

	for (size_t i = 0; i < export->n_paths; i++)
		if (strcmp(export->paths[i] + n, name) == 0)
			return true;
	return false;
}

/*
 * What stands at path may be swapped out and deleted: a directory with nothing in it that an export
 * does not write.
 */
static enum dpo_status
check_replaceable(const struct dpo_export *export, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	DIR *directory = opendir(export->path);
	struct dirent *entry;

	if (!directory)
		return dpo_fail_errno(err, "%s", export->path);
	while (status == DPO_OK && (entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    !is_ours(export, entry->d_name))
			status = dpo_fail(err, DPO_USAGE,
			    "%s: holds \"%s\", which no export writes, and is not replaced",
			    export->path, entry->d_name);
	closedir(directory);
	return status;
}

static enum dpo_status
check_place(struct dpo_export *export, bool force, struct dpo_error *err)
{
	struct stat about;

	if (lstat(export->path, &about) != 0)
		return errno == ENOENT ? DPO_OK : dpo_fail_errno(err, "%s", export->path);
	if (!force)
		return dpo_fail(err, DPO_USAGE, "%s: exists; --force replaces it", export->path);
	if (!S_ISDIR(about.st_mode))
		return dpo_fail(err, DPO_USAGE, "%s: is not a directory and is not replaced",
		    export->path);
	export->replace = true;
	return check_replaceable(export, err);
}

enum dpo_status
dpo_export_begin(struct dpo_export *export, const struct dpo_model *model, const char *path,
    bool force, struct dpo_error *err)
{
	enum dpo_status status;

	*export = (struct dpo_export){ .model = model };
	if (!name_directory(export, path) || !name_files(export))
		status = dpo_fail_memory(err);
	else
		status = check_place(export, force, err);
	return status;
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
write_weights(const struct dpo_export *export, struct dpo_error *err)
{
	struct dpo_out out;
	enum dpo_status status = create(&out, export, weights_name, err);

	if (status == DPO_OK)
		status = dpo_export_safetensors(export->model, &out, err);
	return finish(&out, status, err);
}

static enum dpo_status
write_file(const struct dpo_export *export, const struct dpo_named_file *file,
    struct dpo_error *err)
{
	struct dpo_out out;
	enum dpo_status status = create(&out, export, file->name, err);

	if (status == DPO_OK)
		status = dpo_out_write(&out, file->bytes, file->n, err);
	return finish(&out, status, err);
}

static enum dpo_status
sync_directory(const char *path, struct dpo_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), bad;

	if (fd < 0)
		return dpo_fail_errno(err, "%s", path);
	bad = fsync(fd);
	close(fd);
	return bad ? dpo_fail_errno(err, "%s: fsync", path) : DPO_OK;
}

enum dpo_status
dpo_export_write(struct dpo_export *export, struct dpo_error *err)
{
	const struct dpo_files *files = &export->model->files;
	enum dpo_status status;

	if (dpo_files_find(files, weights_name))
		return dpo_fail(err, DPO_FORMAT, "the model carries a file named %s", weights_name);
	if (mkdir(export->temp, 0777) != 0)
		return dpo_fail_errno(err, "%s", export->path);
	status = write_weights(export, err);
	for (size_t i = 0; i < files->count && status == DPO_OK; i++)
		status = write_file(export, &files->list[i], err);
	return status == DPO_OK ? sync_directory(export->temp, err) : status;
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
	if ((export->replace ? swap(export) : rename(export->temp, export->path)) != 0)
		return dpo_fail_errno(err, "%s: rename", export->path);
	dpo_export_remove(export);
	return sync_directory(export->parent, err);
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
	free(export->temp);
	free(export->parent);
	free(export->path);
	*export = (struct dpo_export){ 0 };
}
