#include "model/weights.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/size.h"
#include "model/identity.h"
#include "model/leaves.h"
#include "model/safetensors.h"
#include "model/shards.h"
#include "model/stored.h"

#include <stdlib.h>
#include <string.h>

struct work {
	struct dpo_params *params;
	const struct dpo_safetensors *set;
	const struct dpo_safetensors_entry **entries;	/* owned; one a tensor */
	float *block;
};

/* ------------------------------------------------------------------ what is stored
 * It is read in pieces, and each piece to where it belongs in the block, or converted to there, looked at for numbers that are
 * none, and hashed.
 */

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

/* Where in the block the bytes of a tensor from `at` on lie just as they are stored; NULL if they do not. */
static uint8_t *
in_place(const struct work *work, size_t t, size_t at)
{
	const struct dpo_tensor *tensor = &work->params->list[t];

	if (!dpo_bytes_little_endian() || tensor->mapped || work->entries[t]->dtype != tensor->dtype)
		return NULL;
	return (uint8_t *)(work->block + tensor->offset) + at;
}

/* For dpo_leaves_hash, and what is read is in the block then. */
static enum dpo_status
take(const void *context, size_t t, size_t at, size_t n, uint8_t *room, const uint8_t **bytes, struct dpo_error *err)
{
	const struct work *work = context;
	const struct dpo_tensor *tensor = &work->params->list[t];
	const struct dpo_safetensors_entry *entry = work->entries[t];
	uint8_t *place = in_place(work, t, at), *to = place ? place : room;
	size_t each = dpo_dtype_size(entry->dtype);
	enum dpo_status status;

	*bytes = to;
	if ((status = dpo_safetensors_read(work->set, entry, at, to, n, err)) != DPO_OK)
		return status;
	if (!all_finite(to, n / each, entry->dtype))
		return dpo_fail(err, DPO_NONFINITE, "%s: tensor \"%s\" holds a NaN or infinity", dpo_stored_file(work->set, entry),
		    tensor->name);
	if (!place && !tensor->mapped)
		store(work->block, tensor, at / each, room, n / each, entry->dtype);
	return DPO_OK;
}

/* ------------------------------------------------------------------ the id */

enum dpo_status
dpo_weights_identify(char id[2 * DPO_HASH_BYTES + 1], const struct dpo_config *config,
    const struct dpo_params *params, const float *weights, int threads, struct dpo_error *err)
{
	struct dpo_buffer text = { 0 };
	enum dpo_status status;

	dpo_config_canonical(config, &text);
	status = dpo_leaves_identify(id, params, weights, &text, threads, err);
	dpo_buffer_free(&text);
	return status;
}

/* Read all tensors, and identify them as they are stored. */
static enum dpo_status
read_all(const struct work *work, char id[2 * DPO_HASH_BYTES + 1], const struct dpo_config *config, int threads,
    struct dpo_error *err)
{
	size_t n = work->params->count, *bytes = dpo_alloc(n, sizeof *bytes);
	struct dpo_identity_tensor *tensors = dpo_alloc(n, sizeof *tensors);
	struct dpo_buffer text = { 0 };
	enum dpo_status status;

	dpo_config_canonical(config, &text);
	status = bytes && tensors && !text.failed ? DPO_OK : dpo_fail_memory(err);
	for (size_t t = 0; status == DPO_OK && t < n; t++) {
		const struct dpo_tensor *tensor = &work->params->list[t];

		tensors[t] = (struct dpo_identity_tensor){ .name = tensor->name, .dtype = work->entries[t]->dtype_name,
			.shape = tensor->shape, .rank = tensor->rank };
		bytes[t] = work->entries[t]->bytes;
	}
	if (status == DPO_OK)
		status = dpo_leaves_hash(tensors, bytes, n, take, work, threads, err);
	for (size_t t = 0; status == DPO_OK && t < n; t++)
		memcpy(work->params->list[t].hash, tensors[t].hash, DPO_HASH_BYTES);
	if (status == DPO_OK)
		status = dpo_identity(id, tensors, n, text.data, text.len, err);
	dpo_buffer_free(&text);
	free(bytes);
	free(tensors);
	return status;
}

/* ------------------------------------------------------------------ what is mapped, again */

static enum dpo_status
take_mapped(const void *context, size_t t, size_t at, size_t n, uint8_t *room, const uint8_t **bytes, struct dpo_error *err)
{
	const struct dpo_params *params = context;

	(void)n;
	(void)room;
	(void)err;
	*bytes = (const uint8_t *)params->list[t].mapped + at;
	return DPO_OK;
}

/* On one thread: it is rare. */
static enum dpo_status
same_bytes(const struct dpo_params *params, const struct dpo_maps *maps, struct dpo_error *err)
{
	struct dpo_identity_tensor *now = dpo_alloc(params->count, sizeof *now);
	size_t *bytes = dpo_alloc(params->count, sizeof *bytes);
	enum dpo_status status = now && bytes ? DPO_OK : dpo_fail_memory(err);

	for (size_t t = 0; status == DPO_OK && t < params->count; t++)
		bytes[t] = params->list[t].mapped ? params->list[t].count * dpo_dtype_size(params->list[t].dtype) : 0;
	if (status == DPO_OK)
		status = dpo_leaves_hash(now, bytes, params->count, take_mapped, params, 1, err);
	for (size_t t = 0; status == DPO_OK && t < params->count; t++)
		if (bytes[t] > 0 && memcmp(now[t].hash, params->list[t].hash, DPO_HASH_BYTES) != 0)
			status = dpo_fail(err, DPO_IO, "%s: changed while it was read",
			    dpo_maps_path(maps, params->list[t].mapped));
	free(now);
	free(bytes);
	return status;
}

enum dpo_status
dpo_weights_same(const struct dpo_params *params, struct dpo_maps *maps, struct dpo_error *err)
{
	bool touched;
	enum dpo_status status = dpo_maps_look(maps, &touched, err);

	return status == DPO_OK && touched ? same_bytes(params, maps, err) : status;
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
	if (!(work->block = dpo_alloc_aligned(work->params->total, sizeof *work->block)))
		return dpo_fail_memory(err);
	return read_all(work, id, config, threads, err);
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
	free(work.entries);
	dpo_safetensors_close(&set);
	return status;
}
