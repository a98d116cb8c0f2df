#include "skinny.h"

#include "parallel.h"
#include "size.h"
#include "vector.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * Rows and outputs of one block of dot products: their sums fill the registers. STEP rows of an (in,out) weight are added at
 * once, to BLOCK sums; such a weight is cut into PARTS, bands of rows that lie in memory one after the other, whose sums are
 * added up in their order. An item of work is about ITEM weights; below SMALL weights there are no parts, and no thread is
 * woken. AHEAD bytes are fetched before their turn.
 */
enum { ROWS_AT_ONCE = 8, OUTS = 4, STEP = 8, PARTS = 8, BLOCK = 8192, ITEM = 1 << 18, SMALL = 1 << 17, AHEAD = 4096 };

/* Rows that share the scratch, and columns summed up at once. */
enum { GROUP = 64, COLUMNS = 512 };

struct kernel {
	void (*dot_rows)(enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const void *w,
		size_t at, size_t n, float *y, size_t ldy);
	void (*axpys)(enum dpo_dtype dtype, size_t rows, const float *x, size_t ldx, const void *w, size_t at, size_t ldw,
		float *y, size_t ldy, size_t columns);
};

static float
weight(const void *w, enum dpo_dtype dtype, size_t at)
{
	float number;

	if (dtype == DPO_DTYPE_F32)
		return ((const float *)w)[at];
	dpo_vector_widen(&number, (const uint8_t *)w + at * dpo_dtype_size(dtype), dtype, 1);
	return number;
}

/* ------------------------------------------------------------------ one kernel a set of instructions */

#define VECTORS(lanes) \
	typedef float floats##lanes __attribute__((vector_size(4 * lanes))); \
	typedef uint32_t words##lanes __attribute__((vector_size(4 * lanes))); \
	typedef uint16_t halves##lanes __attribute__((vector_size(2 * lanes)))

VECTORS(4);

#define NAME(f) f##_base
#define TARGET
#define LANES 4
#define VEC floats4
#define WORDS words4
#define HALVES halves4
#define MADD(a, b, c) ((a) * (b) + (c))
#define LOW(a, b) __builtin_shuffle(a, b, (words4){ 0, 4, 1, 5 })
#define HIGH(a, b) __builtin_shuffle(a, b, (words4){ 2, 6, 3, 7 })
#define LEFT(a, b) __builtin_shuffle(a, b, (words4){ 0, 1, 4, 5 })
#define RIGHT(a, b) __builtin_shuffle(a, b, (words4){ 2, 3, 6, 7 })
#define FOLD(v) (v)
#include "skinny_kernel.h"

#if defined(__x86_64__)

VECTORS(8);
VECTORS(16);

#define NAME(f) f##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define VEC floats8
#define WORDS words8
#define HALVES halves8
#define MADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#define LOW(a, b) _mm256_unpacklo_ps(a, b)
#define HIGH(a, b) _mm256_unpackhi_ps(a, b)
#define LEFT(a, b) _mm256_shuffle_ps(a, b, 0x44)
#define RIGHT(a, b) _mm256_shuffle_ps(a, b, 0xee)
#define FOLD(v) (_mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1))
#include "skinny_kernel.h"

#define NAME(f) f##_avx512
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define LANES 16
#define VEC floats16
#define WORDS words16
#define HALVES halves16
#define MADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define LOW(a, b) _mm512_unpacklo_ps(a, b)
#define HIGH(a, b) _mm512_unpackhi_ps(a, b)
#define LEFT(a, b) _mm512_shuffle_ps(a, b, 0x44)
#define RIGHT(a, b) _mm512_shuffle_ps(a, b, 0xee)
#define FOLD(v) (_mm512_extractf32x4_ps(v, 0) + _mm512_extractf32x4_ps(v, 2) + \
	(_mm512_extractf32x4_ps(v, 1) + _mm512_extractf32x4_ps(v, 3)))
#include "skinny_kernel.h"

static const struct kernel kernels[] = { { dot_rows_base, axpys_base }, { dot_rows_avx2, axpys_avx2 },
	{ dot_rows_avx512, axpys_avx512 } };

enum dpo_skinny_set
dpo_skinny_best(void)
{
	if (__builtin_cpu_supports("avx512f"))
		return DPO_SKINNY_AVX512;
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? DPO_SKINNY_AVX2 : DPO_SKINNY_BASE;
}

#else

static const struct kernel kernels[] = { { dot_rows_base, axpys_base } };

enum dpo_skinny_set
dpo_skinny_best(void)
{
	return DPO_SKINNY_BASE;
}

#endif

/* ------------------------------------------------------------------ items */

struct work {
	const struct kernel *kernel;
	const struct dpo_linear *linear;
	size_t rows, parts, pieces, columns;	/* columns of an item: of the outputs, cut into pieces */
	struct dpo_rows x, residual, y;
};

/* A number of columns that is a multiple of `unit`, of which `pieces` make all outputs. */
static size_t
columns_of(const struct dpo_linear *linear, size_t pieces, size_t unit)
{
	return dpo_size_parts(dpo_size_parts(linear->out, pieces), unit) * unit;
}

static void
finish(const struct work *w, size_t row, size_t first, size_t n)
{
	dpo_vector_finish(w->y.data + row * w->y.ld + first, w->linear->bias ? w->linear->bias + first : NULL,
	    w->residual.data ? w->residual.data + row * w->residual.ld + first : NULL, n);
}

/* ------------------------------------------------------------------ (out,in) weights */

