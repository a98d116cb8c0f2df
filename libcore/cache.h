/*
 * cache - the keys and values of the tokens a sequence has seen (KV cache). Layer 4; uses error, size.
 *
 * A row holds what a later token needs of one token in one layer: its keys, then its values, of all key heads
 * (2 kv_heads head_dim floats), keys after rope.
 */
#ifndef DPO_CACHE_H
#define DPO_CACHE_H

#include "error.h"
#include "size.h"

/* {0} is empty. */
struct dpo_cache {
	float *data;		/* owned; [layers][capacity][width] */
	size_t layers, width;
	size_t capacity;	/* positions there is room for */
	size_t length;		/* positions held, from 0 */
	size_t floats;		/* allocated */
};

/* Empty the cache and make room for `positions`; memory is used again where it is enough. DPO_NOMEM only. */
enum dpo_status dpo_cache_reserve(struct dpo_cache *cache, size_t layers, size_t width, size_t positions,
	struct dpo_error *err) DPO_MUST_CHECK;

/* `to` holds what `from` holds. Same layers and width, to->capacity at least from->length. */
void dpo_cache_copy(struct dpo_cache *to, const struct dpo_cache *from);

/* The row of a position, and those of the next ones behind it; position is below capacity. */
float *dpo_cache_row(const struct dpo_cache *cache, size_t layer, size_t position);

void dpo_cache_free(struct dpo_cache *cache);

#endif
