/*
 * safetensors - the container of a model's tensors. Layer 4; uses error, size, dtype,
 * buffer, bytes, table, json, file.
 *
 * A file is a little-endian u64 N, N bytes of JSON (padded with spaces) and the data:
 *
 *	{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[64],"data_offsets":[0,256]},...}
 *
 * A reader here accepts a file only if its tensors cover the data exactly: no gap, no overlap, nothing after them; a
 * tensor's bytes are the product of its shape and its dtype, and no name occurs twice. Data are read with pread(), never
 * mapped, so that a file that shrinks is an error and not a signal.
 */
#ifndef DPO_SAFETENSORS_H
#define DPO_SAFETENSORS_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"
#include "base/table.h"

#define DPO_SAFETENSORS_HEADER_MAX 100000000	/* bytes, as the reference implementation has it */
#define DPO_SAFETENSORS_RANK_MAX 8

struct dpo_safetensors_entry {
	char *name;		/* owned */
	char dtype_name[16];	/* "BF16" */
	enum dpo_dtype dtype;	/* OTHER: a known width, but not converted here */
	size_t shape[DPO_SAFETENSORS_RANK_MAX];
	size_t rank;
	size_t count;		/* elements; 1 for rank 0 */
	size_t begin;		/* bytes from the start of its file's data */
	size_t bytes;
	size_t shard;		/* index into shards */
};

struct dpo_safetensors_shard {
	char *path;		/* owned */
	int fd;
	size_t data;		/* where the data begin in the file */
};

/* An opened set of tensors: one file, or the shards of an index. {0} is closed. */
struct dpo_safetensors {
	struct dpo_safetensors_shard *shards;	/* owned */
	size_t n_shards, shards_capacity;
	struct dpo_safetensors_entry *entries;	/* owned; by shard, then in the order of the data */
	size_t n_entries, entries_capacity;
	struct dpo_table names;			/* name -> index into entries */
};

/*
 * Add the file at path to the set, as its next shard. Not a regular file, or malformed: DPO_FORMAT (DPO_UNSUPPORTED for a
 * dtype of unknown width); cut short: DPO_TRUNCATED; a header too long or more than 8 dimensions: DPO_LIMIT. After an error
 * the set must only be passed to dpo_safetensors_close().
 */
enum dpo_status dpo_safetensors_add(struct dpo_safetensors *set, const char *path,
	struct dpo_error *err)
	DPO_MUST_CHECK;
/*
 * For readers of other containers: open the file at path as the next shard, of *size bytes, whose data begin at 0; and add
 * a tensor of that shard (name is copied; a duplicate name is DPO_FORMAT, which names no file).
 */
enum dpo_status dpo_safetensors_shard(struct dpo_safetensors *set, const char *path, size_t *size,
	struct dpo_error *err) DPO_MUST_CHECK;
enum dpo_status dpo_safetensors_take(struct dpo_safetensors *set, const char *name,
	const struct dpo_safetensors_entry *entry, struct dpo_error *err) DPO_MUST_CHECK;
/* The tensor of that name, or NULL. */
const struct dpo_safetensors_entry *dpo_safetensors_find(const struct dpo_safetensors *set,
	const char *name);
/*
 * bytes[n] = the stored bytes of the entry from `offset` on; offset + n <= entry->bytes. A file that has shrunk is
 * DPO_TRUNCATED. May be called from several threads at once.
 */
enum dpo_status dpo_safetensors_read(const struct dpo_safetensors *set,
	const struct dpo_safetensors_entry *entry,
	size_t offset, void *bytes, size_t n, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_safetensors_close(struct dpo_safetensors *set);

#endif
