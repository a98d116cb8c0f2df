#include "base/arena.h"

#include <stdlib.h>

enum { ALIGN = 16 };	/* floats: 64 bytes */

void
dpo_arena_begin(struct dpo_arena *arena)
{
	arena->used = 0;
	arena->overflow = false;
}

float *
dpo_arena_take(struct dpo_arena *arena, size_t rows, size_t columns)
{
	size_t n, end, start = arena->used;

	if (!dpo_size_mul(rows, columns, &n) || !dpo_size_add(n, ALIGN - 1, &n) ||
	    !dpo_size_add(start, n / ALIGN * ALIGN, &end)) {
		arena->overflow = true;
		return NULL;
	}
	arena->used = end;
	return end <= arena->capacity && arena->data ? arena->data + start : NULL;
}

enum dpo_arena_result
dpo_arena_end(struct dpo_arena *arena)
{
	size_t wanted = arena->used;

	if (arena->overflow)
		return DPO_ARENA_NOMEM;
	if (arena->data && arena->used <= arena->capacity)
		return DPO_ARENA_READY;
	/*
	 * The first block is exact; one that has to grow gets an eighth more, so that it does not
	 * grow often.
	 */
	if (arena->data && !dpo_size_add(wanted, wanted / 8, &wanted))
		return DPO_ARENA_NOMEM;
	dpo_arena_free(arena);
	arena->data = dpo_alloc_aligned(wanted, sizeof *arena->data);
	if (!arena->data)
		return DPO_ARENA_NOMEM;
	arena->capacity = wanted;
	return DPO_ARENA_AGAIN;
}

bool
dpo_arena_reserve(struct dpo_arena *arena, size_t floats)
{
	if (arena->data && floats <= arena->capacity)
		return true;
	dpo_arena_free(arena);
	arena->data = dpo_alloc_aligned(floats, sizeof *arena->data);
	arena->capacity = arena->data ? floats : 0;
	return arena->data != NULL;
}

void
dpo_arena_free(struct dpo_arena *arena)
{
	free(arena->data);
	*arena = (struct dpo_arena){ 0 };
}
