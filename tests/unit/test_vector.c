/* Vectors, norms and activations. */
#include "base/bytes.h"
#include "base/size.h"
#include "decoder/activation.h"
#include "decoder/norm.h"
#include "kernel/vector.h"
#include "kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ------------------------------------------------------------------ vector */

static void
test_vector(void **state)
{
	(void)state;
	for (size_t n = 1; n < 700; n = n * 2 + 1) {
		float *x = noise(n), *y = noise(n), *e = noise(n), most = x[0];
		double sum = 0.0, spread = 0.0;

		for (size_t i = 0; i < n; i++) {
			x[i] *= 20.0f;
			sum += (double)x[i];
			spread += ((double)x[i] - 0.5) * ((double)x[i] - 0.5);
			most = i == 0 || x[i] > most ? x[i] : most;
		}
		assert_true(dpo_vector_max(x, n) >= most && dpo_vector_max(x, n) <= most);
		near(dpo_vector_sum(x, n), sum, 1e-4);
		near(dpo_vector_spread(x, 0.5f, n), spread, 1e-6 * spread);
		dpo_vector_exp(e, x, 1.0f, n);
		for (size_t i = 0; i < n; i++)
			near((double)e[i], exp((double)(x[i] - 1.0f)),
			    2e-7 * exp((double)(x[i] - 1.0f)));
		dpo_vector_tanh(e, x, n);
		for (size_t i = 0; i < n; i++)
			near((double)e[i], tanh((double)x[i]), 2e-7);
		memcpy(e, y, n * sizeof *e);
		dpo_vector_finish(e, x, x, n);
		for (size_t i = 0; i < n; i++)
			near((double)e[i], (double)(y[i] + x[i] + x[i]), 0.0);
		free(x);
		free(y);
		free(e);
	}
}

/* Every finite number of both types, at every alignment of a vector. */
static void
test_vector_widen(void **state)
{
	uint16_t *halves = dpo_alloc(65536, sizeof *halves);
	float *y = noise(65536);
	size_t n;

	(void)state;
	assert_non_null(halves);
	for (enum dpo_dtype dtype = DPO_DTYPE_F16; dtype <= DPO_DTYPE_BF16; dtype++) {
		uint32_t exponent = dtype == DPO_DTYPE_F16 ? 0x7c00 : 0x7f80;

		n = 0;
		for (uint32_t h = 0; h < 65536; h++)
			if ((h & exponent) != exponent)
				halves[n++] = (uint16_t)h;
		for (size_t from = 0; from < 9; from++) {
			dpo_vector_widen(y, halves + from, dtype, n - from);
			for (size_t i = from; i < n; i++)
				assert_int_equal(dpo_bytes_from_float(y[i - from]),
				    dpo_bytes_from_float(dtype == DPO_DTYPE_F16 ? dpo_bytes_from_f16(halves[i]) :
				    dpo_bytes_from_bf16(halves[i])));
		}
	}
	free(halves);
	free(y);
}

/* Against exp in double precision, through all exponents, and what exponential.h says of the rest. */
static void
test_exponential(void **state)
{
	float x[501], y[501], beyond[] = { -INFINITY, -1e30f, -88.1f, 88.1f, 1e30f, INFINITY, NAN };

	(void)state;
	for (float from = -87.3f; from < 87.0f; from += 0.5f) {
		for (size_t i = 0; i < 501; i++)
			x[i] = from + 0.001f * (float)i;
		dpo_vector_exp(y, x, 0.0f, 501);
		for (size_t i = 0; i < 501; i++)
			near((double)y[i], exp((double)x[i]), 1e-7 * exp((double)x[i]));
	}
	dpo_vector_exp(y, beyond, 0.0f, 7);
	for (size_t i = 0; i < 3; i++)
		near((double)y[i], 0.0, 0.0);
	for (size_t i = 3; i < 6; i++)
		near((double)y[i], exp(88.02), 1e-5 * exp(88.02));
	assert_true(isnan(y[6]));
}

static void
test_vector_nan(void **state)
{
	float x[19];

	(void)state;
	for (size_t at = 0; at < 19; at++) {
		for (size_t i = 0; i < 19; i++)
			x[i] = -(float)i - 1.0f;
		x[at] = NAN;
		near((double)dpo_vector_max(x, 19), at ? -1.0 : -2.0, 0.0);
		assert_true(isnan(dpo_vector_sum(x, 19)));
		dpo_vector_exp(x, x, 0.0f, 19);
		assert_true(isnan(x[at]));
	}
}

