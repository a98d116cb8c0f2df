/* Strips of products, and attention, its gradients and its bits on other threads. */
#include "base/size.h"
#include "decoder/attention.h"
#include "kernel/bf16.h"
#include "kernel/strip.h"
#include "kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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
			check_strip(strip, dpo_size_least(n, strip->rows), 64, 130, 32, true, true);
			check_strip(strip, 11, 70, n, 64, true, true);
			check_strip(strip, 12, 128, n, 32, false, true);
		}
	}
}

enum { HEADS = 4, KV = 2, SMALL = 6 };	/* SMALL: a head_dim */

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
	const size_t DIM = a->head_dim, LD_OUT = HEADS * DIM, LD = (HEADS + 2 * a->kv_heads) * DIM;
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
	const size_t LD_OUT = HEADS * a->head_dim;
	size_t rows = a->sequence->rows, n = rows * (HEADS + 2 * a->kv_heads) * a->head_dim, first = a->first * LD_OUT;
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
check_attention_in(bool bf16, const size_t DIM, size_t prompt, size_t a, size_t b, size_t first, bool by_head, size_t window,
    float cap)
{
	const double off = (bf16 ? 2e-2 : 1e-5) * (1.0 + (double)DIM / 32.0);
	const size_t kv = by_head ? HEADS : KV, LD_OUT = HEADS * DIM, LD = (HEADS + 2 * kv) * DIM;
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
	check_attention_in(false, SMALL, prompt, a, b, first, by_head, window, cap);
	if (dpo_bf16_kernel())
		check_attention_in(true, SMALL, prompt, a, b, first, by_head, window, cap);
}

/* Blocks of fewer keys, and values of several vectors or tiles. */
static void
test_attention_head_dims(void **state)
{
	static const size_t dims[] = { 16, 40, 64, 130, 256, 512 };

	(void)state;
	for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
		for (int bf16 = 0; bf16 < (dpo_bf16_kernel() ? 2 : 1); bf16++) {
			check_attention_in(bf16, dims[i], 70, 65, 66, 0, i % 2 == 0, 0, 0.0f);
			check_attention_in(bf16, dims[i], 5, 140, 3, 4, false, i % 2 ? 33 : 0, 0.0f);
		}
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_attention),
		cmocka_unit_test(test_attention_variants),
		cmocka_unit_test(test_attention_head_dims),
	};

	return kernels_run(tests);
}
