#include "model/torchfile.h"

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/size.h"
#include "base/table.h"
#include "model/pickle.h"
#include "model/zip.h"

#include <stdlib.h>
#include <string.h>

enum { CALLS = 4, SYSTEM_BYTES = 4096 };

/* The globals of a state dict. Storages come last, in the order of `kinds`. */
enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGES };

static const struct dpo_pickle_global globals[] = {
	{ "collections OrderedDict", true },
	{ "torch._utils _rebuild_tensor_v2", false },
	{ "torch._utils _rebuild_parameter", false },
	{ "torch FloatStorage", false }, { "torch HalfStorage", false }, { "torch BFloat16Storage", false },
	{ "torch DoubleStorage", false }, { "torch LongStorage", false }, { "torch IntStorage", false },
	{ "torch ShortStorage", false }, { "torch CharStorage", false }, { "torch ByteStorage", false },
	{ "torch BoolStorage", false },
	{ NULL, false },
};

static const struct { const char *name; size_t bytes; enum dpo_dtype dtype; } kinds[] = {
	{ "F32", 4, DPO_DTYPE_F32 }, { "F16", 2, DPO_DTYPE_F16 }, { "BF16", 2, DPO_DTYPE_BF16 },
	{ "F64", 8, DPO_DTYPE_OTHER }, { "I64", 8, DPO_DTYPE_OTHER }, { "I32", 4, DPO_DTYPE_OTHER },
	{ "I16", 2, DPO_DTYPE_OTHER }, { "I8", 1, DPO_DTYPE_OTHER }, { "U8", 1, DPO_DTYPE_OTHER },
	{ "BOOL", 1, DPO_DTYPE_OTHER },
};

/* The numbers that tensors are views of. */
struct storage {
	uint32_t key;		/* string of the pickle */
	size_t kind;		/* index into kinds */
	size_t count;		/* numbers */
	size_t at;		/* in the file, once placed */
	bool placed;
};

struct torchfile {
	struct dpo_safetensors *set;
	int fd;
	size_t size;
	struct dpo_pickle pickle;	/* of the state dict */
	uint32_t root;
	struct storage *storages;	/* owned */
	size_t n_storages, capacity;
	struct dpo_table keys;		/* storage key -> index */
};

/* ------------------------------------------------------------------ values of the pickle */

static const struct dpo_pickle_value *
value_of(const struct torchfile *file, uint32_t id)
{
	return &file->pickle.values[id];
}

/* A whole number of at least 0. */
static bool
get_size(const struct torchfile *file, uint32_t id, size_t *size)
{
	const struct dpo_pickle_value *value = value_of(file, id);

	*size = (size_t)value->integer;
	return value->kind == DPO_PICKLE_INT && value->integer >= 0;
}

static bool
is_text(const struct torchfile *file, uint32_t id, const char *text)
{
	return value_of(file, id)->kind == DPO_PICKLE_STRING && strcmp(dpo_pickle_text(&file->pickle, id), text) == 0;
}

/* ------------------------------------------------------------------ storages */

static enum dpo_status
no_tensor(struct dpo_error *err)
{
	return dpo_fail(err, DPO_UNSUPPORTED, "not a tensor; the file must be a state dict, names and their tensors");
}