/* ------------------------------------------------------------------ norm and activation */

/* sum dy y of one row, in double */
static double
naive_norm(enum dpo_norm_kind kind, const double *x, const float *w, const float *b,
    const float *dy, size_t n)
{
	double mean = 0.0, spread = 0.0, sum = 0.0;

	for (size_t i = 0; i < n && kind == DPO_NORM_LAYER; i++)
		mean += x[i] / (double)n;
	for (size_t i = 0; i < n; i++)
		spread += (x[i] - mean) * (x[i] - mean) / (double)n;
	for (size_t i = 0; i < n; i++)
		sum += (double)dy[i] * ((x[i] - mean) / sqrt(spread + 1e-3) *
		    ((kind == DPO_NORM_RMS_FROM_ONE ? 1.0 : 0.0) + (double)w[i]) +
		    (kind == DPO_NORM_LAYER ? (double)b[i] : 0.0));
	return sum;
}

static void
check_norm(enum dpo_norm_kind kind, size_t rows, size_t n)
{
	float *x = noise(rows * n), *y = noise(rows * n), *dy = noise(rows * n),
	    *dx = noise(rows * n), *w = noise(n);
	float *b = noise(n), *dw = noise(n), *db = noise(n), *stats = noise(2 * rows);
	float *partial = noise(dpo_norm_partial(rows, n)), *dx0 = copy(dx, rows * n),
	    *dw0 = copy(dw, n);
	double *xd = dpo_alloc(n, sizeof *xd), wanted;
	struct dpo_norm norm = { kind, n, 1e-3f, w, b, dw, db };

	assert_non_null(xd);
	dpo_norm_forward(threads, &norm, rows, x, y, stats);
	dpo_norm_backward(threads, &norm, rows, x, stats, dy, dx, partial);
	for (size_t r = 0; r < rows; r++) {
		double got = 0.0;

		for (size_t i = 0; i < n; i++) {
			xd[i] = (double)x[r * n + i];
			got += (double)dy[r * n + i] * (double)y[r * n + i];
		}
		near(got, naive_norm(kind, xd, w, b, dy + r * n, n), 1e-4);
		for (size_t i = 0; i < n; i += 7) {
			double at = xd[i];

			xd[i] = at + 1e-5;
			wanted = naive_norm(kind, xd, w, b, dy + r * n, n);
			xd[i] = at - 1e-5;
			wanted = (wanted - naive_norm(kind, xd, w, b, dy + r * n, n)) / 2e-5;
			xd[i] = at;
			near((double)(dx[r * n + i] - dx0[r * n + i]), wanted,
			    1e-5 * (1.0 + fabs(wanted)));
		}
	}
	for (size_t i = 0; i < n; i++) {
		wanted = (double)dw0[i];
		for (size_t r = 0; r < rows; r++)
			wanted += (double)dy[r * n + i] * ((double)x[r * n +
			    i] - (double)stats[2 * r]) * (double)stats[2 * r + 1];
		near((double)dw[i], wanted, 1e-4);
	}
	free(x);
	free(y);
	free(dy);
	free(dx);
	free(w);
	free(b);
	free(dw);
	free(db);
	free(stats);
	free(partial);
	free(dx0);
	free(dw0);
	free(xd);
}

static void
test_norm(void **state)
{
	(void)state;
	check_norm(DPO_NORM_LAYER, 71, 301);
	check_norm(DPO_NORM_RMS, 71, 301);
	check_norm(DPO_NORM_RMS_FROM_ONE, 71, 301);
	check_norm(DPO_NORM_LAYER, 1, 3);
	check_norm(DPO_NORM_RMS, 1, 3);
}

