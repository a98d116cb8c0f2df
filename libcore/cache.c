#include "cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum dpo_status
dpo_cache_reserve(struct dpo_cache *cache, size_t layers, size_t width, size_t positions, struct dpo_error *err)
{
	size_t floats;

	if (!dpo_size_mul(layers, width, &floats) || !dpo_size_mul(floats, positions, &floats))
		return dpo_fail_memory(err);
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

float *
dpo_cache_row(const struct dpo_cache *cache, size_t layer, size_t position)
{
	return cache->data + (layer * cache->capacity + position) * cache->width;
}

void
dpo_cache_copy(struct dpo_cache *to, const struct dpo_cache *from)
{
	assert(to->layers == from->layers && to->width == from->width && to->capacity >= from->length);
	for (size_t layer = 0; from->length > 0 && layer < from->layers; layer++)
		memcpy(dpo_cache_row(to, layer, 0), dpo_cache_row(from, layer, 0),
		    from->length * from->width * sizeof *from->data);
	to->length = from->length;
}

void
dpo_cache_free(struct dpo_cache *cache)
{
	free(cache->data);
	*cache = (struct dpo_cache){ 0 };
}
