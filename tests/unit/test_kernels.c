/* The fast kernels against the plainest loops in double precision, at odd sizes. */
#include "activation.h"
#include "attention.h"
#include "bf16.h"
#include "bytes.h"
#include "gemm.h"
#include "head.h"
#include "naive.h"
#include "norm.h"
#include "rope.h"
#include "strip.h"
#include "vector.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t seed = 7;
static int threads = 1;

static float *
noise(size_t n)
{
	return naive_numbers(n, &seed);
}

static float *
copy(const float *x, size_t n)
{
	float *y = dpo_alloc_aligned(n, sizeof *y);

	assert_non_null(y);
	memcpy(y, x, n * sizeof *y);
	return y;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void
near(double got, double wanted, double tolerance)
{
	if (!(fabs(got - wanted) <= tolerance))
		fail_msg("%.9g instead of %.9g", got, wanted);
}

/* ------------------------------------------------------------------ vector */

static void
test_vector(void **state)
{
	(void)state;
	for (size_t n = 1; n < 700; n = n * 2 + 1) {
		float *x = noise(n), *y = noise(n), *e = noise(n), most = x[0];
		double sum = 0.0, dot = 0.0, spread = 0.0;

		for (size_t i = 0; i < n; i++) {
			x[i] *= 20.0f;
			sum += (double)x[i];
			dot += (double)x[i] * (double)y[i];
			spread += ((double)x[i] - 0.5) * ((double)x[i] - 0.5);
			most = i == 0 || x[i] > most ? x[i] : most;
		}
		assert_true(dpo_vector_max(x, n) >= most && dpo_vector_max(x, n) <= most);
		near(dpo_vector_sum(x, n), sum, 1e-4);
		near(dpo_vector_dot(x, y, n), dot, 1e-4);
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

/* ------------------------------------------------------------------ gemm and linear */

static double
element(const struct dpo_operand *o, size_t row, size_t column)
{
	return (double)o->data[o->transposed ? column * o->ld + row : row * o->ld + column];
}

static void
check_product(size_t rows, size_t columns, size_t inner, bool ta, bool tb, bool extras)
{
	size_t lda = (ta ? rows : inner) + 3, ldb = (tb ? inner : columns) + 5, ldc = columns + 2;
	float *a = noise(lda * (ta ? inner : rows)), *b = noise(ldb * (tb ? columns : inner)),
	    *c = noise(ldc * rows);
	float *bias = noise(columns), *residual = noise(ldc * rows), *before = copy(c, ldc * rows);
	struct dpo_product p = { rows, columns, inner, { a, lda, ta }, { b, ldb, tb }, c, ldc,
	    extras ? 0.0f : 1.0f, extras ? bias : NULL, extras ? residual : NULL, ldc, DPO_DTYPE_F32, NULL };

	dpo_gemm(threads, &p);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < ldc; j++) {
			double sum = extras ? 0.0 : (double)before[i * ldc + j];

			if (j >= columns) {
				assert_memory_equal(&c[i * ldc + j], &before[i * ldc + j],
				    sizeof *c);
				continue;
			}
			for (size_t k = 0; k < inner; k++)
				sum += element(&p.a, i, k) * element(&p.b, k, j);
			if (extras)
				sum += (double)bias[j] + (double)residual[i * ldc + j];
			near((double)c[i * ldc + j], sum, 1e-4);
		}
	free(a);
	free(b);
	free(c);
	free(bias);
	free(residual);
	free(before);
}

static void
test_gemm(void **state)
{
	static const size_t sizes[][3] = { { 1, 1, 1 }, { 3, 5, 7 }, { 67, 131, 33 },
	    { 515, 40, 9 }, { 33, 1601, 12 }, { 600, 800, 3 } };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned form = 0; form < 8; form++)
			check_product(sizes[i][0], sizes[i][1], sizes[i][2], form & 1, form & 2,
			    form & 4);
}

/* B in 16 bits gives the bits of the same B as floats, whatever the thread count; beyond DPO_GEMM_INNER, its sum. */
static void
check_stored(enum dpo_dtype dtype, size_t rows, size_t columns, size_t inner, bool transposed)
{
	size_t ld = (transposed ? inner : columns) + 3, count = ld * (transposed ? columns : inner);
	uint16_t *stored = dpo_alloc(count, sizeof *stored);
	float *a = noise(rows * inner), *b = noise(count), *c = noise(rows * columns), *wanted = copy(c, rows * columns);
	struct dpo_product p = { .rows = rows, .columns = columns, .inner = inner, .a = { a, inner, false },
	    .b = { b, ld, transposed }, .c = wanted, .ldc = columns, .keep = 1.0f };
	float *before = copy(c, rows * columns), *scratch;

	assert_non_null(stored);
	for (size_t i = 0; i < count; i++) {
		stored[i] = dtype == DPO_DTYPE_BF16 ? (uint16_t)(dpo_bytes_from_float(b[i]) >> 16) :
		    (uint16_t)((i * 2654435761u >> 16) & 0xbbff);
		b[i] = dtype == DPO_DTYPE_BF16 ? dpo_bytes_from_bf16(stored[i]) : dpo_bytes_from_f16(stored[i]);
	}
	dpo_gemm(threads, &p);
	memcpy(&p.b.data, &stored, sizeof stored);
	p.c = c;
	p.b_dtype = dtype;
	for (int n = 1; n <= 3; n++) {
		memcpy(c, before, rows * columns * sizeof *c);
		p.scratch = scratch = noise(dpo_gemm_scratch(n, columns, inner));
		dpo_gemm(n, &p);
		free(scratch);
		if (inner <= DPO_GEMM_INNER)
			assert_memory_equal(c, wanted, rows * columns * sizeof *c);
		for (size_t i = 0; i < rows * columns; i++)
			near((double)c[i], (double)wanted[i], 1e-2);
	}
	free(stored);
	free(a);
	free(b);
	free(c);
	free(wanted);
	free(before);
}

static void
test_gemm_stored(void **state)
{
	(void)state;
	for (enum dpo_dtype dtype = DPO_DTYPE_F16; dtype <= DPO_DTYPE_BF16; dtype++)
		for (int transposed = 0; transposed < 2; transposed++) {
			check_stored(dtype, 1, 1, 1, transposed);
			check_stored(dtype, 67, 131, 33, transposed);
			check_stored(dtype, 515, 40, 9, transposed);
			check_stored(dtype, 33, 1601, 120, transposed);
			check_stored(dtype, 3, 20, DPO_GEMM_INNER + 77, transposed);
		}
}

/* Shapes that cross every edge of the kernel's blocks and panels. */
static void
test_gemm_blocks(void **state)
{
	static const size_t sizes[][3] = { { 26, 64, 256 }, { 29, 17, 257 }, { 661, 33, 300 }, { 14, 799, 5 },
	    { 1, 385, 1025 }, { 40, 40, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned form = 0; form < 8; form++)
			check_product(sizes[i][0], sizes[i][1], sizes[i][2], form & 1, form & 2, form & 4);
}

/* Nine rows and columns of a product at (row, column) have the bits that they have as a product of their own. */
static void
check_company(const struct dpo_product *p, size_t row, size_t column)
{
	enum { FEW = 9 };
	struct dpo_operand a = p->a, b = p->b;
	float part[FEW * FEW];

	a.data += a.transposed ? row : row * a.ld;
	b.data += b.transposed ? column * b.ld : column;
	for (size_t i = 0; i < FEW * FEW; i++)
		part[i] = 1.5f;
	dpo_gemm_one(FEW, FEW, p->inner, 1.0f, a, b, p->keep, part, FEW);
	for (size_t i = 0; i < FEW; i++)
		assert_memory_equal(part + i * FEW, p->c + (row + i) * p->ldc + column, FEW * sizeof *part);
}

/*
 * An element has the same bits in every product that it is part of: whatever its neighbours, its place, the layout of the
 * operands, the threads, and how many blocks of the inner index are packed at once.
 */
static void
test_kernel_company(void **state)
{
	enum { ROWS = 850, COLUMNS = 2090 };
	static const size_t inner[] = { 1, 30, 150, 383, 385, 767, 768, 1030 };

	(void)state;
	if (!dpo_kernel_here())
		skip();
	for (size_t n = 0; n < sizeof inner / sizeof *inner; n++) {
		float *a = noise(ROWS * inner[n]), *b = noise(inner[n] * COLUMNS), *c = noise(ROWS * COLUMNS);

		for (unsigned form = 0; form < 12; form++) {
			bool ta = form & 1, tb = form & 2;
			size_t rows = form < 8 ? 200 : ROWS;
			struct dpo_product p = { .rows = rows, .columns = COLUMNS, .inner = inner[n],
			    .a = { a, ta ? rows : inner[n], ta }, .b = { b, tb ? inner[n] : COLUMNS, tb }, .c = c,
			    .ldc = COLUMNS, .keep = form & 4 ? 1.0f : 0.0f };

			for (size_t i = 0; i < rows * COLUMNS; i++)
				c[i] = 1.5f;
			dpo_gemm((int)(form % 3) + 1, &p);
			check_company(&p, 0, 0);
			check_company(&p, 37, 1037);
			check_company(&p, rows - 9, COLUMNS - 9);
		}
		free(a);
		free(b);
		free(c);
	}
}

static void
check_linear(enum dpo_layout layout, size_t rows, size_t in, size_t out)
{
	float *w = noise(in * out), *b = noise(out), *x = noise(rows * in), *dy = noise(rows * out),
	    *y = noise(rows * out);
	float *dx = noise(rows * in), *dw = noise(in * out), *db = noise(out),
	    *dw0 = copy(dw, in * out);
	struct dpo_linear linear = { .in = in, .out = out, .layout = layout, .weight = w, .bias = b, .d_weight = dw,
	    .d_bias = db };
	size_t si = layout == DPO_LAYOUT_OUT_IN ? 1 : out,
	    so = layout == DPO_LAYOUT_OUT_IN ? in : 1;

	dpo_linear_forward(threads, &linear, rows, (struct dpo_rows){ x, in },
	    (struct dpo_rows){ 0 }, (struct dpo_rows){ y, out });
	dpo_linear_backward_input(threads, &linear, rows, (struct dpo_rows){ dy, out }, 0.0f,
	    (struct dpo_rows){ dx, in });
	db[0] = 1.0f;
	memset(db + 1, 0, (out - 1) * sizeof *db);
	dpo_linear_backward_weight(threads, &linear, rows, (struct dpo_rows){ x, in },
	    (struct dpo_rows){ dy, out });
	for (size_t o = 0; o < out; o++) {
		double sum = o == 0 ? 1.0 : 0.0;

		for (size_t r = 0; r < rows; r++)
			sum += (double)dy[r * out + o];
		near((double)db[o], sum, 1e-4);
		for (size_t i = 0; i < in; i++) {
			sum = (double)dw0[i * si + o * so];
			for (size_t r = 0; r < rows; r++)
				sum += (double)dy[r * out + o] * (double)x[r * in + i];
			near((double)dw[i * si + o * so], sum, 1e-4);
		}
	}
	for (size_t r = 0; r < rows; r++) {
		for (size_t o = 0; o < out; o++) {
			double sum = (double)b[o];

			for (size_t i = 0; i < in; i++)
				sum += (double)x[r * in + i] * (double)w[i * si + o * so];
			near((double)y[r * out + o], sum, 1e-4);
		}
		for (size_t i = 0; i < in; i++) {
			double sum = 0.0;

			for (size_t o = 0; o < out; o++)
				sum += (double)dy[r * out + o] * (double)w[i * si + o * so];
			near((double)dx[r * in + i], sum, 1e-4);
		}
	}
	free(w);
	free(b);
	free(x);
	free(dy);
	free(y);
	free(dx);
	free(dw);
	free(db);
	free(dw0);
}

static void
test_linear(void **state)
{
	(void)state;
	check_linear(DPO_LAYOUT_OUT_IN, 131, 37, 259);
	check_linear(DPO_LAYOUT_IN_OUT, 131, 37, 259);
	check_linear(DPO_LAYOUT_OUT_IN, 1, 5, 3);
	check_linear(DPO_LAYOUT_IN_OUT, 1, 5, 3);
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

static void
test_rope(void **state)
{
	enum { ROWS = 9, HEADS = 3, DIM = 10, LD = HEADS * DIM + 7 };
	float table[20 * DIM], *x = noise(ROWS * LD), *was = copy(x, ROWS * LD);
	const int32_t positions[ROWS] = { 0, 1, 2, 3, 2, 3, 4, 19, 0 };
	const struct dpo_rope rope = { .dim = DIM, .theta = 10000, .scale = 1 };
	const struct dpo_rope_heads heads = { 0, DIM, HEADS };

	(void)state;
	dpo_rope_table(table, 20, &rope, 20);
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, 1.0f);
	for (size_t r = 0; r < ROWS; r++)
		for (size_t i = 0; i < DIM / 2; i++) {
			double angle = positions[r] * pow(10000.0, -2.0 * (double)i / DIM);
			double low = (double)was[r * LD + DIM + i],
			    high = (double)was[r * LD + DIM + DIM / 2 + i];

			near((double)x[r * LD + DIM + i], low * cos(angle) - high * sin(angle),
			    1e-5);
			near((double)x[r * LD + DIM + DIM / 2 + i],
			    high * cos(angle) + low * sin(angle), 1e-5);
		}
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, -1.0f);
	for (size_t i = 0; i < ROWS * LD; i++)
		near((double)x[i], (double)was[i], 1e-6);
	free(x);
	free(was);
}

/*
 * A head of which only the first 4 of 6 elements turn, the second of every 3 heads; with a scale.
 * The transposed rotation scales twice.
 */
static void
test_rope_in_part(void **state)
{
	enum { ROWS = 2, DIM = 4, STEP = 18, LD = 2 * STEP };
	const struct dpo_rope rope = { .dim = DIM, .theta = 100, .scale = 1.5 };
	const struct dpo_rope_heads heads = { 6, STEP, 2 };
	const int32_t positions[ROWS] = { 3, 1 };
	float table[4 * DIM], *x = noise(ROWS * LD), *was = copy(x, ROWS * LD);

	(void)state;
	dpo_rope_table(table, 4, &rope, 4);
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, 1.0f);
	for (size_t i = 0; i < ROWS * LD; i++) {
		size_t at = i % STEP, row = i / LD;
		double turned = at == 6 || at == 8 ? 1.0 : 0.1, angle = positions[row] * turned;

		if (at < 6 || at >= 6 + DIM)
			near((double)x[i], (double)was[i], 0.0);
		else if (at < 8)
			near((double)x[i], 1.5 * ((double)was[i] * cos(angle) -
			    (double)was[i + 2] * sin(angle)), 1e-6);
		else
			near((double)x[i], 1.5 * ((double)was[i] * cos(positions[row] * (at == 8 ?
			    1.0 : 0.1)) + (double)was[i - 2] * sin(positions[row] * (at == 8 ? 1.0 :
			    0.1))), 1e-6);
	}
	dpo_rope_apply(threads, table, DIM, positions, ROWS, x, LD, heads, -1.0f);
	for (size_t i = 0; i < ROWS * LD; i++)
		near((double)x[i], (double)was[i] * (i % STEP < 6 || i % STEP >= 6 + DIM ? 1.0 :
		    2.25), 1e-6);
	free(x);
	free(was);
}

