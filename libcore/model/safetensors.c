#include "model/safetensors.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------ dtypes */

struct width {
	const char *name;
	size_t bytes;
	enum dpo_dtype dtype;
};

static const struct width widths[] = {
	{ "F32", 4, DPO_DTYPE_F32 }, { "F16", 2, DPO_DTYPE_F16 }, { "BF16", 2, DPO_DTYPE_BF16 },
	{ "F64", 8, DPO_DTYPE_OTHER }, { "I64", 8, DPO_DTYPE_OTHER }, { "U64", 8, DPO_DTYPE_OTHER },
	{ "C64", 8, DPO_DTYPE_OTHER }, { "I32", 4, DPO_DTYPE_OTHER }, { "U32", 4, DPO_DTYPE_OTHER },
	{ "I16", 2, DPO_DTYPE_OTHER }, { "U16", 2, DPO_DTYPE_OTHER }, { "I8", 1, DPO_DTYPE_OTHER },
	{ "U8", 1, DPO_DTYPE_OTHER }, { "BOOL", 1, DPO_DTYPE_OTHER },
	{ "F8_E5M2", 1, DPO_DTYPE_OTHER },
	{ "F8_E4M3", 1, DPO_DTYPE_OTHER }, { "F8_E8M0", 1, DPO_DTYPE_OTHER },
};

static const struct width *
find_width(const char *name)
{
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
		if (strcmp(widths[i].name, name) == 0)
			return &widths[i];
	return NULL;
}

/* ------------------------------------------------------------------ one tensor of the header */

static enum dpo_status
read_shape(struct dpo_safetensors_entry *entry, const cJSON *tree, struct dpo_error *err)
{
	const cJSON *shape = dpo_json_get(tree, "shape"), *item;

	if (!cJSON_IsArray(shape))
		return dpo_fail(err, DPO_FORMAT, "\"shape\" is not a list");
	entry->count = 1;
	cJSON_ArrayForEach(item, shape) {
		double d = cJSON_IsNumber(item) ? item->valuedouble : -1;

		if (!(d >= 0 && d <= DPO_JSON_EXACT) || d != (double)(size_t)d)
			return dpo_fail(err, DPO_FORMAT,
			    "\"shape\" holds something that is not a size");
		if (entry->rank == DPO_SAFETENSORS_RANK_MAX)
			return dpo_fail(err, DPO_LIMIT, "more than %d dimensions",
			    DPO_SAFETENSORS_RANK_MAX);
		entry->shape[entry->rank++] = (size_t)d;
		if (!dpo_size_mul(entry->count, (size_t)d, &entry->count))
			return dpo_fail(err, DPO_FORMAT, "the product of \"shape\" overflows");
	}
	return DPO_OK;
}

static enum dpo_status
read_offsets(struct dpo_safetensors_entry *entry, const cJSON *tree, struct dpo_error *err)
{
	const cJSON *pair = dpo_json_get(tree, "data_offsets");
	double offsets[2];

	if (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2)
		return dpo_fail(err, DPO_FORMAT, "\"data_offsets\" is not a list of two");
	for (int i = 0; i < 2; i++) {
		const cJSON *item = cJSON_GetArrayItem(pair, i);

		offsets[i] = cJSON_IsNumber(item) ? item->valuedouble : -1;
		if (!(offsets[i] >= 0 && offsets[i] <= DPO_JSON_EXACT) ||
		    offsets[i] != (double)(size_t)offsets[i])
			return dpo_fail(err, DPO_FORMAT,
			    "\"data_offsets\" holds something that is not a position");
	}
	if (offsets[1] < offsets[0])
		return dpo_fail(err, DPO_FORMAT, "\"data_offsets\" run backwards");
	entry->begin = (size_t)offsets[0];
	entry->bytes = (size_t)(offsets[1] - offsets[0]);
	return DPO_OK;
}

