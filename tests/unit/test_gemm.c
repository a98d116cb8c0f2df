/* Products of matrices in float, and linear maps. */
#include "base/bytes.h"
#include "base/size.h"
#include "decoder/linear.h"
#include "kernel/gemm.h"
#include "kernel/kernel.h"
#include "kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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
	    .b = { b, ld, transposed }, .c = wanted, .ldc = columns, .keep = true };
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
			check_stored(dtype, 3, 20, 0, transposed);
		}
}

/* Shapes that cross every edge of the kernel's blocks and panels. */
static void
test_gemm_blocks(void **state)
{
	static const size_t sizes[][3] = { { 26, 64, 256 }, { 29, 17, 257 }, { 661, 33, 300 }, { 14, 799, 5 },
	    { 1, 385, 1025 }, { 7, 20, 30 }, { 40, 40, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned form = 0; form < 8; form++)
			check_product(sizes[i][0], sizes[i][1], sizes[i][2], form & 1, form & 2, form & 4);
}

/* A few rows and columns of a product at (row, column) have the bits that they have as a product of their own. */
static void
check_company(const struct dpo_product *p, size_t row, size_t column)
{
	enum { ROWS = 9, COLUMNS = 45 };	/* not too few for any kernel */
	struct dpo_product own = *p;
	float part[ROWS * COLUMNS];

	own.rows = ROWS;
	own.columns = COLUMNS;
	own.a.data += own.a.transposed ? row : row * own.a.ld;
	own.b.data += own.b.transposed ? column * own.b.ld : column;
	own.c = part;
	own.ldc = COLUMNS;
	for (size_t i = 0; i < ROWS * COLUMNS; i++)
		part[i] = 1.5f;
	dpo_gemm(1, &own);
	for (size_t i = 0; i < ROWS; i++)
		assert_memory_equal(part + i * COLUMNS, p->c + (row + i) * p->ldc + column, COLUMNS * sizeof *part);
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
	if (!dpo_kernel_set())
		skip();	/* the BLAS promises no such thing */
	for (size_t n = 0; n < sizeof inner / sizeof *inner; n++) {
		float *a = noise(ROWS * inner[n]), *b = noise(inner[n] * COLUMNS), *c = noise(ROWS * COLUMNS);

		for (unsigned form = 0; form < 12; form++) {
			bool ta = form & 1, tb = form & 2;
			size_t rows = form < 8 ? 200 : ROWS;
			struct dpo_product p = { .rows = rows, .columns = COLUMNS, .inner = inner[n],
			    .a = { a, ta ? rows : inner[n], ta }, .b = { b, tb ? inner[n] : COLUMNS, tb }, .c = c,
			    .ldc = COLUMNS, .keep = form & 4 };

			for (size_t i = 0; i < rows * COLUMNS; i++)
				c[i] = 1.5f;
			dpo_gemm((int)(form % 3) + 1, &p);
			check_company(&p, 0, 0);
			check_company(&p, 37, 1037);
			check_company(&p, rows - 9, COLUMNS - 45);
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

	dpo_linear_forward(threads, &linear, rows, (struct dpo_matrix){ x, in },
	    (struct dpo_matrix){ 0 }, (struct dpo_matrix){ y, out });
	dpo_linear_backward_input(threads, &linear, rows, (struct dpo_matrix){ dy, out }, false,
	    (struct dpo_matrix){ dx, in });
	db[0] = 1.0f;
	memset(db + 1, 0, (out - 1) * sizeof *db);
	dpo_linear_backward_weight(threads, &linear, rows, (struct dpo_matrix){ x, in },
	    (struct dpo_matrix){ dy, out });
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

/* DPO_KERNEL=avx2 takes no more; blas leaves the products to the BLAS, and other loops as they are. */
static void
test_wish(void **state)
{
	enum dpo_wish wish = dpo_wish();

	(void)state;
	assert_true(dpo_cpu() <= (wish == DPO_WISH_AVX2 ? DPO_CPU_AVX2 : DPO_CPU_AVX512));
	assert_true(wish == DPO_WISH_AVX2 || dpo_cpu() == dpo_cpu_has());
	assert_int_equal(dpo_kernel_set(), wish == DPO_WISH_BLAS ? DPO_CPU_BASE : dpo_cpu());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gemm),
		cmocka_unit_test(test_gemm_blocks),
		cmocka_unit_test(test_kernel_company),
		cmocka_unit_test(test_gemm_stored),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_wish),
	};

	return kernels_run(tests);
}
