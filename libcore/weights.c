#include "weights.h"

#include "buffer.h"
#include "bytes.h"
#include "hashes.h"
#include "identity.h"
#include "parallel.h"
#include "safetensors.h"
#include "shards.h"
#include "size.h"
#include "stored.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ leaves
 * The work of reading and hashing is one list of leaves over all tensors, taken in groups whose hashes go side by side
 * (hashes.h). A leaf is read in pieces, which stay in the cache: each is read to where it belongs in the block, or converted
 * to there, looked at for numbers that are none, and hashed.
 */
enum { LANES = DPO_HASHES_LANES, PIECE = 1 << 16 };

struct leaf {
	size_t tensor;		/* index into params */
	size_t offset;		/* bytes from the start of the tensor as stored */
	size_t bytes;
	enum dpo_status status;
	uint8_t hash[DPO_HASH_BYTES];
};

struct work {
	const struct dpo_params *params;
	const struct dpo_safetensors *set;	/* NULL: the floats in memory are hashed */
	const struct dpo_safetensors_entry **entries;	/* one a tensor; NULL with set */
	float *block;				/* written if there is a set */
	struct leaf *leaves;			/* in the order of the tensors */
	size_t count, capacity;
	struct leaf **order;			/* the long ones first: a group's are of one length, mostly */
};

static size_t
stored_bytes(const struct work *work, size_t tensor)
{
	return work->set ? work->entries[tensor]->bytes : 4 * work->params->list[tensor].count;
}

static int
longer_first(const void *a, const void *b)
{
	const struct leaf *x = *(struct leaf *const *)a, *y = *(struct leaf *const *)b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x < y ? -1 : x > y;
}

static bool
plan(struct work *work)
{
	void *leaves = NULL;

	for (size_t t = 0; t < work->params->count; t++) {
		size_t bytes = stored_bytes(work, t);

		for (size_t at = 0; at < bytes; at += DPO_LEAF_BYTES) {
			size_t n = bytes - at < DPO_LEAF_BYTES ? bytes - at : DPO_LEAF_BYTES;

			if (!dpo_size_grow(&leaves, &work->capacity, work->count + 1,
			    sizeof *work->leaves)) {
				free(leaves);
				work->leaves = NULL;
				return false;
			}
			work->leaves = leaves;
			work->leaves[work->count++] = (struct leaf){ .tensor = t, .offset = at,
			    .bytes = n };
		}
	}
	if (!(work->order = dpo_alloc(work->count, sizeof(struct leaf *))))
		return false;
	for (size_t i = 0; i < work->count; i++)
		work->order[i] = &work->leaves[i];
	qsort(work->order, work->count, sizeof *work->order, longer_first);
	return true;
}

static bool
all_finite(const uint8_t *stored, size_t n, enum dpo_dtype dtype)
{
	const uint32_t word = 0x7f800000;
	const uint16_t half = dtype == DPO_DTYPE_BF16 ? 0x7f80 : 0x7c00;
	uint32_t as_word;
	uint16_t as_half;

	dpo_bytes_swap_copy(&as_word, &word, 1, sizeof word);
	dpo_bytes_swap_copy(&as_half, &half, 1, sizeof half);
	return dpo_bytes_finite(stored, n, dpo_dtype_size(dtype), dtype == DPO_DTYPE_F32 ? as_word : as_half);
}

/* n stored numbers into the block, from element `first` of a tensor on. */
static void
store(float *block, const struct dpo_tensor *tensor, size_t first, const uint8_t *stored, size_t n, enum dpo_dtype dtype)
{
	float *to = block + tensor->offset;

	if (tensor->dtype == DPO_DTYPE_F32)
		dpo_dtype_to_float(to + first, stored, n, dtype);
	else
		dpo_bytes_swap_copy((uint16_t *)(void *)to + first, stored, n, 2);
}