/* The frequency of element i of the table, from position 1. */
static double
frequency(const struct dpo_rope *rope, size_t i, size_t length)
{
	float table[2 * 64];

	dpo_rope_table(table, 2, rope, length);
	return atan2((double)table[rope->dim + rope->dim / 2 + i], (double)table[rope->dim + i]);
}

static void
test_rope_stretched(void **state)
{
	struct dpo_rope rope = { .dim = 64, .theta = 10000, .factor = 4, .original = 100, .scale = 1,
	    .low_frequency = 1, .high_frequency = 4, .beta_fast = 32, .beta_slow = 1,
	    .truncate = true };
	const double turn = 2.0 * 3.14159265358979323846;

	(void)state;
	rope.kind = DPO_ROPE_DYNAMIC;
	assert_int_equal(dpo_rope_choice(&rope, 1), dpo_rope_choice(&rope, 100));
	assert_int_not_equal(dpo_rope_choice(&rope, 100), dpo_rope_choice(&rope, 101));
	assert_int_not_equal(dpo_rope_choice(&rope, 102), dpo_rope_choice(&rope, 101));
	rope.kind = DPO_ROPE_LONGROPE;
	assert_int_equal(dpo_rope_choice(&rope, 1), dpo_rope_choice(&rope, 100));
	assert_int_not_equal(dpo_rope_choice(&rope, 100), dpo_rope_choice(&rope, 101));
	assert_int_equal(dpo_rope_choice(&rope, 900), dpo_rope_choice(&rope, 101));
	for (size_t i = 0; i < 32; i++) {
		double g = pow(10000.0, -(double)i / 32.0), wave = turn / g, smooth, ramp;

		rope.short_factors[i] = 2.0f;
		rope.long_factors[i] = 3.0f + (float)i;
		rope.kind = DPO_ROPE_LONGROPE;
		near(frequency(&rope, i, 100) / (g / 2.0), 1.0, 1e-6);
		near(frequency(&rope, i, 101) / (g / (3.0 + (double)i)), 1.0, 1e-6);
		rope.kind = DPO_ROPE_LINEAR;
		near(frequency(&rope, i, 101) / (g / 4.0), 1.0, 1e-6);
		rope.kind = DPO_ROPE_DYNAMIC;
		near(frequency(&rope, i, 100) / g, 1.0, 1e-6);
		near(frequency(&rope, i, 150) / pow(10000.0 * pow(4.0 * 1.5 - 3.0, 64.0 / 62.0),
		    -(double)i / 32.0), 1.0, 2e-6);
		rope.kind = DPO_ROPE_LLAMA3;
		smooth = (100.0 / wave - 1.0) / 3.0;
		near(frequency(&rope, i, 1) / (wave < 25.0 ? g : wave > 100.0 ? g / 4.0 :
		    (1.0 - smooth) * g / 4.0 + smooth * g), 1.0, 2e-6);
		/* In 100 positions head element 0 turns 16 times, so the ramp begins at 0; one turn is at 9.6. */
		rope.kind = DPO_ROPE_YARN;
		ramp = fmin((double)i / 10.0, 1.0);
		near(frequency(&rope, i, 1) / (ramp * g / 4.0 + (1.0 - ramp) * g), 1.0, 2e-6);
	}
}

