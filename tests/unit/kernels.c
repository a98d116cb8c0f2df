#include "kernels.h"

#include "kernel/gemm.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

int threads = 1;

int
kernels_set_up(void **unused)
{
	(void)unused;
	threads = dpo_gemm_threads(2);
	return 0;
}

float *
noise(size_t n)
{
	static uint64_t seed = 7;

	return naive_numbers(n, &seed);
}

float *
copy(const float *x, size_t n)
{
	float *y = dpo_alloc_aligned(n, sizeof *y);

	assert_non_null(y);
	memcpy(y, x, n * sizeof *y);
	return y;
}

void
near(double got, double wanted, double tolerance)
{
	if (!(fabs(got - wanted) <= tolerance))
		fail_msg("%.9g instead of %.9g", got, wanted);
}

float
sum_by_lanes(const float *terms, size_t n)
{
	enum { LANES = 16 };
	float sums[LANES] = { 0 };
	size_t whole = n - n % LANES;

	for (size_t i = 0; i < whole; i++)
		sums[i % LANES] += terms[i];
	for (size_t half = LANES / 2; half > 0; half /= 2)
		for (size_t i = 0; i < half; i++)
			sums[i] += sums[i + half];
	for (size_t i = whole; i < n; i++)
		sums[0] += terms[i];
	return sums[0];
}

int
kernels_run_group(const struct CMUnitTest *tests, size_t n)
{
	static const char *const wishes[] = { "best", "vectors", "avx2", "blas" };
	int failed = 0;

	for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
		if (setenv("DPO_KERNEL", wishes[i], 1) != 0)
			return 1;
		failed += _cmocka_run_group_tests(wishes[i], tests, n, kernels_set_up, NULL);
	}
	return failed;
}
