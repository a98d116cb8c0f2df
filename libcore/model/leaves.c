#include "model/leaves.h"

#include "base/bytes.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include "hash/hashes.h"

#include <stdlib.h>
#include <string.h>

enum { LANES = DPO_HASHES_LANES };

struct leaf {
	size_t tensor;
	size_t offset;		/* bytes from the start of the tensor */
	size_t bytes;
	enum dpo_status status;
	uint8_t hash[DPO_HASH_BYTES];
};

struct work {
	dpo_leaves_take *take;
	const void *context;
	struct leaf *leaves;	/* owned; in the order of the tensors */
	size_t count, capacity;
	struct leaf **order;	/* owned; the long ones first: a group's are of one length, mostly */
};

static int
longer_first(const void *a, const void *b)
{
	const struct leaf *x = *(struct leaf *const *)a, *y = *(struct leaf *const *)b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x < y ? -1 : x > y;
}

static bool
add_leaves(struct work *work, size_t tensor, size_t bytes)
{
	void *leaves = work->leaves;

	for (size_t at = 0; at < bytes; at += DPO_LEAF_BYTES) {
		if (!dpo_size_grow(&leaves, &work->capacity, work->count + 1, sizeof *work->leaves))
			return false;
		work->leaves = leaves;
		work->leaves[work->count++] = (struct leaf){ .tensor = tensor, .offset = at,
			.bytes = dpo_size_least(bytes - at, DPO_LEAF_BYTES) };
	}
	return true;
}

static bool
plan(struct work *work, const size_t *bytes, size_t n)
{
	for (size_t t = 0; t < n; t++)
		if (!add_leaves(work, t, bytes[t]))
			return false;
	if (!(work->order = dpo_alloc(work->count, sizeof(struct leaf *))))
		return false;
	for (size_t i = 0; i < work->count; i++)
		work->order[i] = &work->leaves[i];
	qsort(work->order, work->count, sizeof(struct leaf *), longer_first);
	return true;
}

/* ------------------------------------------------------------------ hashing */

static size_t
piece(const struct leaf *leaf, size_t at)
{
	return leaf->bytes < at ? 0 : dpo_size_least(leaf->bytes - at, DPO_LEAVES_PIECE);
}

static enum dpo_status
take(const struct work *work, const struct leaf *leaf, size_t at, uint8_t *room, const uint8_t **bytes, struct dpo_error *err)
{
	return work->take(work->context, leaf->tensor, leaf->offset + at, piece(leaf, at), room, bytes, err);
}

/* Hash up to LANES leaves; room is for a piece of each. A leaf that fails has a status, and no hash. */
static void
take_group(const struct work *work, struct leaf *const *leaves, size_t n, uint8_t *room)
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
	for (size_t at = 0; at < leaves[0]->bytes; at += DPO_LEAVES_PIECE) {
		for (size_t i = 0; i < n; i++)
			if (piece(leaves[i], at) && leaves[i]->status == DPO_OK)
				leaves[i]->status = take(work, leaves[i], at, room + i * DPO_LEAVES_PIECE, &runs[i], NULL);
		dpo_hashes_add(&hashes, runs, DPO_LEAVES_PIECE);
	}
	dpo_hashes_end(&hashes, hash);
}

static void
group_item(void *context, size_t item)
{
	struct work *work = context;
	size_t first = item * LANES, n = dpo_size_least(work->count - first, LANES);
	uint8_t *room = dpo_alloc(LANES, DPO_LEAVES_PIECE);

	for (size_t i = first; !room && i < first + n; i++)
		work->order[i]->status = DPO_NOMEM;
	if (room)
		take_group(work, work->order + first, n, room);
	free(room);
}

