/*
 * ids - a growing run of token ids. Layer 1; uses size.
 */
#ifndef DPO_IDS_H
#define DPO_IDS_H

#include "base/size.h"

#include <stdint.h>

/* {0} is empty; free(ids) releases; count = 0 empties it and keeps the memory. */
struct dpo_ids {
	int32_t *ids;		/* owned */
	size_t count;
	size_t capacity;
};

/* Append one id; false if out of memory. */
bool dpo_ids_add(struct dpo_ids *ids, int32_t id);

#endif
