/* The parts of thin products in AVX-512. */
#include "thinparts.h"

#include "size.h"
#include "vectors512.h"

#if defined(__x86_64__) && defined(__GNUC__)

#define SUMS ((size_t)16)

#include "thin_loops.h"

const struct dpo_thin_set dpo_thin_avx512 = { mask_lanes, turn_lanes, multiply_lanes };

#endif
