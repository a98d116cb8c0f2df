#include "kernel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/*
 * A panel of A is PANEL_ROWS high, one of B two vectors wide: 26 sums, two of B and one of A leave
 * the compiler three of the 32 registers. A panel of A of BLOCK_INNER stays in the first-level cache while the panels of
 * B's block pass it from the second-level one.
 */
enum { LANES = 16, PANEL_ROWS = 13, PANEL_COLUMNS = 2 * LANES, BLOCK_INNER = 256, BLOCK_COLUMNS = 384 };

#define AVX512 __attribute__((target("avx512f")))
#define AVX512_INLINE __attribute__((target("avx512f"), always_inline)) static inline

/* The part of the product that is packed: rows of A in panels, and up to BLOCK_COLUMNS of B. */
struct block {
	size_t first, inner;		/* of the inner index */
	size_t column, columns;		/* of B */
	bool keep;
};

/* ------------------------------------------------------------------ packing */

AVX512_INLINE __mmask16
lanes(size_t n)
{
	return (__mmask16)(n >= LANES ? 0xffffu : (1u << n) - 1);
}

/* to[k][step] <- from[i][k], i < n, k < inner, both at most 16; zeros for further i up to 16. */
AVX512_INLINE void
transpose(float *to, size_t step, const float *from, size_t ld, size_t n, size_t inner)
{
	__m512 r[LANES], t[LANES];
	__mmask16 mask = lanes(inner);

#pragma GCC unroll 16
	for (size_t i = 0; i < LANES; i++)
		r[i] = i < n ? _mm512_maskz_loadu_ps(mask, from + i * ld) : _mm512_setzero_ps();
#pragma GCC unroll 8
	for (size_t i = 0; i < LANES; i += 2) {
		t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < LANES; i += 4)
#pragma GCC unroll 2
		for (size_t k = 0; k < 2; k++) {
			__m512d low = _mm512_castps_pd(t[i + k]), high = _mm512_castps_pd(t[i + 2 + k]);

			r[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
			r[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
		}
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
#pragma GCC unroll 2
		for (size_t k = 0; k < 2; k++) {
			t[8 * k + i] = _mm512_shuffle_f32x4(r[8 * k + i], r[8 * k + 4 + i], 0x88);
			t[8 * k + 4 + i] = _mm512_shuffle_f32x4(r[8 * k + i], r[8 * k + 4 + i], 0xdd);
		}
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++) {
		r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
		r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
	}
#pragma GCC unroll 16
	for (size_t k = 0; k < LANES; k++)
		if (k < inner)
			_mm512_store_ps(to + k * step, r[k]);
}

/* to[k][step] <- n <= 16 rows of `inner` floats each, transposed. */
AVX512 static void
pack_rows(float *to, size_t step, const float *from, size_t ld, size_t n, size_t inner)
{
	for (size_t k = 0; k < inner; k += LANES)
		transpose(to + k * step, step, from + k, ld, n, inner - k < LANES ? inner - k : LANES);
}

static size_t
panels(size_t rows)
{
	return (rows + PANEL_ROWS - 1) / PANEL_ROWS;
}

/* The first row of panel i: panels of nearly equal height. */
static size_t
panel_at(const struct dpo_tile *tile, size_t i)
{
	return tile->rows * i / panels(tile->rows);
}

/* packed[panel][inner][16] */
AVX512 static void
pack_a(float *packed, const struct dpo_tile *tile, const struct block *block)
{
	const struct dpo_operand *a = &tile->a;
	size_t n = panels(tile->rows), step = block->inner * LANES, row = 0, next;

	for (size_t i = 0; i < n && !a->transposed; i++, row = next) {
		next = panel_at(tile, i + 1);
		pack_rows(packed + i * step, LANES, a->data + row * a->ld + block->first, a->ld, next - row, block->inner);
	}
	for (size_t k = 0; k < block->inner && a->transposed; k++) {
		const float *from = a->data + (block->first + k) * a->ld;

		row = 0;
		for (size_t i = 0; i < n; i++, row = next) {
			next = panel_at(tile, i + 1);
			_mm512_store_ps(packed + i * step + k * LANES, _mm512_maskz_loadu_ps(lanes(next - row), from + row));
		}
	}
}

/* packed[panel][inner][32], zeros beyond the columns. */
AVX512 static void
pack_b(float *packed, const struct dpo_tile *tile, const struct block *block)
{
	const struct dpo_operand *b = &tile->b;
	size_t step = block->inner * PANEL_COLUMNS;

	for (size_t j = 0; j < block->columns && b->transposed; j += LANES)
		pack_rows(packed + j / PANEL_COLUMNS * step + j % PANEL_COLUMNS, PANEL_COLUMNS,
		    b->data + (block->column + j) * b->ld + block->first, b->ld,
		    block->columns - j < LANES ? block->columns - j : LANES, block->inner);
	for (size_t k = 0; k < block->inner && !b->transposed; k++) {
		const float *from = b->data + (block->first + k) * b->ld + block->column;

		for (size_t j = 0; j < block->columns; j += LANES)
			_mm512_store_ps(packed + j / PANEL_COLUMNS * step + k * PANEL_COLUMNS + j % PANEL_COLUMNS,
			    _mm512_maskz_loadu_ps(lanes(block->columns - j), from + j));
	}
	/* An odd number of vectors: the last panel's second one. */
	if ((block->columns + LANES - 1) / LANES % 2 == 1)
		for (size_t k = 0; k < block->inner; k++)
			_mm512_store_ps(packed + block->columns / PANEL_COLUMNS * step + k * PANEL_COLUMNS + LANES,
			    _mm512_setzero_ps());
}

/* ------------------------------------------------------------------ multiplying */

/* A panel of `rows` rows, known when compiled, with one of B: c[rows][columns <= 32]. */
AVX512_INLINE void
multiply(const size_t rows, size_t inner, const float *a, const float *b, bool keep, const float *scale, float *c,
    size_t ldc, size_t columns)
{
	__m512 sum[PANEL_ROWS][2], low, high, each;
	__mmask16 mask[2] = { lanes(columns), lanes(columns > LANES ? columns - LANES : 0) };

#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++) {
		sum[i][0] = sum[i][1] = _mm512_setzero_ps();
		__builtin_prefetch(c + i * ldc, 1);
		__builtin_prefetch(c + i * ldc + LANES, 1);
	}
	for (size_t k = 0; k < inner; k++, a += LANES, b += PANEL_COLUMNS) {
		low = _mm512_load_ps(b);
		high = _mm512_load_ps(b + LANES);
#pragma GCC unroll 16
		for (size_t i = 0; i < rows; i++) {
			each = _mm512_set1_ps(a[i]);
			sum[i][0] = _mm512_fmadd_ps(each, low, sum[i][0]);
			sum[i][1] = _mm512_fmadd_ps(each, high, sum[i][1]);
		}
	}
	each = _mm512_set1_ps(*scale);
#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 2
		for (size_t v = 0; v < 2; v++) {
			float *to = c + i * ldc + v * LANES;

			low = keep ? _mm512_maskz_loadu_ps(mask[v], to) : _mm512_setzero_ps();
			_mm512_mask_storeu_ps(to, mask[v], _mm512_fmadd_ps(each, sum[i][v], low));
		}
}