/* ------------------------------------------------------------------ attention */

/* Numbers of eight bits, so that products in bf16 are exact too. */
static float *
eighths(size_t n)
{
	float *x = noise(n);

	for (size_t i = 0; i < n; i++)
		x[i] = roundf(x[i] * 64.0f) / 64.0f;
	return x;
}

/* Of B's inner x columns numbers the part from `first` and `column` on; what lies beside C stays as it was. */
static void
check_strip(const struct dpo_strip *strip, size_t rows, size_t columns, size_t inner, size_t part, bool across, bool keep)
{
	enum { LD = 150 };
	struct dpo_operand a = { eighths(LD * LD), LD, across }, b = { eighths(LD * LD), LD, !across };
	float *c = noise(LD * LD), *before = copy(c, LD * LD), *room = noise((size_t)160 * 160);
	size_t first = inner > part ? part : 0, column = columns > part ? part : 0;
	struct dpo_strip_operand laid = strip->lay(room, b, columns, inner);

	strip->product(rows, columns - column, inner - first, a, laid, first, column, keep, c, LD);
	for (size_t i = 0; i < LD; i++)
		for (size_t j = 0; j < LD; j++) {
			bool inside = i < rows && j < columns - column;
			double wanted = keep || !inside ? (double)before[i * LD + j] : 0.0;

			for (size_t k = 0; k < inner - first && inside; k++) {
				size_t row = first + k, to = column + j;

				wanted += (double)a.data[across ? k * LD + i : i * LD + k] *
				    (double)b.data[across ? row * LD + to : to * LD + row];
			}
			near((double)c[i * LD + j], wanted, inside ? 2e-5 : 0.0);
		}
	free(room);
	free(before);
	free(c);
	free((void *)(uintptr_t)b.data);
	free((void *)(uintptr_t)a.data);
}

