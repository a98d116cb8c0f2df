/* The parts of thin products in AVX2. */
#include "kernel/thinparts.h"

#include "base/size.h"
#include "kernel/strip.h"
#include "kernel/vectors256.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "kernel/turn_loops.h"
#include "kernel/thin_loops.h"

/* Two vectors of columns, a strip's, are what adapters have; AVX-512 would leave most of a strip's registers empty. */
static void
multiply(const struct dpo_tile *t)
{
	struct dpo_strip_operand b = { t->b.data, t->b.ld };

	dpo_strip_avx2.product(t->rows, t->columns, t->inner, t->a, b, 0, 0, t->keep, t->c, t->ldc);
}

const struct dpo_thin_set dpo_thin_avx2 = { mask_lanes, turn_lanes, multiply };

#endif
