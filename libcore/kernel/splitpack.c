#include "kernel/splitpack.h"

#include "base/avx512.h"
#include "base/size.h"

#include <assert.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include "kernel/transpose.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,prfchw")))
#define AVX512_INLINE __attribute__((target("avx512f,avx512bw,prfchw"), always_inline)) static inline

enum { PARTS = 3, PANEL = DPO_SPLIT_PANEL, INNER = DPO_SPLIT_INNER, SQUARE = DPO_SPLIT_SQUARE, STEP = DPO_SPLIT_STEP };

/* Numbers in a line of a square; rows of A, and of B, that are fetched before their turn. */
enum { LINE = 32, A_AHEAD = 4, B_AHEAD = 8 };

/* Its upper half is x as bfloat16, to nearest; the last part needs no rounding, and so a NaN of any bits stays one there. */
AVX512_INLINE __m512i
nearest(__m512 x, size_t part)
{
	return _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(part < PARTS - 1 ? 0x8000 : 0));
}

/* What is left of x for further parts. */
AVX512_INLINE __m512
rest(__m512 x, __m512i nearest)
{
	return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(nearest, _mm512_set1_epi32(-0x10000))));
}

/* A line in each of the three squares, of pairs (x[i], y[i]). */
AVX512_INLINE void
split_pairs(__m512i line[PARTS], __m512 x, __m512 y)
{
#pragma GCC unroll 3
	for (size_t part = 0; part < PARTS; part++) {
		__m512i first = nearest(x, part), second = nearest(y, part);

		line[part] = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(first, 16), second);
		x = rest(x, first);
		y = rest(y, second);
	}
}

/* The same of x and then y. */
AVX512_INLINE void
split_run(__m512i line[PARTS], __m512 x, __m512 y)
{
	const __m512i upper = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25,
	    23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);

#pragma GCC unroll 3
	for (size_t part = 0; part < PARTS; part++) {
		__m512i first = nearest(x, part), second = nearest(y, part);

		line[part] = _mm512_permutex2var_epi16(first, upper, second);
		x = rest(x, first);
		y = rest(y, second);
	}
}

AVX512_INLINE void
store(uint16_t *to, const __m512i line[PARTS])
{
#pragma GCC unroll 3
	for (size_t part = 0; part < PARTS; part++)
		_mm512_store_si512(to + part * 2 * SQUARE, line[part]);
}

static inline size_t
beyond(size_t n, size_t first)
{
	return n > first ? n - first : 0;
}

/* ------------------------------------------------------------------ A */

/* Where step t of a panel lies. */
static size_t
place(size_t panel, size_t panels, size_t t, size_t steps)
{
	size_t cut = t / DPO_SPLIT_CUT * DPO_SPLIT_CUT, n = dpo_size_least(steps - cut, DPO_SPLIT_CUT);

	return (cut * panels + panel * n + t - cut) * STEP;
}

/* A row to the lines at `to` of its panel; without numbers: zeros. What lies `ahead` floats further is fetched. */
AVX512 static void
pack_row(uint16_t *to, size_t panel, size_t panels, const float *from, size_t ahead, bool numbers, size_t inner)
{
	size_t steps = dpo_size_parts(inner, INNER);
	__m512i line[PARTS];

	for (size_t t = 0; t < steps; t++, from += numbers ? INNER : 0) {
		size_t left = numbers ? inner - t * INNER : 0, right = beyond(left, DPO_LANES);

		__builtin_prefetch(from + ahead);
		__builtin_prefetch(from + ahead + (right ? DPO_LANES : 0));
		split_run(line, _mm512_maskz_loadu_ps(dpo_lanes(left), from),
		    _mm512_maskz_loadu_ps(dpo_lanes(right), right ? from + DPO_LANES : from));
		store(to + place(panel, panels, t, steps), line);
	}
}

/* Sixteen rows by a step, of an A that lies transposed. */
AVX512 static void
pack_square(uint16_t *to, const float *from, size_t ld, size_t rows, size_t inner)
{
	__m512i square[PARTS][DPO_LANES], line[PARTS];
	__mmask16 mask = dpo_lanes(rows);

	for (size_t k = 0; k < INNER; k += 2) {
		split_pairs(line, _mm512_maskz_loadu_ps(k < inner ? mask : 0, k < inner ? from + k * ld : from),
		    _mm512_maskz_loadu_ps(k + 1 < inner ? mask : 0, k + 1 < inner ? from + (k + 1) * ld : from));
		for (size_t part = 0; part < PARTS; part++)
			square[part][k / 2] = line[part];
	}
	for (size_t part = 0; part < PARTS; part++) {
		dpo_transpose16(square[part]);
#pragma GCC unroll 16
		for (size_t i = 0; i < DPO_LANES; i++)
			_mm512_store_si512(to + part * 2 * SQUARE + i * LINE, square[part][i]);
	}
}

/* Where line `row` of a panel begins in a step. */
static size_t
line_of(size_t row)
{
	return row % PANEL / 16 * SQUARE + row % 16 * LINE;
}

