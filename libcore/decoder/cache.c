#include "decoder/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum dpo_status
dpo_cache_reserve(struct dpo_cache *cache, size_t layers, size_t width, size_t positions, struct dpo_error *err)
{
	size_t floats;

	if (!dpo_size_add(positions, DPO_CACHE_BLOCK - 1, &positions) || !dpo_size_mul(layers, width, &floats) ||
	    !dpo_size_mul(floats, 2, &floats) || !dpo_size_mul(floats, positions, &floats))
		return dpo_fail_memory(err);
	positions -= positions % DPO_CACHE_BLOCK;
	if (floats > cache->floats) {
		dpo_cache_free(cache);
		if (!(cache->data = dpo_alloc_aligned(floats, sizeof *cache->data)))
			return dpo_fail_memory(err);
		cache->floats = floats;
	}
	cache->layers = layers;
	cache->width = width;
	cache->capacity = positions;
	cache->length = 0;
	return DPO_OK;
}

static float *
block(const struct dpo_cache *cache, size_t layer, size_t position)
{
	return cache->data + (layer * cache->capacity + position - position % DPO_CACHE_BLOCK) * 2 * cache->width;
}

float *
dpo_cache_key(const struct dpo_cache *cache, size_t layer, size_t position)
{
	return block(cache, layer, position) + position % DPO_CACHE_BLOCK;
}

float *
dpo_cache_value(const struct dpo_cache *cache, size_t layer, size_t position)
{
	return block(cache, layer, position) + (DPO_CACHE_BLOCK + position % DPO_CACHE_BLOCK) * cache->width;
}

void
dpo_cache_put(const struct dpo_cache *cache, size_t layer, size_t position, size_t first, const float *key, const float *value,
    size_t n)
{
	float *keys = dpo_cache_key(cache, layer, position) + first * DPO_CACHE_BLOCK;

	for (size_t i = 0; i < n; i++)
		keys[i * DPO_CACHE_BLOCK] = key[i];
	memcpy(dpo_cache_value(cache, layer, position) + first, value, n * sizeof *value);
}

void
dpo_cache_copy(struct dpo_cache *to, const struct dpo_cache *from)
{
	size_t blocks = dpo_size_parts(from->length, DPO_CACHE_BLOCK);

	assert(to->layers == from->layers && to->width == from->width && to->capacity >= from->length);
	for (size_t layer = 0; from->length > 0 && layer < from->layers; layer++)
		memcpy(block(to, layer, 0), block(from, layer, 0),
		    blocks * DPO_CACHE_BLOCK * 2 * from->width * sizeof *from->data);
	to->length = from->length;
}

void
dpo_cache_free(struct dpo_cache *cache)
{
	free(cache->data);
	*cache = (struct dpo_cache){ 0 };
}
