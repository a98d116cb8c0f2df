#include "kernel/vector.h"

#include "base/cpu.h"
#include "kernel/exponential.h"
#include "kernel/lanes.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sleef.h>

enum { RUN = 256, MOST_LANES = 16, AHEAD = 1024 };

/* y = f(x) for n a multiple of MOST_LANES. */
typedef void map(float *y, const float *x, size_t n);

#if defined(__x86_64__)

/* The header declares these only where AVX is the baseline. */
__attribute__((target("avx512f"))) __m512 Sleef_tanhf16_u10avx512f(__m512);
__attribute__((target("avx512f"))) __m512 Sleef_erff16_u10avx512f(__m512);
__attribute__((target("avx2,fma"))) __m256 Sleef_tanhf8_u10avx2(__m256);
__attribute__((target("avx2,fma"))) __m256 Sleef_erff8_u10avx2(__m256);

#define MAP(name, set, lanes, function, prefix) \
	__attribute__((target(set))) static void \
	name(float *y, const float *x, size_t n) \
	{ \
		for (size_t i = 0; i < n; i += (lanes)) \
			prefix##storeu_ps(y + i, function(prefix##loadu_ps(x + i))); \
	}
MAP(tanh_avx512, "avx512f", 16, Sleef_tanhf16_u10avx512f, _mm512_)
MAP(erf_avx512, "avx512f", 16, Sleef_erff16_u10avx512f, _mm512_)
MAP(tanh_avx2, "avx2,fma", 8, Sleef_tanhf8_u10avx2, _mm256_)
MAP(erf_avx2, "avx2,fma", 8, Sleef_erff8_u10avx2, _mm256_)
MAP(tanh_base, "sse2", 4, Sleef_tanhf4_u10, _mm_)
MAP(erf_base, "sse2", 4, Sleef_erff4_u10, _mm_)

#else

static void
tanh_base(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = Sleef_tanhf_u10(x[i]);
}

static void
erf_base(float *y, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] = Sleef_erff_u10(x[i]);
}

#endif

static void
apply(map *f, float *y, const float *x, size_t n)
{
	float rest[MOST_LANES] = { 0 };
	size_t whole = n - n % MOST_LANES;

	f(y, x, whole);
	if (whole == n)
		return;
	memcpy(rest, x + whole, (n - whole) * sizeof *x);
	f(rest, rest, MOST_LANES);
	memcpy(y + whole, rest, (n - whole) * sizeof *x);
}

DPO_WIDE void
dpo_vector_exp(float *y, const float *x, float shift, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = dpo_exp(x[i] - shift);
}

void
dpo_vector_tanh(float *y, const float *x, size_t n)
{
	static map *const sets[] = DPO_CPU_SETS(tanh_base, tanh_avx2, tanh_avx512);

	apply(sets[dpo_cpu_has()], y, x, n);
}

void
dpo_vector_erf(float *y, const float *x, size_t n)
{
	static map *const sets[] = DPO_CPU_SETS(erf_base, erf_avx2, erf_avx512);

	apply(sets[dpo_cpu_has()], y, x, n);
}

DPO_WIDE void
dpo_vector_add(float *y, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] += x[i];
}

/* Sums of `vectors` vectors of columns, which the registers hold. */
__attribute__((always_inline)) static inline void
add_columns(const size_t vectors, float *y, const float *x, size_t ld, size_t rows)
{
	dpo_sums sums[8];

#pragma GCC unroll 8
	for (size_t v = 0; v < vectors; v++)
		DPO_EACH_LANE(k)
			sums[v].at[k] = 0;
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 8
		for (size_t v = 0; v < vectors; v++)
			DPO_EACH_LANE(k)
				sums[v].at[k] += x[i * ld + v * DPO_SUM_LANES + k];
#pragma GCC unroll 8
	for (size_t v = 0; v < vectors; v++)
		DPO_EACH_LANE(k)
			y[v * DPO_SUM_LANES + k] = sums[v].at[k] + y[v * DPO_SUM_LANES + k];
}

DPO_WIDE void
dpo_vector_add_rows(float *y, const float *x, size_t ld, size_t rows, size_t n)
{
	size_t j = 0;

	for (; j + 8 * DPO_SUM_LANES <= n; j += 8 * DPO_SUM_LANES)
		add_columns(8, y + j, x + j, ld, rows);
	for (; j + DPO_SUM_LANES <= n; j += DPO_SUM_LANES)
		add_columns(1, y + j, x + j, ld, rows);
	for (; j < n; j++) {
		float sum = 0.0f;

		for (size_t i = 0; i < rows; i++)
			sum += x[i * ld + j];
		y[j] += sum;
	}
}