static void
test_strip(void **state)
{
	(void)state;
	for (int bf16 = 0; bf16 < (dpo_bf16_kernel() ? 2 : 1); bf16++) {
		const struct dpo_strip *strip = dpo_strip_best(bf16, 64);

		for (size_t n = 1; n < 140; n = n * 2 + 1) {
			check_strip(strip, strip->rows, n, 64, 0, false, false);
			check_strip(strip, least(n, strip->rows), 64, 130, 32, true, true);
			check_strip(strip, 11, 70, n, 64, true, true);
			check_strip(strip, 12, 128, n, 32, false, true);
		}
	}
}

enum { HEADS = 4, KV = 2, DIM = 6, LD_OUT = HEADS * DIM };

/* Does row i see row j, within the window? */
static bool
sees(const struct dpo_attention *a, size_t i, size_t j)
{
	const struct dpo_sequence *s = a->sequence;

	for (size_t n = 0; n < s->n_segments; n++) {
		const struct dpo_segment *at = &s->segments[n];

		if (i >= at->first && i < at->first + at->rows)
			return (j < at->prefix || (j >= at->first && j <= i)) && (a->window == 0 ||
			    s->positions[i] - s->positions[j] < (int32_t)a->window);
	}
	return false;
}

/* c tanh(x / c), and its slope. */
static double
capped(const struct dpo_attention *a, double x, double *slope)
{
	double c = (double)a->cap, t = tanh(x / c);

	*slope = c > 0.0 ? 1.0 - t * t : 1.0;
	return c > 0.0 ? c * t : x;
}