/* The storage of a persistent id: ('storage', class, key, location, numbers), in the old form also the view: None. */
static enum dpo_status
find_storage(struct torchfile *file, uint32_t id, size_t *index, struct dpo_error *err)
{
	const struct dpo_pickle_value *value = value_of(file, id), *class;
	uint32_t items[6];
	struct storage storage = { 0 };
	void *storages = file->storages;
	const char *key;
	int added;

	if (value->kind != DPO_PICKLE_PERSISTENT || !dpo_pickle_items(&file->pickle, value->call.arguments, 5, 6, items))
		return no_tensor(err);
	class = value_of(file, items[1]);
	if (!is_text(file, items[0], "storage") || class->kind != DPO_PICKLE_GLOBAL || class->integer < STORAGES ||
	    value_of(file, items[2])->kind != DPO_PICKLE_STRING || !get_size(file, items[4], &storage.count))
		return no_tensor(err);
	if (value_of(file, value->call.arguments)->count == 6 && value_of(file, items[5])->kind != DPO_PICKLE_NONE)
		return dpo_fail(err, DPO_UNSUPPORTED, "a storage that is a view of another");
	storage.key = items[2];
	storage.kind = (size_t)class->integer - STORAGES;
	key = dpo_pickle_text(&file->pickle, storage.key);
	*index = (size_t)dpo_table_get(&file->keys, key, strlen(key), (int64_t)file->n_storages);
	if (*index < file->n_storages)
		return file->storages[*index].kind == storage.kind && file->storages[*index].count == storage.count ? DPO_OK :
		    dpo_fail(err, DPO_FORMAT, "storage \"%.100s\" is described in two ways", key);
	added = dpo_table_add(&file->keys, key, strlen(key), (int64_t)file->n_storages);
	if (added < 0 || !dpo_size_grow(&storages, &file->capacity, file->n_storages + 1, sizeof storage))
		return dpo_fail_memory(err);
	file->storages = storages;
	file->storages[file->n_storages++] = storage;
	return DPO_OK;
}

/* ------------------------------------------------------------------ tensors */

/* Sizes and strides of tensors that are contiguous: the last dimension runs fastest. */
static enum dpo_status
read_shape(const struct torchfile *file, struct dpo_safetensors_entry *entry, uint32_t sizes, uint32_t strides,
    struct dpo_error *err)
{
	uint32_t size[DPO_SAFETENSORS_RANK_MAX], stride[DPO_SAFETENSORS_RANK_MAX];
	size_t step, run = 1;

	entry->rank = value_of(file, sizes)->count;
	if (!dpo_pickle_items(&file->pickle, sizes, 0, DPO_SAFETENSORS_RANK_MAX, size) ||
	    !dpo_pickle_items(&file->pickle, strides, entry->rank, entry->rank, stride))
		return dpo_fail(err, DPO_FORMAT, "sizes and strides are not two tuples of at most %d", DPO_SAFETENSORS_RANK_MAX);
	entry->count = 1;
	for (size_t d = 0; d < entry->rank; d++)
		if (!get_size(file, size[d], &entry->shape[d]) || !dpo_size_mul(entry->count, entry->shape[d], &entry->count))
			return dpo_fail(err, DPO_FORMAT, "a size that is none");
	for (size_t d = entry->rank; d-- > 0; run *= entry->shape[d]) {
		if (!get_size(file, stride[d], &step))
			return dpo_fail(err, DPO_FORMAT, "a stride that is none");
		if (entry->count > 0 && entry->shape[d] > 1 && step != run)
			return dpo_fail(err, DPO_UNSUPPORTED, "not contiguous: dimension %zu of stride %zu, not %zu", d, step, run);
	}
	return DPO_OK;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]); *storage is its index. */
static enum dpo_status
read_tensor(struct torchfile *file, uint32_t id, struct dpo_safetensors_entry *entry, size_t *storage,
    struct dpo_error *err)
{
	const struct dpo_pickle_value *value = value_of(file, id);
	uint32_t items[7];
	enum dpo_status status;
	size_t offset, bytes;

	for (size_t depth = 0; depth < CALLS && value->kind == DPO_PICKLE_CALL &&
	    value_of(file, value->call.function)->integer == REBUILD_PARAMETER; depth++) {
		if (!dpo_pickle_items(&file->pickle, value->call.arguments, 3, 3, items))
			return no_tensor(err);
		value = value_of(file, items[0]);
	}
	if (value->kind != DPO_PICKLE_CALL || value_of(file, value->call.function)->integer != REBUILD_TENSOR ||
	    !dpo_pickle_items(&file->pickle, value->call.arguments, 6, 7, items))
		return no_tensor(err);
	if ((status = find_storage(file, items[0], storage, err)) != DPO_OK ||
	    (status = read_shape(file, entry, items[2], items[3], err)) != DPO_OK)
		return status;
	if (!get_size(file, items[1], &offset) || offset > file->storages[*storage].count ||
	    entry->count > file->storages[*storage].count - offset)
		return dpo_fail(err, DPO_FORMAT, "reaches beyond its storage");
	if (!dpo_size_mul(entry->count, kinds[file->storages[*storage].kind].bytes, &bytes))
		return dpo_fail(err, DPO_FORMAT, "more bytes than there can be");
	entry->bytes = bytes;
	entry->begin = file->storages[*storage].at + offset * kinds[file->storages[*storage].kind].bytes;
	entry->dtype = kinds[file->storages[*storage].kind].dtype;
	memcpy(entry->dtype_name, kinds[file->storages[*storage].kind].name, strlen(kinds[file->storages[*storage].kind].name) + 1);
	return DPO_OK;
}

