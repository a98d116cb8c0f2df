#define _GNU_SOURCE	/* madvise */
#include "base/size.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BLOCK ((size_t)2 << 20)	/* from this size on a block asks for huge pages of as much */

void *
dpo_alloc(size_t n, size_t each)
{
	return calloc(n ? n : 1, each ? each : 1);
}

/*
 * Whether the kernel will zero the pages of this part of a block of its own accord, as they are touched: then nobody waits for
 * it here, and each page is touched first by the thread that uses it. Linux promises that of private memory without a file.
 */
static bool
zeroed_when_touched(void *block, size_t bytes)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
	(void)madvise(block, bytes, MADV_HUGEPAGE);	/* a wish: it may fail */
	return madvise(block, bytes, MADV_DONTNEED) == 0;
#else
	(void)block, (void)bytes;
	return false;
#endif
}

void *
dpo_alloc_aligned(size_t n, size_t each)
{
	size_t bytes, whole;
	char *block;
	void *got;

	if (!dpo_size_mul(n, each, &bytes) || !dpo_size_add(bytes, 64, &bytes))
		return NULL;
	if (posix_memalign(&got, bytes < HUGE_BLOCK ? 64 : HUGE_BLOCK, bytes) != 0)
		return NULL;
	block = got;
	whole = bytes / HUGE_BLOCK * HUGE_BLOCK;
	if (whole == 0 || !zeroed_when_touched(block, whole))
		whole = 0;
	memset(block + whole, 0, bytes - whole);
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