/* p[rows] of row i and head h, and the row's output and gradients, by the definition. */
static void
naive_attention(const struct dpo_attention *a, const float *qkv, const float *d_out, double *out,
    double *d)
{
	const struct dpo_sequence *s = a->sequence;
	const size_t LD = (HEADS + 2 * a->kv_heads) * DIM;
	double *p = dpo_alloc(s->rows, sizeof *p), *dp = dpo_alloc(s->rows, sizeof *dp),
	    *slope = dpo_alloc(s->rows, sizeof *slope), scale = (double)a->scale;

	assert_true(p && dp && slope);
	for (size_t h = 0; h < HEADS; h++)
		for (size_t i = 0; i < s->rows; i++) {
			double sum = 0.0, delta = 0.0;
			size_t q = i * LD + h * a->query_step, o = i * LD_OUT + h * DIM;
			size_t key = a->key + h / (HEADS / a->kv_heads) * a->kv_step;
			size_t value = a->value + h / (HEADS / a->kv_heads) * a->kv_step;

			for (size_t j = 0; j < s->rows; j++) {
				p[j] = dp[j] = slope[j] = 0.0;
				if (!sees(a, i, j))
					continue;
				for (size_t c = 0; c < DIM; c++)
					p[j] += (double)qkv[q + c] * (double)qkv[j * LD + key + c] *
					    scale;
				p[j] = exp(capped(a, p[j], &slope[j]));
				sum += p[j];
			}
			for (size_t j = 0; j < s->rows; j++) {
				size_t v = j * LD + value;

				p[j] /= sum;
				for (size_t c = 0; c < DIM; c++) {
					out[o + c] += p[j] * (double)qkv[v + c];
					d[v + c] += p[j] * (double)d_out[o + c];
					dp[j] += (double)d_out[o + c] * (double)qkv[v + c];
				}
				delta += p[j] * dp[j];
			}
			for (size_t j = 0; j < s->rows; j++)
				for (size_t c = 0; c < DIM; c++) {
					size_t k = j * LD + key + c;
					double ds = p[j] * (dp[j] - delta) * slope[j] * scale;

					d[q + c] += ds * (double)qkv[k];
					d[k] += ds * (double)qkv[q + c];
				}
		}
	free(slope);
	free(p);
	free(dp);
}

