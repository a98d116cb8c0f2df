/*
 * arena - one growing block of floats, carved up again for each example. Layer 1; uses size.
 *
 * Usage: begin, take everything, end. While the block is too small, takes return NULL and only count; dpo_arena_end then
 * enlarges it and reports that the carving must be repeated. {0} is a valid empty arena. In the steady state nothing is
 * allocated.
 */
#ifndef DPO_ARENA_H
#define DPO_ARENA_H

#include "base/size.h"

enum dpo_arena_result { DPO_ARENA_READY, DPO_ARENA_AGAIN, DPO_ARENA_NOMEM };

struct dpo_arena {
	float *data;		/* owned; 64 byte aligned */
	size_t capacity;	/* floats */
	size_t used;
	bool overflow;
};

void dpo_arena_begin(struct dpo_arena *arena);
/* rows x columns floats, 64-byte aligned, contents undefined; NULL while counting. */
float *dpo_arena_take(struct dpo_arena *arena, size_t rows, size_t columns);
/* READY: all takes since begin succeeded. AGAIN: there is room now; carve again. */
enum dpo_arena_result dpo_arena_end(struct dpo_arena *arena);
/* Grow to exactly `floats` if smaller; earlier takes become invalid. false: no memory. */
bool dpo_arena_reserve(struct dpo_arena *arena, size_t floats);
void dpo_arena_free(struct dpo_arena *arena);

#endif