typedef void multiply_panel(size_t inner, const float *a, const float *b, bool keep, const float *scale, float *c,
	size_t ldc, size_t columns);

#define MULTIPLY(rows) \
	AVX512 static void \
	multiply_##rows(size_t inner, const float *a, const float *b, bool keep, const float *scale, float *c, \
	    size_t ldc, size_t columns) \
	{ \
		multiply(rows, inner, a, b, keep, scale, c, ldc, columns); \
	}
MULTIPLY(1)
MULTIPLY(2)
MULTIPLY(3)
MULTIPLY(4)
MULTIPLY(5)
MULTIPLY(6)
MULTIPLY(7)
MULTIPLY(8)
MULTIPLY(9)
MULTIPLY(10)
MULTIPLY(11)
MULTIPLY(12)
MULTIPLY(13)

static multiply_panel *const multiply_rows[] = { NULL, multiply_1, multiply_2, multiply_3, multiply_4, multiply_5,
	multiply_6, multiply_7, multiply_8, multiply_9, multiply_10, multiply_11, multiply_12, multiply_13 };

/* All panels of A with those of B's block. */
static void
multiply_block(const struct dpo_tile *tile, const struct block *block, const float *a, const float *b)
{
	for (size_t i = 0, row = 0, next; i < panels(tile->rows); i++, row = next) {
		next = panel_at(tile, i + 1);
		for (size_t j = 0; j < block->columns; j += PANEL_COLUMNS)
			multiply_rows[next - row](block->inner, a + i * block->inner * LANES, b + j * block->inner,
			    block->keep, &tile->scale, tile->c + row * tile->ldc + block->column + j, tile->ldc,
			    block->columns - j);
	}
}

void
dpo_kernel_product(const struct dpo_tile *tile)
{
	_Alignas(64) float a[DPO_KERNEL_ROWS / PANEL_ROWS * BLOCK_INNER * LANES];
	_Alignas(64) float b[BLOCK_COLUMNS * BLOCK_INNER];
	size_t blocks = (tile->inner + BLOCK_INNER - 1) / BLOCK_INNER;
	struct block block = { .keep = tile->keep };

	assert(tile->rows <= DPO_KERNEL_ROWS);
	for (size_t row = 0; row < tile->rows && tile->inner == 0 && !tile->keep; row++)
		memset(tile->c + row * tile->ldc, 0, tile->columns * sizeof *tile->c);
	for (size_t q = 0; q < blocks; q++, block.keep = true) {
		block.first = tile->inner * q / blocks;
		block.inner = tile->inner * (q + 1) / blocks - block.first;
		pack_a(a, tile, &block);
		for (block.column = 0; block.column < tile->columns; block.column += BLOCK_COLUMNS) {
			block.columns = tile->columns - block.column;
			block.columns = block.columns < BLOCK_COLUMNS ? block.columns : BLOCK_COLUMNS;
			pack_b(b, tile, &block);
			multiply_block(tile, &block, a, b);
		}
	}
}

bool
dpo_kernel_here(void)
{
	const char *wish = getenv("DPO_KERNEL");

	return __builtin_cpu_supports("avx512f") && !(wish && strcmp(wish, "blas") == 0);
}

#else

bool
dpo_kernel_here(void)
{
	return false;
}

void
dpo_kernel_product(const struct dpo_tile *tile)
{
	(void)tile;
	assert(!"only where dpo_kernel_here");
}

#endif
