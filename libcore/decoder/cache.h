/*
 * cache - the keys and values of the tokens a sequence has seen (KV cache). Layer 4; uses error, size.
 *
 * Of each layer it holds the keys, after rope, and the values of all key heads (kv_heads head_dim floats each), in blocks
 * of positions: first the block's keys, those of one dimension side by side, so that a query is multiplied with a whole
 * block without a sum over lanes; then its values, position by position.
 */
#ifndef DPO_CACHE_H
#define DPO_CACHE_H

#include "base/error.h"
#include "base/size.h"

enum { DPO_CACHE_BLOCK = 16 };	/* positions */

/* {0} is empty. */
struct dpo_cache {
	float *data;		/* owned; [layers][blocks][2 width BLOCK] */
	size_t layers, width;	/* width: of keys, and of values */
	size_t capacity;	/* positions there is room for; a multiple of a block */
	size_t length;		/* positions held, from 0 */
	size_t floats;		/* allocated */
};

/* Empty the cache and make room for `positions`; memory is reused if sufficient. DPO_NOMEM only. */
enum dpo_status dpo_cache_reserve(struct dpo_cache *cache, size_t layers, size_t width, size_t positions,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Copy what `from` holds to `to`. Same layers and width, to->capacity at least from->length. */
void dpo_cache_copy(struct dpo_cache *to, const struct dpo_cache *from);

/*
 * The key of a position, below capacity: its dimensions are BLOCK floats apart. A position that is a multiple of BLOCK
 * begins a block, [width][BLOCK].
 */
float *dpo_cache_key(const struct dpo_cache *cache, size_t layer, size_t position);
/* The value of a position: [width]. Those of the next positions in its block follow it. */
float *dpo_cache_value(const struct dpo_cache *cache, size_t layer, size_t position);

/* Put dimensions first .. first+n of the key and value of a position, which is below capacity. */
void dpo_cache_put(const struct dpo_cache *cache, size_t layer, size_t position, size_t first, const float *key,
	const float *value, size_t n);

void dpo_cache_free(struct dpo_cache *cache);

#endif
