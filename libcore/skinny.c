#include "skinny.h"

#include "parallel.h"
#include "vector.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * Rows and outputs of one block of dot products: their sums fill the registers. STEP rows of an (in,out) weight are added at
 * once, to COLUMNS sums of GROUP rows. An item of work is about ITEM weights; below SMALL weights no thread is woken.
 */
enum { ROWS_AT_ONCE = 4, OUTS = 4, STEP = 8, ITEM = 1 << 17, SMALL = 1 << 17, COLUMNS = 256, GROUP = 16 };

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

	dpo_vector_widen(&number, (const uint8_t *)w + at * dpo_dtype_size(dtype), dtype, 1);
	return number;
}

/* ------------------------------------------------------------------ one kernel a set of instructions */

#define VECTORS(lanes) \
	typedef float floats##lanes __attribute__((vector_size(4 * lanes))); \
	typedef uint32_t words##lanes __attribute__((vector_size(4 * lanes))); \
	typedef uint16_t halves##lanes __attribute__((vector_size(2 * lanes)))

VECTORS(4);

static inline float
sum4(floats4 v)
{
	return v[0] + v[2] + (v[1] + v[3]);
}

#define NAME(f) f##_base
#define TARGET
#define LANES 4
#define VEC floats4
#define WORDS words4
#define HALVES halves4
#define MADD(a, b, c) ((a) * (b) + (c))
#define SUM(v) sum4(v)
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
#define SUM(v) sum4(_mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1))
#include "skinny_kernel.h"

#define NAME(f) f##_avx512
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define LANES 16
#define VEC floats16
#define WORDS words16
#define HALVES halves16
#define MADD(a, b, c) _mm512_fmadd_ps(a, b, c)
#define SUM(v) _mm512_reduce_add_ps(v)
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
	size_t rows, columns;		/* columns: outputs of an item */
	struct dpo_rows x, residual, y;
};

/* Outputs first .. first+n of an (out,in) weight. */
static void
by_dots(const struct work *w, size_t first, size_t n)
{
	const struct dpo_linear *linear = w->linear;

	for (size_t out = first, outs; out < first + n; out += outs) {
		outs = first + n - out < OUTS ? first + n - out : OUTS;
		w->kernel->dot_rows(linear->dtype, w->rows, outs, w->x.data, w->x.ld, linear->weight, out * linear->in,
		    linear->in, w->y.data + out, w->y.ld);
	}
}

/*
 * Outputs first .. first+n of an (in,out) weight, at most COLUMNS, of at most GROUP rows from `row` on. Sums gather in a block
 * of their own: in y, rows lie a multiple of 4 kB apart as those of the weight do, and would push each other out of the cache.
 */
static void
by_columns(const struct work *w, size_t row, size_t rows, size_t first, size_t n)
{
	const struct dpo_linear *linear = w->linear;
	const float *x = w->x.data + row * w->x.ld;
	size_t ld = linear->out, k = 0;
	float block[GROUP * COLUMNS];

	memset(block, 0, rows * n * sizeof *block);
	for (; k + STEP <= linear->in; k += STEP)
		w->kernel->axpys(linear->dtype, rows, x + k, w->x.ld, linear->weight, k * ld + first, ld, block, n, n);
	for (; k < linear->in; k++)
		for (size_t r = 0; r < rows; r++)
			for (size_t j = 0; j < n; j++)
				block[r * n + j] += x[r * w->x.ld + k] * weight(linear->weight, linear->dtype, k * ld + first + j);
	for (size_t r = 0; r < rows; r++)
		memcpy(w->y.data + (row + r) * w->y.ld + first, block + r * n, n * sizeof *block);
}

static void
some_outputs(void *context, size_t item)
{
	const struct work *w = context;
	const struct dpo_linear *linear = w->linear;
	size_t first = item * w->columns;
	size_t n = linear->out - first < w->columns ? linear->out - first : w->columns;

	if (linear->layout == DPO_LAYOUT_OUT_IN)
		by_dots(w, first, n);
	for (size_t row = 0; linear->layout == DPO_LAYOUT_IN_OUT && row < w->rows; row += GROUP)
		by_columns(w, row, w->rows - row < GROUP ? w->rows - row : GROUP, first, n);
	for (size_t r = 0; r < w->rows; r++)
		dpo_vector_finish(w->y.data + r * w->y.ld + first, linear->bias ? linear->bias + first : NULL,
		    w->residual.data ? w->residual.data + r * w->residual.ld + first : NULL, n);
}

/* Outputs of an item: about ITEM weights of (out,in), COLUMNS of (in,out). */
static size_t
share(const struct dpo_linear *linear)
{
	size_t n = ITEM / (linear->in ? linear->in : 1) / OUTS * OUTS;

	return linear->layout == DPO_LAYOUT_IN_OUT ? COLUMNS : n < OUTS ? OUTS : n;
}

void
dpo_skinny_forward(enum dpo_skinny_set set, int threads, const struct dpo_linear *linear, size_t rows,
    struct dpo_rows x, struct dpo_rows residual, struct dpo_rows y)
{
	struct work work = { &kernels[set], linear, rows, share(linear), x, residual, y };

	dpo_parallel_for(linear->in * linear->out < SMALL ? 1 : threads,
	    (linear->out + work.columns - 1) / work.columns, some_outputs, &work);
}
