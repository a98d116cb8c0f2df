#include "decoder/attention.h"

#include "base/parallel.h"
#include "decoder/mask.h"
#include "kernel/exponential.h"
#include "kernel/lanes.h"
#include "kernel/strip.h"
#include "kernel/vector.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/*
 * A block of keys, and as much of values, has at most FLOATS numbers, so that both stay in the second-level cache
 * while the rows of an item pass them, strip by strip. An item has rows enough to be worth the packing of its keys, but
 * few enough that there are some ITEMS, whatever the number of threads.
 */
enum { FLOATS = DPO_HEAD_DIM_LIMIT, KEYS = 128, ROWS = 256, ROWS_LEAST = 64, ITEMS = 32, UNIT = 32 };

struct work {
	const struct dpo_attention *a;
	const struct dpo_strip *strip;
	const float *qkv;
	float *out, *log_sums;
	size_t ld, ld_out;
	size_t item_rows, items;	/* rows of an item, and items of a head */
};

/* Rows first .. first+n-1 of one head, and what is known of them so far. */
struct rows {
	size_t head, first, n;
	float most[ROWS], sum[ROWS];
};

struct dpo_attention
dpo_attention_of(const struct dpo_sequence *sequence, size_t heads, size_t kv_heads,
    size_t head_dim, bool by_head)
{
	size_t step = by_head ? 3 * head_dim : head_dim;

	return (struct dpo_attention){ .sequence = sequence, .heads = heads, .kv_heads = kv_heads,
	    .head_dim = head_dim, .query_step = step, .kv_step = step,
	    .key = by_head ? head_dim : heads * head_dim,
	    .value = by_head ? 2 * head_dim : (heads + kv_heads) * head_dim,
	    .scale = 1.0f / sqrtf((float)head_dim) };
}

size_t
dpo_attention_query(const struct dpo_attention *attention, size_t head)
{
	return head * attention->query_step;
}

size_t
dpo_attention_key(const struct dpo_attention *attention, size_t head)
{
	return attention->key + head / (attention->heads / attention->kv_heads) * attention->kv_step;
}

size_t
dpo_attention_value(const struct dpo_attention *attention, size_t head)
{
	return attention->value + head / (attention->heads / attention->kv_heads) * attention->kv_step;
}

size_t
dpo_attention_block(const struct dpo_attention *attention)
{
	size_t most = FLOATS / attention->head_dim;

	assert(attention->head_dim <= FLOATS);
	most = most < KEYS ? most : KEYS;
	return most > UNIT ? most / UNIT * UNIT : most;
}

/* What scores are multiplied by in the softmax: capped ones are already. */
static float
softmax_scale(const struct dpo_attention *a)
{
	return a->cap > 0.0f ? 1.0f : a->scale;
}

/*
 * A row's scores, which scale is yet to multiply, become weights relative to its new maximum, through whole vectors,
 * with 0 for keys that it does not see. Returned is what was gathered before has to be multiplied by.
 */
DPO_WIDE static float
soften(float *p, float scale, struct dpo_range all, struct dpo_range seen, float *most, float *sum)
{
	size_t start = dpo_lanes_down(all.from), n = dpo_lanes_up(all.to - start);
	float outside = seen.from == seen.to ? 0.0f : -INFINITY, here, shrink;

	for (size_t j = start; j < seen.from; j++)
		p[j] = outside;
	for (size_t j = seen.to; j < start + n; j++)
		p[j] = outside;
	if (seen.from == seen.to)
		return 1.0f;
	here = dpo_lanes_max(p + start, n, *most);
#pragma omp simd
	for (size_t j = start; j < start + n; j++)
		p[j] = dpo_exp(scale * (p[j] - here));
	shrink = here > *most ? dpo_exp(scale * (*most - here)) : 1.0f;
	*most = here;
	*sum = *sum * shrink + dpo_lanes_sum(p + start, n);
	return shrink;
}

