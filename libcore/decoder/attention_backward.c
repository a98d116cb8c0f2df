#include "base/parallel.h"
#include "base/size.h"
#include "decoder/attention.h"
#include "decoder/mask.h"
#include "kernel/exponential.h"
#include "kernel/lanes.h"
#include "kernel/strip.h"
#include "kernel/vector.h"

#include <string.h>

/* As in the forward pass; as many rows as keys are taken at once. */
enum { FLOATS = DPO_HEAD_DIM_LIMIT, KEYS = 128, REDUCED = 32 };

struct work {
	const struct dpo_attention *a;
	const struct dpo_strip *strip;
	size_t rows, ld, ld_out, block;
	const float *qkv, *out, *log_sums, *d_out;
	float *d_qkv;
	float *delta;			/* [heads][rows], sum_j p_ij d_p_ij = o_i . d_o_i */
	float *shares;			/* [heads][rows][2][head_dim], the heads' gradients of keys and values; or NULL */
};

/* A block of keys with its gradients, and a block of rows that see it. */
struct blocks {
	size_t head;
	struct dpo_keys keys;
	size_t first, rows;
	struct dpo_range seen[KEYS];			/* of each strip of them */
	struct dpo_strip_operand k_transposed, v_transposed, k;
	struct dpo_strip_operand q, d_out;		/* of the rows */
	_Alignas(64) float room[5][FLOATS];		/* where they lie */
	_Alignas(64) float d_k[FLOATS], d_v[FLOATS];
	_Alignas(64) float p[KEYS * KEYS], d_s[KEYS * KEYS];
};

/* p = exp(s - L), d_s = scale p (d_p - delta) of n keys; p holds s / scale, and d_s holds d_p. */
DPO_WIDE static void
differentiate(float *p, float *d_s, size_t n, float log_sum, float delta, float scale)
{
#pragma omp simd
	for (size_t j = 0; j < n; j++) {
		p[j] = dpo_exp(scale * p[j] - log_sum);
		d_s[j] = scale * p[j] * (d_s[j] - delta);
	}
}

/* The same, times the slope of the cap, where p holds s, capped. */
DPO_WIDE static void
differentiate_capped(float *p, float *d_s, size_t n, float log_sum, float delta, float scale, float cap)
{
#pragma omp simd
	for (size_t j = 0; j < n; j++) {
		float slope = 1.0f - p[j] / cap * (p[j] / cap);

		p[j] = dpo_exp(p[j] - log_sum);
		d_s[j] = scale * p[j] * (d_s[j] - delta) * slope;
	}
}

/* Whole vectors around the keys seen, and 0 for what the row does not see. */
static void
differentiate_row(const struct work *w, float *p, float *d_s, struct dpo_range seen, size_t keys, size_t at)
{
	size_t start = dpo_lanes_down(seen.from), n = dpo_lanes_up(seen.to - start);
	float cap = w->a->cap;

	if (cap > 0.0f) {
		dpo_vector_scale(p + start, w->a->scale, n);
		dpo_vector_cap(p + start, cap, n);
		differentiate_capped(p + start, d_s + start, n, w->log_sums[at], w->delta[at], w->a->scale, cap);
	} else
		differentiate(p + start, d_s + start, n, w->log_sums[at], w->delta[at], w->a->scale);
	if (seen.from > 0) {
		memset(p, 0, seen.from * sizeof *p);
		memset(d_s, 0, seen.from * sizeof *d_s);
	}
	if (seen.to < keys) {
		memset(p + seen.to, 0, (keys - seen.to) * sizeof *p);
		memset(d_s + seen.to, 0, (keys - seen.to) * sizeof *d_s);
	}
}

/* Keys or rows up to a multiple of what products are made of. */
static size_t
whole(const struct work *w, size_t n)
{
	return (n + w->strip->unit - 1) / w->strip->unit * w->strip->unit;
}