/* Where in the block the bytes of a leaf from `at` on lie just as they are or would be stored; NULL if they do not. */
static uint8_t *
in_place(const struct work *work, const struct leaf *leaf, size_t at)
{
	const struct dpo_tensor *tensor = &work->params->list[leaf->tensor];

	if (!dpo_bytes_little_endian() || tensor->mapped || (work->set && work->entries[leaf->tensor]->dtype != tensor->dtype))
		return NULL;
	return (uint8_t *)(work->block + tensor->offset) + leaf->offset + at;
}

/*
 * n bytes of a leaf from `at` on, as they are or would be stored: *bytes is where they lie, in the block or in `stored`. What is
 * read is in the block then.
 */
static enum dpo_status
take(const struct work *work, const struct leaf *leaf, size_t at, uint8_t *stored, size_t n, const uint8_t **bytes,
    struct dpo_error *err)
{
	const struct dpo_tensor *tensor = &work->params->list[leaf->tensor];
	uint8_t *place = in_place(work, leaf, at), *to = place ? place : stored;
	const struct dpo_safetensors_entry *entry;
	enum dpo_status status;
	size_t each;

	*bytes = to;
	if (!work->set) {
		if (!place)
			dpo_bytes_swap_copy(stored, work->block + tensor->offset + (leaf->offset + at) / 4, n / 4, 4);
		return DPO_OK;
	}
	entry = work->entries[leaf->tensor];
	each = dpo_dtype_size(entry->dtype);
	if ((status = dpo_safetensors_read(work->set, entry, leaf->offset + at, to, n, err)) != DPO_OK)
		return status;
	if (!all_finite(to, n / each, entry->dtype))
		return dpo_fail(err, DPO_NONFINITE, "%s: tensor \"%s\" holds a NaN or infinity", dpo_stored_file(work->set, entry),
		    tensor->name);
	if (!place && !tensor->mapped)
		store(work->block, tensor, (leaf->offset + at) / each, stored, n / each, entry->dtype);
	return DPO_OK;
}

static size_t
piece(const struct leaf *leaf, size_t at)
{
	return leaf->bytes < at ? 0 : leaf->bytes - at < PIECE ? leaf->bytes - at : PIECE;
}

/* Read and hash up to LANES leaves; stored has room for a piece of each. A leaf that fails has a status, and no hash. */
static void
take_group(const struct work *work, struct leaf *const *leaves, size_t n, uint8_t *stored)
{
	struct dpo_hashes hashes;
	const uint8_t *runs[LANES] = { 0 };
	uint8_t *hash[LANES] = { 0 };
	size_t bytes[LANES] = { 0 };

	for (size_t i = 0; i < n; i++) {
		hash[i] = leaves[i]->hash;
		bytes[i] = leaves[i]->bytes;
	}
	dpo_hashes_begin(&hashes, bytes);
	for (size_t at = 0; at < leaves[0]->bytes; at += PIECE) {
		for (size_t i = 0; i < n; i++)
			if (piece(leaves[i], at) && leaves[i]->status == DPO_OK)
				leaves[i]->status = take(work, leaves[i], at, stored + i * PIECE, piece(leaves[i], at), &runs[i],
				    NULL);
		dpo_hashes_add(&hashes, runs, PIECE);
	}
	dpo_hashes_end(&hashes, hash);
}

static void
group_item(void *context, size_t item)
{
	struct work *work = context;
	size_t first = item * LANES, n = work->count - first < LANES ? work->count - first : LANES;
	uint8_t *stored = dpo_alloc(LANES, PIECE);

	for (size_t i = first; !stored && i < first + n; i++)
		work->order[i]->status = DPO_NOMEM;
	if (stored)
		take_group(work, work->order + first, n, stored);
	free(stored);
}

