/* narrow: every half number comes back, and every float goes to the nearest one, ties to even. */
#include "base/bytes.h"
#include "base/random.h"
#include "kernel/narrow.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
what_fits_comes_back(void **unused)
{
	(void)unused;
	for (uint32_t h = 0; h < 65536; h++) {
		float f16 = dpo_bytes_from_f16((uint16_t)h), bf16 = dpo_bytes_from_bf16((uint16_t)h);

		if (isnan(f16))
			assert_true(isnan(dpo_bytes_from_f16(dpo_narrow_f16(f16))));
		else
			assert_int_equal(dpo_narrow_f16(f16), h);
		if (isnan(bf16))
			assert_true(isnan(dpo_bytes_from_bf16(dpo_narrow_bf16(bf16))));
		else
			assert_int_equal(dpo_narrow_bf16(bf16), h);
	}
}

/* No neighbour of h is nearer to x, and at the same distance h is the even one. */
static void
check_nearest(float x, uint16_t h, float (*widen)(uint16_t))
{
	double here = fabs((double)widen(h) - (double)x);

	for (int step = -1; step <= 1; step += 2) {
		uint16_t other = (uint16_t)(h + step);
		double there = fabs((double)widen(other) - (double)x);

		if (isfinite(widen(other)) && signbit(widen(other)) == signbit(x) && (there < here || (there == here && h & 1)))
			fail_msg("%a becomes %a, not %a", (double)x, (double)widen(h), (double)widen(other));
	}
}

static float
from_bf16(uint16_t h)
{
	return dpo_bytes_from_bf16(h);
}

static void
floats_go_to_the_nearest(void **unused)
{
	uint32_t bits[2];

	(void)unused;
	for (uint64_t i = 0; i < 200000; i++) {
		float x, near_half;

		dpo_random_bytes(bits, sizeof bits, "narrow", 1, i);
		x = dpo_bytes_to_float(bits[0]);
		/* Of 254 exponents only 40 matter to F16: one float among them, half of those ties. */
		near_half = dpo_bytes_to_float((bits[1] & 0x807fffff) | (100 + bits[0] % 43) << 23);
		if (i % 2)
			near_half = dpo_bytes_to_float((dpo_bytes_from_float(near_half) & ~(uint32_t)0x1fff) | 0x1000);
		if (isfinite(dpo_bytes_from_f16(dpo_narrow_f16(near_half))))
			check_nearest(near_half, dpo_narrow_f16(near_half), dpo_bytes_from_f16);
		if (isfinite(x) && isfinite(from_bf16(dpo_narrow_bf16(x))))
			check_nearest(x, dpo_narrow_bf16(x), from_bf16);
		x = dpo_bytes_to_float((bits[0] & ~(uint32_t)0xffff) | 0x8000);
		if (isfinite(x) && isfinite(from_bf16(dpo_narrow_bf16(x))))
			check_nearest(x, dpo_narrow_bf16(x), from_bf16);
	}
}

static void
the_ends_of_the_range(void **unused)
{
	(void)unused;
	assert_int_equal(dpo_narrow_f16(65504), 0x7bff);
	assert_int_equal(dpo_narrow_f16(65519.996f), 0x7bff);
	assert_int_equal(dpo_narrow_f16(65520), 0x7c00);
	assert_int_equal(dpo_narrow_f16(-1e30f), 0xfc00);
	assert_int_equal(dpo_narrow_f16(0x1p-24f), 1);
	assert_int_equal(dpo_narrow_f16(0x1p-25f), 0);		/* a tie, to even */
	assert_int_equal(dpo_narrow_f16(0x1.8p-24f), 2);	/* a tie, to even */
	assert_int_equal(dpo_narrow_f16(0x1.000002p-25f), 1);
	assert_int_equal(dpo_narrow_f16(-0.0f), 0x8000);
	assert_int_equal(dpo_narrow_bf16(3.4028235e38f), 0x7f80);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits_comes_back), cmocka_unit_test(floats_go_to_the_nearest),
		cmocka_unit_test(the_ends_of_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
