/*
 * Thin products against the plainest loops in double precision, at odd sizes, with masks and turned results, of floats and in
 * bf16; their bits, whatever the company.
 */
#include "kernel/thin.h"

#include "base/bytes.h"
#include "base/size.h"
#include "kernel/kernel.h"
#include "kernel/narrow.h"
#include "kernels.h"
#include "naive.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const float UNTOUCHED = 77.0f;

enum { MASK_NONE, MASK_A, MASK_C, MASKS };

static uint64_t seed = 7;

static uint16_t *
random_bits(size_t n)
{
	uint16_t *bits = dpo_alloc(n, sizeof *bits);

	assert_non_null(bits);
	for (size_t i = 0; i < n; i++)
		bits[i] = (uint16_t)(32768.0f * naive_random(&seed) + 32768.0f);
	return bits;
}

/* One case: operands with room beyond their rows. */
struct trial {
	bool bf16, a_turned, b_turned, keep, c_turned;
	int masked;
	size_t rows, columns, inner, lda, ldb, ldc, step;
	float *a, *b, *before, *c, *room;
	uint16_t *mask;
};

static double
number(const struct trial *t, float x)
{
	return (double)(t->bf16 ? dpo_bytes_from_bf16(dpo_narrow_bf16(x)) : x);
}

static bool
stays(const struct trial *t, size_t line, size_t place)
{
	return t->mask[line * t->step + place / 16] >> place % 16 & 1;
}

static double
wanted(const struct trial *t, size_t i, size_t j)
{
	double sum = 0, before = (double)(t->c_turned ? t->before[j * t->ldc + i] : t->before[i * t->ldc + j]);

	for (size_t k = 0; k < t->inner; k++) {
		size_t line = t->a_turned ? k : i, place = t->a_turned ? i : k;

		if (t->masked != MASK_A || stays(t, line, place))
			sum += number(t, t->a[line * t->lda + place]) *
			    number(t, t->b_turned ? t->b[j * t->ldb + k] : t->b[k * t->ldb + j]);
	}
	return (t->keep ? before : 0) + (t->masked != MASK_C || stays(t, i, j) ? sum : 0);
}

/* C is what the loops give, and nothing beside it is touched. */
static void
compare(const struct trial *t)
{
	size_t lines = t->c_turned ? t->columns : t->rows, places = t->c_turned ? t->rows : t->columns;

	for (size_t line = 0; line < lines; line++)
		for (size_t place = 0; place < t->ldc; place++) {
			double got = (double)t->c[line * t->ldc + place], should = place >= places ? (double)UNTOUCHED :
			    t->c_turned ? wanted(t, place, line) : wanted(t, line, place);

			if (!(fabs(got - should) <= 2e-4))
				fail_msg("%zu x %zu x %zu%s%s%s%s, mask %d: %g instead of %g at %zu, %zu", t->rows, t->columns,
				    t->inner,
				    t->bf16 ? ", bf16" : "", t->a_turned ? ", A turned" : "", t->b_turned ? ", B turned" : "",
				    t->c_turned ? ", C turned" : "", t->masked, got, should, line, place);
		}
}

static void
multiply(const struct trial *t, size_t first, size_t rows, float *c)
{
	struct dpo_thin_right right = dpo_thin_right(t->bf16, t->a_turned, t->columns, t->inner,
	    (struct dpo_operand){ t->b, t->ldb, t->b_turned }, t->room);

	dpo_thin(&(struct dpo_thin){ .rows = rows, .a = { t->a + (t->a_turned ? first : first * t->lda), t->lda, t->a_turned },
	    .b = &right, .c = c, .ldc = t->ldc, .c_turned = t->c_turned, .keep = t->keep,
	    .mask = t->masked == MASK_NONE ? NULL : t->mask + (t->masked == MASK_A && t->a_turned ? first / 16 : first * t->step),
	    .mask_step = t->step, .mask_c = t->masked == MASK_C });
}

