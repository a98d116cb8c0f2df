#include "model/hub.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_MAX_BYTES = 96, REVISION_MAX_BYTES = 200, REFERENCE_LIMIT = 1024 };

/* ------------------------------------------------------------------ names */

/* n characters of ORG/NAME or NAME: letters, digits and ._- with no component that begins with a dot. */
static bool
is_repository(const char *name, size_t n)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t slashes = 0;
	bool start = true;

	for (size_t i = 0; i < n; i++) {
		bool slash = name[i] == '/';

		if (start && (slash || name[i] == '.'))
			return false;
		if (!slash && !strchr(good, name[i]))
			return false;
		slashes += slash;
		start = slash;
	}
	return n > 0 && n <= NAME_MAX_BYTES && slashes <= 1 && !start;
}

/* A revision is a path below refs/: it may have slashes but leads nowhere else. */
static bool
is_revision(const char *name)
{
	return *name && strlen(name) <= REVISION_MAX_BYTES && *name != '/' && !strstr(name, "..");
}

/* ------------------------------------------------------------------ the cache */

static bool
is_directory(const char *path)
{
	struct stat about;

	return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static const char *
variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* The cache's directory; false if no variable says where it is. */
static bool
put_cache(struct dpo_buffer *out)
{
	static const struct { const char *variable, *below; } places[] = {
		{ "HF_HUB_CACHE", "" }, { "HUGGINGFACE_HUB_CACHE", "" }, { "HF_HOME", "/hub" },
		{ "XDG_CACHE_HOME", "/huggingface/hub" }, { "HOME", "/.cache/huggingface/hub" },
	};

	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		const char *value = variable(places[i].variable);

		if (value) {
			dpo_buffer_printf(out, "%s%s", value, places[i].below);
			return true;
		}
	}
	return false;
}

/* CACHE/models--ORG--NAME. */
static void
put_folder(struct dpo_buffer *out, const char *name, size_t n)
{
	dpo_buffer_string(out, "/models--");
	for (size_t i = 0; i < n; i++)
		if (name[i] == '/')
			dpo_buffer_string(out, "--");
		else
			dpo_buffer_byte(out, (uint8_t)name[i]);
}

/* What folder/refs/revision says, else the revision itself, which then is a commit. */
static enum dpo_status
find_commit(struct dpo_buffer *commit, const char *folder, const char *revision, struct dpo_error *err)
{
	struct dpo_buffer path = { 0 };
	enum dpo_status status = DPO_OK;
	struct stat about;

	dpo_buffer_printf(&path, "%s/refs/%s", folder, revision);
	if (stat(dpo_buffer_text(&path), &about) == 0 && S_ISREG(about.st_mode))
		status = dpo_file_read(commit, dpo_buffer_text(&path), REFERENCE_LIMIT, err);
	else
		dpo_buffer_string(commit, revision);
	while (commit->len > 0 && strchr(" \n\r\t", commit->data[commit->len - 1]))
		commit->len--;
	if (status == DPO_OK && (commit->len == 0 || memchr(commit->data, '/', commit->len) || commit->data[0] == '.'))
		status = dpo_fail(err, DPO_FORMAT, "%s: names no commit", dpo_buffer_text(&path));
	dpo_buffer_free(&path);
	return status;
}

static enum dpo_status
not_there(const char *name, const char *cache, struct dpo_error *err)
{
	return dpo_fail(err, DPO_IO, "%s: no such file, and no model of that name in %s; pipelines/fetch-model %s fetches it",
	    name, *cache ? cache : "a Hugging Face cache (HF_HOME and HOME are not set)", name);
}

/* `n` bytes of name are the repository. */
static enum dpo_status
find_snapshot(char **path, const char *name, size_t n, const char *revision, struct dpo_error *err)
{
	struct dpo_buffer folder = { 0 }, commit = { 0 }, cache = { 0 };
	enum dpo_status status = DPO_OK;

	if (put_cache(&cache)) {
		dpo_buffer_string(&folder, dpo_buffer_text(&cache));
		put_folder(&folder, name, n);
		if ((status = find_commit(&commit, dpo_buffer_text(&folder), revision, err)) == DPO_OK)
			dpo_buffer_printf(&folder, "/snapshots/%s", dpo_buffer_text(&commit));
	}
	if (cache.failed || folder.failed || commit.failed)
		status = dpo_fail_memory(err);
	else if (status == DPO_OK && (folder.len == 0 || !is_directory(dpo_buffer_text(&folder))))
		status = not_there(name, dpo_buffer_text(&cache), err);
	if (status == DPO_OK && !(*path = dpo_size_copy(folder.data, folder.len)))
		status = dpo_fail_memory(err);
	dpo_buffer_free(&folder);
	dpo_buffer_free(&commit);
	dpo_buffer_free(&cache);
	return status;
}

enum dpo_status
dpo_hub_find(char **path, const char *name, struct dpo_error *err)
{
	const char *at = strchr(name, '@');
	size_t n = at ? (size_t)(at - name) : strlen(name);
	struct stat about;

	*path = NULL;
	if (strcmp(name, "-") != 0 && stat(name, &about) != 0) {
		if (is_repository(name, n) && (!at || is_revision(at + 1)))
			return find_snapshot(path, name, n, at ? at + 1 : "main", err);
		return dpo_fail_errno(err, "%s", name);
	}
	*path = dpo_size_copy(name, strlen(name));
	return *path ? DPO_OK : dpo_fail_memory(err);
}