/* Fill entry (all but its name) from {"dtype":...,"shape":...,"data_offsets":...}. */
static enum dpo_status
read_entry(struct dpo_safetensors_entry *entry, const cJSON *tree, struct dpo_error *err)
{
	const struct width *width;
	const char *dtype = NULL;
	enum dpo_status status;
	size_t bytes;

	if (!cJSON_IsObject(tree) || cJSON_GetArraySize(tree) != 3)
		return dpo_fail(err, DPO_FORMAT, "not an object of dtype, shape and data_offsets");
	if ((status = dpo_json_string(&dtype, tree, "dtype", err)) != DPO_OK ||
	    (status = read_shape(entry, tree, err)) != DPO_OK ||
	    (status = read_offsets(entry, tree, err)) != DPO_OK)
		return status;
	if (!(width = find_width(dtype)))
		return dpo_fail(err, DPO_UNSUPPORTED, "dtype \"%.100s\" is not supported", dtype);
	memcpy(entry->dtype_name, width->name, strlen(width->name) + 1);
	entry->dtype = width->dtype;
	if (!dpo_size_mul(entry->count, width->bytes, &bytes) || bytes != entry->bytes)
		return dpo_fail(err, DPO_FORMAT, "%zu bytes of data do not fit shape and dtype",
		    entry->bytes);
	return DPO_OK;
}

static enum dpo_status
check_metadata(const cJSON *tree, struct dpo_error *err)
{
	const cJSON *item;
	bool good = cJSON_IsObject(tree);

	cJSON_ArrayForEach(item, tree)
		good = good && cJSON_IsString(item);
	return good ? DPO_OK : dpo_fail(err, DPO_FORMAT, "not an object of strings");
}

enum dpo_status
dpo_safetensors_take(struct dpo_safetensors *set, const char *name, const struct dpo_safetensors_entry *entry,
    struct dpo_error *err)
{
	int added = dpo_table_add(&set->names, name, strlen(name), (int64_t)set->n_entries);
	void *entries = set->entries;

	if (added == 0)
		return dpo_fail(err, DPO_FORMAT, "the name occurs twice");
	if (added < 0 || !dpo_size_grow(&entries, &set->entries_capacity, set->n_entries + 1, sizeof *entry))
		return dpo_fail_memory(err);
	set->entries = entries;
	set->entries[set->n_entries] = *entry;
	set->entries[set->n_entries].shard = set->n_shards - 1;
	if (!(set->entries[set->n_entries].name = dpo_size_copy(name, strlen(name))))
		return dpo_fail_memory(err);
	set->n_entries++;
	return DPO_OK;
}

/* Take the member `name` of the header; text[0..len) is its value. */
static enum dpo_status
take_member(struct dpo_safetensors *set, const char *name, const char *text, size_t len,
    struct dpo_error *err)
{
	struct dpo_safetensors_entry entry = { 0 };
	enum dpo_status status;
	cJSON *tree;

	if ((status = dpo_json_parse(&tree, text, len, err)) != DPO_OK)
		return status;
	if (strcmp(name, "__metadata__") == 0) {
		status = check_metadata(tree, err);
		cJSON_Delete(tree);
		return status;
	}
	status = read_entry(&entry, tree, err);
	cJSON_Delete(tree);
	if (status != DPO_OK)
		return status;
	return dpo_safetensors_take(set, name, &entry, err);
}

/* ------------------------------------------------------------------ the header */

static enum dpo_status
unexpected(enum dpo_json_token token, const struct dpo_json_lexer *lexer, struct dpo_error *err)
{
	return token == DPO_JSON_ERROR ? DPO_FORMAT :
	    dpo_fail(err, DPO_FORMAT, "JSON, byte %zu: unexpected token", lexer->start);
}

/* One "name": value; `name` is scratch. */
static enum dpo_status
read_member(struct dpo_safetensors *set, struct dpo_json_lexer *lexer, struct dpo_buffer *name,
    struct dpo_error *err)
{
	enum dpo_json_token token;
	enum dpo_status status;