DPO_WIDE void
dpo_vector_axpy(float *y, float a, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] += a * x[i];
}

DPO_WIDE void
dpo_vector_scale(float *y, float a, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] *= a;
}

DPO_WIDE static void
finish_both(float *y, const float *bias, const float *residual, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = y[i] + bias[i] + residual[i];
}

void
dpo_vector_finish(float *y, const float *bias, const float *residual, size_t n)
{
	if (bias && residual)
		finish_both(y, bias, residual, n);
	else if (bias)
		dpo_vector_add(y, bias, n);
	else if (residual)
		dpo_vector_add(y, residual, n);
}

DPO_WIDE static void
widen_bf16(float *y, const uint16_t *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		union { uint32_t bits; float number; } one = { .bits = (uint32_t)x[i] << 16 };

		y[i] = one.number;
	}
}

/*
 * The exponent field moves up as it is, and a multiplication by 2^(127 - 15) makes up for the other bias; subnormal
 * numbers become normal by it.
 */
DPO_WIDE static void
widen_f16(float *y, const uint16_t *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		union { uint32_t bits; float number; } one = { .bits = (x[i] & 0x7fffu) << 13 };

		one.number *= 0x1p112f;
		one.bits |= (x[i] & 0x8000u) << 16;
		y[i] = one.number;
	}
}

void
dpo_vector_widen(float *y, const void *x, enum dpo_dtype dtype, size_t n)
{
	if (dtype == DPO_DTYPE_F32)
		memcpy(y, x, n * sizeof *y);
	else
		(dtype == DPO_DTYPE_BF16 ? widen_bf16 : widen_f16)(y, x, n);
}

DPO_WIDE static float
max_lanes(const float *x, size_t n)
{
	return dpo_lanes_max(x, n, -INFINITY);
}

float
dpo_vector_max(const float *x, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	float most = max_lanes(x, whole);

	for (size_t i = whole; i < n; i++)
		most = x[i] > most ? x[i] : most;
	/* Nothing above: -infinity alone, or NaN alone, or both. */
	for (size_t i = 0; i < n && most < -FLT_MAX; i++)
		if (x[i] <= most)
			return most;
	return most < -FLT_MAX ? NAN : most;
}

DPO_WIDE static float
sum_run(const float *x, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	float sum = dpo_lanes_sum(x, whole);

	for (size_t i = whole; i < n; i++)
		sum += x[i];
	return sum;
}

DPO_WIDE static float
spread_run(const float *x, float mean, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	dpo_sums sums = { { 0 } };
	float sum;

	for (size_t i = 0; i < whole; i += DPO_SUM_LANES)
		DPO_EACH_LANE(k)
			sums.at[k] += (x[i + k] - mean) * (x[i + k] - mean);
	sum = dpo_lanes_total(&sums);
	for (size_t i = whole; i < n; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	return sum;
}

static size_t
run_length(size_t n, size_t at)
{
	return n - at < RUN ? n - at : RUN;
}

double
dpo_vector_sum(const float *x, size_t n)
{
	double sum = 0.0;

	for (size_t i = 0; i < n; i += RUN)
		sum += (double)sum_run(x + i, run_length(n, i));
	return sum;
}

double
dpo_vector_spread(const float *x, float mean, size_t n)
{
	double sum = 0.0;

	for (size_t i = 0; i < n; i += RUN)
		sum += (double)spread_run(x + i, mean, run_length(n, i));
	return sum;
}

/* Gradients come from memory: the next are prefetched, and the sums do not wait for each other. */
DPO_WIDE double
dpo_vector_squares(const float *x, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	double sums[DPO_SUM_LANES] = { 0 }, sum = 0.0;

	for (size_t i = 0; i < whole; i += DPO_SUM_LANES) {
		__builtin_prefetch(x + i + AHEAD);
#pragma omp simd
		for (size_t lane = 0; lane < DPO_SUM_LANES; lane++)
			sums[lane] += (double)x[i + lane] * (double)x[i + lane];
	}
	for (size_t lane = 0; lane < DPO_SUM_LANES; lane++)
		sum += sums[lane];
	for (size_t i = whole; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	return sum;
}

void
dpo_vector_cap(float *y, float cap, size_t n)
{
	dpo_vector_scale(y, 1.0f / cap, n);
	dpo_vector_tanh(y, y, n);
	dpo_vector_scale(y, cap, n);
}

DPO_WIDE void
dpo_vector_cap_slope(float *slope, const float *y, float cap, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		slope[i] = 1.0f - y[i] / cap * (y[i] / cap);
}
