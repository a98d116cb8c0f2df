#include "kernel/split.h"

#include "base/avx512.h"
#include "base/size.h"
#include "kernel/amx.h"
#include "kernel/splitpack.h"

#include <assert.h>

#if defined(__x86_64__) && defined(__GNUC__)

#define AMX __attribute__((target("avx512f,prfchw,amx-tile,amx-bf16")))
#define AMX_INLINE __attribute__((target("avx512f,prfchw,amx-tile,amx-bf16"), always_inline)) static inline

/*
 * A stretch of A is packed into the second-level cache. B goes by, panel after panel: a cut of one stays in the first-level
 * cache while all of A's panels are multiplied with it. The tile registers leave the processor's other units idle; so
 * meanwhile, in gaps between their instructions, the next panel is packed and the sums of the last one are added to C.
 */
enum { STRETCH = 384, PANEL = DPO_SPLIT_PANEL, SQUARE = DPO_SPLIT_SQUARE, STEP = DPO_SPLIT_STEP };
enum { STEPS = STRETCH / DPO_SPLIT_INNER, PANELS = DPO_SPLIT_ROWS / PANEL };

/* Sums of two panels, four squares of 16 by 16; rows of C that are added in a gap; and those fetched before their turn. */
enum { SUMS_SQUARE = 256, SUMS = 4 * SUMS_SQUARE, ROWS_A_GAP = 2, ROWS_AHEAD = 8 };

/* Sums of a panel of B with all of A, on their way to C. */
struct sums {
	const float *data;	/* [panels of A][SUMS] */
	size_t row, rows;	/* what is next, and where they end */
	size_t columns;
	bool keep;
	float *c;
	size_t ldc;
};

/* What is done in the gaps. */
struct chores {
	struct dpo_split_panel panel;
	struct sums sums;
};

AMX_INLINE void
add_half(float *c, const float *sums, size_t columns, bool keep)
{
	__mmask16 mask = dpo_lanes(columns);
	__m512 before = keep ? _mm512_maskz_loadu_ps(mask, c) : _mm512_setzero_ps();

	_mm512_mask_storeu_ps(c, mask, _mm512_add_ps(before, _mm512_load_ps(sums)));
}

AMX_INLINE void
add_row(struct sums *s)
{
	const float *sums = s->data + s->row / PANEL * SUMS + s->row % PANEL / 16 * 2 * SUMS_SQUARE + s->row % 16 * 16;
	float *c = s->c + s->row * s->ldc, *ahead = s->row + ROWS_AHEAD < s->rows ? c + ROWS_AHEAD * s->ldc : c;

	__builtin_prefetch(ahead, 1);
	add_half(c, sums, s->columns, s->keep);
	if (s->columns > DPO_LANES) {
		__builtin_prefetch(ahead + DPO_LANES, 1);
		add_half(c + DPO_LANES, sums + SUMS_SQUARE, s->columns - DPO_LANES, s->keep);
	}
	s->row++;
}

/* false: nothing was left. */
AMX static bool
do_chore(struct chores *chores)
{
	struct sums *s = &chores->sums;

	if (dpo_split_panel_piece(&chores->panel))
		return true;
	if (s->row == s->rows)
		return false;
	for (size_t i = 0; i < ROWS_A_GAP && s->row < s->rows; i++)
		add_row(s);
	return true;
}

/* ------------------------------------------------------------------ multiplying */

enum { HI, MID, LO };

AMX_INLINE void
load_a(const uint16_t *a, size_t part)
{
	_tile_loadd(4, a + part * 2 * SQUARE, 64);
	_tile_loadd(5, a + part * 2 * SQUARE + SQUARE, 64);
}

AMX_INLINE void
load_b(const uint16_t *b, size_t part)
{
	_tile_loadd(6, b + part * 2 * SQUARE, 64);
	_tile_loadd(7, b + part * 2 * SQUARE + SQUARE, 64);
}

AMX_INLINE void
multiply_loaded(void)
{
	_tile_dpbf16ps(0, 4, 6);
	_tile_dpbf16ps(1, 4, 7);
	_tile_dpbf16ps(2, 5, 6);
	_tile_dpbf16ps(3, 5, 7);
}

