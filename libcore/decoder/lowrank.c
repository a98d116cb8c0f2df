#include "decoder/lowrank.h"

#include "base/parallel.h"
#include "base/size.h"
#include "kernel/thin.h"
#include "kernel/vector.h"

#include <stdint.h>

/* Rows of an item of work; and rows of A's or B's gradient, which are columns of x or dy, of floats and in bf16 (thin.c). */
enum { ROWS = 32, COLUMNS = 64, COLUMNS_BF16 = 256 };

size_t
dpo_lowrank_scratch(size_t rows, size_t longest, size_t rank)
{
	size_t down = dpo_thin_room(rank, longest), up = dpo_thin_room(longest, rank), both, gathered;

	return dpo_size_add(down, up, &both) && dpo_size_mul(dpo_thin_room(rank, rows), 2, &gathered) ?
	    both > gathered ? both : gathered : SIZE_MAX;
}

static int
useful_threads(int threads, const struct dpo_lowrank *low, size_t rows)
{
	return rows * (low->in + low->out) < 32768 ? 1 : threads;
}

/* u or v is multiplied by this. */
static float
scale_of(const struct dpo_lowrank *low)
{
	return low->dropout.p > 0 ? low->scale * dpo_dropout_factor(&low->dropout) : low->scale;
}

/* The mask of x's or dx's numbers; NULL: nothing is dropped. */
static const uint16_t *
mask_of(const struct dpo_lowrank *low)
{
	return low->dropout.p > 0 ? low->dropout.mask : NULL;
}

void
dpo_lowrank_draw(int threads, const struct dpo_lowrank *low, size_t rows)
{
	if (low->dropout.p > 0)
		dpo_dropout_draw(threads, &low->dropout, rows, low->in);
}

/* ------------------------------------------------------------------ through the two matrices */

/* to += (middle = scale from DOWN) UP; the mask is of `from`'s numbers, or `back`, of what is added. */
struct pass {
	const struct dpo_lowrank *low;
	size_t rows;
	bool back;
	struct dpo_thin_right down, up;
	struct dpo_matrix from, to;	/* to.data may be NULL */
	float *middle;			/* [rows][rank] */
};

static void
pass_some(void *context, size_t item)
{
	const struct pass *p = context;
	const struct dpo_lowrank *low = p->low;
	size_t first = item * ROWS, n = dpo_size_least(p->rows - first, ROWS), step = dpo_dropout_words(low->in);
	const uint16_t *mask = mask_of(low) ? mask_of(low) + first * step : NULL;
	float *middle = p->middle + first * low->rank;

	dpo_thin(&(struct dpo_thin){ .rows = n, .a = { p->from.data + first * p->from.ld, p->from.ld, false }, .b = &p->down,
	    .c = middle, .ldc = low->rank, .mask = p->back ? NULL : mask, .mask_step = step });
	dpo_vector_scale(middle, scale_of(low), n * low->rank);
	if (p->to.data)
		dpo_thin(&(struct dpo_thin){ .rows = n, .a = { middle, low->rank, false }, .b = &p->up,
		    .c = p->to.data + first * p->to.ld, .ldc = p->to.ld, .keep = true,
		    .mask = p->back ? mask : NULL, .mask_step = step, .mask_c = true });
}

void
dpo_lowrank_forward(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix x, struct dpo_matrix y)
{
	struct pass pass = { .low = low, .rows = rows, .from = x, .to = y, .middle = low->u };

	dpo_lowrank_draw(threads, low, rows);
	pass.down = dpo_thin_right(low->bf16, false, low->rank, low->in, (struct dpo_operand){ low->a, low->in, true },
	    low->scratch);
	pass.up = dpo_thin_right(low->bf16, false, low->out, low->rank, (struct dpo_operand){ low->b, low->rank, true },
	    low->scratch + dpo_thin_room(low->rank, low->in));
	dpo_parallel_for(useful_threads(threads, low, rows), dpo_size_parts(rows, ROWS), pass_some, &pass);
}

void
dpo_lowrank_backward_input(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix dy,
    struct dpo_matrix dx, float *v)
{
	struct pass pass = { .low = low, .rows = rows, .back = true, .from = dy, .to = dx, .middle = v };

	pass.down = dpo_thin_right(low->bf16, false, low->rank, low->out, (struct dpo_operand){ low->b, low->rank, false },
	    low->scratch);
	if (dx.data)
		pass.up = dpo_thin_right(low->bf16, false, low->in, low->rank, (struct dpo_operand){ low->a, low->in, false },
		    low->scratch + dpo_thin_room(low->rank, low->out));
	dpo_parallel_for(useful_threads(threads, low, rows), dpo_size_parts(rows, ROWS), pass_some, &pass);
}

/* ------------------------------------------------------------------ gradients */

struct gathering {
	const struct dpo_lowrank *low;
	struct dpo_thin_right u, v;
	struct dpo_matrix x, dy;
	size_t columns;			/* of an item */
};

/* Some columns of d_a, [rank][in]. */
static void
gather_a(const struct gathering *g, size_t first)
{
	const struct dpo_lowrank *low = g->low;

	dpo_thin(&(struct dpo_thin){ .rows = dpo_size_least(low->in - first, g->columns),
	    .a = { g->x.data + first, g->x.ld, true }, .b = &g->v, .c = low->d_a + first, .ldc = low->in, .c_turned = true,
	    .keep = true, .mask = mask_of(low) ? mask_of(low) + first / 16 : NULL, .mask_step = dpo_dropout_words(low->in) });
}

/* Some rows of d_b, [out][rank]. */
static void
gather_b(const struct gathering *g, size_t first)
{
	const struct dpo_lowrank *low = g->low;

	dpo_thin(&(struct dpo_thin){ .rows = dpo_size_least(low->out - first, g->columns),
	    .a = { g->dy.data + first, g->dy.ld, true }, .b = &g->u, .c = low->d_b + first * low->rank, .ldc = low->rank,
	    .keep = true });
}

static void
gather_some(void *context, size_t item)
{
	const struct gathering *g = context;
	size_t of_a = dpo_size_parts(g->low->in, g->columns);

	if (item < of_a)
		gather_a(g, item * g->columns);
	else
		gather_b(g, (item - of_a) * g->columns);
}

void
dpo_lowrank_backward_weight(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_matrix x,
    struct dpo_matrix dy, const float *v)
{
	struct gathering g = { .low = low, .x = x, .dy = dy, .columns = low->bf16 ? COLUMNS_BF16 : COLUMNS };

	g.u = dpo_thin_right(low->bf16, true, low->rank, rows, (struct dpo_operand){ low->u, low->rank, false }, low->scratch);
	g.v = dpo_thin_right(low->bf16, true, low->rank, rows, (struct dpo_operand){ v, low->rank, false },
	    low->scratch + dpo_thin_room(low->rank, rows));
	dpo_parallel_for(useful_threads(threads, low, rows),
	    dpo_size_parts(low->in, g.columns) + dpo_size_parts(low->out, g.columns), gather_some, &g);
}
