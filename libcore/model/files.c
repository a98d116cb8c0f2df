#include "model/files.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/size.h"
#include "model/tokennames.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
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
		return dpo_fail(err, DPO_FORMAT, "file \"%s\" appears twice", name);
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

enum dpo_status
dpo_files_tree(cJSON **tree, const struct dpo_files *files, const char *name, struct dpo_error *err)
{
	const struct dpo_named_file *file = dpo_files_find(files, name);

	*tree = NULL;
	if (!file)
		return DPO_OK;
	if (dpo_json_parse(tree, (const char *)file->bytes, file->n, err) != DPO_OK)
		return dpo_error_prefix(err, "%s", name);
	if (cJSON_IsObject(*tree))
		return DPO_OK;
	cJSON_Delete(*tree);
	*tree = NULL;
	return dpo_fail(err, DPO_FORMAT, "%s: not an object", name);
}

/* ------------------------------------------------------------------ the tokenizer id */

/* What decides ids, by the file that is there; the first one counts. */
static const struct tokenizer {
	const char *files[3];
	bool classic;		/* its class is named elsewhere (tokenclass.h) */
} tokenizers[] = {
	{ { "tokenizer.json" }, false },
	{ { "vocab.json", "merges.txt", "added_tokens.json" }, true },
	{ { "tokenizer.model", "added_tokens.json" }, false },
};

static const struct tokenizer *
find_tokenizer(const struct dpo_files *files)
{
	for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++)
		if (dpo_files_find(files, tokenizers[i].files[0]))
			return &tokenizers[i];
	return NULL;
}

/* hash = H(hash, H(name), length, H(bytes)) */
static void
add_bytes(uint8_t hash[DPO_HASH_BYTES], const char *name, const void *bytes, size_t n)
{
	uint8_t facts[DPO_HASH_BYTES + 8 + DPO_HASH_BYTES];

	dpo_hash(facts, name, strlen(name));
	dpo_bytes_store64(facts + DPO_HASH_BYTES, n);
	dpo_hash(facts + DPO_HASH_BYTES + 8, bytes, n);
	dpo_hash_two(hash, hash, DPO_HASH_BYTES, facts, sizeof facts);
}

/* If it is there. */
static void
add_file(uint8_t hash[DPO_HASH_BYTES], const struct dpo_files *files, const char *name)
{
	const struct dpo_named_file *file = dpo_files_find(files, name);

	if (file)
		add_bytes(hash, name, file->bytes, file->n);
}

enum { TOKENIZER_CONFIG, SPECIAL_MAP, CONFIG, TREES };

static const char *const tree_names[TREES] = { "tokenizer_config.json", "special_tokens_map.json", "config.json" };

/* The id of a token that config.json alone names. */
static void
add_special(uint8_t hash[DPO_HASH_BYTES], cJSON *const trees[TREES], const char *name)
{
	const cJSON *id = dpo_tokennames_id(trees[CONFIG], name);
	char key[48], digits[400];

	if (!id || dpo_tokennames_text(trees[TOKENIZER_CONFIG], name) || dpo_tokennames_text(trees[SPECIAL_MAP], name))
		return;
	snprintf(key, sizeof key, "config.json:%s_id", name);
	add_bytes(hash, key, digits, (size_t)snprintf(digits, sizeof digits, "%.0f", trunc(id->valuedouble)));
}

/* The class that config.json alone tells of. */
static void
add_class(uint8_t hash[DPO_HASH_BYTES], cJSON *const trees[TREES])
{
	const cJSON *class = dpo_json_get(trees[TOKENIZER_CONFIG], "tokenizer_class"),
	    *type = dpo_json_get(trees[CONFIG], "model_type");

	if (cJSON_IsString(type) && !(cJSON_IsString(class) && *class->valuestring))
		add_bytes(hash, "config.json:model_type", type->valuestring, strlen(type->valuestring));
}

static void
hash_all(char hex[2 * DPO_HASH_BYTES + 1], const struct dpo_files *files, const struct tokenizer *tokenizer,
    cJSON *const trees[TREES])
{
	uint8_t hash[DPO_HASH_BYTES] = { 0 };

	for (size_t i = 0; i < 3 && tokenizer->files[i]; i++)
		add_file(hash, files, tokenizer->files[i]);
	add_file(hash, files, tree_names[TOKENIZER_CONFIG]);
	add_file(hash, files, tree_names[SPECIAL_MAP]);
	add_special(hash, trees, "bos_token");
	add_special(hash, trees, "eos_token");
	if (tokenizer->classic)
		add_class(hash, trees);
	dpo_bytes_hex(hex, hash, sizeof hash);
}

enum dpo_status
dpo_files_tokenizer_id(const struct dpo_files *files, char hex[2 * DPO_HASH_BYTES + 1], struct dpo_error *err)
{
	const struct tokenizer *tokenizer = find_tokenizer(files);
	cJSON *trees[TREES] = { NULL };
	enum dpo_status status = DPO_OK;

	hex[0] = '\0';
	for (size_t i = 0; tokenizer && i < TREES && status == DPO_OK; i++)
		status = dpo_files_tree(&trees[i], files, tree_names[i], err);
	if (tokenizer && status == DPO_OK)
		hash_all(hex, files, tokenizer, trees);
	for (size_t i = 0; i < TREES; i++)
		cJSON_Delete(trees[i]);
	return status;
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