void
dpo_split_pack_a(uint16_t *to, const struct dpo_operand *a, size_t rows, struct dpo_stretch inner)
{
	size_t panels = dpo_size_parts(rows, PANEL), steps = dpo_size_parts(inner.n, INNER), row, t;

	for (row = 0; row < panels * PANEL && !a->transposed; row++)
		pack_row(to + line_of(row), row / PANEL, panels, a->data + (row < rows ? row : 0) * a->ld + inner.first,
		    row + A_AHEAD < rows ? A_AHEAD * a->ld : 0, row < rows, inner.n);
	for (t = 0; t < steps && a->transposed; t++)
		for (row = 0; row < panels * PANEL; row += DPO_LANES)
			pack_square(to + line_of(row) + place(row / PANEL, panels, t, steps),
			    a->data + (inner.first + t * INNER) * a->ld + (row < rows ? row : 0), a->ld, beyond(rows, row),
			    inner.n - t * INNER);
}

/* ------------------------------------------------------------------ B */

void
dpo_split_panel_begin(struct dpo_split_panel *panel, uint16_t *to, const struct dpo_operand *b, size_t column, size_t columns,
    struct dpo_stretch inner)
{
	panel->b = *b;
	panel->column = column;
	panel->columns = columns;
	panel->inner = inner;
	panel->k = column < columns ? 0 : dpo_size_parts(inner.n, INNER) * INNER;
	panel->to = to;
	panel->turned = 0;
}

/* Half of the columns of the next sixteen inner indices of a transposed B. */
AVX512_INLINE void
turn(struct dpo_split_panel *p)
{
	const struct dpo_operand *b = &p->b;
	size_t first = p->column + p->turned * DPO_LANES, n = beyond(p->columns, first);
	const float *from = b->data + (n ? first : 0) * b->ld + p->inner.first + (p->k < p->inner.n ? p->k : 0);
	__mmask16 mask = dpo_lanes(beyond(p->inner.n, p->k));
	__m512i r[DPO_LANES];

#pragma GCC unroll 16
	for (size_t i = 0; i < DPO_LANES; i++) {
		r[i] = i < n ? _mm512_maskz_loadu_epi32(mask, from + i * b->ld) : _mm512_setzero_si512();
		__builtin_prefetch(from + (i < n ? i : 0) * b->ld + DPO_LANES, 0, 2);
	}
	dpo_transpose16(r);
#pragma GCC unroll 16
	for (size_t i = 0; i < DPO_LANES; i++)
		_mm512_store_si512(p->square + i * PANEL + p->turned * DPO_LANES, r[i]);
	p->turned++;
}

/* A line in each square of two rows of B, at `from` and `next`. */
AVX512_INLINE void
pack_pairs(uint16_t *to, const float *from, const float *next, __mmask16 mask, __mmask16 mask_next)
{
	__m512i line[PARTS];

	split_pairs(line, _mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(mask_next, next));
	store(to, line);
}

AVX512_INLINE void
pack_turned(struct dpo_split_panel *p)
{
	const float *from = p->square + p->k % DPO_LANES * PANEL;

	pack_pairs(p->to, from, from + PANEL, 0xffff, 0xffff);
	pack_pairs(p->to + SQUARE, from + DPO_LANES, from + PANEL + DPO_LANES, 0xffff, 0xffff);
}

AVX512_INLINE void
pack_straight(struct dpo_split_panel *p)
{
	size_t left = beyond(p->inner.n, p->k), n = p->columns - p->column, right = beyond(n, DPO_LANES);
	const float *from = p->b.data + (p->inner.first + (left ? p->k : 0)) * p->b.ld + p->column;
	const float *next = left > 1 ? from + p->b.ld : from, *ahead = left > B_AHEAD + 1 ? from + B_AHEAD * p->b.ld : from;
	size_t other = right ? DPO_LANES : 0;

	for (size_t i = 0; i < 2; i++, ahead += left > B_AHEAD + 1 ? p->b.ld : 0) {
		__builtin_prefetch(ahead, 0, 2);
		__builtin_prefetch(ahead + other, 0, 2);
	}
	pack_pairs(p->to, from, next, left ? dpo_lanes(n) : 0, left > 1 ? dpo_lanes(n) : 0);
	pack_pairs(p->to + SQUARE, from + other, next + other, left ? dpo_lanes(right) : 0, left > 1 ? dpo_lanes(right) : 0);
}

AVX512 bool
dpo_split_panel_piece(struct dpo_split_panel *p)
{
	if (p->k >= p->inner.n && p->k % INNER == 0)
		return false;
	if (p->b.transposed && p->turned < 2) {
		turn(p);
		return true;
	}
	if (p->b.transposed)
		pack_turned(p);
	else
		pack_straight(p);
	p->k += 2;
	p->to += p->k % INNER ? LINE : STEP - SQUARE + LINE;
	if (p->k % DPO_LANES == 0)
		p->turned = 0;
	return true;
}

#else

void
dpo_split_pack_a(uint16_t *to, const struct dpo_operand *a, size_t rows, struct dpo_stretch inner)
{
	(void)to, (void)a, (void)rows, (void)inner;
	assert(!"only where dpo_amx_here");
}

void
dpo_split_panel_begin(struct dpo_split_panel *panel, uint16_t *to, const struct dpo_operand *b, size_t column, size_t columns,
    struct dpo_stretch inner)
{
	(void)panel, (void)to, (void)b, (void)column, (void)columns, (void)inner;
	assert(!"only where dpo_amx_here");
}

bool
dpo_split_panel_piece(struct dpo_split_panel *panel)
{
	(void)panel;
	return false;
}

#endif
