/*
 * spool - a stream held in memory, compressed, with records by number. Layer 7; uses error, size, buffer, header, record,
 * stream, zstd.
 *
 * For readers that return to a record (training epochs). Memory: the compressed stream and one decoded block.
 */
#ifndef DPO_SPOOL_H
#define DPO_SPOOL_H

#include "base/error.h"
#include "stream/header.h"
#include "stream/stream.h"

struct dpo_spool;

/* Read everything up to the verified END of reader. On error *spool is NULL. */
enum dpo_status dpo_spool_load(struct dpo_spool **spool, struct dpo_reader *reader, struct dpo_error *err)
	DPO_MUST_CHECK;

size_t dpo_spool_count(const struct dpo_spool *spool);

/* Record `index` (below count) into values[n_columns]; pointers are valid until the next call. */
enum dpo_status dpo_spool_get(struct dpo_spool *spool, size_t index, struct dpo_value *values,
	struct dpo_error *err) DPO_MUST_CHECK;

void dpo_spool_free(struct dpo_spool *spool);

#endif