/*
 * Every name and tensor of the state dict. Twice: before the storages have their places, when it checks, and after, when it adds
 * the entries to the set.
 */
static enum dpo_status
walk(struct torchfile *file, bool add, struct dpo_error *err)
{
	const struct dpo_pickle_value *root = value_of(file, file->root);
	const struct dpo_pickle_cell *cells = file->pickle.cells;
	enum dpo_status status = DPO_OK;

	if (root->kind != DPO_PICKLE_DICT)
		return dpo_fail(err, DPO_UNSUPPORTED, "holds something that is no state dict");
	for (uint32_t at = root->items.first; at != DPO_PICKLE_NIL && status == DPO_OK; at = cells[cells[at].next].next) {
		struct dpo_safetensors_entry entry = { 0 };
		uint32_t name = cells[at].value;
		size_t storage = 0;

		if (value_of(file, name)->kind != DPO_PICKLE_STRING)
			return dpo_fail(err, DPO_UNSUPPORTED, "holds a key that is no string");
		status = read_tensor(file, cells[cells[at].next].value, &entry, &storage, err);
		if (status == DPO_OK && add)
			status = dpo_safetensors_take(file->set, dpo_pickle_text(&file->pickle, name), &entry, err);
		if (status != DPO_OK)
			dpo_error_prefix(err, "tensor \"%.100s\"", dpo_pickle_text(&file->pickle, name));
	}
	return status;
}

static enum dpo_status
read_dict(struct torchfile *file, size_t begin, size_t end, struct dpo_error *err)
{
	enum dpo_status status;

	file->pickle = (struct dpo_pickle){ .fd = file->fd, .at = begin, .end = end, .globals = globals };
	if ((status = dpo_pickle_read(&file->pickle, &file->root, err)) != DPO_OK)
		return status;
	return walk(file, false, err);
}

/* ------------------------------------------------------------------ the zip archive */

/* The member NAME/rest, NAME being what comes before the first slash of the first member's name. */
static const struct dpo_zip_member *
find_member(const struct dpo_zip *zip, const char *rest)
{
	char name[2 * DPO_ZIP_NAME + 1];
	size_t n = strcspn(zip->first, "/");

	if (strlen(rest) > DPO_ZIP_NAME - 1)
		return NULL;
	memcpy(name, zip->first, n);
	name[n] = '/';
	memcpy(name + n + 1, rest, strlen(rest) + 1);
	return dpo_zip_find(zip, name);
}

static enum dpo_status
check_byteorder(const struct torchfile *file, const struct dpo_zip *zip, struct dpo_error *err)
{
	const struct dpo_zip_member *member = find_member(zip, "byteorder");
	char text[6];
	enum dpo_status status;

	if (!member)
		return DPO_OK;
	if (member->bytes == sizeof text) {
		if ((status = dpo_file_read_at(file->fd, member->at, text, sizeof text, err)) != DPO_OK)
			return status;
		if (memcmp(text, "little", sizeof text) == 0)
			return DPO_OK;
	}
	return dpo_fail(err, DPO_UNSUPPORTED, "written on a machine of another byte order");
}

