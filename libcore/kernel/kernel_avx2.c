/* The matrix product in AVX2. */
#include "kernel/kernel.h"

#include "base/size.h"
#include "kernel/vectors256.h"

#include <assert.h>

#if defined(__x86_64__) && defined(__GNUC__)

/* 12 sums, two vectors of B and one of A leave one of the 16 registers. */
#define PANEL_ROWS ((size_t)6)
#define EACH_ROWS(f) f(1) f(2) f(3) f(4) f(5) f(6)

enum { INNER_A = 384 };

#include "kernel/kernelpack_loops.h"
#include "kernel/kernel_loops.h"

void
dpo_kernel_avx2(const struct dpo_tile *tile)
{
	product(tile);
}

#endif
