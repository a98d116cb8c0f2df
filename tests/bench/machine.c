#include "machine.h"

#include "base/parallel.h"
#include "base/size.h"
#include "kernel/amx.h"
#include "kernel/bf16.h"
#include "kernel/vector.h"

#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { ROUNDS = 5, TURNS = 200000, TILE_TURNS = 50000, SUMS = 12, SPAN = 1 << 18, MOST_RUNS = 8 };

static double
read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double
machine_wall(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

double
machine_cpu(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* ------------------------------------------------------------------ arithmetic */

struct arithmetic {
	float sums[1024];	/* so that nothing is optimised away */
};

#if defined(__x86_64__)

/*
 * Numbers that differ from lane to lane and step to step, as those of products do: with operands that stay the same a processor
 * may run faster than it ever does at work. Factors in turn are just so large that sums stay where they are.
 */
static const float factors[2] = { 0.8f, -1.2f };

static float
vary(size_t i)
{
	return (float)(i * 2654435761u % 65536) / 65536.0f - 0.5f;
}

#define CHAINS(name, set, type, load, set1, fma, first) \
	__attribute__((target(set))) static void \
	name(void *context, size_t item) \
	{ \
		struct arithmetic *a = context; \
		float numbers[(SUMS + 1) * 16]; \
		type sum[SUMS], y; \
		for (size_t i = 0; i < (SUMS + 1) * 16; i++) \
			numbers[i] = vary(item + i); \
		_Pragma("GCC unroll 12") \
		for (size_t i = 0; i < SUMS; i++) \
			sum[i] = load(numbers + 16 * i); \
		y = load(numbers + 16 * SUMS); \
		for (size_t turn = 0; turn < TURNS; turn += 2) \
			_Pragma("GCC unroll 2") \
			for (size_t k = 0; k < 2; k++) \
				_Pragma("GCC unroll 12") \
				for (size_t i = 0; i < SUMS; i++) \
					sum[i] = fma(sum[i], set1(factors[k]), y); \
		_Pragma("GCC unroll 12") \
		for (size_t i = 1; i < SUMS; i++) \
			sum[0] = fma(sum[i], y, sum[0]); \
		a->sums[item % 1024] = first(sum[0]); \
	}
CHAINS(chains_avx512, "avx512f", __m512, _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_cvtss_f32)
CHAINS(chains_avx2, "avx2,fma", __m256, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_cvtss_f32)

/* The upper half of a varying float is a varying bfloat16. */
static uint16_t
vary16(size_t i)
{
	float x = vary(i);
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return (uint16_t)(bits >> 16);
}

/* Sums in four tile registers and operands that change, as in a product; a few stay in the first-level cache. */
__attribute__((target("amx-tile,amx-bf16"))) static void
chains_amx(void *context, size_t item)
{
	enum { TILE = 512, TILES = 16 };
	_Alignas(64) uint16_t numbers[TILES * TILE];

	(void)context;
	for (size_t i = 0; i < TILES * TILE; i++)
		numbers[i] = vary16(item + i);
	dpo_amx_begin();
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	for (size_t turn = 0; turn < TILE_TURNS; turn++) {
		const uint16_t *tiles = numbers + turn * 4 % TILES * TILE;

		_tile_loadd(4, tiles, 64);
		_tile_loadd(5, tiles + TILE, 64);
		_tile_loadd(6, tiles + 2 * TILE, 64);
		_tile_loadd(7, tiles + 3 * TILE, 64);
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(1, 4, 7);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
	dpo_amx_end();
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) static void
chains_bf16(void *context, size_t item)
{
	struct arithmetic *a = context;
	uint16_t numbers[(SUMS + 1) * 32];
	__m512bh x[SUMS], y;
	__m512 sum[SUMS];

	for (size_t i = 0; i < (SUMS + 1) * 32; i++)
		numbers[i] = vary16(item + i);
	y = (__m512bh)_mm512_loadu_si512(numbers + 32 * SUMS);
#pragma GCC unroll 12
	for (size_t i = 0; i < SUMS; i++) {
		x[i] = (__m512bh)_mm512_loadu_si512(numbers + 32 * i);
		sum[i] = _mm512_setzero_ps();
	}
	for (size_t turn = 0; turn < TURNS; turn++)
#pragma GCC unroll 12
		for (size_t i = 0; i < SUMS; i++)
			sum[i] = _mm512_dpbf16_ps(sum[i], x[i], y);
#pragma GCC unroll 12
	for (size_t i = 1; i < SUMS; i++)
		sum[0] = _mm512_add_ps(sum[i], sum[0]);
	a->sums[item % 1024] = _mm512_cvtss_f32(sum[0]);
}

/* GFLOP/s of an item of so many operations. */
static double
rate(int threads, dpo_parallel_item *item, double flop)
{
	struct arithmetic a;
	size_t items = 8 * (size_t)threads;
	double best = 0.0, start, here;

	for (int i = 0; i < ROUNDS; i++) {
		start = machine_wall();
		dpo_parallel_for(threads, items, item, &a);
		here = 1e-9 * (double)items * flop / (machine_wall() - start);
		best = here > best ? here : best;
	}
	return best;
}

double
machine_fma(int threads)
{
	double steps = 2.0 * TURNS * SUMS;

	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return 0.0;
	return __builtin_cpu_supports("avx512f") ? rate(threads, chains_avx512, 16 * steps) :
	    rate(threads, chains_avx2, 8 * steps);
}

double
machine_bf16(int threads)
{
	const char *kernel = dpo_bf16_kernel();

	if (!kernel)
		return 0.0;
	return strcmp(kernel, "AMX") == 0 ? rate(threads, chains_amx, TILE_TURNS * 4 * 2.0 * 16 * 16 * 32) :
	    rate(threads, chains_bf16, TURNS * SUMS * 2.0 * 32);
}

#else

double
machine_fma(int threads)
{
	(void)threads;
	return 0.0;
}

double
machine_bf16(int threads)
{
	(void)threads;
	return 0.0;
}

#endif

/* ------------------------------------------------------------------ memory */

struct memory {
	const float *data;
	float *changed;
	size_t n;
	int threads;
	float (*sum)(const float *x, size_t n);
	double sums[1024];
};

typedef float half_line __attribute__((vector_size(32)));	/* wider ones, where there are none, go by way of memory */

enum { HALF = sizeof(half_line) / sizeof(float), LINE = 2 * HALF };

/* n floats as so many runs side by side, while what lies `ahead` of each is fetched, to be kept in caches or not. */
__attribute__((always_inline)) static inline float
sum_runs(const size_t runs, const size_t ahead, const bool kept, const float *x, size_t n)
{
	size_t length = n / runs;
	half_line sums[2 * MOST_RUNS] = { { 0 } }, here;
	float total = 0;

	for (size_t i = 0; i + LINE <= length; i += LINE)
#pragma GCC unroll 8
		for (size_t run = 0; run < runs; run++) {
			const float *at = x + run * length + i;

			if (ahead > 0 && kept)
				__builtin_prefetch((const char *)at + ahead, 0, 2);
			else if (ahead > 0)
				__builtin_prefetch((const char *)at + ahead, 0, 0);
#pragma GCC unroll 2
			for (size_t k = 0; k < 2; k++) {
				memcpy(&here, at + k * HALF, sizeof here);
				sums[2 * run + k] += here;
			}
		}
	for (size_t i = 0; i < 2 * runs; i++)
		total += sums[i][0] + sums[i][HALF - 1];
	return total;
}

/* Which way comes next to the memory's speed differs from processor to processor. */
#define WAY(name, runs, ahead, kept) \
	DPO_WIDE static float \
	name(const float *x, size_t n) \
	{ \
		return sum_runs(runs, ahead, kept, x, n); \
	}
WAY(sum_plain, 1, 0, false)
WAY(sum_far, 1, 8192, true)
WAY(sum_four, 4, 0, false)
WAY(sum_four_near, 4, 512, false)
WAY(sum_eight_near, 8, 512, false)
WAY(sum_eight_far, 8, 2048, true)

static float (*const ways[])(const float *x, size_t n) = { sum_plain, sum_far, sum_four, sum_four_near, sum_eight_near,
	sum_eight_far };

/* A thread's share. */
static void
read_share(void *context, size_t item)
{
	struct memory *m = context;

	m->sums[item % 1024] = (double)m->sum(m->data + item * m->n, m->n);
}

static void
change_span(void *context, size_t item)
{
	struct memory *m = context;

	dpo_vector_scale(m->changed + item * SPAN, 1.0f, dpo_size_least(SPAN, m->n - item * SPAN));
}

static double
walk(struct memory *m, size_t items, dpo_parallel_item *item, double bytes)
{
	double best = 0.0, start, rate;

	for (int i = 0; i < ROUNDS; i++) {
		start = machine_wall();
		dpo_parallel_for(m->threads, items, item, m);
		rate = 1e-9 * bytes / (machine_wall() - start);
		best = rate > best ? rate : best;
	}
	return best;
}

double
machine_read(int threads, const float *data, size_t n)
{
	enum { UNIT = MOST_RUNS * LINE };
	struct memory m = { .data = data, .n = n / (size_t)threads / UNIT * UNIT, .threads = threads };
	double best = 0.0, rate;

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		m.sum = ways[i];
		rate = walk(&m, (size_t)threads, read_share, 4.0 * (double)m.n * (double)threads);
		best = rate > best ? rate : best;
	}
	return best;
}

double
machine_change(int threads, float *data, size_t n)
{
	struct memory m = { .changed = data, .n = n, .threads = threads };

	return walk(&m, (n + SPAN - 1) / SPAN, change_span, 8.0 * (double)n);
}
