/* The products of strips in AVX2. */
#include "kernel/strip.h"

#include "base/size.h"
#include "kernel/thinparts.h"
#include "kernel/vectors256.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

/* 12 sums, two vectors of B and one of A leave one of the 16 registers. */
#define VECTORS 2
#define EACH_VECTORS(f, rows) f(rows, 1) f(rows, 2)

#include "kernel/turn_loops.h"
#include "kernel/strip_loops.h"

const struct dpo_strip dpo_strip_avx2 = { 2 * PANEL_ROWS, 1, lay, product };

#endif