/* Strip i of the block, n rows: their p and d_s, and their share of the queries' gradient. */
static void
backward_queries(const struct work *w, struct blocks *b, size_t strip, size_t n)
{
	struct dpo_range seen[DPO_STRIP_MOST], all;
	size_t dim = w->a->head_dim, i = strip * w->strip->rows, row = b->first + i, columns;
	size_t at_q = row * w->ld + dpo_attention_query(w->a, b->head);
	float *p = b->p + i * KEYS, *d_s = b->d_s + i * KEYS;

	b->seen[strip] = all = dpo_mask_rows(w->a->sequence, w->a->window, &b->keys, row, n, w->strip->unit, seen);
	columns = all.to - all.from;
	if (columns > 0) {
		w->strip->product(n, columns, dim, (struct dpo_operand){ w->qkv + at_q, w->ld, false }, b->k_transposed, 0,
		    all.from, false, p + all.from, KEYS);
		w->strip->product(n, columns, dim, (struct dpo_operand){ w->d_out + row * w->ld_out + b->head * dim, w->ld_out,
		    false }, b->v_transposed, 0, all.from, false, d_s + all.from, KEYS);
	}
	for (size_t r = 0; r < n; r++)
		differentiate_row(w, p + r * KEYS, d_s + r * KEYS, seen[r], whole(w, b->keys.n), b->head * w->rows + row + r);
	if (columns > 0)
		w->strip->product(n, dim, columns, (struct dpo_operand){ d_s + all.from, KEYS, false }, b->k, all.from, 0, true,
		    w->d_qkv + at_q, w->ld);
}

/* The rows of the block's strips that see some of keys j .. j+n-1, and those between them. */
static struct dpo_range
who_sees(const struct work *w, const struct blocks *b, size_t j, size_t n)
{
	struct dpo_range rows = { 0, 0 };
	size_t high = w->strip->rows;

	for (size_t strip = 0; strip * high < b->rows; strip++) {
		if (b->seen[strip].from >= j + n || b->seen[strip].to <= j)
			continue;
		rows.from = rows.to ? rows.from : strip * high;
		rows.to = dpo_size_least(b->rows, (strip + 1) * high);
	}
	return rows;
}

/* Keys j .. j+n-1: their gradients and those of their values. */
static void
backward_keys(const struct work *w, struct blocks *b, size_t j, size_t n)
{
	struct dpo_range rows = who_sees(w, b, j, n);
	size_t dim = w->a->head_dim, at = rows.from * KEYS + j, inner = rows.to - rows.from;

	w->strip->product(n, dim, inner, (struct dpo_operand){ b->p + at, KEYS, true }, b->d_out, rows.from, 0, true,
	    b->d_v + j * dim, dim);
	w->strip->product(n, dim, inner, (struct dpo_operand){ b->d_s + at, KEYS, true }, b->q, rows.from, 0, true,
	    b->d_k + j * dim, dim);
}

/* Each row that sees the keys, a block of rows after the other. */
static void
backward_rows(const struct work *w, struct blocks *b)
{
	size_t end = dpo_mask_end(w->a->sequence, &b->keys), dim = w->a->head_dim, strip = w->strip->rows;

	b->first = b->keys.first > w->a->first ? b->keys.first : w->a->first;
	for (; b->first < end; b->first += b->rows) {
		b->rows = dpo_size_least(end - b->first, w->block);
		b->q = w->strip->lay(b->room[3], (struct dpo_operand){ w->qkv + b->first * w->ld + dpo_attention_query(w->a,
		    b->head), w->ld, false }, dim, b->rows);
		b->d_out = w->strip->lay(b->room[4], (struct dpo_operand){ w->d_out + b->first * w->ld_out + b->head * dim,
		    w->ld_out, false }, dim, b->rows);
		for (size_t i = 0; i < b->rows; i += strip)
			backward_queries(w, b, i / strip, dpo_size_least(b->rows - i, strip));
		for (size_t j = 0; j < b->keys.n; j += strip)
			backward_keys(w, b, j, dpo_size_least(whole(w, b->keys.n) - j, strip));
	}
}

static void
pack(const struct work *w, struct blocks *b)
{
	const float *at = w->qkv + b->keys.first * w->ld;
	const float *k = at + dpo_attention_key(w->a, b->head), *v = at + dpo_attention_value(w->a, b->head);
	size_t n = b->keys.n, dim = w->a->head_dim;

	b->k_transposed = w->strip->lay(b->room[0], (struct dpo_operand){ k, w->ld, true }, n, dim);
	b->v_transposed = w->strip->lay(b->room[1], (struct dpo_operand){ v, w->ld, true }, n, dim);
	b->k = w->strip->lay(b->room[2], (struct dpo_operand){ k, w->ld, false }, dim, n);
	memset(b->d_k, 0, whole(w, n) * dim * sizeof *b->d_k);
	memset(b->d_v, 0, whole(w, n) * dim * sizeof *b->d_v);
}

