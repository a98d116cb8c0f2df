/*
 * mask - which keys the rows of a packed sequence see: causal, with a shared prefix, within a window. Layer 5; uses pack.
 */
#ifndef DPO_MASK_H
#define DPO_MASK_H

#include "decoder/pack.h"

/* A block of keys: rows first .. first+n-1 of one segment. */
struct dpo_keys {
	const struct dpo_segment *segment;
	size_t first, n;
};

/* Keys of a block, counted from its first: from .. to-1, none if from == to. */
struct dpo_range {
	size_t from, to;
};

/* Step to the sequence's next block, of at most `most` keys; start with {0}. false when there is none. */
bool dpo_mask_next(const struct dpo_sequence *sequence, size_t most, struct dpo_keys *keys);

/* Rows from this one on see no key of the block; nor do rows before keys->first. */
size_t dpo_mask_end(const struct dpo_sequence *sequence, const struct dpo_keys *keys);

/*
 * seen[n]: the keys of the block that rows row .. row+n-1 see, within `window` positions including their own (0: all).
 * Returns the smallest range that holds them all and begins and ends at multiples of `unit`, perhaps beyond the block.
 */
struct dpo_range dpo_mask_rows(const struct dpo_sequence *sequence, size_t window, const struct dpo_keys *keys, size_t row,
	size_t n, size_t unit, struct dpo_range *seen);

#endif
