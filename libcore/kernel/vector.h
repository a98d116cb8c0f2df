/*
 * vector - elementwise passes and reductions over runs of floats. Layer 2; uses cpu, dtype, exponential,
 * lanes, SLEEF.
 *
 * Each function is built for the baseline, AVX2 and AVX-512, and the processor's best is chosen at run time. The order of a
 * sum depends on n alone (lanes.h). Runs may have any length and alignment. Unless said otherwise the output may be an
 * input, but may not partly overlap one.
 */
#ifndef DPO_VECTOR_H
#define DPO_VECTOR_H

#include "base/dtype.h"

#include <stddef.h>

/*
 * Functions marked with this are also compiled for AVX2 and AVX-512, and dispatched by the loader. Contraction stays off in
 * all. Not by clang, whose clones do not link.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DPO_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DPO_WIDE
#endif

/* y = exp(x - shift), by dpo_exp (exponential.h) of the rounded difference. */
void dpo_vector_exp(float *y, const float *x, float shift, size_t n);
/* y = tanh(x); at most 1 ulp (SLEEF u10). */
void dpo_vector_tanh(float *y, const float *x, size_t n);
/* y = erf(x); at most 1 ulp (SLEEF u10). */
void dpo_vector_erf(float *y, const float *x, size_t n);
/* y = cap tanh(y / cap) */
void dpo_vector_cap(float *y, float cap, size_t n);
/* slope = 1 - (y / cap)^2: the slope of dpo_vector_cap at a y that is already capped */
void dpo_vector_cap_slope(float *slope, const float *y, float cap, size_t n);

/* y += x */
void dpo_vector_add(float *y, const float *x, size_t n);
/* y[j] += the sum of x[i][j] over rows that are ld apart, in their order */
void dpo_vector_add_rows(float *y, const float *x, size_t ld, size_t rows, size_t n);
/* y += a x */
void dpo_vector_axpy(float *y, float a, const float *x, size_t n);
/* y *= a */
void dpo_vector_scale(float *y, float a, size_t n);
/* y[i] = y[i] + bias[i] + residual[i], summed in this order; bias and residual may be NULL */
void dpo_vector_finish(float *y, const float *bias, const float *residual, size_t n);

/* y = the n numbers at x, stored as dtype (not OTHER) in the host's byte order and finite; exact. */
void dpo_vector_widen(float *y, const void *x, enum dpo_dtype dtype, size_t n);

/* The largest element; n > 0. NaN elements are skipped, unless all are NaN. */
float dpo_vector_max(const float *x, size_t n);
/* Sums are taken in float over runs of 256 and in double over the runs. */
double dpo_vector_sum(const float *x, size_t n);
/* The sum of (x[i] - mean)^2. */
double dpo_vector_spread(const float *x, float mean, size_t n);
/* The sum of x[i]^2, in double throughout. */
double dpo_vector_squares(const float *x, size_t n);

#endif