/* More threads give the same bits, however rows are shared out among them. */
static void
check_attention_threads(const struct dpo_attention *a, const float *qkv, const float *out, const float *sums,
    const float *d_out, const float *d_qkv, float *scratch)
{
	size_t rows = a->sequence->rows, n = rows * (HEADS + 2 * a->kv_heads) * DIM, first = a->first * LD_OUT;
	float *out_again = noise(rows * LD_OUT), *sums_again = noise(rows * HEADS), *d_again = noise(n);

	dpo_attention_forward(7, a, qkv, out_again, sums_again);
	dpo_attention_backward(7, a, qkv, out, sums, d_out, d_again, scratch);
	assert_memory_equal(out + first, out_again + first, (rows * LD_OUT - first) * sizeof *out);
	assert_memory_equal(d_qkv, d_again, n * sizeof *d_qkv);
	for (size_t h = 0; h < HEADS; h++)
		assert_memory_equal(sums + h * rows + a->first, sums_again + h * rows + a->first,
		    (rows - a->first) * sizeof *sums);
	free(out_again);
	free(sums_again);
	free(d_again);
}

static void
check_attention_in(bool bf16, size_t prompt, size_t a, size_t b, size_t first, bool by_head, size_t window, float cap)
{
	const double off = bf16 ? 2e-2 : 1e-5;
	const size_t kv = by_head ? HEADS : KV, LD = (HEADS + 2 * kv) * DIM;
	struct dpo_sequence s = { 0 };
	int32_t tokens[512] = { 0 };
	struct dpo_example example = { tokens, prompt, 2, { tokens, tokens }, { a, b } };
	struct dpo_attention attention = dpo_attention_of(&s, HEADS, kv, DIM, by_head);
	float *qkv, *out, *sums, *d_out, *d_qkv, *scratch;
	double *out_wanted, *d_wanted;

	assert_int_equal(dpo_pack(&s, &example, 1, 512, NULL), DPO_OK);
	qkv = noise(s.rows * LD);
	out = noise(s.rows * LD_OUT);
	sums = noise(s.rows * HEADS);
	d_out = noise(s.rows * LD_OUT);
	d_qkv = noise(s.rows * LD);
	scratch = noise(s.rows * dpo_attention_scratch(HEADS, kv, DIM));
	out_wanted = dpo_alloc(s.rows * LD_OUT, sizeof *out_wanted);
	d_wanted = dpo_alloc(s.rows * LD, sizeof *d_wanted);
	assert_true(out_wanted && d_wanted);
	for (size_t i = 0; i < s.rows * LD && !bf16; i++)
		qkv[i] *= 4.0f;
	attention.bf16 = bf16;
	attention.window = window;
	attention.cap = cap;
	attention.first = first;
	memset(d_out, 0, first * LD_OUT * sizeof *d_out);
	naive_attention(&attention, qkv, d_out, out_wanted, d_wanted);
	for (size_t i = 0; i < first * LD_OUT; i++)
		d_out[i] = NAN;		/* not to be read */
	dpo_attention_forward(threads, &attention, qkv, out, sums);
	dpo_attention_backward(threads, &attention, qkv, out, sums, d_out, d_qkv, scratch);
	for (size_t i = first * LD_OUT; i < s.rows * LD_OUT; i++)
		near((double)out[i], out_wanted[i], off);
	check_attention_threads(&attention, qkv, out, sums, d_out, d_qkv, scratch);
	for (size_t i = 0; i < s.rows * LD; i++)
		near((double)d_qkv[i], d_wanted[i], 2.0 * off * (1.0 + fabs(d_wanted[i])));
	free(qkv);
	free(out);
	free(sums);
	free(d_out);
	free(d_qkv);
	free(scratch);
	free(out_wanted);
	free(d_wanted);
	dpo_sequence_free(&s);
}

static void
check_attention_of(size_t prompt, size_t a, size_t b, size_t first, bool by_head, size_t window, float cap)
{
	check_attention_in(false, prompt, a, b, first, by_head, window, cap);
	if (dpo_bf16_kernel())
		check_attention_in(true, prompt, a, b, first, by_head, window, cap);
}