/* The block's gradients to where they belong: d_qkv, or the head's shares. */
static void
store(const struct work *w, const struct blocks *b)
{
	size_t dim = w->a->head_dim, ld = w->shares ? 2 * dim : w->ld;
	float *share = w->shares ? w->shares + (b->head * w->rows + b->keys.first) * 2 * dim : NULL;
	float *d_k = share ? share : w->d_qkv + b->keys.first * ld + dpo_attention_key(w->a, b->head);
	float *d_v = share ? share + dim : w->d_qkv + b->keys.first * ld + dpo_attention_value(w->a, b->head);

	for (size_t j = 0; j < b->keys.n; j++) {
		memcpy(d_k + j * ld, b->d_k + j * dim, dim * sizeof *d_k);
		memcpy(d_v + j * ld, b->d_v + j * dim, dim * sizeof *d_v);
	}
}

/* delta[n] of the products of n rows, ld apart */
DPO_WIDE static void
dot_rows(float *delta, const float *out, const float *d_out, size_t ld, size_t n, size_t dim)
{
	for (size_t i = 0; i < n; i++)
		delta[i] = dpo_lanes_dot(out + i * ld, d_out + i * ld, dim);
}

static void
backward_head(void *context, size_t head)
{
	const struct work *w = context;
	struct blocks b;	/* too much of it to be zeroed for nothing */
	size_t dim = w->a->head_dim, first = w->a->first, at = first * w->ld_out + head * dim;
	float *d_q = w->d_qkv + dpo_attention_query(w->a, head);

	b.head = head;
	b.keys = (struct dpo_keys){ 0 };
	for (size_t row = 0; row < w->rows; row++)
		memset(d_q + row * w->ld, 0, dim * sizeof *d_q);
	dot_rows(w->delta + head * w->rows + first, w->out + at, w->d_out + at, w->ld_out, w->rows - first, dim);
	while (dpo_mask_next(w->a->sequence, w->block, &b.keys)) {
		pack(w, &b);
		backward_rows(w, &b);
		store(w, &b);
	}
}

/* Rows of d_qkv: the gradients of keys and values as the sum of their heads' shares, in order. */
static void
reduce(void *context, size_t item)
{
	const struct work *w = context;
	size_t dim = w->a->head_dim, group = w->a->heads / w->a->kv_heads, end = dpo_size_least(w->rows, (item + 1) * REDUCED);

	for (size_t row = item * REDUCED; row < end; row++)
		for (size_t head = 0; head < w->a->heads; head++) {
			const float *share = w->shares + (head * w->rows + row) * 2 * dim;
			float *d_k = w->d_qkv + row * w->ld + dpo_attention_key(w->a, head);
			float *d_v = w->d_qkv + row * w->ld + dpo_attention_value(w->a, head);

			if (head % group == 0) {
				memcpy(d_k, share, dim * sizeof *d_k);
				memcpy(d_v, share + dim, dim * sizeof *d_v);
			} else {
				dpo_vector_add(d_k, share, dim);
				dpo_vector_add(d_v, share + dim, dim);
			}
		}
}

size_t
dpo_attention_scratch(size_t heads, size_t kv_heads, size_t head_dim)
{
	return heads * (kv_heads < heads ? 1 + 2 * head_dim : 1);
}

void
dpo_attention_backward(int threads, const struct dpo_attention *attention, const float *qkv,
    const float *out, const float *log_sums, const float *d_out, float *d_qkv, float *scratch)
{
	const struct dpo_attention *a = attention;
	struct work w = { .a = a, .strip = dpo_strip_best(a->bf16, a->head_dim), .rows = a->sequence->rows,
		.ld = (a->heads + 2 * a->kv_heads) * a->head_dim, .ld_out = a->heads * a->head_dim,
		.block = dpo_attention_block(a), .qkv = qkv, .out = out, .log_sums = log_sums, .d_out = d_out, .d_qkv = d_qkv,
		.delta = scratch, .shares = a->kv_heads < a->heads ? scratch + a->heads * a->sequence->rows : NULL };

	if (w.rows * w.ld < 8192)
		threads = 1;
	dpo_parallel_for(threads, a->heads, backward_head, &w);
	if (w.shares)
		dpo_parallel_for(threads, (w.rows + REDUCED - 1) / REDUCED, reduce, &w);
}
