#include "lowrank.h"

#include "size.h"
#include "thin.h"
#include "vector.h"

#include <stdint.h>

size_t
dpo_lowrank_scratch(size_t rows, size_t longest, size_t rank, bool dropout)
{
	size_t n, turned, masked = 0;

	return dpo_size_mul(rows, 2 * rank, &n) && dpo_size_mul(rank, longest, &turned) && dpo_size_add(n, turned, &n) &&
	    (!dropout || dpo_size_mul(rows, longest, &masked)) && dpo_size_add(n, masked, &n) ? n : SIZE_MAX;
}

/* The parts of scratch: u, v, room for A or B turned over, and what dropout leaves. */
static float *
part(const struct dpo_lowrank *low, size_t rows, size_t number)
{
	return low->scratch + number * rows * low->rank;
}

static float *
dropped(const struct dpo_lowrank *low, size_t rows)
{
	return part(low, rows, 2) + low->rank * (low->in > low->out ? low->in : low->out);
}

/* drop(x) */
static struct dpo_rows
drop(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows x)
{
	struct dpo_rows masked = { dropped(low, rows), low->in };

	if (!(low->dropout.p > 0))
		return x;
	dpo_dropout_apply(threads, &low->dropout, rows, low->in, x.data, x.ld, masked.data, masked.ld, false);
	return masked;
}

/* u = scale x A^T, for an x that was dropped from */
static float *
inner(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows x)
{
	float *u = part(low, rows, 0);

	dpo_thin(threads, &(struct dpo_product){ .rows = rows, .columns = low->rank, .inner = low->in,
	    .a = { x.data, x.ld, false }, .b = { low->a, low->in, true }, .scratch = part(low, rows, 2),
	    .c = u, .ldc = low->rank });
	dpo_vector_scale(u, low->scale, rows * low->rank);
	return u;
}

/* v = scale dy B */
static float *
outer(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows dy)
{
	float *v = part(low, rows, 1);

	dpo_thin(threads, &(struct dpo_product){ .rows = rows, .columns = low->rank, .inner = low->out,
	    .a = { dy.data, dy.ld, false }, .b = { low->b, low->rank, false }, .c = v, .ldc = low->rank });
	dpo_vector_scale(v, low->scale, rows * low->rank);
	return v;
}

void
dpo_lowrank_draw(int threads, const struct dpo_lowrank *low, size_t rows)
{
	if (low->dropout.p > 0)
		dpo_dropout_draw(threads, &low->dropout, rows, low->in);
}

void
dpo_lowrank_forward(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows x, struct dpo_rows y)
{
	const float *u;

	dpo_lowrank_draw(threads, low, rows);
	u = inner(threads, low, rows, drop(threads, low, rows, x));
	dpo_thin(threads, &(struct dpo_product){ .rows = rows, .columns = low->out, .inner = low->rank,
	    .a = { u, low->rank, false }, .b = { low->b, low->rank, true }, .scratch = part(low, rows, 2),
	    .c = y.data, .ldc = y.ld, .keep = 1.0f });
}

void
dpo_lowrank_backward_input(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows dy,
    struct dpo_rows dx)
{
	bool dropout = low->dropout.p > 0;
	struct dpo_rows masked = { dropped(low, rows), low->in }, to = dropout ? masked : dx;
	const float *v = outer(threads, low, rows, dy);

	if (!dx.data)
		return;
	dpo_thin(threads, &(struct dpo_product){ .rows = rows, .columns = low->in, .inner = low->rank,
	    .a = { v, low->rank, false }, .b = { low->a, low->in, false }, .c = to.data, .ldc = to.ld,
	    .keep = dropout ? 0.0f : 1.0f });
	if (dropout)
		dpo_dropout_apply(threads, &low->dropout, rows, low->in, masked.data, masked.ld, dx.data, dx.ld, true);
}

void
dpo_lowrank_backward_weight(int threads, const struct dpo_lowrank *low, size_t rows, struct dpo_rows x,
    struct dpo_rows dy)
{
	struct dpo_rows left = drop(threads, low, rows, x);
	const float *u = inner(threads, low, rows, left), *v = part(low, rows, 1);

	dpo_thin(threads, &(struct dpo_product){ .rows = low->out, .columns = low->rank, .inner = rows,
	    .a = { dy.data, dy.ld, true }, .b = { u, low->rank, false }, .c = low->d_b, .ldc = low->rank, .keep = 1.0f });
	dpo_thin(threads, &(struct dpo_product){ .rows = low->rank, .columns = low->in, .inner = rows,
	    .a = { v, low->rank, true }, .b = { left.data, left.ld, false }, .c = low->d_a, .ldc = low->in,
	    .keep = 1.0f });
}
