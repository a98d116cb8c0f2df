/*
 * slices - how often a set of rows is right, for each value of one of its columns. Layer 2; uses error, size, table.
 */
#ifndef DPO_SLICES_H
#define DPO_SLICES_H

#include "base/error.h"
#include "base/table.h"

struct dpo_slice {
	char *value;		/* owned */
	size_t rows, right;
};

/* {0} is empty. */
struct dpo_slices {
	struct dpo_table table;	/* value -> its place in the list */
	struct dpo_slice *list;	/* owned; [table.count], in the order first seen */
	size_t capacity;
};

/* DPO_NOMEM only. */
enum dpo_status dpo_slices_add(struct dpo_slices *slices, const char *value, size_t n, bool right, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_slices_free(struct dpo_slices *slices);

#endif