static void
try(struct trial t)
{
	size_t a_lines = t.a_turned ? t.inner : t.rows, c_lines = t.c_turned ? t.columns : t.rows;
	size_t c_places = t.c_turned ? t.rows : t.columns, half = t.rows / 32 * 16;

	t.lda = (t.a_turned ? t.rows : t.inner) + 3;
	t.ldb = (t.b_turned ? t.inner : t.columns) + 5;
	t.ldc = c_places + 2;
	t.step = t.rows + t.columns + t.inner;
	t.a = noise(a_lines * t.lda);
	t.b = noise((t.b_turned ? t.columns : t.inner) * t.ldb);
	t.before = noise(c_lines * t.ldc);
	t.c = noise(c_lines * t.ldc);
	t.room = noise(dpo_thin_room(t.columns, t.inner));
	t.mask = random_bits((a_lines + t.rows) * t.step);
	for (size_t line = 0; line < c_lines; line++)
		for (size_t place = c_places; place < t.ldc; place++)
			t.before[line * t.ldc + place] = UNTOUCHED;
	memcpy(t.c, t.before, c_lines * t.ldc * sizeof *t.c);
	multiply(&t, 0, t.rows, t.c);
	compare(&t);
	if (dpo_kernel_set() || t.bf16) {	/* in two parts, the same bits */
		float *parts = noise(c_lines * t.ldc);

		memcpy(parts, t.before, c_lines * t.ldc * sizeof *parts);
		multiply(&t, 0, half, parts);
		multiply(&t, half, t.rows - half, parts + (t.c_turned ? half : half * t.ldc));
		assert_memory_equal(parts, t.c, c_lines * t.ldc * sizeof *parts);
		free(parts);
	}
	free(t.a);
	free(t.b);
	free(t.before);
	free(t.c);
	free(t.room);
	free(t.mask);
}

static void
try_all(bool bf16)
{
	static const size_t sizes[][3] = { { 1, 1, 1 }, { 7, 5, 3 }, { 16, 16, 16 }, { 32, 16, 64 }, { 37, 8, 300 }, { 8, 333, 41 },
		{ 300, 33, 17 }, { 90, 64, 520 }, { 129, 1, 700 }, { 70, 17, 1100 }, { 33, 600, 16 }, { 3, 40, 0 }, { 0, 5, 5 },
		{ 5, 0, 5 } };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (unsigned form = 0; form < 16; form++)
			for (int masked = 0; masked < MASKS; masked++)
				if (!(form & 9 && masked == MASK_C))
					try((struct trial){ .bf16 = bf16, .a_turned = form & 1, .b_turned = form & 2,
					    .keep = form & 4,
					    .c_turned = form & 8, .masked = masked, .rows = sizes[i][0], .columns = sizes[i][1],
					    .inner = sizes[i][2] });
}

static void
test_floats(void **state)
{
	(void)state;
	(void)dpo_gemm_threads(1);
	try_all(false);
}

static void
test_bf16(void **state)
{
	(void)state;
	if (!dpo_bf16_kernel())
		skip();
	try_all(true);
}

/* An element's bits do not depend on the other columns either; where the kernel is our own. */
static void
test_company(void **state)
{
	enum { ROWS = 211, COLUMNS = 35, INNER = 600 };
	float *a, *b, *all, one;
	struct dpo_thin_right right;
	struct dpo_thin p;

	(void)state;
	if (!dpo_kernel_set())
		skip();
	a = noise(ROWS * INNER);
	b = noise(INNER * COLUMNS);
	all = noise(ROWS * COLUMNS);
	right = dpo_thin_right(false, false, COLUMNS, INNER, (struct dpo_operand){ b, COLUMNS, false }, NULL);
	p = (struct dpo_thin){ .rows = ROWS, .a = { a, INNER, false }, .b = &right, .c = all, .ldc = COLUMNS };
	dpo_thin(&p);
	p.rows = right.columns = 1;
	p.c = &one;
	for (size_t i = 0; i < ROWS; i += 7)
		for (size_t j = 0; j < COLUMNS; j += 3) {
			p.a.data = a + i * INNER;
			right.floats.data = b + j;
			dpo_thin(&p);
			assert_memory_equal(&one, all + i * COLUMNS + j, sizeof one);
		}
	free(a);
	free(b);
	free(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_floats),
		cmocka_unit_test(test_bf16),
		cmocka_unit_test(test_company),
	};

	return kernels_run(tests);
}
