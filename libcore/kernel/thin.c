#include "kernel/thin.h"

#include "base/size.h"
#include "kernel/amx.h"
#include "kernel/kernel.h"
#include "kernel/thinparts.h"

#include <assert.h>
#include <stdint.h>

/*
 * A is walked in blocks of ROWS by INNER, a multiple of DPO_BF16_INNER, which stay in the first-level cache where they are
 * copied. What does not go straight to C is ROWS by COLUMNS at a time.
 */
enum { ROWS = 32, COLUMNS = 256, INNER = 256, PACKED_INNER = 1024, WORD = DPO_THIN_WORD };
/* A flipped block is the reverse, because A's rows are columns of what is read. */
enum { FLIPPED_ROWS = 256, FLIPPED_COLUMNS = 64, FLIPPED_INNER = 128 };
_Static_assert(FLIPPED_ROWS * FLIPPED_INNER == ROWS * PACKED_INNER, "packed, they take the same room");

/* A block of rows by a block of columns: c = a b, or `flipped` its transpose, added to c if `keep`. */
struct block {
	size_t rows, column, columns, inner;
	bool flipped;
	struct dpo_operand a;		/* from its first row on */
	const uint16_t *mask;		/* of A's numbers, or NULL */
	size_t mask_step;
	const struct dpo_thin_right *b;
	bool keep;
	float *c;
	size_t ldc;
};

/* A's numbers from inner index k on. */
static const float *
from_inner(const struct block *b, size_t k)
{
	return b->a.data + (b->a.transposed ? k * b->a.ld : k);
}

static const uint16_t *
mask_from_inner(const struct block *b, size_t k)
{
	return b->mask + (b->a.transposed ? k * b->mask_step : k / WORD);
}

/* ------------------------------------------------------------------ passes over a block */

static void
mask_plain(const struct dpo_masked *m)
{
	for (size_t i = 0; i < m->rows; i++)
		for (size_t j = 0; j < m->columns; j++) {
			bool stays = m->mask[i * m->step + j / WORD] >> j % WORD & 1;

			m->to[i * m->ld_to + j] = (m->add ? m->to[i * m->ld_to + j] : 0.0f) +
			    (stays ? m->from[i * m->ld + j] : 0.0f);
		}
}

static void
turn_plain(const struct dpo_turned *t)
{
	for (size_t i = 0; i < t->rows; i++)
		for (size_t j = 0; j < t->columns; j++) {
			float *to = t->to + j * t->ld_to + i;

			*to = (t->add ? *to : 0.0f) + t->from[i * t->ld + j];
		}
}

static void
multiply_plain(const struct dpo_tile *t)
{
	dpo_gemm_one(t->rows, t->columns, t->inner, t->a, t->b, t->keep, t->c, t->ldc);
}

static const struct dpo_thin_set plain = { mask_plain, turn_plain, multiply_plain };

static const struct dpo_thin_set *
set(void)
{
	static const struct dpo_thin_set *const sets[] = DPO_CPU_SETS(&plain, &dpo_thin_avx2, &dpo_thin_avx512);

	return sets[dpo_kernel_set()];
}

/* ------------------------------------------------------------------ floats */

/* The block's stretch of the inner index from k on, without the numbers that the mask drops. */
static struct block
stretch_of(const struct block *block, size_t k, float room[ROWS * INNER])
{
	struct block b = *block;

	b.inner = dpo_size_least(block->inner - k, INNER);
	b.a.data = from_inner(block, k);
	b.keep = block->keep || k > 0;
	if (!b.mask)
		return b;
	set()->mask(&(struct dpo_masked){ .rows = b.a.transposed ? b.inner : b.rows, .columns = b.a.transposed ? b.rows : b.inner,
	    .from = b.a.data, .ld = b.a.ld, .mask = mask_from_inner(block, k), .step = b.mask_step,
	    .to = room, .ld_to = b.a.transposed ? ROWS : INNER });
	b.a.data = room;
	b.a.ld = b.a.transposed ? ROWS : INNER;
	return b;
}

static void
multiply_floats(const struct block *block)
{
	_Alignas(64) float room[ROWS * INNER];

	for (size_t k = 0; k < block->inner || k == 0; k += INNER) {
		struct block b = stretch_of(block, k, room);
		struct dpo_operand right = block->b->floats;

		right.data += k * right.ld + b.column;
		set()->multiply(&(struct dpo_tile){ b.rows, b.columns, b.inner, b.a, right, b.keep, b.c, b.ldc });
	}
}

/* ------------------------------------------------------------------ bfloat16 */

/* A transposed A is packed fastest as the right side of the flipped product. */
static void
multiply_bf16(const struct block *b)
{
	_Alignas(64) uint16_t room[ROWS * PACKED_INNER];
	size_t panels = dpo_size_parts(b->rows, DPO_BF16_PANEL), most = b->flipped ? FLIPPED_INNER : PACKED_INNER;
	struct dpo_bf16_product p = { .rows = b->flipped ? b->columns : b->rows, .columns = b->flipped ? b->rows : b->columns,
		.amx = b->b->amx, .c = b->c, .ldc = b->ldc };

	for (size_t k = 0; k < b->inner || k == 0; k += most) {
		struct dpo_bf16_side side = { .data = from_inner(b, k), .dtype = DPO_DTYPE_F32, .ld = b->a.ld,
			.outer_next = b->a.transposed, .outer = b->rows, .inner = dpo_size_least(b->inner - k, most),
			.mask = b->mask ? mask_from_inner(b, k) : NULL, .mask_step = b->mask_step };

		struct dpo_bf16_packed left = { room, dpo_size_parts(side.inner, DPO_BF16_INNER) * DPO_BF16_TILE };
		struct dpo_bf16_packed right = b->b->packed;

		(b->flipped ? dpo_bf16_pack_b : dpo_bf16_pack_a)(&side, 0, panels, room, left.step);
		right.data += b->column / DPO_BF16_PANEL * right.step + k / DPO_BF16_INNER * DPO_BF16_TILE;
		p.a = b->flipped ? right : left;
		p.b = b->flipped ? left : right;
		p.tiles = dpo_size_parts(side.inner, DPO_BF16_INNER);
		p.keep = b->keep || k > 0;
		dpo_bf16_multiply(&p);
	}
}

