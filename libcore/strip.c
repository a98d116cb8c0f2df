#include "strip.h"

#include "gemm.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* A panel is PANEL_ROWS high and up to VECTORS wide: 24 sums, four of B and one of A leave three of the 32 registers. */
enum { LANES = 16, PANEL_ROWS = 6, VECTORS = 4 };

#define AVX512 __attribute__((target("avx512f")))
#define AVX512_INLINE __attribute__((target("avx512f"), always_inline)) static inline

struct panel {
	size_t inner;
	const float *a;
	size_t row_step, inner_step;	/* of a */
	const float *b;
	size_t ldb;
	bool keep;
	float *c;
	size_t ldc;
	__mmask16 last;			/* columns of the last vector */
};

AVX512_INLINE __mmask16
lanes(size_t n)
{
	return (__mmask16)(n >= LANES ? 0xffffu : (1u << n) - 1);
}

/* rows and vectors are known when compiled. */
AVX512_INLINE void
multiply(const size_t rows, const size_t vectors, const struct panel *p)
{
	__m512 sum[PANEL_ROWS][VECTORS], row[VECTORS], each;
	const float *a = p->a, *b = p->b;

#pragma GCC unroll 6
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[i][v] = _mm512_setzero_ps();
	for (size_t k = 0; k < p->inner; k++, a += p->inner_step, b += p->ldb) {
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			row[v] = v + 1 < vectors ? _mm512_loadu_ps(b + v * LANES) :
			    _mm512_maskz_loadu_ps(p->last, b + v * LANES);
#pragma GCC unroll 6
		for (size_t i = 0; i < rows; i++) {
			each = _mm512_set1_ps(a[i * p->row_step]);
#pragma GCC unroll 4
			for (size_t v = 0; v < vectors; v++)
				sum[i][v] = _mm512_fmadd_ps(each, row[v], sum[i][v]);
		}
	}
#pragma GCC unroll 6
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++) {
			__mmask16 mask = v + 1 < vectors ? 0xffff : p->last;
			float *to = p->c + i * p->ldc + v * LANES;

			if (p->keep)
				sum[i][v] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum[i][v]);
			_mm512_mask_storeu_ps(to, mask, sum[i][v]);
		}
}

typedef void multiply_panel(const struct panel *p);

#define MULTIPLY(rows, vectors) \
	AVX512 static void \
	multiply_##rows##_##vectors(const struct panel *p) \
	{ \
		multiply(rows, vectors, p); \
	}
#define MULTIPLY_ROWS(rows) MULTIPLY(rows, 1) MULTIPLY(rows, 2) MULTIPLY(rows, 3) MULTIPLY(rows, 4)
MULTIPLY_ROWS(1)
MULTIPLY_ROWS(2)
MULTIPLY_ROWS(3)
MULTIPLY_ROWS(4)
MULTIPLY_ROWS(5)
MULTIPLY_ROWS(6)

#define NAMES(rows) { multiply_##rows##_1, multiply_##rows##_2, multiply_##rows##_3, multiply_##rows##_4 }
static multiply_panel *const panels[PANEL_ROWS][VECTORS] = { NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5), NAMES(6) };

AVX512 static void
product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, const float *b, size_t ldb, bool keep, float *c,
    size_t ldc)
{
	struct panel p = { .inner = inner, .row_step = a.transposed ? 1 : a.ld, .inner_step = a.transposed ? a.ld : 1,
		.ldb = ldb, .keep = keep, .ldc = ldc };

	for (size_t j = 0, width, high; j < columns; j += width) {
		width = columns - j < VECTORS * LANES ? columns - j : VECTORS * LANES;
		p.b = b + j;
		p.last = lanes((width - 1) % LANES + 1);
		for (size_t i = 0; i < rows; i += high) {
			high = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
			p.a = a.data + i * p.row_step;
			p.c = c + i * ldc + j;
			panels[high - 1][(width - 1) / LANES](&p);
		}
	}
}

/* A vector's number i and a lane change places where one has the bit `step` and the other has not. */
AVX512_INLINE void
exchange(__m512 r[LANES], const int step, const unsigned log_step)
{
	__m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), bit = _mm512_set1_epi32(step);
	__m512i second = _mm512_slli_epi32(_mm512_and_si512(bit, lane), 4 - log_step);
	__m512i low = _mm512_or_si512(_mm512_andnot_si512(bit, lane), second);
	__m512i high = _mm512_or_si512(_mm512_or_si512(bit, lane), second);

#pragma GCC unroll 16
	for (int i = 0; i < LANES; i++)
		if (!(i & step)) {
			__m512 one = r[i], other = r[i + step];

			r[i] = _mm512_permutex2var_ps(one, low, other);
			r[i + step] = _mm512_permutex2var_ps(one, high, other);
		}
}

/* to[k][i] = scale from[i][k] for i < n, k < inner, both at most 16. */
AVX512_INLINE void
transpose_tile(float *to, size_t ld, const float *from, size_t ld_from, size_t n, size_t inner, float scale)
{
	__m512 r[LANES];

#pragma GCC unroll 16
	for (size_t i = 0; i < LANES; i++)
		r[i] = i < n ? _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_maskz_loadu_ps(lanes(inner), from + i * ld_from)) :
		    _mm512_setzero_ps();
	exchange(r, 8, 3);
	exchange(r, 4, 2);
	exchange(r, 2, 1);
	exchange(r, 1, 0);
#pragma GCC unroll 16
	for (size_t k = 0; k < LANES; k++)
		if (k < inner)
			_mm512_mask_storeu_ps(to + k * ld, lanes(n), r[k]);
}

AVX512 static void
transpose(float *to, size_t ld, const float *from, size_t ld_from, size_t rows, size_t columns, float scale)
{
	for (size_t i = 0; i < rows; i += LANES)
		for (size_t k = 0; k < columns; k += LANES)
			transpose_tile(to + k * ld + i, ld, from + i * ld_from + k, ld_from, rows - i < LANES ? rows - i : LANES,
			    columns - k < LANES ? columns - k : LANES, scale);
}

static const struct dpo_strip own = { 2 * PANEL_ROWS, product, transpose };

#endif

static void
blas_product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, const float *b, size_t ldb, bool keep, float *c,
    size_t ldc)
{
	dpo_gemm_one(rows, columns, inner, 1.0f, a, (struct dpo_operand){ b, ldb, false }, keep ? 1.0f : 0.0f, c, ldc);
}

static void
plain_transpose(float *to, size_t ld, const float *from, size_t ld_from, size_t rows, size_t columns, float scale)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t k = 0; k < columns; k++)
			to[k * ld + i] = scale * from[i * ld_from + k];
}

static const struct dpo_strip blas = { DPO_STRIP_MOST, blas_product, plain_transpose };

const struct dpo_strip *
dpo_strip_best(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
	if (dpo_kernel_here())
		return &own;
#endif
	return &blas;
}