/* A piece of the outputs. */
static void
some_outputs(void *context, size_t item)
{
	const struct work *w = context;
	const struct dpo_linear *linear = w->linear;
	size_t first = item * w->columns, n = first < linear->out ? dpo_size_least(linear->out - first, w->columns) : 0;

	for (size_t out = first, outs; out < first + n; out += outs) {
		outs = dpo_size_least(first + n - out, OUTS);
		w->kernel->dot_rows(linear->dtype, w->rows, outs, w->x.data, w->x.ld, linear->weight, out * linear->in,
		    linear->in, w->y.data + out, w->y.ld);
	}
	for (size_t r = 0; n > 0 && r < w->rows; r++)
		finish(w, r, first, n);
}

/* Each thread has the same number of items, long runs of memory. */
static void
by_outputs(int threads, struct work *w)
{
	size_t each = w->linear->in * w->linear->out / ITEM / (size_t)threads;

	w->pieces = (size_t)threads * (each ? each : 1);
	w->columns = columns_of(w->linear, w->pieces, OUTS);
	dpo_parallel_for(threads, w->pieces, some_outputs, w);
}

/* ------------------------------------------------------------------ (in,out) weights */

/* Where the sums of a part go: alone, it is all there is to sum. */
static struct dpo_rows
sums_of(const struct work *w, size_t part)
{
	if (w->parts == 1)
		return w->y;
	return (struct dpo_rows){ w->linear->scratch + part * w->rows * w->linear->out, w->linear->out };
}

/*
 * The sums of columns first .. first+n over inputs from .. to. They gather in a block of their own: where they go, rows may
 * lie a multiple of 4 kB apart as those of the weight do, and would push each other out of the cache.
 */
static void
sum_block(const struct work *w, size_t from, size_t to, size_t first, size_t n, struct dpo_rows sums)
{
	const struct dpo_linear *linear = w->linear;
	size_t ld = linear->out, k = from;
	float block[BLOCK];

	memset(block, 0, w->rows * n * sizeof *block);
	for (; k + STEP <= to; k += STEP)
		w->kernel->axpys(linear->dtype, w->rows, w->x.data + k, w->x.ld, linear->weight, k * ld + first, ld, block, n, n);
	for (; k < to; k++)
		for (size_t r = 0; r < w->rows; r++)
			for (size_t j = 0; j < n; j++)
				block[r * n + j] += w->x.data[r * w->x.ld + k] *
				    weight(linear->weight, linear->dtype, k * ld + first + j);
	for (size_t r = 0; r < w->rows; r++)
		memcpy(sums.data + r * sums.ld + first, block + r * n, n * sizeof *block);
}

/* A piece of the columns of a part. */
static void
some_inputs(void *context, size_t item)
{
	const struct work *w = context;
	size_t part = item / w->pieces, first = item % w->pieces * w->columns, wide = BLOCK / w->rows / 16 * 16;
	size_t band = dpo_size_parts(dpo_size_parts(w->linear->in, w->parts), STEP) * STEP;
	size_t from = dpo_size_least(w->linear->in, part * band), to = dpo_size_least(w->linear->in, from + band);
	size_t end = dpo_size_least(w->linear->out, first + w->columns);

	for (; first < end; first += wide)
		sum_block(w, from, to, first, dpo_size_least(end - first, wide), sums_of(w, part));
}

/* Some columns of a row: the sums of all parts. */
static void
add_parts(void *context, size_t item)
{
	const struct work *w = context;
	size_t each = dpo_size_parts(w->linear->out, COLUMNS), row = item / each, first = item % each * COLUMNS;
	size_t n = dpo_size_least(w->linear->out - first, COLUMNS);
	float *y = w->y.data + row * w->y.ld + first;

	for (size_t part = 0; w->parts > 1 && part < w->parts; part++) {
		struct dpo_rows sums = sums_of(w, part);

		if (part == 0)
			memcpy(y, sums.data + row * sums.ld + first, n * sizeof *y);
		else
			dpo_vector_add(y, sums.data + row * sums.ld + first, n);
	}
	finish(w, row, first, n);
}

static void
by_inputs(int threads, struct work *w)
{
	size_t rows = w->rows;

	w->parts = w->linear->in * w->linear->out < SMALL ? 1 : PARTS;
	w->pieces = w->parts == 1 ? 1 : dpo_size_parts((size_t)threads, PARTS);
	w->columns = columns_of(w->linear, w->pieces, 16);
	for (size_t row = 0; row < rows; row += GROUP) {
		w->rows = dpo_size_least(rows - row, GROUP);
		dpo_parallel_for(threads, w->parts * w->pieces, some_inputs, w);
		dpo_parallel_for(w->rows == 1 ? 1 : threads, w->rows * dpo_size_parts(w->linear->out, COLUMNS), add_parts, w);
		w->x.data += GROUP * w->x.ld;
		w->y.data += GROUP * w->y.ld;
		if (w->residual.data)
			w->residual.data += GROUP * w->residual.ld;
	}
}

size_t
dpo_skinny_scratch(size_t rows, size_t out)
{
	size_t n;

	return dpo_size_mul(dpo_size_least(rows, GROUP) * PARTS, out, &n) ? n : SIZE_MAX;
}

void
dpo_skinny_forward(enum dpo_skinny_set set, int threads, const struct dpo_linear *linear, size_t rows,
    struct dpo_rows x, struct dpo_rows residual, struct dpo_rows y)
{
	struct work work = { .kernel = &kernels[set], .linear = linear, .rows = rows, .x = x, .residual = residual, .y = y };

	threads = threads < 1 || linear->in * linear->out < SMALL ? 1 : threads;
	if (linear->layout == DPO_LAYOUT_OUT_IN)
		by_outputs(threads, &work);
	else
		by_inputs(threads, &work);
}
