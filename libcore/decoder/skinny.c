#include "decoder/skinny.h"

#include "base/dtype.h"
#include "base/parallel.h"
#include "base/size.h"
#include "kernel/vector.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * Rows at once, and sums, that registers hold at most. LINE numbers fill a line of a cache; NEAR weights of (out,in) are
 * fetched before their turn. FEW rows are set against RUNS runs of memory side by side. An item of work is about ITEM weights;
 * below SMALL weights no thread is woken.
 */
enum { ROWS_AT_ONCE = 8, SUMS = 16, LINE = 16, NEAR = 256, FEW = 2, RUNS = 4, ITEM = 1 << 18, SMALL = 1 << 17 };

/*
 * An (in,out) weight is cut into PARTS, bands of rows that lie in memory one after the other and are read at its full speed;
 * their sums are added up in order. One of less than SMALL weights, which a cache may hold, is not. STEPS rows of w are added
 * at once at most. GROUP rows share the scratch; COLUMNS are added up at once, by one thread below WAKE numbers.
 */
enum { PARTS = 2, STEPS = 16, GROUP = 16, COLUMNS = 512, WAKE = 1 << 14 };

/* Outputs of an (out,in) weight, and what is read for them. */
struct block {
	const void *w;
	size_t at, apart, n;	/* number of the first row's first weight; from one row to the next; length of a row */
	float *y;
	size_t ldy, step;	/* from one row to the next; from one output to the next */
};

struct kernel {
	void (*dot_rows)(enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const struct block *b);
	void (*axpys)(enum dpo_dtype dtype, size_t rows, size_t steps, const float *x, size_t ldx, const void *w, size_t at,
		size_t ldw, float *y, size_t ldy, size_t columns);
	size_t outs;		/* of a call, at most */
	size_t runs;		/* of memory, side by side, that a call takes its steps from; 0: they are consecutive rows of w */
};

/* Into the first cache, the second one, or, AHEAD bytes further, past the caches: what is read once and soon. */
enum fetch { FIRST, SECOND, ONCE };
enum { AHEAD = 512 };

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

/* v is loaded once and kept: a compiler would rather load it for each product, and loads are what the loops have most of. */
#if defined(__x86_64__) || defined(__aarch64__)
#define KEEP(v) __asm__("" : "+x"(v))
#else
#define KEEP(v) ((void)(v))
#endif