	dpo_buffer_clear(name);
	dpo_json_unescape(lexer, name);
	(void)dpo_buffer_text(name);
	if (name->failed)
		return dpo_fail_memory(err);
	if ((token = dpo_json_next(lexer, err)) != DPO_JSON_COLON)
		return unexpected(token, lexer, err);
	if ((status = dpo_json_skip(lexer, err)) != DPO_OK)
		return status;
	status = take_member(set, (const char *)name->data, lexer->text + lexer->start,
	    lexer->length, err);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "tensor \"%.100s\"",
	    (const char *)name->data);
}

/* The members are read one at a time: a header of 100 MB never becomes one tree. */
static enum dpo_status
read_members(struct dpo_safetensors *set, struct dpo_json_lexer *lexer, struct dpo_buffer *name,
    struct dpo_error *err)
{
	enum dpo_json_token token = dpo_json_next(lexer, err);
	enum dpo_status status;

	if (token != DPO_JSON_OPEN_OBJECT)
		return unexpected(token, lexer, err);
	for (bool first = true;; first = false) {
		token = dpo_json_next(lexer, err);
		if (first && token == DPO_JSON_CLOSE_OBJECT)
			break;
		if (token != DPO_JSON_STRING)
			return unexpected(token, lexer, err);
		if ((status = read_member(set, lexer, name, err)) != DPO_OK)
			return status;
		if ((token = dpo_json_next(lexer, err)) == DPO_JSON_CLOSE_OBJECT)
			break;
		if (token != DPO_JSON_COMMA)
			return unexpected(token, lexer, err);
	}
	token = dpo_json_next(lexer, err);
	return token == DPO_JSON_END ? DPO_OK : unexpected(token, lexer, err);
}