static void
check_attention(size_t prompt, size_t a, size_t b, size_t first)
{
	check_attention_of(prompt, a, b, first, false, 0, 0.0f);
}

static void
test_attention_variants(void **state)
{
	static const size_t windows[] = { 1, 2, 3, 64, 100, 130, 1000 };

	(void)state;
	check_attention_of(140, 131, 66, 0, true, 0, 0.0f);
	check_attention_of(140, 131, 66, 0, false, 0, 0.7f);
	for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
		check_attention_of(140, 131, 66, i % 3 ? 139 : 0, i % 2 == 0, windows[i], i % 3 ? 0.0f : 1.5f);
		check_attention_of(0, 200, 3, 0, false, windows[i], 0.0f);
		check_attention_of(5, 4, 3, 4, false, windows[i], 0.0f);
	}
}

static void
test_attention(void **state)
{
	(void)state;
	check_attention(5, 4, 3, 0);
	check_attention(1, 1, 1, 0);
	check_attention(0, 70, 1, 0);
	check_attention(140, 131, 66, 0);
	check_attention(64, 65, 200, 0);
	check_attention(5, 4, 3, 4);
	check_attention(140, 131, 66, 139);
	check_attention(70, 65, 3, 64);
}

/* ------------------------------------------------------------------ head */

enum { HEAD_ROWS = 45, HIDDEN = 19, VOCAB = 2100 };

struct head_result {
	struct dpo_head_row rows[HEAD_ROWS];
	float logps[HEAD_ROWS * DPO_ANSWERS], dh[HEAD_ROWS * HIDDEN];
	float *d_weight;
};

/* Forward and backward with at most `keep` bytes kept. */
static void
run_head(struct head_result *r, const float *h, const float *weight, const int32_t *targets,
    const float *d_logps, float cap, size_t chunk, size_t keep, size_t kept_rows)
{
	struct dpo_arena arena = { 0 };
	struct dpo_head head;
	float *logits = noise(3 * VOCAB);

	do {
		dpo_arena_begin(&arena);
		dpo_head_carve(&head, HEAD_ROWS, HIDDEN, VOCAB, cap, chunk, keep, &arena);
	} while (dpo_arena_end(&arena) == DPO_ARENA_AGAIN);
	assert_int_equal(head.kept_rows, kept_rows);
	r->d_weight = dpo_alloc_aligned(VOCAB * HIDDEN, sizeof *r->d_weight);
	assert_non_null(r->d_weight);
	dpo_head_forward(threads, &head, weight, h, targets, r->rows, r->logps);
	dpo_head_backward(threads, &head, weight, h, targets, r->rows, d_logps, r->dh, r->d_weight);
	dpo_head_logits(threads, &head, weight, h, 14, 3, logits);
	for (size_t i = 0; i < 3; i++)
		for (size_t v = 0; v < VOCAB; v += 99) {
			double z = 0.0;

			for (size_t c = 0; c < HIDDEN; c++)
				z += (double)h[(14 + i) * HIDDEN + c] * (double)weight[v * HIDDEN +
				    c];
			near((double)logits[i * VOCAB + v],
			    cap > 0.0f ? (double)cap * tanh(z / (double)cap) : z, 1e-5);
		}
	free(logits);
	dpo_arena_free(&arena);
}

/* Row r of the result by the definition; adds its part of d_weight to dw. */
static void
check_head_row(const struct head_result *result, size_t r, const float *h, const float *weight,
    const int32_t *targets, const float *d_logps, double cap, double *dw)
{
	static double z[VOCAB], slope[VOCAB];
	double sum = 0.0, entropy = 0.0, mean = 0.0, g, dh[HIDDEN] = { 0 };
	size_t best = 0;

	for (size_t v = 0; v < VOCAB; v++) {
		z[v] = 0.0;
		for (size_t c = 0; c < HIDDEN; c++)
			z[v] += (double)h[r * HIDDEN + c] * (double)weight[v * HIDDEN + c];
		slope[v] = cap > 0.0 ? 1.0 - tanh(z[v] / cap) * tanh(z[v] / cap) : 1.0;
		z[v] = cap > 0.0 ? cap * tanh(z[v] / cap) : z[v];
		sum += exp(z[v]);
		mean += z[v] / VOCAB;
		best = z[v] > z[best] ? v : best;
	}
	for (size_t v = 0; v < VOCAB; v++) {
		double p = exp(z[v]) / sum;

		entropy -= p * log(p);
		g = 0.0;
		for (size_t a = 0; a < DPO_ANSWERS; a++)
			if (targets[r * DPO_ANSWERS + a] >= 0)
				g += (double)d_logps[r * DPO_ANSWERS + a] *
				    ((targets[r * DPO_ANSWERS + a] == (int32_t)v ? 1.0 : 0.0) - p) *
				    slope[v];
		for (size_t c = 0; c < HIDDEN; c++) {
			dh[c] += g * (double)weight[v * HIDDEN + c];
			dw[v * HIDDEN + c] += g * (double)h[r * HIDDEN + c];
		}
	}
	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		int32_t target = targets[r * DPO_ANSWERS + a];

		near((double)result->logps[r * DPO_ANSWERS + a],
		    target < 0 ? 0.0 : z[target] - log(sum), 5e-6);
	}
	near(result->rows[r].entropy, entropy, 1e-5);
	near(result->rows[r].mean, mean, 1e-6);
	assert_int_equal(result->rows[r].best, best);
	for (size_t c = 0; c < HIDDEN; c++)
		near((double)result->dh[r * HIDDEN + c], dh[c], 1e-5);
}

