/*
 * safewrite - the writer of safetensors files (safetensors.h has the format). Layer 5; uses error, buffer, bytes, dtype, json,
 * file, narrow.
 */
#ifndef DPO_SAFEWRITE_H
#define DPO_SAFEWRITE_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"

/* A tensor to write, all borrowed. */
struct dpo_safetensors_item {
	const char *name;
	const size_t *shape;
	size_t rank;
	const float *data;
};

/*
 * Write a whole file of tensors, stored as F32, F16 or BF16 (narrow.h), in the given order; the header is padded so that
 * the data begin at a multiple of 8. A number beyond the range of its dtype is DPO_LIMIT naming the tensor.
 */
enum dpo_status dpo_safetensors_write(struct dpo_out *out, const struct dpo_safetensors_item *items,
	size_t n, enum dpo_dtype dtype, struct dpo_error *err) DPO_MUST_CHECK;

#endif
