/* The products of strips in AVX-512. */
#include "strip.h"

#include "size.h"
#include "thinparts.h"
#include "vectors512.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

/* 24 sums, four vectors of B and one of A leave three of the 32 registers. */
#define VECTORS 4
#define EACH_VECTORS(f, rows) f(rows, 1) f(rows, 2) f(rows, 3) f(rows, 4)

#include "turn_loops.h"
#include "strip_loops.h"

const struct dpo_strip dpo_strip_avx512 = { 2 * PANEL_ROWS, 1, lay, product };

#endif
