/*
 * exponential - exp for loops that the compiler vectorizes. Layer 1; uses nothing.
 *
 *	exp(x) = 2^n exp(r),  n = round(x / ln 2),  r = x - n ln 2,  exp(r) = 1 + r + r^2 q(r)
 *
 * q is of degree 4; its coefficients minimise the largest relative error of exp(r) over |r| <= ln 2 / 2 (3.1e-9).
 */
#ifndef DPO_EXPONENTIAL_H
#define DPO_EXPONENTIAL_H

#include <math.h>

/*
 * exp(x) with a relative error below 1e-7 for |x| <= 87.3. Below that it falls to 0, above it stays at exp(88.02); exp(NaN)
 * is NaN. The bits are the same with every instruction set.
 */
__attribute__((always_inline)) static inline float
dpo_exp(float x)
{
	const float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;	/* high: n times it is exact */
	const float magic = 0x1.8p23f + 127.0f;		/* the last bits of a sum with it are n, biased as an exponent */
	union { float number; unsigned bits; } power;
	float n, r, q;

	x = fabsf(x) > 88.02f ? copysignf(88.02f, x) : x;	/* one condition, so that the compiler makes no branches */
	power.number = x * 0x1.715476p0f + magic;
	n = power.number - magic;
	power.bits <<= 23;
	r = x - n * ln2_high - n * ln2_low;
	q = 0.00138143206f * r + 0.00836885069f;
	q = q * r + 0.0416684002f;
	q = q * r + 0.166665196f;
	q = q * r + 0.49999994f;
	return (q * (r * r) + r + 1.0f) * power.number;
}

#endif
