/*
 * record - one record of a typed table as bytes. Layer 5; uses error, size, buffer, bytes, utf8, header.
 *
 * The inner half of dpo-stream(5): the values in column order, f32 and i64 as they are, everything else as a 32-bit count
 * of elements and the elements, all little-endian, nothing between.
 */
#ifndef DPO_RECORD_H
#define DPO_RECORD_H

#include "base/buffer.h"
#include "base/error.h"
#include "stream/header.h"

#define DPO_RECORD_MAX ((size_t)64 << 20)	/* bytes of one encoded record */

/*
 * What a writer may not write: DPO_NONFINITE for NaN or infinity in f32, f32[], bf16[] or f16[], DPO_FORMAT for a str that
 * is not UTF-8 or holds U+0000, each naming the column. n_columns values.
 */
enum dpo_status dpo_record_check(const struct dpo_header *header, const struct dpo_value *values,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Append the bytes of a record. Beyond DPO_RECORD_MAX is DPO_LIMIT, and leaves out unchanged. */
enum dpo_status dpo_record_put(const struct dpo_header *header, const struct dpo_value *values, struct dpo_buffer *out,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Read the record at bytes[*at] and move *at past it. Every length is checked against len, and every str must be UTF-8
 * without U+0000. Elements are copied to scratch (overwritten, valid until its next use), each run aligned to 8 and a str
 * followed by a NUL.
 */
enum dpo_status dpo_record_get(const struct dpo_header *header, const uint8_t *bytes, size_t len, size_t *at,
	struct dpo_buffer *scratch, struct dpo_value *values, struct dpo_error *err) DPO_MUST_CHECK;

#endif
