#include "model/shards.h"

#include "base/file.h"
#include "base/json.h"
#include "base/table.h"
#include "model/torchfile.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { INDEX_LIMIT = 1 << 28 };	/* bytes */

/* ------------------------------------------------------------------ the index */

static bool
single_component(const char *name)
{
	return *name && strlen(name) <= 255 && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	    strcmp(name, "..") != 0;
}

/* Adds a file of the index's kind to a set. */
typedef enum dpo_status add_file(struct dpo_safetensors *set, const char *path, struct dpo_error *err);

/* Open the shard of that name unless it is open; `shards` maps names to indices. */
static enum dpo_status
need_shard(struct dpo_safetensors *set, struct dpo_table *shards, const char *directory,
    const char *name, add_file *add, struct dpo_error *err)
{
	enum dpo_status status;
	char *path;
	int added;

	if (!single_component(name))
		return dpo_fail(err, DPO_FORMAT,
		    "\"%.300s\" is not the name of a file beside the index", name);
	if ((added = dpo_table_add(shards, name, strlen(name), (int64_t)set->n_shards)) == 0)
		return DPO_OK;
	if (added < 0 || !(path = dpo_file_join(directory, name)))
		return dpo_fail_memory(err);
	status = add(set, path, err);
	free(path);
	return status;
}

/* Every tensor of the index is in the shard it names, and no shard holds others. */
static enum dpo_status
check_index(const struct dpo_safetensors *set, const struct dpo_table *shards, const cJSON *map,
    struct dpo_error *err)
{
	const cJSON *item;
	size_t count = 0;

	cJSON_ArrayForEach(item, map) {
		const struct dpo_safetensors_entry *entry = dpo_safetensors_find(set, item->string);
		int64_t shard = dpo_table_get(shards, item->valuestring, strlen(item->valuestring),
		    -1);

		count++;
		if (!entry || (int64_t)entry->shard != shard)
			return dpo_fail(err, DPO_FORMAT, "tensor \"%.100s\" is not in \"%.300s\"",
			    item->string, item->valuestring);
	}
	return count == set->n_entries ? DPO_OK :
	    dpo_fail(err, DPO_FORMAT, "the shards hold %zu tensors, the index names %zu",
	    set->n_entries, count);
}

static enum dpo_status
open_map(struct dpo_safetensors *set, const char *directory, const cJSON *map,
    add_file *add, struct dpo_error *err)
{
	struct dpo_table shards = { 0 };
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	if (!cJSON_IsObject(map))
		return dpo_fail(err, DPO_FORMAT, "\"weight_map\" is not an object");
	cJSON_ArrayForEach(item, map) {
		status = cJSON_IsString(item) ? need_shard(set, &shards, directory,
		    item->valuestring, add, err) :
		    dpo_fail(err, DPO_FORMAT,
		    "\"weight_map\" holds something that is not a file name");
		if (status != DPO_OK)
			break;
	}
	if (status == DPO_OK)
		status = check_index(set, &shards, map, err);
	dpo_table_free(&shards);
	return status;
}

static enum dpo_status
open_index(struct dpo_safetensors *set, const char *directory, const char *path,
    add_file *add, struct dpo_error *err)
{
	struct dpo_buffer text = { 0 };
	enum dpo_status status;
	cJSON *tree = NULL;

	if ((status = dpo_file_read(&text, path, INDEX_LIMIT, err)) == DPO_OK) {
		status = dpo_json_parse(&tree, (const char *)text.data, text.len, err);
		if (status == DPO_OK)
			status = open_map(set, directory, dpo_json_get(tree, "weight_map"), add, err);
		if (status != DPO_OK)
			dpo_error_prefix(err, "%s", path);
	}
	cJSON_Delete(tree);
	dpo_buffer_free(&text);
	return status;
}

/* ------------------------------------------------------------------ the directory */

/* In the order they are looked for. */
static const struct { const char *name; bool index; add_file *add; } places[] = {
	{ "model.safetensors", false, dpo_safetensors_add },
	{ "model.safetensors.index.json", true, dpo_safetensors_add },
	{ "pytorch_model.bin", false, dpo_torchfile_add },
	{ "pytorch_model.bin.index.json", true, dpo_torchfile_add },
};

static enum dpo_status
open_directory(struct dpo_safetensors *set, const char *directory, struct dpo_error *err)
{
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		char *path = dpo_file_join(directory, places[i].name);
		enum dpo_status status;
		struct stat about;
		bool there;

		if (!path)
			return dpo_fail_memory(err);
		if ((there = stat(path, &about) == 0))
			status = places[i].index ? open_index(set, directory, path, places[i].add, err) :
			    places[i].add(set, path, err);
		free(path);
		if (there)
			return status;
	}
	return dpo_fail(err, DPO_FORMAT, "%s: holds no weights: neither model.safetensors nor pytorch_model.bin, nor an index of "
	    "either", directory);
}

enum dpo_status
dpo_shards_open(struct dpo_safetensors *set, const char *directory, struct dpo_error *err)
{
	enum dpo_status status;

	*set = (struct dpo_safetensors){ 0 };
	if ((status = open_directory(set, directory, err)) != DPO_OK)
		dpo_safetensors_close(set);
	return status;
}
