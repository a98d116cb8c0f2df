/*
 * size - checked arithmetic on sizes, and allocation that uses it. Layer 0; uses nothing.
 *
 * Every size that comes from a file goes through here. true means the result fits.
 */
#ifndef DPO_SIZE_H
#define DPO_SIZE_H

#include <stdbool.h>
#include <stddef.h>

/* *sum = a + b; false on overflow, *sum then undefined. */
__attribute__((warn_unused_result)) static inline bool
dpo_size_add(size_t a, size_t b, size_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

/* *product = a * b; false on overflow, *product then undefined. */
__attribute__((warn_unused_result)) static inline bool
dpo_size_mul(size_t a, size_t b, size_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

static inline size_t
dpo_size_least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many parts of at most d make n: n / d, rounded up. d is not 0. */
static inline size_t
dpo_size_parts(size_t n, size_t d)
{
	return n / d + (n % d != 0);
}

/* n objects of `each` bytes, zeroed; NULL if out of memory or n * each overflows. n 0 gives a pointer to free. Caller frees. */
void *dpo_alloc(size_t n, size_t each);

/*
 * As dpo_alloc, on a 64-byte boundary, for the data of kernels. Large blocks use huge pages where the system has them, and
 * take memory only as they are touched. Caller frees with free().
 */
void *dpo_alloc_aligned(size_t n, size_t each);

/*
 * Make room in a growing array: *capacity becomes at least `need` elements of `each` bytes, *array is moved.
 * false if out of memory or on overflow: array and capacity are then as before.
 */
bool dpo_size_grow(void **array, size_t *capacity, size_t need, size_t each);

/* A copy of n bytes followed by a NUL; NULL if out of memory. Caller frees. */
char *dpo_size_copy(const void *bytes, size_t n);

#endif