/* A leaf that failed once more by itself, for its message. */
static enum dpo_status
take_again(const struct work *work, const struct leaf *leaf, struct dpo_error *err)
{
	uint8_t *stored = dpo_alloc(1, PIECE);
	enum dpo_status status = stored ? DPO_OK : dpo_fail_memory(err);
	const uint8_t *bytes;

	for (size_t at = 0; piece(leaf, at) && status == DPO_OK; at += PIECE)
		status = take(work, leaf, at, stored, piece(leaf, at), &bytes, err);
	free(stored);
	return status;
}

/* All leaves; the first that failed is told. */
static enum dpo_status
run(struct work *work, int threads, struct dpo_error *err)
{
	enum dpo_status status;

	dpo_parallel_for(threads, (work->count + LANES - 1) / LANES, group_item, work);
	for (size_t i = 0; i < work->count; i++)
		if (work->leaves[i].status != DPO_OK)
			return (status = take_again(work, &work->leaves[i], err)) != DPO_OK ? status : dpo_fail_memory(err);
	return DPO_OK;
}

static void
free_work(struct work *work)
{
	free(work->leaves);
	free(work->order);
	free(work->entries);
}

/* ------------------------------------------------------------------ the id */

/*
 * hash = H over the hashes of the tensor's leaves, which begin at *next; moves *next behind them.
 */
static void
fold_leaves(uint8_t hash[DPO_HASH_BYTES], const struct work *work, size_t tensor, size_t *next,
    uint8_t *scratch)
{
	size_t n = 0;

	for (; *next < work->count && work->leaves[*next].tensor == tensor; ++*next)
		memcpy(scratch + DPO_HASH_BYTES * n++, work->leaves[*next].hash, DPO_HASH_BYTES);
	dpo_hash(hash, scratch, DPO_HASH_BYTES * n);
}

static enum dpo_status
fold(char id[2 * DPO_HASH_BYTES + 1], const struct work *work, const struct dpo_config *config,
    struct dpo_error *err)
{
	const struct dpo_params *params = work->params;
	struct dpo_identity_tensor *tensors = dpo_alloc(params->count, sizeof *tensors);
	uint8_t *scratch = dpo_alloc(work->count, DPO_HASH_BYTES);
	struct dpo_buffer text = { 0 };
	enum dpo_status status;
	size_t next = 0;

	dpo_config_canonical(config, &text);
	if (!tensors || !scratch || text.failed) {
		status = dpo_fail_memory(err);
	} else {
		for (size_t t = 0; t < params->count; t++) {
			tensors[t] = (struct dpo_identity_tensor){ .name = params->list[t].name,
				.dtype = work->set ? work->entries[t]->dtype_name : "F32",
				.shape = params->list[t].shape, .rank = params->list[t].rank };
			fold_leaves(tensors[t].hash, work, t, &next, scratch);
		}
		status = dpo_identity(id, tensors, params->count, text.data, text.len, err);
	}
	dpo_buffer_free(&text);
	free(scratch);
	free(tensors);
	return status;
}

enum dpo_status
dpo_weights_identify(char id[2 * DPO_HASH_BYTES + 1], const struct dpo_config *config,
    const struct dpo_params *params, const float *weights, int threads, struct dpo_error *err)
{
	/* Without a set the block is only read. */
	union { const float *in; float *out; } block = { .in = weights };
	struct work work = { .params = params, .block = block.out };
	enum dpo_status status;

	status = plan(&work) ? run(&work, threads, err) : dpo_fail_memory(err);
	if (status == DPO_OK)
		status = fold(id, &work, config, err);
	free_work(&work);
	return status;
}

/* ------------------------------------------------------------------ reading */

/*
 * Where the tensor lies in its file, mapped, if that is where it can stay: numbers in the host's byte order, on their own
 * boundary. shards[i] is where shard i lies; NULL: not mapped yet.
 */
static const void *
map(struct dpo_maps *maps, const uint8_t **shards, const struct dpo_safetensors *set, const struct dpo_safetensors_entry *entry)
{
	const struct dpo_safetensors_shard *shard = &set->shards[entry->shard];
	size_t at = shard->data + entry->begin;

	if (!dpo_bytes_little_endian() || at % dpo_dtype_size(entry->dtype) != 0)
		return NULL;
	if (!shards[entry->shard])
		shards[entry->shard] = dpo_maps_add(maps, shard->fd, shard->path);
	return shards[entry->shard] ? shards[entry->shard] + at : NULL;
}