/* A leaf that failed once more by itself, for its message. */
static enum dpo_status
take_again(const struct work *work, const struct leaf *leaf, struct dpo_error *err)
{
	uint8_t *room = dpo_alloc(1, DPO_LEAVES_PIECE);
	enum dpo_status status = room && leaf->status != DPO_NOMEM ? DPO_OK : dpo_fail_memory(err);
	const uint8_t *bytes;

	for (size_t at = 0; piece(leaf, at) && status == DPO_OK; at += DPO_LEAVES_PIECE)
		status = take(work, leaf, at, room, &bytes, err);
	free(room);
	return status != DPO_OK ? status : dpo_fail(err, leaf->status, "a tensor that could not be read could be read again: "
	    "the file or its disk is not to be relied on");
}

/* All leaves; the first failure is reported. */
static enum dpo_status
run(struct work *work, int threads, struct dpo_error *err)
{
	dpo_parallel_for(threads, dpo_size_parts(work->count, LANES), group_item, work);
	for (size_t i = 0; i < work->count; i++)
		if (work->leaves[i].status != DPO_OK)
			return take_again(work, &work->leaves[i], err);
	return DPO_OK;
}

/* Each tensor's hash: H over the hashes of its leaves. */
static bool
fold(struct dpo_identity_tensor *tensors, size_t n, const struct work *work)
{
	uint8_t *all = dpo_alloc(work->count, DPO_HASH_BYTES);
	size_t next = 0;

	for (size_t t = 0; all && t < n; t++) {
		size_t m = 0;

		for (; next < work->count && work->leaves[next].tensor == t; next++)
			memcpy(all + DPO_HASH_BYTES * m++, work->leaves[next].hash, DPO_HASH_BYTES);
		dpo_hash(tensors[t].hash, all, DPO_HASH_BYTES * m);
	}
	free(all);
	return all != NULL;
}

enum dpo_status
dpo_leaves_hash(struct dpo_identity_tensor *tensors, const size_t *bytes, size_t n, dpo_leaves_take *from, const void *context,
    int threads, struct dpo_error *err)
{
	struct work work = { .take = from, .context = context };
	enum dpo_status status = plan(&work, bytes, n) ? run(&work, threads, err) : dpo_fail_memory(err);

	if (status == DPO_OK && !fold(tensors, n, &work))
		status = dpo_fail_memory(err);
	free(work.leaves);
	free(work.order);
	return status;
}

/* ------------------------------------------------------------------ floats in memory */

struct block {
	const struct dpo_params *params;
	const float *data;
};

static enum dpo_status
take_floats(const void *context, size_t tensor, size_t at, size_t n, uint8_t *room, const uint8_t **bytes, struct dpo_error *err)
{
	const struct block *block = context;
	const float *from = block->data + block->params->list[tensor].offset + at / sizeof *from;

	(void)err;
	*bytes = (const uint8_t *)from;
	if (!dpo_bytes_little_endian()) {
		dpo_bytes_swap_copy(room, from, n / sizeof *from, sizeof *from);
		*bytes = room;
	}
	return DPO_OK;
}

enum dpo_status
dpo_leaves_identify(char id[2 * DPO_HASH_BYTES + 1], const struct dpo_params *params, const float *block,
    const struct dpo_buffer *text, int threads, struct dpo_error *err)
{
	struct dpo_identity_tensor *tensors = dpo_alloc(params->count, sizeof *tensors);
	size_t *bytes = dpo_alloc(params->count, sizeof *bytes);
	enum dpo_status status = tensors && bytes && !text->failed ? DPO_OK : dpo_fail_memory(err);

	for (size_t t = 0; status == DPO_OK && t < params->count; t++) {
		const struct dpo_tensor *tensor = &params->list[t];

		tensors[t] = (struct dpo_identity_tensor){ .name = tensor->name, .dtype = "F32", .shape = tensor->shape,
			.rank = tensor->rank };
		bytes[t] = sizeof *block * tensor->count;
	}
	if (status == DPO_OK)
		status = dpo_leaves_hash(tensors, bytes, params->count, take_floats, &(struct block){ params, block },
		    threads, err);
	if (status == DPO_OK)
		status = dpo_identity(id, tensors, params->count, text->data, text->len, err);
	free(tensors);
	free(bytes);
	return status;
}