/* One row's gradient of an RMSNorm, to the last bit: its sums are those of fixed lanes. Without d_weight it is the same. */
static void
test_norm_lanes(void **state)
{
	enum { N = 301 };
	float *x = noise(N), *dy = noise(N), *w = noise(N), *y = noise(N), dx[2][N] = { { 0 } }, dw[N] = { 0 }, terms[N], stats[2],
	    mean;
	float *partial = noise(dpo_norm_partial(1, N));
	struct dpo_norm norm = { DPO_NORM_RMS, N, 1e-3f, w, NULL, dw, NULL };

	(void)state;
	dpo_norm_forward(1, &norm, 1, x, y, stats);
	dpo_norm_backward(1, &norm, 1, x, stats, dy, dx[0], partial);
	norm.d_weight = NULL;
	dpo_norm_backward(1, &norm, 1, x, stats, dy, dx[1], partial);
	assert_memory_equal(dx[0], dx[1], sizeof dx[0]);
	for (size_t i = 0; i < N; i++)
		terms[i] = dy[i] * w[i] * (x[i] * stats[1]);
	mean = sum_by_lanes(terms, N) / (float)N;
	for (size_t i = 0; i < N; i++)
		near((double)dx[0][i], (double)(stats[1] * (dy[i] * w[i] - x[i] * stats[1] * mean)), 0);
	free(x);
	free(dy);
	free(w);
	free(y);
	free(partial);
}

/* a(x) by the definition */
static double
activation(enum dpo_activation kind, double x)
{
	switch (kind) {
	case DPO_ACTIVATION_GELU_TANH:
		return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x +
		    0.044715 * x * x * x)));
	case DPO_ACTIVATION_GELU:
		return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
	case DPO_ACTIVATION_SILU:
		return x / (1.0 + exp(-x));
	default:
		return fmax(x, 0.0);
	}
}

static double
activation_slope(enum dpo_activation kind, double x)
{
	return (activation(kind, x + 1e-5) - activation(kind, x - 1e-5)) / 2e-5;
}

static void
check_activation(enum dpo_activation kind)
{
	enum { ROWS = 5, N = 1037 };
	float *x = noise(ROWS * 2 * N), *dy = noise(ROWS * N), *y = noise(ROWS * N),
	    *dx = noise(ROWS * 2 * N), *again = noise(ROWS * N);

	for (size_t i = 0; i < ROWS * 2 * N; i++)
		x[i] *= 12.0f;
	dpo_activation_backward(threads, kind, DPO_MLP_PLAIN, ROWS, N, x, dy, dx, y);
	dpo_activation_forward(threads, kind, DPO_MLP_PLAIN, ROWS, N, x, again);
	assert_memory_equal(y, again, ROWS * N * sizeof *y);
	for (size_t i = 0; i < ROWS * N; i++) {
		double at = (double)x[i];

		near((double)y[i], activation(kind, at), 1e-6 * (1.0 + fabs(at)));
		near((double)dx[i], (double)dy[i] * activation_slope(kind, at),
		    2e-6 * (1.0 + fabs(at)));
	}
	dpo_activation_backward(threads, kind, DPO_MLP_GATED, ROWS, N, x, dy, dx, y);
	dpo_activation_forward(threads, kind, DPO_MLP_GATED, ROWS, N, x, again);
	assert_memory_equal(y, again, ROWS * N * sizeof *y);
	for (size_t r = 0; r < ROWS; r++)
		for (size_t i = 0; i < N; i++) {
			double gate = (double)x[2 * r * N + i], up = (double)x[(2 * r + 1) * N + i],
			    d = (double)dy[r * N + i];

			near((double)y[r * N + i], activation(kind, gate) * up, 4e-5);
			near((double)dx[2 * r * N + i], d * up * activation_slope(kind, gate), 4e-5);
			near((double)dx[(2 * r + 1) * N + i], d * activation(kind, gate), 2e-5);
		}
	free(x);
	free(dy);
	free(y);
	free(dx);
	free(again);
}

static void
test_activation(void **state)
{
	(void)state;
	check_activation(DPO_ACTIVATION_GELU_TANH);
	check_activation(DPO_ACTIVATION_SILU);
	check_activation(DPO_ACTIVATION_GELU);
	check_activation(DPO_ACTIVATION_RELU);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_exponential),
		cmocka_unit_test(test_vector_nan),
		cmocka_unit_test(test_vector_widen),
		cmocka_unit_test(test_norm),
		cmocka_unit_test(test_norm_lanes),
		cmocka_unit_test(test_activation),
	};

	return cmocka_run_group_tests(tests, kernels_set_up, NULL);
}