static enum dpo_status
place_members(struct torchfile *file, const struct dpo_zip *zip, struct dpo_error *err)
{
	for (size_t i = 0; i < file->n_storages; i++) {
		struct storage *storage = &file->storages[i];
		const char *key = dpo_pickle_text(&file->pickle, storage->key);
		const struct dpo_zip_member *member;
		char name[5 + DPO_PICKLE_TEXT + 1] = "data/";

		memcpy(name + 5, key, strlen(key) + 1);
		if (!(member = find_member(zip, name)))
			return dpo_fail(err, DPO_FORMAT, "storage \"%.100s\" is missing", key);
		if (member->bytes / kinds[storage->kind].bytes != storage->count || member->bytes % kinds[storage->kind].bytes != 0)
			return dpo_fail(err, DPO_FORMAT, "storage \"%.100s\": %zu bytes for %zu numbers", key, member->bytes,
			    storage->count);
		storage->at = member->at;
	}
	return DPO_OK;
}

static enum dpo_status
read_zip(struct torchfile *file, struct dpo_error *err)
{
	const struct dpo_zip_member *dict;
	struct dpo_zip zip;
	enum dpo_status status = dpo_zip_open(&zip, file->fd, file->size, err);

	if (status != DPO_OK)
		return status;
	if (find_member(&zip, "constants.pkl"))
		status = dpo_fail(err, DPO_UNSUPPORTED, "a TorchScript program, not a state dict");
	else if (!(dict = find_member(&zip, "data.pkl")))
		status = dpo_fail(err, DPO_UNSUPPORTED, "a zip archive that PyTorch did not write: no data.pkl");
	else if ((status = check_byteorder(file, &zip, err)) == DPO_OK &&
	    (status = read_dict(file, dict->at, dict->at + dict->bytes, err)) == DPO_OK)
		status = place_members(file, &zip, err);
	dpo_zip_close(&zip);
	return status;
}

/* ------------------------------------------------------------------ the sequence of pickles */

/* PyTorch's magic number, pickled, and its version 1001. */
static const uint8_t magic[] = { 0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.',
	0x80, 2, 'M', 0xe9, 3, '.' };

/* {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {...}} */
static enum dpo_status
skip_system(struct torchfile *file, size_t *at, struct dpo_error *err)
{
	struct dpo_pickle pickle = { .fd = file->fd, .at = *at, .globals = globals,
		.end = file->size - *at < SYSTEM_BYTES ? file->size : *at + SYSTEM_BYTES };
	enum dpo_status status;
	bool little = false;
	uint32_t root;

	status = dpo_pickle_read(&pickle, &root, err);
	*at = pickle.at;
	if (status == DPO_OK && pickle.values[root].kind == DPO_PICKLE_DICT)
		for (uint32_t cell = pickle.values[root].items.first; cell != DPO_PICKLE_NIL;) {
			uint32_t key = pickle.cells[cell].value, value = pickle.cells[pickle.cells[cell].next].value;

			little = little || (pickle.values[key].kind == DPO_PICKLE_STRING &&
			    strcmp(dpo_pickle_text(&pickle, key), "little_endian") == 0 && pickle.values[value].integer == 1);
			cell = pickle.cells[pickle.cells[cell].next].next;
		}
	dpo_pickle_free(&pickle);
	if (status == DPO_OK && !little)
		status = dpo_fail(err, DPO_UNSUPPORTED, "written on a machine of another byte order");
	return status;
}

/* The storage of that key follows at *at: a count of 64 bits and the numbers. *at moves past it. */
static enum dpo_status
place_storage(struct torchfile *file, const char *key, size_t *at, struct dpo_error *err)
{
	int64_t index = dpo_table_get(&file->keys, key, strlen(key), -1);
	struct storage *storage = index < 0 ? NULL : &file->storages[index];
	enum dpo_status status;
	uint8_t raw[8];
	size_t bytes;

	if (!storage || storage->placed)
		return dpo_fail(err, DPO_FORMAT, "storage \"%.100s\" belongs to no tensor, or appears twice", key);
	if (file->size - *at < sizeof raw)
		return dpo_fail(err, DPO_TRUNCATED, "the file ends before storage \"%.100s\"", key);
	if ((status = dpo_file_read_at(file->fd, *at, raw, sizeof raw, err)) != DPO_OK)
		return status;
	if (dpo_bytes_load64(raw) != storage->count || !dpo_size_mul(storage->count, kinds[storage->kind].bytes, &bytes))
		return dpo_fail(err, DPO_FORMAT, "storage \"%.100s\": %llu numbers where %zu are declared", key,
		    (unsigned long long)dpo_bytes_load64(raw), storage->count);
	*at += sizeof raw;
	if (bytes > file->size - *at)
		return dpo_fail(err, DPO_TRUNCATED, "the file ends within storage \"%.100s\"", key);
	storage->at = *at;
	storage->placed = true;
	*at += bytes;
	return DPO_OK;
}

