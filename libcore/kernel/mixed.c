#include "kernel/mixed.h"

#include "base/parallel.h"
#include "base/size.h"
#include "kernel/amx.h"
#include "kernel/vector.h"

#include <assert.h>
#include <stdint.h>

/*
 * One side is packed whole by all threads, as far as OUTER by INNER go: the one with fewer rows or columns. Then each
 * thread packs a block of the other, which stays in its second-level cache, and multiplies. A B that is packed already is
 * shared too, unless it is so wide that reading it once for each block of rows takes longer, or there are few rows a thread.
 */
enum { INNER = 1536, OUTER = 1024, BLOCK = 192, PACKED_AT_ONCE = 4, NARROW = 8192, ROWS_EACH = 256 };
_Static_assert(DPO_MIXED_SCRATCH == OUTER * INNER / 2, "the scratch holds the shared side");

typedef void pack(const struct dpo_bf16_side *side, size_t first, size_t n, uint16_t *packed, size_t step);

/* A side of the product: as it lies, and packed, if it is. */
struct side {
	struct dpo_bf16_side raw;
	struct dpo_bf16_packed packed;
	pack *pack;
};

/* The current part of the product: outer and inner indices of the shared side, and a block of the other. */
struct work {
	const struct dpo_product *product;
	struct side shared, other;	/* of this part */
	bool a_is_shared;
	size_t outer, inner;		/* where it begins */
	size_t block;			/* of the other side */
	bool last;			/* of the inner index */
	bool amx;
	uint16_t *to;			/* the shared side's place */
};

static struct dpo_bf16_side
part(const struct dpo_bf16_side *side, size_t outer, size_t n_outer, size_t inner, size_t n_inner)
{
	size_t at = side->outer_next ? inner * side->ld + outer : outer * side->ld + inner;
	struct dpo_bf16_side p = *side;

	p.data = (const uint8_t *)side->data + at * dpo_dtype_size(side->dtype);
	p.outer = n_outer;
	p.inner = n_inner;
	return p;
}

/* The same of a side that may be packed; outer and inner at multiples of a panel and of a tile. */
static struct side
side_part(const struct side *side, size_t outer, size_t n_outer, size_t inner, size_t n_inner)
{
	struct side p = { part(&side->raw, outer, n_outer, inner, n_inner), side->packed, side->pack };

	if (p.packed.data)
		p.packed.data += outer / DPO_BF16_PANEL * p.packed.step + inner / DPO_BF16_INNER * DPO_BF16_TILE;
	return p;
}

static void
pack_some(void *context, size_t item)
{
	const struct side *side = context;
	size_t panels = dpo_size_parts(side->raw.outer, DPO_BF16_PANEL), first = item * PACKED_AT_ONCE;
	uint16_t *to = (uint16_t *)(uintptr_t)side->packed.data + first * side->packed.step;

	side->pack(&side->raw, first, dpo_size_least(panels - first, PACKED_AT_ONCE), to, side->packed.step);
}

static void
pack_all(int threads, struct side *side, uint16_t *to)
{
	assert((uintptr_t)to % 64 == 0);	/* or the first store faults */
	side->packed.data = to;
	side->packed.step = dpo_size_parts(side->raw.inner, DPO_BF16_INNER) * DPO_BF16_TILE;
	dpo_parallel_for(side->raw.outer * side->raw.inner < 65536 ? 1 : threads,
	    dpo_size_parts(dpo_size_parts(side->raw.outer, DPO_BF16_PANEL), PACKED_AT_ONCE), pack_some, side);
}

static void
finish(const struct dpo_product *p, size_t row, size_t rows, size_t column, size_t columns)
{
	for (size_t i = row; i < row + rows && (p->bias || p->residual); i++)
		dpo_vector_finish(p->c + i * p->ldc + column, p->bias ? p->bias + column : NULL,
		    p->residual ? p->residual + i * p->ld_residual + column : NULL, columns);
}