#define NAME(f) f##_base
#define TARGET
#define LANES 4
#define VEC floats4
#define WORDS words4
#define HALVES halves4
#define MADD(a, b, c) ((a) * (b) + (c))
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LEFT(a, b) __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define RIGHT(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#define FOLD(v) (v)
#include "decoder/skinny_kernel.h"

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
#include "decoder/skinny_kernel.h"

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
#include "decoder/skinny_kernel.h"

#endif

static const struct kernel *const kernels[] = DPO_CPU_SETS(&kernel_base, &kernel_avx2, &kernel_avx512);

/* ------------------------------------------------------------------ items */

struct work {
	const struct kernel *kernel;
	const struct dpo_linear *linear;
	size_t rows, parts, pieces, columns;	/* columns of an item: of the outputs, cut into pieces */
	struct dpo_matrix x, residual, y;
};

/* A number of columns that is a multiple of 16, of which at most `pieces` make all outputs. */
static void
cut(struct work *w, size_t pieces)
{
	w->columns = dpo_size_parts(dpo_size_parts(w->linear->out, pieces), 16) * 16;
	w->pieces = dpo_size_parts(w->linear->out, w->columns);
}

static void
finish(const struct work *w, size_t row, size_t first, size_t n)
{
	dpo_vector_finish(w->y.data + row * w->y.ld + first, w->linear->bias ? w->linear->bias + first : NULL,
	    w->residual.data ? w->residual.data + row * w->residual.ld + first : NULL, n);
}

/* ------------------------------------------------------------------ (out,in) weights */

/* n outputs of all rows, the first one `out`, `step` apart. */
static void
dot_rows(const struct work *w, size_t out, size_t step, size_t n)
{
	const struct dpo_linear *linear = w->linear;
	struct block b = { linear->weight, out * linear->in, step * linear->in, linear->in, w->y.data + out, w->y.ld, step };

	w->kernel->dot_rows(linear->dtype, w->rows, n, w->x.data, w->x.ld, &b);
}

/* A piece of the outputs. */
static void
some_outputs(void *context, size_t item)
{
	const struct work *w = context;
	size_t first = item * w->columns, end = dpo_size_least(w->linear->out, first + w->columns);
	size_t length = w->kernel->runs && w->rows <= FEW ? (end - first) / RUNS : 0;

	for (size_t i = 0; i < length; i++)
		dot_rows(w, first + i, length, RUNS);
	for (size_t out = first + length * RUNS, n; out < end; out += n) {
		n = dpo_size_least(end - out, w->kernel->outs);
		dot_rows(w, out, 1, n);
	}
	for (size_t r = 0; r < w->rows; r++)
		finish(w, r, first, end - first);
}

/* Each thread has the same number of items, long runs of memory. */
static void
by_outputs(int threads, struct work *w)
{
	size_t each = w->linear->in * w->linear->out / ITEM / (size_t)threads;

	cut(w, (size_t)threads * (each ? each : 1));
	dpo_parallel_for(threads, w->pieces, some_outputs, w);
}

/* ------------------------------------------------------------------ (in,out) weights */

/* Distance of the sums of rows: an odd number of lines, so that those of a column do not share a set of the first cache. */
static size_t
apart(size_t out)
{
	return (dpo_size_parts(out, LINE) | 1) * LINE;
}

/* Where the sums of a part go: alone, it is all there is to sum. */
static struct dpo_matrix
sums_of(const struct work *w, size_t part)
{
	size_t ld = apart(w->linear->out);

	if (w->parts == 1)
		return w->y;
	return (struct dpo_matrix){ w->linear->scratch + part * w->rows * ld, ld };
}

/* n columns, from `first` on, of rows k, k + distance, ... of w are added to the sums: `steps` of them. */
static void
add_rows(const struct work *w, size_t k, size_t distance, size_t steps, size_t first, size_t n, struct dpo_matrix sums)
{
	const struct dpo_linear *linear = w->linear;
	struct dpo_matrix x = { w->x.data + k, w->x.ld };
	float together[GROUP * STEPS];

	if (distance > 1) {
		x = (struct dpo_matrix){ together, steps };
		for (size_t r = 0; r < w->rows; r++)
			for (size_t i = 0; i < steps; i++)
				together[r * steps + i] = w->x.data[r * w->x.ld + k + i * distance];
	}
	w->kernel->axpys(linear->dtype, w->rows, steps, x.data, x.ld, linear->weight, k * linear->out + first,
	    distance * linear->out, sums.data + first, sums.ld, n);
}

/* A piece of the columns of a part. */
static void
some_inputs(void *context, size_t item)
{
	const struct work *w = context;
	size_t part = item / w->pieces, first = item % w->pieces * w->columns;
	size_t n = dpo_size_least(w->linear->out - first, w->columns), band = dpo_size_parts(w->linear->in, w->parts);
	size_t k = part * band, end = dpo_size_least(w->linear->in, k + band), runs = w->parts > 1 ? w->kernel->runs : 0;
	size_t length = runs ? (end - k) / runs : 0;
	struct dpo_matrix sums = sums_of(w, part);

	for (size_t r = 0; r < w->rows; r++)
		memset(sums.data + r * sums.ld + first, 0, n * sizeof *sums.data);
	for (size_t i = 0; i < length; i++)
		add_rows(w, k + i, length, runs, first, n, sums);
	for (k += runs * length; k < end; k += STEPS)
		add_rows(w, k, 1, dpo_size_least(end - k, STEPS), first, n, sums);
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
		struct dpo_matrix sums = sums_of(w, part);

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
	size_t rows = w->rows, out = w->linear->out;

	w->parts = w->linear->in * out < SMALL ? 1 : PARTS;
	cut(w, dpo_size_parts((size_t)threads, w->parts));
	for (size_t row = 0; row < rows; row += GROUP) {
		w->rows = dpo_size_least(rows - row, GROUP);
		dpo_parallel_for(threads, w->parts * w->pieces, some_inputs, w);
		dpo_parallel_for(w->rows * out < WAKE ? 1 : threads, w->rows * dpo_size_parts(out, COLUMNS), add_parts, w);
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

	return out < SIZE_MAX / 2 && dpo_size_mul(dpo_size_least(rows, GROUP) * PARTS, apart(out), &n) ? n : SIZE_MAX;
}

void
dpo_skinny_forward(enum dpo_cpu set, int threads, const struct dpo_linear *linear, size_t rows,
    struct dpo_matrix x, struct dpo_matrix residual, struct dpo_matrix y)
{
	struct work work = { .kernel = kernels[set], .linear = linear, .rows = rows, .x = x, .residual = residual, .y = y };

	threads = threads < 1 || linear->in * linear->out < SMALL ? 1 : threads;
	if (linear->layout == DPO_LAYOUT_OUT_IN)
		by_outputs(threads, &work);
	else
		by_inputs(threads, &work);
}