AMX_INLINE void
load_sums(const float *sums, bool keep)
{
	if (keep) {
		_tile_loadd(0, sums, 64);
		_tile_loadd(1, sums + SUMS_SQUARE, 64);
		_tile_loadd(2, sums + 2 * SUMS_SQUARE, 64);
		_tile_loadd(3, sums + 3 * SUMS_SQUARE, 64);
	} else {
		_tile_zero(0);
		_tile_zero(1);
		_tile_zero(2);
		_tile_zero(3);
	}
}

AMX_INLINE void
store_sums(float *sums)
{
	_tile_stored(0, sums, 64);
	_tile_stored(1, sums + SUMS_SQUARE, 64);
	_tile_stored(2, sums + 2 * SUMS_SQUARE, 64);
	_tile_stored(3, sums + 3 * SUMS_SQUARE, 64);
}

/* A panel of A with one of B, over the steps of a cut. Each product but the first begins with what the one before has loaded. */
AMX static void
multiply(float *sums, const uint16_t *a, const uint16_t *b, size_t steps, bool keep, struct chores *chores)
{
	load_sums(sums, keep);
	for (size_t t = 0; t < steps; t++, a += STEP, b += STEP) {
		load_a(a, HI);
		load_b(b, LO);
		multiply_loaded();
		do_chore(chores);
		load_b(b, MID);
		multiply_loaded();
		load_a(a, MID);
		multiply_loaded();
		do_chore(chores);
		load_b(b, HI);
		multiply_loaded();
		load_a(a, LO);
		multiply_loaded();
		do_chore(chores);
		load_a(a, HI);
		multiply_loaded();
	}
	store_sums(sums);
}

/* All of A's panels with one of B. */
static void
multiply_panel(float *sums, const uint16_t *a, size_t panels, const uint16_t *b, size_t steps, struct chores *chores)
{
	for (size_t t = 0, n; t < steps; t += n, b += n * STEP) {
		n = dpo_size_least(steps - t, DPO_SPLIT_CUT);
		for (size_t i = 0; i < panels; i++, a += n * STEP)
			multiply(sums + i * SUMS, a, b, n, t > 0, chores);
	}
}

static void
multiply_stretch(const struct dpo_tile *tile, struct dpo_stretch inner, bool keep)
{
	_Alignas(64) uint16_t a[PANELS * STEPS * STEP], b[2][STEPS * STEP];
	_Alignas(64) float sums[2][PANELS * SUMS];
	size_t panels = dpo_size_parts(tile->rows, PANEL), steps = dpo_size_parts(inner.n, DPO_SPLIT_INNER);
	struct chores chores = { .sums = { .rows = 0 } };

	dpo_split_pack_a(a, &tile->a, tile->rows, inner);
	dpo_split_panel_begin(&chores.panel, b[0], &tile->b, 0, tile->columns, inner);
	for (size_t column = 0, turn = 0; column < tile->columns; column += PANEL, turn ^= 1) {
		while (dpo_split_panel_piece(&chores.panel))
			;
		dpo_split_panel_begin(&chores.panel, b[!turn], &tile->b, column + PANEL, tile->columns, inner);
		multiply_panel(sums[turn], a, panels, b[turn], steps, &chores);
		while (do_chore(&chores))
			;
		chores.sums = (struct sums){ .data = sums[turn], .rows = tile->rows, .columns = tile->columns - column,
		    .keep = keep, .c = tile->c + column, .ldc = tile->ldc };
	}
	while (do_chore(&chores))
		;
}

void
dpo_split_product(const struct dpo_tile *tile)
{
	size_t stretches = dpo_size_parts(tile->inner, STRETCH), steps = dpo_size_parts(tile->inner, DPO_SPLIT_INNER);

	assert(tile->rows <= DPO_SPLIT_ROWS);
	dpo_amx_begin();
	for (size_t q = 0; q < stretches; q++) {
		size_t first = steps * q / stretches * DPO_SPLIT_INNER, end = steps * (q + 1) / stretches * DPO_SPLIT_INNER;

		end = dpo_size_least(end, tile->inner);
		multiply_stretch(tile, (struct dpo_stretch){ first, end - first }, tile->keep || q > 0);
	}
	dpo_amx_end();
}

#else

void
dpo_split_product(const struct dpo_tile *tile)
{
	(void)tile;
	assert(!"only where dpo_amx_here");
}

#endif