static int
by_position(const void *a, const void *b)
{
	const struct dpo_safetensors_entry *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The entries from `first` on cover data[0..size) exactly. */
static enum dpo_status
check_cover(const struct dpo_safetensors *set, size_t first, size_t size, struct dpo_error *err)
{
	size_t at = 0;

	for (size_t i = first; i < set->n_entries; i++) {
		const struct dpo_safetensors_entry *entry = &set->entries[i];

		if (entry->begin != at)
			return dpo_fail(err, DPO_FORMAT,
			    "tensor \"%.100s\": begins at byte %zu of the data, the one before "
			    "ends at %zu", entry->name, entry->begin, at);
		if (!dpo_size_add(at, entry->bytes, &at) || at > size)
			return dpo_fail(err, DPO_TRUNCATED,
			    "tensor \"%.100s\": ends beyond the end of the file",
			    entry->name);
	}
	return at == size ? DPO_OK : dpo_fail(err, DPO_FORMAT, "%zu bytes after the last tensor",
	    size - at);
}

/* Sort the entries from `first` on by position, and let the table of names follow. */
static enum dpo_status
order_entries(struct dpo_safetensors *set, size_t first, struct dpo_error *err)
{
	if (set->n_entries > first)
		qsort(set->entries + first, set->n_entries - first, sizeof *set->entries,
		    by_position);
	dpo_table_free(&set->names);
	for (size_t i = 0; i < set->n_entries; i++)
		if (dpo_table_add(&set->names, set->entries[i].name, strlen(set->entries[i].name),
		    (int64_t)i) < 0)
			return dpo_fail_memory(err);
	return DPO_OK;
}

static enum dpo_status
read_header(struct dpo_safetensors *set, struct dpo_safetensors_shard *shard, size_t size,
    struct dpo_error *err)
{
	struct dpo_buffer header = { 0 }, name = { 0 };
	size_t first = set->n_entries;
	struct dpo_json_lexer lexer;
	enum dpo_status status;
	uint8_t raw[8];
	uint64_t length;

	if (size < sizeof raw)
		return dpo_fail(err, DPO_TRUNCATED, "%zu bytes are too few for a safetensors file",
		    size);
	if ((status = dpo_file_read_at(shard->fd, 0, raw, sizeof raw, err)) != DPO_OK)
		return status;
	if ((length = dpo_bytes_load64(raw)) > DPO_SAFETENSORS_HEADER_MAX)
		return dpo_fail(err, DPO_LIMIT, "a header of %llu bytes is longer than %d",
		    (unsigned long long)length, DPO_SAFETENSORS_HEADER_MAX);
	if (length > size - sizeof raw)
		return dpo_fail(err, DPO_TRUNCATED, "the file ends within its header of %llu bytes",
		    (unsigned long long)length);
	shard->data = sizeof raw + (size_t)length;
	if (!dpo_buffer_room(&header, (size_t)length + 1))
		return dpo_fail_memory(err);
	status = dpo_file_read_at(shard->fd, sizeof raw, header.data, (size_t)length, err);
	if (status == DPO_OK && (length == 0 || header.data[0] != '{'))
		status = dpo_fail(err, DPO_FORMAT, "the header does not begin with {");
	lexer = (struct dpo_json_lexer){ .text = (const char *)header.data, .len = (size_t)length };
	if (status == DPO_OK)
		status = read_members(set, &lexer, &name, err);
	dpo_buffer_free(&name);
	dpo_buffer_free(&header);
	if (status == DPO_OK)
		status = order_entries(set, first, err);
	return status != DPO_OK ? status : check_cover(set, first, size - shard->data, err);
}

enum dpo_status
dpo_safetensors_shard(struct dpo_safetensors *set, const char *path, size_t *size, struct dpo_error *err)
{
	struct dpo_safetensors_shard *shard;
	void *shards = set->shards;
	enum dpo_status status;
	struct stat about;

	/* Before opening: a FIFO would wait for its writer. */
	if (stat(path, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	if (!S_ISREG(about.st_mode))
		return dpo_fail(err, DPO_FORMAT, "%s: is not a regular file", path);
	if (!dpo_size_grow(&shards, &set->shards_capacity, set->n_shards + 1, sizeof *set->shards))
		return dpo_fail_memory(err);
	set->shards = shards;
	shard = &set->shards[set->n_shards++];
	*shard = (struct dpo_safetensors_shard){ .fd = -1 };
	shard->path = dpo_size_copy(path, strlen(path));
	if (!shard->path)
		return dpo_fail_memory(err);
	if ((status = dpo_file_open(&shard->fd, path, err)) != DPO_OK)
		return status;
	if (fstat(shard->fd, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	*size = (size_t)about.st_size;
	return DPO_OK;
}

enum dpo_status
dpo_safetensors_add(struct dpo_safetensors *set, const char *path, struct dpo_error *err)
{
	enum dpo_status status;
	size_t size;

	if ((status = dpo_safetensors_shard(set, path, &size, err)) != DPO_OK)
		return status;
	status = read_header(set, &set->shards[set->n_shards - 1], size, err);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "%s", path);
}

const struct dpo_safetensors_entry *
dpo_safetensors_find(const struct dpo_safetensors *set, const char *name)
{
	int64_t index = dpo_table_get(&set->names, name, strlen(name), -1);

	return index < 0 ? NULL : &set->entries[index];
}

enum dpo_status
dpo_safetensors_read(const struct dpo_safetensors *set, const struct dpo_safetensors_entry *entry,
    size_t offset, void *bytes, size_t n, struct dpo_error *err)
{
	const struct dpo_safetensors_shard *shard = &set->shards[entry->shard];
	enum dpo_status status = dpo_file_read_at(shard->fd, shard->data + entry->begin + offset, bytes,
	    n, err);

	if (status != DPO_OK && err)
		dpo_error_prefix(err, "%s: tensor \"%.100s\"", shard->path, entry->name);
	return status;
}

void
dpo_safetensors_close(struct dpo_safetensors *set)
{
	for (size_t i = 0; i < set->n_shards; i++) {
		if (set->shards[i].fd >= 0)
			close(set->shards[i].fd);
		free(set->shards[i].path);
	}
	for (size_t i = 0; i < set->n_entries; i++)
		free(set->entries[i].name);
	free(set->shards);
	free(set->entries);
	dpo_table_free(&set->names);
	*set = (struct dpo_safetensors){ 0 };
}
