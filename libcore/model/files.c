#include "model/files.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const dpo_files_names[] = {
	"config.json",
	"generation_config.json",
	"tokenizer.json",
	"tokenizer_config.json",
	"special_tokens_map.json",
	"vocab.json",
	"merges.txt",
	"added_tokens.json",
	"tokenizer.model",
	"chat_template.jinja",
	"chat_template.json",
	NULL,
};

static bool
single_component(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= 255 && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	    strcmp(name, "..") != 0;
}

enum dpo_status
dpo_files_add(struct dpo_files *files, const char *name, const void *bytes, size_t n,
    struct dpo_error *err)
{
	struct dpo_named_file file = { .n = n };
	void *list = files->list;

	if (!single_component(name))
		return dpo_fail(err, DPO_FORMAT, "\"%.300s\" is not a file name", name);
	if (dpo_files_find(files, name))
		return dpo_fail(err, DPO_FORMAT, "file \"%s\" is there twice", name);
	if (n > DPO_FILES_LIMIT)
		return dpo_fail(err, DPO_LIMIT, "file \"%s\": more than %zu bytes", name,
		    DPO_FILES_LIMIT);
	if (!dpo_size_grow(&list, &files->capacity, files->count + 1, sizeof *files->list))
		return dpo_fail_memory(err);
	files->list = list;
	file.name = dpo_size_copy(name, strlen(name));
	file.bytes = (uint8_t *)dpo_size_copy(bytes, n);
	if (!file.name || !file.bytes) {
		free(file.name);
		free(file.bytes);
		return dpo_fail_memory(err);
	}
	files->list[files->count++] = file;
	return DPO_OK;
}

/* Read directory/name if it exists. */
static enum dpo_status
read_one(struct dpo_files *files, const char *directory, const char *name, struct dpo_error *err)
{
	struct dpo_buffer bytes = { 0 };
	enum dpo_status status = DPO_OK;
	char *path = dpo_file_join(directory, name);
	struct stat about;

	if (!path)
		return dpo_fail_memory(err);
	if (stat(path, &about) != 0)
		status = errno == ENOENT ? DPO_END : dpo_fail_errno(err, "%s", path);
	else if (!S_ISREG(about.st_mode))
		status = dpo_fail(err, DPO_FORMAT, "%s: is not a regular file", path);
	if (status == DPO_OK && (status = dpo_file_read(&bytes, path, DPO_FILES_LIMIT,
	    err)) == DPO_OK)
		status = dpo_files_add(files, name, bytes.data ? bytes.data : (const uint8_t *)"",
		    bytes.len, err);
	dpo_buffer_free(&bytes);
	free(path);
	return status == DPO_END ? DPO_OK : status;
}

enum dpo_status
dpo_files_read(struct dpo_files *files, const char *directory, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	*files = (struct dpo_files){ 0 };
	for (size_t i = 0; status == DPO_OK && dpo_files_names[i]; i++)
		status = read_one(files, directory, dpo_files_names[i], err);
	if (status != DPO_OK)
		dpo_files_free(files);
	return status;
}

const struct dpo_named_file *
dpo_files_find(const struct dpo_files *files, const char *name)
{
	for (size_t i = 0; i < files->count; i++)
		if (strcmp(files->list[i].name, name) == 0)
			return &files->list[i];
	return NULL;
}

/* hash = H(hash, H(name), length, H(bytes)), if the file is there. */
static void
add_to_id(uint8_t hash[DPO_HASH_BYTES], const struct dpo_files *files, const char *name)
{
	const struct dpo_named_file *file = dpo_files_find(files, name);
	uint8_t facts[DPO_HASH_BYTES + 8 + DPO_HASH_BYTES];

	if (!file)
		return;
	dpo_hash(facts, name, strlen(name));
	dpo_bytes_store64(facts + DPO_HASH_BYTES, file->n);
	dpo_hash(facts + DPO_HASH_BYTES + 8, file->bytes, file->n);
	dpo_hash_two(hash, hash, DPO_HASH_BYTES, facts, sizeof facts);
}

bool
dpo_files_tokenizer_id(const struct dpo_files *files, char hex[2 * DPO_HASH_BYTES + 1])
{
	uint8_t hash[DPO_HASH_BYTES] = { 0 };

	if (dpo_files_find(files, "tokenizer.json")) {
		add_to_id(hash, files, "tokenizer.json");
	} else {
		bool classic = dpo_files_find(files, "vocab.json");

		if (!classic && !dpo_files_find(files, "tokenizer.model"))
			return false;
		add_to_id(hash, files, classic ? "vocab.json" : "tokenizer.model");
		if (classic)
			add_to_id(hash, files, "merges.txt");
		add_to_id(hash, files, "added_tokens.json");
	}
	add_to_id(hash, files, "tokenizer_config.json");
	add_to_id(hash, files, "special_tokens_map.json");
	dpo_bytes_hex(hex, hash, sizeof hash);
	return true;
}

void
dpo_files_free(struct dpo_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->list[i].name);
		free(files->list[i].bytes);
	}
	free(files->list);
	*files = (struct dpo_files){ 0 };
}
