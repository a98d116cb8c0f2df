/*
 * lanes - the maximum and sums of floats, for functions that are compiled for several sets of instructions.
 * Layer 1; uses nothing.
 *
 * Sums have DPO_LANES lanes whatever the instructions and whatever the compiler makes of a loop, so their bits are the same
 * in every build: lane k sums the numbers k, k + DPO_LANES, ... of whole vectors, a tree sums the lanes, and what is left is
 * added one after the other. (A reduction left to the compiler has as many lanes as it pleases.)
 */
#ifndef DPO_LANES_H
#define DPO_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DPO_LANES = 16 };

typedef float dpo_lanes __attribute__((vector_size(4 * DPO_LANES)));
typedef int32_t dpo_lanes_mask __attribute__((vector_size(4 * DPO_LANES)));

__attribute__((always_inline)) static inline void
dpo_lanes_load(dpo_lanes *v, const float *x)
{
	memcpy(v, x, sizeof *v);
}

/* y += x */
__attribute__((always_inline)) static inline void
dpo_lanes_add(float *y, const dpo_lanes *x)
{
	dpo_lanes sum;

	memcpy(&sum, y, sizeof sum);
	sum += *x;
	memcpy(y, &sum, sizeof sum);
}

/* The largest of x[n] and `least`, n a multiple of DPO_LANES. NaN are passed over. */
__attribute__((always_inline)) static inline float
dpo_lanes_max(const float *x, size_t n, float least)
{
	dpo_lanes best = least + (dpo_lanes){ 0 }, here;
	dpo_lanes_mask more;
	float each[DPO_LANES];

	for (size_t i = 0; i < n; i += DPO_LANES) {
		dpo_lanes_load(&here, x + i);
		more = here > best;
		best = (dpo_lanes)(((dpo_lanes_mask)here & more) | ((dpo_lanes_mask)best & ~more));
	}
	memcpy(each, &best, sizeof each);
#pragma GCC unroll 4
	for (size_t half = DPO_LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
		for (size_t i = 0; i < half; i++)
			each[i] = each[i + half] > each[i] ? each[i + half] : each[i];
	return each[0];
}

/* The sum of v's numbers. */
__attribute__((always_inline)) static inline float
dpo_lanes_total(const dpo_lanes *v)
{
	float each[DPO_LANES];

	memcpy(each, v, sizeof each);
#pragma GCC unroll 4
	for (size_t half = DPO_LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
		for (size_t i = 0; i < half; i++)
			each[i] += each[i + half];
	return each[0];
}

/* The sum of x[n], n a multiple of DPO_LANES. */
__attribute__((always_inline)) static inline float
dpo_lanes_sum(const float *x, size_t n)
{
	dpo_lanes sum = { 0 }, here;

	for (size_t i = 0; i < n; i += DPO_LANES) {
		dpo_lanes_load(&here, x + i);
		sum += here;
	}
	return dpo_lanes_total(&sum);
}

/* The sum of x[i] y[i], any n. */
__attribute__((always_inline)) static inline float
dpo_lanes_dot(const float *x, const float *y, size_t n)
{
	size_t whole = n - n % DPO_LANES;
	dpo_lanes sums = { 0 }, here, other;
	float sum;

	for (size_t i = 0; i < whole; i += DPO_LANES) {
		dpo_lanes_load(&here, x + i);
		dpo_lanes_load(&other, y + i);
		sums += here * other;
	}
	sum = dpo_lanes_total(&sums);
	for (size_t i = whole; i < n; i++)
		sum += x[i] * y[i];
	return sum;
}

#endif