static void
multiply_block(void *context, size_t item)
{
	const struct work *w = context;
	const struct dpo_product *p = w->product;
	_Alignas(64) uint16_t room[BLOCK * INNER];
	size_t first = item * w->block, n = dpo_size_least(w->other.raw.outer - first, w->block);
	struct side other = side_part(&w->other, first, n, 0, w->other.raw.inner);
	size_t row = w->a_is_shared ? w->outer : first, column = w->a_is_shared ? first : w->outer;
	struct dpo_bf16_product product = { .rows = w->a_is_shared ? w->shared.raw.outer : n,
	    .columns = w->a_is_shared ? n : w->shared.raw.outer,
	    .tiles = dpo_size_parts(other.raw.inner, DPO_BF16_INNER), .amx = w->amx, .keep = p->keep || w->inner > 0,
	    .c = p->c + row * p->ldc + column, .ldc = p->ldc };

	if (!other.packed.data)
		pack_all(1, &other, room);
	product.a = w->a_is_shared ? w->shared.packed : other.packed;
	product.b = w->a_is_shared ? other.packed : w->shared.packed;
	dpo_bf16_multiply(&product);
	if (w->last)
		finish(p, row, product.rows, column, product.columns);
}

/* Equal blocks, a few for each thread. */
static size_t
block_of(size_t n, int threads)
{
	size_t share = dpo_size_parts(n, 2 * (size_t)threads);

	return dpo_size_least(dpo_size_parts(share, 2 * DPO_BF16_PANEL) * 2 * DPO_BF16_PANEL, BLOCK);
}

static void
multiply(int threads, struct work *w, const struct side *shared, const struct side *other)
{
	size_t outer = shared->raw.outer, inner = shared->raw.inner, n_outer, n_inner;

	w->block = block_of(other->raw.outer, threads);
	for (w->outer = 0; w->outer < outer; w->outer += OUTER)
		for (w->inner = 0; w->inner < inner || inner == 0; w->inner += INNER) {
			n_outer = dpo_size_least(outer - w->outer, OUTER);
			n_inner = dpo_size_least(inner - w->inner, INNER);
			w->last = w->inner + n_inner == inner;
			w->shared = side_part(shared, w->outer, n_outer, w->inner, n_inner);
			w->other = side_part(other, 0, other->raw.outer, w->inner, n_inner);
			if (!w->shared.packed.data)
				pack_all(threads, &w->shared, w->to);
			dpo_parallel_for(threads, dpo_size_parts(other->raw.outer, w->block), multiply_block, w);
			if (inner == 0)
				break;
		}
}

static struct side
right_of(const struct dpo_product *p)
{
	return (struct side){ .raw = { .data = p->b.data, .dtype = p->b_dtype, .ld = p->b.ld, .outer_next = !p->b.transposed,
	    .outer = p->columns, .inner = p->inner }, .pack = dpo_bf16_pack_b };
}

void
dpo_mixed_product(int threads, const struct dpo_product *p, const struct dpo_bf16_packed *b)
{
	struct side left = { .raw = { .data = p->a.data, .dtype = DPO_DTYPE_F32, .ld = p->a.ld, .outer_next = p->a.transposed,
	    .outer = p->rows, .inner = p->inner }, .pack = dpo_bf16_pack_a };
	struct side right = right_of(p);
	struct work w = { .product = p, .a_is_shared = p->rows <= p->columns, .to = (uint16_t *)(void *)p->scratch };

	if (p->rows == 0 || p->columns == 0)
		return;
	if (b)
		right.packed = *b;
	threads = dpo_gemm_worth(threads, p);
	if (b && p->columns <= NARROW && p->rows >= ROWS_EACH * (size_t)threads)
		w.a_is_shared = false;
	w.amx = dpo_amx_here();
	if (w.a_is_shared)
		multiply(threads, &w, &left, &right);
	else
		multiply(threads, &w, &right, &left);
}

size_t
dpo_mixed_packed_size(size_t columns, size_t inner)
{
	size_t panels = dpo_size_parts(columns, DPO_BF16_PANEL), tiles = dpo_size_parts(inner, DPO_BF16_INNER), n;

	return dpo_size_mul(panels, tiles, &n) && dpo_size_mul(n, DPO_BF16_TILE, &n) ? n : SIZE_MAX;
}

struct dpo_bf16_packed
dpo_mixed_pack(int threads, const struct dpo_product *product, uint16_t *to)
{
	struct side side = right_of(product);

	pack_all(threads, &side, to);
	return side.packed;
}
