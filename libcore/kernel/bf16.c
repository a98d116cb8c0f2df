#include "kernel/bf16.h"

#include <assert.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include "base/avx512.h"
#include "base/cpu.h"
#include "kernel/amx.h"
#include "kernel/transpose.h"

enum { PANEL = DPO_BF16_PANEL, INNER = DPO_BF16_INNER, TILE = DPO_BF16_TILE };

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512bf16,f16c,prfchw")))
#define AVX512_INLINE __attribute__((target("avx512f,avx512bw,avx512bf16,f16c,prfchw"), always_inline)) static inline
#define AMX __attribute__((target("avx512f,avx512bw,amx-tile,amx-bf16")))

/* ------------------------------------------------------------------ the processor */

static bool
has_vectors(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512bf16");
}

const char *
dpo_bf16_kernel(void)
{
	return !has_vectors() || dpo_wish() >= DPO_WISH_AVX2 ? NULL : dpo_amx_here() ? "AMX" : "AVX512-BF16";
}

/* ------------------------------------------------------------------ packing */

/* Up to 16 numbers of a row as float. */
AVX512_INLINE __m512
load(const struct dpo_bf16_side *s, size_t row, size_t column, __mmask16 mask)
{
	size_t at = row * s->ld + column;
	const uint16_t *half = s->data;
	const float *data = s->data;
	__m256i narrow;

	if (s->mask)
		mask &= s->mask[row * s->mask_step + column / DPO_LANES];
	if (s->dtype == DPO_DTYPE_F32)
		return _mm512_maskz_loadu_ps(mask, data + at);
	narrow = _mm512_castsi512_si256(_mm512_maskz_loadu_epi16(mask, half + at));
	return s->dtype == DPO_DTYPE_F16 ? _mm512_cvtph_ps(narrow) :
	    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

/* Sixteen pairs of bfloat16: the inner indices k, k + 1 to k + 30, k + 31 of one outer index. */
AVX512_INLINE __m512i
pairs_of_one(const struct dpo_bf16_side *s, size_t outer, size_t k)
{
	size_t left = s->inner - k, right = left > DPO_LANES ? left - DPO_LANES : 0;

	return (__m512i)_mm512_cvtne2ps_pbh(load(s, outer, right ? k + DPO_LANES : k, dpo_lanes(right)),
	    load(s, outer, k, dpo_lanes(left)));
}

/* Sixteen pairs: the inner indices k and k + 1 of each of sixteen outer ones. */
AVX512_INLINE __m512i
pairs_of_each(const struct dpo_bf16_side *s, size_t outer, size_t k)
{
	const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
	    21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
	__mmask16 mask = dpo_lanes(s->outer - outer);
	__m512 first = load(s, k < s->inner ? k : 0, outer, k < s->inner ? mask : 0);
	__m512 second = load(s, k + 1 < s->inner ? k + 1 : 0, outer, k + 1 < s->inner ? mask : 0);

	return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

/* The tile at (outer, k): r[i] holds the pairs of outer index i, or, `across`, those of each for one pair of inner ones. */
AVX512_INLINE void
gather(__m512i r[DPO_LANES], const struct dpo_bf16_side *s, size_t outer, size_t k, bool across)
{
#pragma GCC unroll 16
	for (size_t i = 0; i < DPO_LANES; i++)
		if (s->outer_next)
			r[i] = pairs_of_each(s, outer, k + 2 * i);
		else
			r[i] = outer + i < s->outer ? pairs_of_one(s, outer + i, k) : _mm512_setzero_si512();
	if (across != s->outer_next)
		dpo_transpose16(r);
}

AVX512_INLINE void
pack_tile(const struct dpo_bf16_side *s, size_t outer, size_t k, bool across, uint16_t *to)
{
	__m512i r[DPO_LANES];

	gather(r, s, outer, k, across);
#pragma GCC unroll 16
	for (size_t i = 0; i < DPO_LANES; i++)
		_mm512_store_si512(to + i * INNER, r[i]);
}

/* The walk that reads neighbours one after the other. */
AVX512_INLINE void
pack_tiles(const struct dpo_bf16_side *s, size_t first, size_t n, bool across, uint16_t *packed, size_t step)
{
	if (s->outer_next)
		for (size_t k = 0; k < s->inner; k += INNER)
			for (size_t p = 0; p < n; p++)
				pack_tile(s, (first + p) * PANEL, k, across, packed + p * step + k / INNER * TILE);
	else
		for (size_t p = 0; p < n; p++)
			for (size_t k = 0; k < s->inner; k += INNER)
				pack_tile(s, (first + p) * PANEL, k, across, packed + p * step + k / INNER * TILE);
}

/* Floats, whose order and whether they have a mask are known when compiled. */
AVX512_INLINE void
pack_floats(struct dpo_bf16_side s, bool outer_next, bool masked, size_t first, size_t n, bool across, uint16_t *packed,
    size_t step)
{
	s.dtype = DPO_DTYPE_F32;
	s.outer_next = outer_next;
	s.mask = masked ? s.mask : NULL;
	pack_tiles(&s, first, n, across, packed, step);
}

AVX512_INLINE void
pack(const struct dpo_bf16_side *s, size_t first, size_t n, bool across, uint16_t *packed, size_t step)
{
	if (s->dtype != DPO_DTYPE_F32)
		pack_tiles(s, first, n, across, packed, step);
	else if (s->outer_next && s->mask)
		pack_floats(*s, true, true, first, n, across, packed, step);
	else if (s->outer_next)
		pack_floats(*s, true, false, first, n, across, packed, step);
	else if (s->mask)
		pack_floats(*s, false, true, first, n, across, packed, step);
	else
		pack_floats(*s, false, false, first, n, across, packed, step);
}

AVX512 void
dpo_bf16_pack_a(const struct dpo_bf16_side *a, size_t first, size_t n, uint16_t *packed, size_t step)
{
	pack(a, first, n, false, packed, step);
}

AVX512 void
dpo_bf16_pack_b(const struct dpo_bf16_side *b, size_t first, size_t n, uint16_t *packed, size_t step)
{
	pack(b, first, n, true, packed, step);
}

/* ------------------------------------------------------------------ multiplying */

/* Two panels of A, or one, and two of B, or one, over `tiles` tiles: c[32 or 16][32 or 16]. */
struct square {
	const uint16_t *a[2], *b[2];	/* the second NULL: there is none */
	size_t tiles;
	bool keep;
	float *c;
	size_t ldc;
};

typedef void multiply_square(const struct square *square);

/* With one panel of A, of B or of both. */
AMX static void
multiply_few_tiles(const struct square *s)
{
	const size_t line = s->ldc * sizeof *s->c;
	bool tall = s->a[1], wide = s->b[1];

	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	if (s->keep) {
		_tile_loadd(0, s->c, line);
		if (wide)
			_tile_loadd(1, s->c + PANEL, line);
		if (tall)
			_tile_loadd(2, s->c + PANEL * s->ldc, line);
	}
	for (size_t t = 0; t < s->tiles; t++) {
		_tile_loadd(4, s->a[0] + t * TILE, 64);
		_tile_loadd(6, s->b[0] + t * TILE, 64);
		_tile_dpbf16ps(0, 4, 6);
		if (wide) {
			_tile_loadd(7, s->b[1] + t * TILE, 64);
			_tile_dpbf16ps(1, 4, 7);
		}
		if (tall) {
			_tile_loadd(5, s->a[1] + t * TILE, 64);
			_tile_dpbf16ps(2, 5, 6);
		}
	}
	_tile_stored(0, s->c, line);
	if (wide)
		_tile_stored(1, s->c + PANEL, line);
	if (tall)
		_tile_stored(2, s->c + PANEL * s->ldc, line);
}

AMX static void
multiply_tiles(const struct square *s)
{
	const size_t line = s->ldc * sizeof *s->c;
	const uint16_t *a = s->a[0], *a2 = s->a[1], *b = s->b[0], *b2 = s->b[1];

	if (!a2 || !b2) {
		multiply_few_tiles(s);
		return;
	}
	if (s->keep) {
		_tile_loadd(0, s->c, line);
		_tile_loadd(1, s->c + PANEL, line);
		_tile_loadd(2, s->c + PANEL * s->ldc, line);
		_tile_loadd(3, s->c + PANEL * s->ldc + PANEL, line);
	} else {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
	}
	for (size_t t = 0; t < s->tiles; t++, a += TILE, a2 += TILE, b += TILE, b2 += TILE) {
		_tile_loadd(4, a, 64);
		_tile_loadd(6, b, 64);
		_tile_loadd(7, b2, 64);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(5, a2, 64);
		_tile_dpbf16ps(1, 4, 7);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
	_tile_stored(0, s->c, line);
	_tile_stored(1, s->c + PANEL, line);
	_tile_stored(2, s->c + PANEL * s->ldc, line);
	_tile_stored(3, s->c + PANEL * s->ldc + PANEL, line);
}

/* Eight rows of a panel of A with one or two panels of B, a number known when compiled. */
AVX512_INLINE void
multiply_strip(const struct square *s, const size_t panels, size_t half, size_t row)
{
	enum { ROWS = 8 };
	float *c = s->c + (half * PANEL + row) * s->ldc;
	__m512 sum[ROWS][2];

#pragma GCC unroll 8
	for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 2
		for (size_t v = 0; v < panels; v++)
			sum[i][v] = s->keep ? _mm512_loadu_ps(c + i * s->ldc + v * DPO_LANES) : _mm512_setzero_ps();
	for (size_t t = 0; t < s->tiles; t++) {
		const uint16_t *a = s->a[half] + t * TILE + row * INNER;

		for (size_t k = 0; k < DPO_LANES; k++) {
			__m512bh low = (__m512bh)_mm512_load_si512(s->b[0] + t * TILE + k * INNER);
			__m512bh high = (__m512bh)_mm512_load_si512(s->b[panels - 1] + t * TILE + k * INNER);

#pragma GCC unroll 8
			for (size_t i = 0; i < ROWS; i++) {
				uint32_t pair;
				__m512bh each;

				memcpy(&pair, a + i * INNER + 2 * k, sizeof pair);
				each = (__m512bh)_mm512_set1_epi32((int)pair);
				sum[i][0] = _mm512_dpbf16_ps(sum[i][0], each, low);
				if (panels == 2)
					sum[i][1] = _mm512_dpbf16_ps(sum[i][1], each, high);
			}
		}
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 2
		for (size_t v = 0; v < panels; v++)
			_mm512_storeu_ps(c + i * s->ldc + v * DPO_LANES, sum[i][v]);
}

AVX512 static void
multiply_vectors(const struct square *s)
{
	for (size_t half = 0; half < (s->a[1] ? 2 : 1); half++)
		for (size_t row = 0; row < PANEL; row += 8)
			if (s->b[1])
				multiply_strip(s, 2, half, row);
			else
				multiply_strip(s, 1, half, row);
}

static void
copy(float *to, size_t ld_to, const float *from, size_t ld_from, size_t rows, size_t columns)
{
	for (size_t i = 0; i < rows; i++)
		memcpy(to + i * ld_to, from + i * ld_from, columns * sizeof *to);
}

/* A square that reaches beyond C, by way of a whole one. */
static void
multiply_edge(multiply_square *multiply, struct square s, size_t rows, size_t columns)
{
	_Alignas(64) float whole[4 * PANEL * PANEL] = { 0 };
	float *c = s.c;
	size_t ldc = s.ldc;

	s.c = whole;
	s.ldc = 2 * PANEL;
	copy(whole, s.ldc, c, ldc, s.keep ? rows : 0, columns);
	multiply(&s);
	copy(c, ldc, whole, s.ldc, rows, columns);
}

static struct square
square_at(const struct dpo_bf16_product *p, size_t row, size_t column, size_t tile)
{
	struct square s = { .keep = p->keep || tile > 0, .ldc = p->ldc };
	size_t a = row / PANEL, b = column / PANEL;

	s.a[0] = p->a.data + a * p->a.step + tile * TILE;
	s.b[0] = p->b.data + b * p->b.step + tile * TILE;
	s.a[1] = row + PANEL < p->rows ? s.a[0] + p->a.step : NULL;
	s.b[1] = column + PANEL < p->columns ? s.b[0] + p->b.step : NULL;
	s.c = p->c + row * p->ldc + column;
	return s;
}

/* Rows by a few columns: the rows of C are walked along, and B's part stays in the second-level cache. */
static void
multiply_block(multiply_square *multiply, const struct dpo_bf16_product *p, size_t tile, size_t tiles, size_t first,
    size_t end)
{
	for (size_t row = 0; row < p->rows; row += 2 * PANEL)
		for (size_t column = first; column < end; column += 2 * PANEL) {
			struct square s = square_at(p, row, column, tile);
			size_t rows = p->rows - row < 2 * PANEL ? p->rows - row : 2 * PANEL;
			size_t columns = p->columns - column < 2 * PANEL ? p->columns - column : 2 * PANEL;

			s.tiles = tiles;
			if (rows % PANEL == 0 && columns % PANEL == 0)
				multiply(&s);
			else
				multiply_edge(multiply, s, rows, columns);
		}
}

void
dpo_bf16_multiply(const struct dpo_bf16_product *p)
{
	enum { TILES = 24, COLUMNS = 256 };
	multiply_square *multiply = p->amx ? multiply_tiles : multiply_vectors;

	for (size_t row = 0; row < p->rows && p->tiles == 0 && !p->keep; row++)
		memset(p->c + row * p->ldc, 0, p->columns * sizeof *p->c);
	if (p->amx)
		dpo_amx_begin();
	for (size_t tile = 0; tile < p->tiles; tile += TILES)
		for (size_t column = 0; column < p->columns; column += COLUMNS)
			multiply_block(multiply, p, tile, p->tiles - tile < TILES ? p->tiles - tile : TILES, column,
			    p->columns - column < COLUMNS ? p->columns : column + COLUMNS);
	if (p->amx)
		dpo_amx_end();
}

#else

const char *
dpo_bf16_kernel(void)
{
	return NULL;
}

void
dpo_bf16_pack_a(const struct dpo_bf16_side *a, size_t first, size_t n, uint16_t *packed, size_t step)
{
	(void)a, (void)first, (void)n, (void)packed, (void)step;
	assert(!"only where there is a kernel");
}

void
dpo_bf16_pack_b(const struct dpo_bf16_side *b, size_t first, size_t n, uint16_t *packed, size_t step)
{
	dpo_bf16_pack_a(b, first, n, packed, step);
}

void
dpo_bf16_multiply(const struct dpo_bf16_product *product)
{
	(void)product;
	assert(!"only where there is a kernel");
}

#endif
