/* The products of strips in AVX-512. */
#include "kernel/strip.h"

#include "base/size.h"
#include "kernel/thinparts.h"
#include "kernel/vectors512.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

/* 24 sums, four vectors of B and one of A leave three of the 32 registers. */
#define VECTORS 4
#define EACH_VECTORS(f, rows) f(rows, 1) f(rows, 2) f(rows, 3) f(rows, 4)

#include "kernel/turn_loops.h"
#include "kernel/strip_loops.h"

const struct dpo_strip dpo_strip_avx512 = { 2 * PANEL_ROWS, 1, lay, product };

#endif
