/*
 * lanes - the maximum and sums of floats, for functions that are compiled for several sets of instructions.
 * Layer 1; uses nothing.
 *
 * Sums have DPO_SUM_LANES lanes whatever the instruction set and whatever the compiler makes of a loop, so their bits are
 * the same in every build: lane k sums the numbers k, k + DPO_SUM_LANES, ... of whole vectors, a tree sums the lanes, and
 * what is left is added one after the other. (A reduction left to the compiler has as many lanes as it pleases.)
 */
#ifndef DPO_LANES_H
#define DPO_LANES_H

#include <stddef.h>

enum { DPO_SUM_LANES = 16 };

/* n numbers, down or up to whole vectors. */
static inline size_t
dpo_lanes_down(size_t n)
{
	return n / DPO_SUM_LANES * DPO_SUM_LANES;
}

static inline size_t
dpo_lanes_up(size_t n)
{
	return dpo_lanes_down(n + DPO_SUM_LANES - 1);
}

/*
 * One number per lane, and a loop over all lanes, which becomes as many vectors as the processor needs; they stay in
 * registers. (A vector type wider than the processor's would be kept in memory by GCC.)
 */
typedef struct {
	float at[DPO_SUM_LANES];
} dpo_sums;

#define DPO_EACH_LANE(k) _Pragma("omp simd") for (size_t k = 0; k < DPO_SUM_LANES; k++)

/* The largest of x[n] and `least`, n a multiple of DPO_SUM_LANES. NaN are passed over. */
__attribute__((always_inline)) static inline float
dpo_lanes_max(const float *x, size_t n, float least)
{
	float best[DPO_SUM_LANES];

	DPO_EACH_LANE(k)
		best[k] = least;
	for (size_t i = 0; i < n; i += DPO_SUM_LANES)
		DPO_EACH_LANE(k)
			best[k] = x[i + k] > best[k] ? x[i + k] : best[k];
#pragma GCC unroll 4
	for (size_t half = DPO_SUM_LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
		for (size_t i = 0; i < half; i++)
			best[i] = best[i + half] > best[i] ? best[i + half] : best[i];
	return best[0];
}

/* The sum of v's numbers, which are overwritten. */
__attribute__((always_inline)) static inline float
dpo_lanes_total(dpo_sums *v)
{
#pragma GCC unroll 4
	for (size_t half = DPO_SUM_LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
		for (size_t i = 0; i < half; i++)
			v->at[i] += v->at[i + half];
	return v->at[0];
}

/* The sum of x[n], n a multiple of DPO_SUM_LANES. */
__attribute__((always_inline)) static inline float
dpo_lanes_sum(const float *x, size_t n)
{
	dpo_sums sum = { { 0 } };

	for (size_t i = 0; i < n; i += DPO_SUM_LANES)
		DPO_EACH_LANE(k)
			sum.at[k] += x[i + k];
	return dpo_lanes_total(&sum);
}

/* The sum of x[i] y[i], any n. */
__attribute__((always_inline)) static inline float
dpo_lanes_dot(const float *x, const float *y, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	dpo_sums sums = { { 0 } };
	float sum;

	for (size_t i = 0; i < whole; i += DPO_SUM_LANES)
		DPO_EACH_LANE(k)
			sums.at[k] += x[i + k] * y[i + k];
	sum = dpo_lanes_total(&sums);
	for (size_t i = whole; i < n; i++)
		sum += x[i] * y[i];
	return sum;
}

#endif
