#define _GNU_SOURCE	/* MADV_HUGEPAGE */
#include "size.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BLOCK ((size_t)2 << 20)	/* from this size on a block asks for huge pages of as much */

void *
dpo_alloc(size_t n, size_t each)
{
	return calloc(n ? n : 1, each ? each : 1);
}

void *
dpo_alloc_aligned(size_t n, size_t each)
{
	size_t bytes;
	void *block;

	if (!dpo_size_mul(n, each, &bytes) || !dpo_size_add(bytes, 64, &bytes))
		return NULL;
	if (posix_memalign(&block, bytes < HUGE_BLOCK ? 64 : HUGE_BLOCK, bytes) != 0)
		return NULL;
#ifdef MADV_HUGEPAGE
	if (bytes >= HUGE_BLOCK)
		(void)madvise(block, bytes / HUGE_BLOCK * HUGE_BLOCK, MADV_HUGEPAGE);	/* a wish: it may fail */
#endif
	memset(block, 0, bytes);
	return block;
}

bool
dpo_size_grow(void **array, size_t *capacity, size_t need, size_t each)
{
	size_t wanted, bytes;
	void *moved;

	if (need <= *capacity)
		return true;
	if (!dpo_size_mul(*capacity, 2, &wanted) || wanted < need)
		wanted = need;
	if (wanted < 16)
		wanted = 16;
	if (!dpo_size_mul(wanted, each, &bytes) || !(moved = realloc(*array, bytes)))
		return false;
	*array = moved;
	*capacity = wanted;
	return true;
}

char *
dpo_size_copy(const void *bytes, size_t n)
{
	size_t room;
	char *copy;

	if (!dpo_size_add(n, 1, &room) || !(copy = malloc(room)))
		return NULL;
	if (n)
		memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}