/* Matrices stay as they are stored, and what needs no conversion where it is. */
static enum dpo_status
keep(struct dpo_params *params, struct dpo_maps *maps, const struct work *work, const char *directory, struct dpo_error *err)
{
	const uint8_t **shards = dpo_alloc(work->set->n_shards, sizeof *shards);

	if (!shards)
		return dpo_fail_memory(err);
	for (size_t t = 0; t < params->count; t++) {
		struct dpo_tensor *tensor = &params->list[t];
		const struct dpo_safetensors_entry *entry = work->entries[t];

		if (tensor->rank >= 2)
			tensor->dtype = entry->dtype;
		if (tensor->dtype == entry->dtype)
			tensor->mapped = map(maps, shards, work->set, entry);
	}
	free(shards);
	return dpo_params_lay_out(params) ? DPO_OK : dpo_fail(err, DPO_LIMIT, "%s: too many parameters", directory);
}

static enum dpo_status
look(struct work *work, const struct dpo_config *config, const char *directory, struct dpo_error *err)
{
	if (!(work->entries = dpo_alloc(work->params->count, sizeof *work->entries)))
		return dpo_fail_memory(err);
	return dpo_stored_match(work->entries, work->set, config, work->params, directory, err);
}

enum dpo_status
dpo_weights_look(const struct dpo_config *config, struct dpo_params *params, const char *directory, bool keep,
    struct dpo_error *err)
{
	struct dpo_safetensors set;
	struct work work = { .params = params, .set = &set };
	enum dpo_status status = dpo_shards_open(&set, directory, err);

	if (status != DPO_OK)
		return status;
	status = look(&work, config, directory, err);
	for (size_t t = 0; t < params->count && status == DPO_OK && keep; t++)
		if (params->list[t].rank >= 2)
			params->list[t].dtype = work.entries[t]->dtype;
	if (status == DPO_OK && !dpo_params_lay_out(params))
		status = dpo_fail(err, DPO_LIMIT, "%s: too many parameters", directory);
	free(work.entries);
	dpo_safetensors_close(&set);
	return status;
}

/*
 * Sizes were checked against the files before the block is allocated: a false configuration costs
 * no memory.
 */
static enum dpo_status
read_set(struct work *work, char id[2 * DPO_HASH_BYTES + 1], const struct dpo_config *config,
    struct dpo_params *params, const char *directory, struct dpo_maps *maps, int threads, struct dpo_error *err)
{
	enum dpo_status status = look(work, config, directory, err);

	if (status == DPO_OK && maps)
		status = keep(params, maps, work, directory, err);
	if (status != DPO_OK)
		return status;
	if (!(work->block = dpo_alloc_aligned(work->params->total, sizeof *work->block)) ||
	    !plan(work))
		return dpo_fail_memory(err);
	if ((status = run(work, threads, err)) == DPO_OK)
		status = fold(id, work, config, err);
	return status;
}

enum dpo_status
dpo_weights_read(float **weights, char id[2 * DPO_HASH_BYTES + 1], const struct dpo_config *config,
    struct dpo_params *params, const char *directory, struct dpo_maps *maps, int threads, struct dpo_error *err)
{
	struct dpo_safetensors set;
	struct work work = { .params = params, .set = &set };
	enum dpo_status status;

	*weights = NULL;
	if ((status = dpo_shards_open(&set, directory, err)) != DPO_OK)
		return status;
	status = read_set(&work, id, config, params, directory, maps, threads, err);
	if (status == DPO_OK)
		*weights = work.block;
	else
		free(work.block);
	free_work(&work);
	dpo_safetensors_close(&set);
	return status;
}