static struct dpo_bf16_packed
pack_right(bool flipped, size_t columns, size_t inner, struct dpo_operand b, float *room)
{
	struct dpo_bf16_side side = { .data = b.data, .dtype = DPO_DTYPE_F32, .ld = b.ld, .outer_next = !b.transposed,
		.outer = columns, .inner = inner };
	uint16_t *to = (uint16_t *)(void *)room;
	size_t step = dpo_size_parts(inner, DPO_BF16_INNER) * DPO_BF16_TILE;

	(flipped ? dpo_bf16_pack_a : dpo_bf16_pack_b)(&side, 0, dpo_size_parts(columns, DPO_BF16_PANEL), to, step);
	return (struct dpo_bf16_packed){ to, step };
}

/* ------------------------------------------------------------------ products */

size_t
dpo_thin_room(size_t columns, size_t inner)
{
	size_t whole = dpo_size_parts(columns, DPO_BF16_PANEL) * DPO_BF16_PANEL, n;

	/* a packed tile's numbers take half the room, but the inner index is filled up */
	return dpo_size_mul(whole, dpo_size_parts(inner, 16) * 16, &n) ? n : SIZE_MAX;
}

struct dpo_thin_right
dpo_thin_right(bool bf16, bool of_transposed, size_t columns, size_t inner, struct dpo_operand b, float *room)
{
	struct dpo_thin_right right = { .columns = columns, .inner = inner, .bf16 = bf16, .amx = bf16 && dpo_amx_here(),
		.of_transposed = of_transposed, .floats = b };

	if (bf16)
		right.packed = pack_right(of_transposed, columns, inner, b, room);
	else if (b.transposed)
		set()->turn(&(struct dpo_turned){ .rows = columns, .columns = inner, .from = b.data, .ld = b.ld, .to = room,
		    .ld_to = columns });
	if (!bf16 && b.transposed)
		right.floats = (struct dpo_operand){ room, columns, false };
	return right;
}

/* Whether a block's result has C's layout, and nothing of it is dropped. */
static bool
goes_straight(const struct dpo_thin *p, bool flipped)
{
	return flipped == p->c_turned && !(p->mask && p->mask_c);
}

/* A block's result goes to C. */
static void
put(const struct dpo_thin *p, const struct block *b, size_t i)
{
	if (p->mask && p->mask_c)
		set()->mask(&(struct dpo_masked){ .rows = b->rows, .columns = b->columns, .from = b->c, .ld = b->ldc,
		    .mask = p->mask + i * p->mask_step + b->column / WORD, .step = p->mask_step,
		    .to = p->c + i * p->ldc + b->column, .ld_to = p->ldc, .add = p->keep });
	else
		set()->turn(&(struct dpo_turned){ .rows = b->flipped ? b->columns : b->rows,
		    .columns = b->flipped ? b->rows : b->columns, .from = b->c, .ld = b->ldc,
		    .to = p->c + (p->c_turned ? b->column * p->ldc + i : i * p->ldc + b->column), .ld_to = p->ldc,
		    .add = p->keep });
}

static void
multiply_block(const struct dpo_thin *p, size_t i, size_t rows, size_t column, size_t columns)
{
	_Alignas(64) float room[FLIPPED_ROWS * FLIPPED_COLUMNS];
	struct block b = { .rows = dpo_size_least(p->rows - i, rows), .column = column, .columns = columns, .inner = p->b->inner,
		.flipped = p->b->bf16 && p->b->of_transposed, .b = p->b, .a = p->a, .keep = p->keep, .ldc = p->ldc };
	bool straight = goes_straight(p, b.flipped);

	b.a.data += p->a.transposed ? i : i * p->a.ld;
	b.c = p->c + (p->c_turned ? column * p->ldc + i : i * p->ldc + column);
	if (!straight) {
		b.keep = false;
		b.c = room;
		b.ldc = b.flipped ? FLIPPED_ROWS : COLUMNS;
	}
	if (p->mask && !p->mask_c) {
		b.mask = p->mask + (p->a.transposed ? i / WORD : i * p->mask_step);
		b.mask_step = p->mask_step;
	}
	if (p->b->bf16)
		multiply_bf16(&b);
	else
		multiply_floats(&b);
	if (!straight)
		put(p, &b, i);
}

void
dpo_thin(const struct dpo_thin *p)
{
	bool flipped = p->b->bf16 && p->b->of_transposed;
	size_t rows = flipped ? FLIPPED_ROWS : ROWS, all = p->b->columns;
	size_t most = goes_straight(p, flipped) ? all : flipped ? FLIPPED_COLUMNS : COLUMNS;

	assert(p->a.transposed == p->b->of_transposed && !(p->mask_c && (p->a.transposed || p->c_turned)));
	for (size_t i = 0; i < p->rows; i += rows)
		for (size_t j = 0; j < all; j += most)
			multiply_block(p, i, rows, j, dpo_size_least(all - j, most));
}
