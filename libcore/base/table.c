#include "base/table.h"

#include <stdlib.h>
#include <string.h>

struct dpo_table_slot {
	char *key;		/* owned; NULL marks a free slot */
	size_t key_bytes;
	uint64_t hash;
	int64_t value;
};

static uint64_t
hash_key(const uint8_t *key, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ key[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

/* The slot that holds key, or the free slot where it belongs. */
static struct dpo_table_slot *
find(const struct dpo_table *table, const void *key, size_t n, uint64_t hash)
{
	size_t mask = table->capacity - 1, i = (size_t)hash & mask;

	for (;; i = (i + 1) & mask) {
		struct dpo_table_slot *slot = &table->slots[i];

		if (!slot->key || (slot->hash == hash && slot->key_bytes == n &&
		    memcmp(slot->key, key, n) == 0))
			return slot;
	}
}

static bool
enlarge(struct dpo_table *table)
{
	struct dpo_table larger = { .count = table->count };

	larger.capacity = table->capacity ? table->capacity * 2 : 64;
	if (!(larger.slots = dpo_alloc(larger.capacity, sizeof *larger.slots)))
		return false;
	for (size_t i = 0; i < table->capacity; i++) {
		struct dpo_table_slot *slot = &table->slots[i];

		if (slot->key)
			*find(&larger, slot->key, slot->key_bytes, slot->hash) = *slot;
	}
	free(table->slots);
	*table = larger;
	return true;
}

int
dpo_table_add(struct dpo_table *table, const void *key, size_t key_bytes, int64_t value)
{
	uint64_t hash = hash_key(key, key_bytes);
	struct dpo_table_slot *slot;

	if (table->count * 2 >= table->capacity && !enlarge(table))
		return -1;
	slot = find(table, key, key_bytes, hash);
	if (slot->key)
		return 0;
	if (!(slot->key = dpo_size_copy(key, key_bytes)))
		return -1;
	slot->key_bytes = key_bytes;
	slot->hash = hash;
	slot->value = value;
	table->count++;
	return 1;
}

int64_t
dpo_table_get(const struct dpo_table *table, const void *key, size_t key_bytes, int64_t missing)
{
	const struct dpo_table_slot *slot;

	if (table->count == 0)
		return missing;
	slot = find(table, key, key_bytes, hash_key(key, key_bytes));
	return slot->key ? slot->value : missing;
}

void
dpo_table_free(struct dpo_table *table)
{
	for (size_t i = 0; i < table->capacity; i++)
		free(table->slots[i].key);
	free(table->slots);
	*table = (struct dpo_table){ 0 };
}
