/*
 * tensors - named float tensors as records of a stream. Layer 7; uses error, size, header, stream,
 * config, params.
 *
 * A tensor is a run of records of at most 4 MiB of data: `name` (str), `shape` (i64[]), `offset`
 * (i64, elements from the start of the tensor) and `data` (f32[]); in table order, no gap, no
 * overlap. Other columns of the stream are the caller's; in these records they are empty.
 */
#ifndef DPO_TENSORS_H
#define DPO_TENSORS_H

#include "error.h"
#include "header.h"
#include "params.h"
#include "stream.h"

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
 * Take one record. It must go on exactly where the last one ended; else DPO_FORMAT naming the
 * tensor expected. NaN or infinity is DPO_NONFINITE.
 */
enum dpo_status dpo_tensors_take(struct dpo_tensors_fill *fill,
	const struct dpo_tensors_columns *columns,
	const struct dpo_value *values, struct dpo_error *err) DPO_MUST_CHECK;
/* Every tensor is complete. */
bool dpo_tensors_full(const struct dpo_tensors_fill *fill);

#endif