/* The list of keys, and the storages in its order. */
static enum dpo_status
place_storages(struct torchfile *file, size_t at, struct dpo_error *err)
{
	struct dpo_pickle keys = { .fd = file->fd, .at = at, .end = file->size, .globals = globals,
		.persistent = file->n_storages };
	enum dpo_status status;
	uint32_t root, cell;
	size_t n = 0;

	if ((status = dpo_pickle_read(&keys, &root, err)) == DPO_OK && keys.values[root].kind != DPO_PICKLE_LIST)
		status = dpo_fail(err, DPO_FORMAT, "no list of storages after the state dict");
	at = keys.at;
	for (cell = status == DPO_OK ? keys.values[root].items.first : DPO_PICKLE_NIL;
	    cell != DPO_PICKLE_NIL && status == DPO_OK; cell = keys.cells[cell].next, n++)
		status = keys.values[keys.cells[cell].value].kind != DPO_PICKLE_STRING ?
		    dpo_fail(err, DPO_FORMAT, "a storage key that is no string") :
		    place_storage(file, dpo_pickle_text(&keys, keys.cells[cell].value), &at, err);
	dpo_pickle_free(&keys);
	if (status == DPO_OK && n != file->n_storages)
		status = dpo_fail(err, DPO_FORMAT, "%zu storages for tensors in %zu", n, file->n_storages);
	if (status == DPO_OK && at != file->size)
		status = dpo_fail(err, DPO_FORMAT, "%zu bytes after the last storage", file->size - at);
	return status;
}

static enum dpo_status
read_sequence(struct torchfile *file, struct dpo_error *err)
{
	size_t at = sizeof magic;
	enum dpo_status status;

	if ((status = skip_system(file, &at, err)) != DPO_OK ||
	    (status = read_dict(file, at, file->size, err)) != DPO_OK)
		return status;
	return place_storages(file, file->pickle.at, err);
}

/* ------------------------------------------------------------------ the file */

static enum dpo_status
read_file(struct torchfile *file, struct dpo_error *err)
{
	size_t n = file->size < sizeof magic ? file->size : sizeof magic;
	uint8_t start[sizeof magic] = { 0 };
	enum dpo_status status;

	if ((status = dpo_file_read_at(file->fd, 0, start, n, err)) != DPO_OK)
		return status;
	if (memcmp(start, "PK\3\4", 4) == 0)
		status = read_zip(file, err);
	else if (memcmp(start, magic, sizeof magic) == 0)
		status = read_sequence(file, err);
	else if (n < sizeof magic && memcmp(start, magic, n) == 0)
		status = dpo_fail(err, DPO_TRUNCATED, "%zu bytes are too few for a PyTorch file", file->size);
	else
		status = dpo_fail(err, DPO_UNSUPPORTED, "not a file of torch.save");
	return status == DPO_OK ? walk(file, true, err) : status;
}

enum dpo_status
dpo_torchfile_add(struct dpo_safetensors *set, const char *path, struct dpo_error *err)
{
	struct torchfile file = { .set = set };
	enum dpo_status status;

	if ((status = dpo_safetensors_shard(set, path, &file.size, err)) != DPO_OK)
		return status;
	file.fd = set->shards[set->n_shards - 1].fd;
	if ((status = read_file(&file, err)) != DPO_OK)
		dpo_error_prefix(err, "%s", path);
	dpo_pickle_free(&file.pickle);
	free(file.storages);
	dpo_table_free(&file.keys);
	return status;
}