/* A strip of n rows against the keys that some of them see, which lie packed. */
static void
attend_strip(const struct work *w, struct rows *rows, size_t i, size_t n, struct dpo_range all,
    const struct dpo_range *seen, struct dpo_strip_operand k, struct dpo_strip_operand v)
{
	_Alignas(64) float scores[DPO_STRIP_MOST * KEYS];
	size_t dim = w->a->head_dim, row = rows->first + i, columns = all.to - all.from;
	struct dpo_operand q = { w->qkv + row * w->ld + dpo_attention_query(w->a, rows->head), w->ld, false };
	float *out = w->out + row * w->ld_out + rows->head * dim, cap = w->a->cap, scale = softmax_scale(w->a);
	float shrink;

	w->strip->product(n, columns, dim, q, k, 0, all.from, false, scores + all.from, KEYS);
	for (size_t r = 0; r < n; r++) {
		float *p = scores + r * KEYS;

		if (cap > 0.0f) {
			dpo_vector_scale(p + all.from, w->a->scale, columns);
			dpo_vector_cap(p + all.from, cap, columns);
		}
		shrink = soften(p, scale, all, seen[r], &rows->most[i + r], &rows->sum[i + r]);
		if (shrink < 1.0f)
			dpo_vector_scale(out + r * w->ld_out, shrink, dim);
	}
	w->strip->product(n, dim, columns, (struct dpo_operand){ scores + all.from, KEYS, false }, v, all.from, 0, true, out,
	    w->ld_out);
}

static void
attend_keys(const struct work *w, struct rows *rows, const struct dpo_keys *keys)
{
	_Alignas(64) float room[2][FLOATS];
	const float *at = w->qkv + keys->first * w->ld;
	struct dpo_operand key = { at + dpo_attention_key(w->a, rows->head), w->ld, true };
	struct dpo_operand value = { at + dpo_attention_value(w->a, rows->head), w->ld, false };
	struct dpo_range seen[DPO_STRIP_MOST], all;
	struct dpo_strip_operand k = { 0 }, v = { 0 };

	for (size_t i = 0, n; i < rows->n; i += n) {
		n = rows->n - i < w->strip->rows ? rows->n - i : w->strip->rows;
		all = dpo_mask_rows(w->a->sequence, w->a->window, keys, rows->first + i, n, w->strip->unit, seen);
		if (all.from == all.to)
			continue;
		if (!k.data) {
			k = w->strip->lay(room[0], key, keys->n, w->a->head_dim);
			v = w->strip->lay(room[1], value, w->a->head_dim, keys->n);
		}
		attend_strip(w, rows, i, n, all, seen, k, v);
	}
}

static void
begin(const struct work *w, struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		rows->most[i] = -INFINITY;
		rows->sum[i] = 0.0f;
		memset(w->out + (rows->first + i) * w->ld_out + rows->head * w->a->head_dim, 0,
		    w->a->head_dim * sizeof *w->out);
	}
}

static void
finish(const struct work *w, const struct rows *rows)
{
	float scale = softmax_scale(w->a);

	for (size_t i = 0; i < rows->n; i++) {
		size_t row = rows->first + i;

		dpo_vector_scale(w->out + row * w->ld_out + rows->head * w->a->head_dim, 1.0f / rows->sum[i], w->a->head_dim);
		w->log_sums[rows->head * w->a->sequence->rows + row] = scale * rows->most[i] + logf(rows->sum[i]);
	}
}

static void
attend(void *context, size_t item)
{
	const struct work *w = context;
	struct rows rows = { .head = item / w->items, .first = w->a->first + item % w->items * w->item_rows };
	size_t left = w->a->sequence->rows - rows.first;
	struct dpo_keys keys = { 0 };

	rows.n = left < w->item_rows ? left : w->item_rows;
	begin(w, &rows);
	while (dpo_mask_next(w->a->sequence, dpo_attention_block(w->a), &keys) && keys.first < rows.first + rows.n)
		attend_keys(w, &rows, &keys);
	finish(w, &rows);
}

void
dpo_attention_forward(int threads, const struct dpo_attention *attention, const float *qkv,
    float *out, float *log_sums)
{
	const struct dpo_attention *a = attention;
	struct work w = { .a = a, .strip = dpo_strip_best(a->bf16, a->head_dim), .qkv = qkv, .out = out, .log_sums = log_sums,
		.ld = (a->heads + 2 * a->kv_heads) * a->head_dim, .ld_out = a->heads * a->head_dim, .item_rows = ROWS };
	size_t rows = a->sequence->rows - a->first;

	while (w.item_rows > ROWS_LEAST && (rows + w.item_rows - 1) / w.item_rows * a->heads < ITEMS)
		w.item_rows /= 2;
	w.items = (rows + w.item_rows - 1) / w.item_rows;
	dpo_parallel_for(a->sequence->rows * w.ld < 8192 ? 1 : threads, w.items * a->heads, attend, &w);
}
