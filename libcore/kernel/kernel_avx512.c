/* The matrix product in AVX-512. */
#include "kernel/kernel.h"

#include "base/size.h"
#include "kernel/vectors512.h"

#include <assert.h>

#if defined(__x86_64__) && defined(__GNUC__)

/* 26 sums, two vectors of B and one of A leave three of the 32 registers. */
#define PANEL_ROWS ((size_t)13)
#define EACH_ROWS(f) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13)

enum { INNER_A = 512 };

#include "kernel/kernelpack_loops.h"
#include "kernel/kernel_loops.h"

void
dpo_kernel_avx512(const struct dpo_tile *tile)
{
	product(tile);
}

#endif