static void
check_head(float cap)
{
	static struct head_result kept, some, none;
	float *h = noise(HEAD_ROWS * HIDDEN), *weight = noise(VOCAB * HIDDEN),
	    *d_logps = noise(HEAD_ROWS * DPO_ANSWERS);
	int32_t targets[HEAD_ROWS * DPO_ANSWERS];
	double *dw = dpo_alloc(VOCAB * HIDDEN, sizeof *dw);
	size_t row = VOCAB * sizeof(float);

	assert_non_null(dw);
	for (size_t i = 0; i < HEAD_ROWS * DPO_ANSWERS; i++)
		targets[i] = i % 3 == 1 ? -1 : (int32_t)(i * 37 % VOCAB);
	run_head(&kept, h, weight, targets, d_logps, cap, 16 * row, (size_t)1 << 30, HEAD_ROWS);
	run_head(&some, h, weight, targets, d_logps, cap, 16 * row, 31 * row, 30);
	run_head(&none, h, weight, targets, d_logps, cap, 16 * row, 0, 0);
	for (size_t r = 0; r < HEAD_ROWS; r++)
		check_head_row(&kept, r, h, weight, targets, d_logps, (double)cap, dw);
	for (size_t i = 0; i < (size_t)VOCAB * HIDDEN; i++)
		near((double)kept.d_weight[i], dw[i], 1e-5);
	assert_memory_equal(kept.logps, none.logps, sizeof kept.logps);
	assert_memory_equal(kept.dh, none.dh, sizeof kept.dh);
	assert_memory_equal(kept.dh, some.dh, sizeof kept.dh);
	assert_memory_equal(kept.d_weight, none.d_weight, VOCAB * HIDDEN * sizeof(float));
	assert_memory_equal(kept.d_weight, some.d_weight, VOCAB * HIDDEN * sizeof(float));
	free(kept.d_weight);
	free(some.d_weight);
	free(none.d_weight);
	free(h);
	free(weight);
	free(d_logps);
	free(dw);
}

static void
test_head(void **state)
{
	(void)state;
	check_head(0.0f);
	check_head(1.25f);
}

/* Equal logits: the best is the lowest id. */
static void
test_head_ties(void **state)
{
	struct dpo_arena arena = { 0 };
	struct dpo_head head;
	struct dpo_head_row row;
	float h[2] = { 1.0f, 0.0f }, weight[40] = { 0 }, logps[DPO_ANSWERS];
	const int32_t targets[DPO_ANSWERS] = { 3, 7 };

	(void)state;
	weight[2 * 5] = weight[2 * 11] = weight[2 * 19] = 2.0f;
	do {
		dpo_arena_begin(&arena);
		dpo_head_carve(&head, 1, 2, 20, 0.0f, DPO_HEAD_CHUNK, 0, &arena);
	} while (dpo_arena_end(&arena) == DPO_ARENA_AGAIN);
	dpo_head_forward(1, &head, weight, h, targets, &row, logps);
	assert_int_equal(row.best, 5);
	near((double)logps[0], -log(17.0 + 3.0 * exp(2.0)), 1e-6);
	near((double)logps[1], (double)logps[0], 0.0);
	dpo_arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_exponential),
		cmocka_unit_test(test_vector_nan),
		cmocka_unit_test(test_vector_widen),
		cmocka_unit_test(test_gemm),
		cmocka_unit_test(test_gemm_blocks),
		cmocka_unit_test(test_kernel_company),
		cmocka_unit_test(test_gemm_stored),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_norm),
		cmocka_unit_test(test_activation),
		cmocka_unit_test(test_rope),
		cmocka_unit_test(test_rope_in_part),
		cmocka_unit_test(test_rope_stretched),
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_attention),
		cmocka_unit_test(test_attention_variants),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_head_ties),
	};

	threads = dpo_gemm_threads(2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
