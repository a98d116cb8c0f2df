/*
 * tensors - named float tensors as records of a stream. Layer 7; uses error, size, buffer, bytes, header, stream, params.
 *
 * A tensor is a run of records of at most 4 MiB of data: `name` (str), `shape` (i64[]), `offset`
 * (i64, elements from the start of the tensor) and `data` (f32[]); in table order, no gap, no
 * overlap. Other columns of the stream are the caller's; in these records they are empty.
 */
#ifndef DPO_TENSORS_H
#define DPO_TENSORS_H

#include "base/buffer.h"
#include "base/error.h"
#include "model/params.h"
#include "stream/header.h"
#include "stream/stream.h"

#define DPO_TENSORS_PIECE ((size_t)1 << 20)	/* floats of one record: 4 MiB */

/* Where the four columns are in a header. */
struct dpo_tensors_columns {
	size_t name, shape, offset, data;
};

/* Add the four columns at the end. */
enum dpo_status dpo_tensors_add(struct dpo_header *header, struct dpo_error *err) DPO_MUST_CHECK;
/* Find them. Absent or of another type: DPO_FORMAT. */
enum dpo_status dpo_tensors_find(struct dpo_tensors_columns *columns,
	const struct dpo_header *header, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Write all tensors of the table from the block, in table order, each name with `prefix` before it
 * ("" for none). header is the writer's.
 */
enum dpo_status dpo_tensors_write(struct dpo_writer *writer, const struct dpo_header *header,
	const char *prefix,
	const struct dpo_params *params, const float *block, struct dpo_error *err) DPO_MUST_CHECK;

/* Reading: how far a block of params->total floats is filled. Set the first three, the rest 0. */
struct dpo_tensors_fill {
	const struct dpo_params *params;	/* borrowed */
	const char *prefix;			/* borrowed */
	float *block;				/* borrowed */
	size_t tensor;		/* the one being filled */
	size_t elements;	/* of it, so far */
};

/*
 * Take one record. It must continue exactly where the last one ended; else DPO_FORMAT naming the expected tensor. NaN or
 * infinity is DPO_NONFINITE, more than DPO_TENSORS_PIECE floats DPO_LIMIT.
 */
enum dpo_status dpo_tensors_take(struct dpo_tensors_fill *fill,
	const struct dpo_tensors_columns *columns,
	const struct dpo_value *values, struct dpo_error *err) DPO_MUST_CHECK;
/* Whether every tensor is complete. */
bool dpo_tensors_full(const struct dpo_tensors_fill *fill);

/* Reading tensors without a known table: the table grows as they come. {0} at first. */
struct dpo_tensors_gather {
	struct dpo_params params;	/* offsets are valid after dpo_tensors_gathered */
	size_t capacity;
	struct dpo_buffer data;		/* floats, one tensor after the other */
	size_t missing;			/* elements the last tensor still lacks */
};

/*
 * Take one record, which begins a tensor or continues the last. DPO_FORMAT: out of order, a name twice, or more data than
 * the shape holds; DPO_LIMIT: a name, rank, size or record too large; DPO_NONFINITE.
 */
enum dpo_status dpo_tensors_gather(struct dpo_tensors_gather *gather, const struct dpo_tensors_columns *columns,
	const struct dpo_value *values, struct dpo_error *err) DPO_MUST_CHECK;
/* After the last record: the table laid out, and its block, which the caller frees. */
enum dpo_status dpo_tensors_gathered(struct dpo_tensors_gather *gather, float **block, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_tensors_gather_free(struct dpo_tensors_gather *gather);

#endif
