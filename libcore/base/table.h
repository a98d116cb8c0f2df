/*
 * table - a hash table from byte strings to 64-bit integers. Layer 1; uses size.
 *
 * {0} is a valid empty table. Keys are copied. The hash is FNV-1a over the key with a multiply-xor finish. It is not keyed:
 * an adversary can make lookups slow, never wrong.
 */
#ifndef DPO_TABLE_H
#define DPO_TABLE_H

#include "base/size.h"

#include <stdint.h>

struct dpo_table {
	struct dpo_table_slot *slots;	/* owned; capacity is a power of two */
	size_t capacity;
	size_t count;
};

/*
 * Add key -> value. Returns 1 if the key is new, 0 if it was there (its value is left alone), -1 if out of memory.
 */
int dpo_table_add(struct dpo_table *table, const void *key, size_t key_bytes, int64_t value);

/* The value of key, or `missing` if it is not there. */
int64_t dpo_table_get(const struct dpo_table *table, const void *key, size_t key_bytes, int64_t missing);

/* Release; the table is {0} again. */
void dpo_table_free(struct dpo_table *table);

#endif
