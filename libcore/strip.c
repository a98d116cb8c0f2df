#include "strip.h"

#include "bf16.h"
#include "gemm.h"
#include "size.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include "transpose.h"

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
product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	struct panel p = { .inner = inner, .row_step = a.transposed ? 1 : a.ld, .inner_step = a.transposed ? a.ld : 1,
		.ldb = b.step, .keep = keep, .ldc = ldc };
	const float *from = b.data + first * b.step + column;

	for (size_t j = 0, width, high; j < columns; j += width) {
		width = columns - j < VECTORS * LANES ? columns - j : VECTORS * LANES;
		p.b = from + j;
		p.last = lanes((width - 1) % LANES + 1);
		for (size_t i = 0; i < rows; i += high) {
			high = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
			p.a = a.data + i * p.row_step;
			p.c = c + i * ldc + j;
			panels[high - 1][(width - 1) / LANES](&p);
		}
	}
}

/* to[k][i] = from[i][k] for i < n, k < inner, both at most 16. */
AVX512_INLINE void
transpose_tile(float *to, size_t ld, const float *from, size_t ld_from, size_t n, size_t inner)
{
	__m512i r[LANES];

#pragma GCC unroll 16
	for (size_t i = 0; i < LANES; i++)
		r[i] = i < n ? _mm512_maskz_loadu_epi32(lanes(inner), from + i * ld_from) : _mm512_setzero_si512();
	dpo_transpose16(r);
#pragma GCC unroll 16
	for (size_t k = 0; k < LANES; k++)
		if (k < inner)
			_mm512_mask_storeu_epi32(to + k * ld, lanes(n), r[k]);
}

AVX512 static void
transpose(float *to, const float *from, size_t ld, size_t columns, size_t inner)
{
	for (size_t j = 0; j < columns; j += LANES)
		for (size_t k = 0; k < inner; k += LANES)
			transpose_tile(to + k * columns + j, columns, from + j * ld + k, ld, columns - j < LANES ? columns - j : LANES,
			    inner - k < LANES ? inner - k : LANES);
}

static struct dpo_strip_operand
lay(float *to, struct dpo_operand b, size_t columns, size_t inner)
{
	if (b.transposed)
		transpose(to, b.data, b.ld, columns, inner);
	for (size_t k = 0; k < inner && !b.transposed; k++)
		memcpy(to + k * columns, b.data + k * b.ld, columns * sizeof *to);
	return (struct dpo_strip_operand){ to, columns };
}

static const struct dpo_strip own = { 2 * PANEL_ROWS, 1, SIZE_MAX, lay, product };

#endif

static void
blas_product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	dpo_gemm_one(rows, columns, inner, a, (struct dpo_operand){ b.data + first * b.step + column, b.step, false },
	    keep ? 1.0f : 0.0f, c, ldc);
}

static struct dpo_strip_operand
plain_lay(float *to, struct dpo_operand b, size_t columns, size_t inner)
{
	for (size_t k = 0; k < inner; k++)
		for (size_t j = 0; j < columns; j++)
			to[k * columns + j] = b.transposed ? b.data[j * b.ld + k] : b.data[k * b.ld + j];
	return (struct dpo_strip_operand){ to, columns };
}

static const struct dpo_strip blas = { DPO_STRIP_MOST, 1, SIZE_MAX, plain_lay, blas_product };

/* ------------------------------------------------------------------ bf16 */

enum { HALF_ROWS = 2 * DPO_BF16_PANEL, HALF_MOST = 256 };

static struct dpo_strip_operand
half_lay(float *to, struct dpo_operand b, size_t columns, size_t inner)
{
	struct dpo_bf16_side side = { .data = b.data, .dtype = DPO_DTYPE_F32, .ld = b.ld, .outer_next = !b.transposed,
	    .outer = columns, .inner = inner };
	size_t step = dpo_size_parts(inner, DPO_BF16_INNER) * DPO_BF16_TILE, n = dpo_size_parts(columns, DPO_BF16_PANEL);
	uint16_t *packed = (uint16_t *)(void *)to;

	dpo_bf16_pack_b(&side, 0, n, packed, step);
	if (n % 2 == 1)	/* columns up to a multiple of the unit may be asked for */
		memset(packed + n * step, 0, step * sizeof *packed);
	return (struct dpo_strip_operand){ to, step };
}

static void
half_product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	_Alignas(64) uint16_t packed[HALF_ROWS * HALF_MOST];
	struct dpo_bf16_side side = { .data = a.data, .dtype = DPO_DTYPE_F32, .ld = a.ld, .outer_next = a.transposed,
	    .outer = rows, .inner = inner };
	size_t tiles = dpo_size_parts(inner, DPO_BF16_INNER), at = first / DPO_BF16_INNER * DPO_BF16_TILE;
	const uint16_t *data = (const uint16_t *)(const void *)b.data + column / DPO_BF16_PANEL * b.step + at;

	size_t high = keep ? rows : HALF_ROWS;		/* whole squares are faster */

	dpo_bf16_pack_a(&side, 0, dpo_size_parts(high, DPO_BF16_PANEL), packed, tiles * DPO_BF16_TILE);
	dpo_bf16_multiply(&(struct dpo_bf16_product){ .rows = high, .columns = columns, .tiles = tiles,
	    .a = { packed, tiles * DPO_BF16_TILE }, .b = { data, b.step }, .keep = keep, .c = c, .ldc = ldc });
}

static const struct dpo_strip half = { HALF_ROWS, DPO_BF16_INNER, HALF_MOST, half_lay, half_product };

const struct dpo_strip *
dpo_strip_best(bool bf16, size_t head_dim)
{
	if (bf16 && head_dim <= half.most && dpo_bf16_kernel())
		return &half;
#if defined(__x86_64__) && defined(__GNUC__)
	if (dpo_kernel_here())
		return &own;
#endif
	return &blas;
}
