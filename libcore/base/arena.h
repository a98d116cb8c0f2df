/*
 * arena - one growing block of floats, carved anew for each example. Layer 1; uses size.
 *
 * Use: begin, take everything, end. While the block is too small, takes give NULL and only count;
 * dpo_arena_end then makes it large enough and says that the carving has to be done again. {0} is
 * a valid empty arena. In the steady state nothing is allocated.
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
/* rows x columns floats, 64 byte aligned, with whatever they held before; NULL while counting. */
float *dpo_arena_take(struct dpo_arena *arena, size_t rows, size_t columns);
/* READY: all takes since begin were given. AGAIN: there is room now, carve again. */
enum dpo_arena_result dpo_arena_end(struct dpo_arena *arena);
/* Room for at least so many floats, exactly so many if there was less; what takes gave is lost. false: no memory. */
bool dpo_arena_reserve(struct dpo_arena *arena, size_t floats);
void dpo_arena_free(struct dpo_arena *arena);

#endif
