/* The parts of thin products in AVX2. */
#include "thinparts.h"

#include "size.h"
#include "vectors256.h"

#if defined(__x86_64__) && defined(__GNUC__)

#define SUMS ((size_t)8)

#include "thin_loops.h"

const struct dpo_thin_set dpo_thin_avx2 = { mask_lanes, turn_lanes, multiply_lanes };

#endif
