#include "machine.h"

#include "parallel.h"
#include "vector.h"

#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { ROUNDS = 5, TURNS = 200000, SUMS = 12, SPAN = 1 << 16 };

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

#define CHAINS(name, set, type, set1, fma, first) \
	__attribute__((target(set))) static void \
	name(void *context, size_t item) \
	{ \
		struct arithmetic *a = context; \
		type sum[SUMS], x = set1(0.5f), y = set1(0.25f); \
		_Pragma("GCC unroll 12") \
		for (size_t i = 0; i < SUMS; i++) \
			sum[i] = set1((float)(item + i)); \
		for (size_t turn = 0; turn < TURNS; turn++) { \
			_Pragma("GCC unroll 12") \
			for (size_t i = 0; i < SUMS; i++) \
				sum[i] = fma(sum[i], x, y); \
		} \
		_Pragma("GCC unroll 12") \
		for (size_t i = 1; i < SUMS; i++) \
			sum[0] = fma(sum[i], x, sum[0]); \
		a->sums[item % 1024] = first(sum[0]); \
	}
CHAINS(chains_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_cvtss_f32)
CHAINS(chains_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_cvtss_f32)

double
machine_fma(int threads)
{
	struct arithmetic a;
	size_t width = __builtin_cpu_supports("avx512f") ? 16 : 8, items = 8 * (size_t)threads;
	double best = 0.0, start, rate;

	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return 0.0;
	for (int i = 0; i < ROUNDS; i++) {
		start = machine_wall();
		dpo_parallel_for(threads, items, width == 16 ? chains_avx512 : chains_avx2, &a);
		rate = 2e-9 * (double)(items * TURNS * SUMS * width) / (machine_wall() - start);
		best = rate > best ? rate : best;
	}
	return best;
}

#else

double
machine_fma(int threads)
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
	double sums[1024];
};

static size_t
span(const struct memory *m, size_t item)
{
	return m->n - item * SPAN < SPAN ? m->n - item * SPAN : SPAN;
}

static void
read_span(void *context, size_t item)
{
	struct memory *m = context;

	m->sums[item % 1024] = (double)dpo_vector_max(m->data + item * SPAN, span(m, item));
}

static void
change_span(void *context, size_t item)
{
	struct memory *m = context;

	dpo_vector_scale(m->changed + item * SPAN, 1.0f, span(m, item));
}

static double
walk(int threads, struct memory *m, dpo_parallel_item *item, double bytes)
{
	double best = 0.0, start, rate;

	for (int i = 0; i < ROUNDS; i++) {
		start = machine_wall();
		dpo_parallel_for(threads, (m->n + SPAN - 1) / SPAN, item, m);
		rate = 1e-9 * bytes * (double)m->n / (machine_wall() - start);
		best = rate > best ? rate : best;
	}
	return best;
}

double
machine_read(int threads, const float *data, size_t n)
{
	struct memory m = { .data = data, .n = n };

	return walk(threads, &m, read_span, sizeof *data);
}

double
machine_change(int threads, float *data, size_t n)
{
	struct memory m = { .changed = data, .n = n };

	return walk(threads, &m, change_span, 2 * sizeof *data);
}
