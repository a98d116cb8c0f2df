#include "attention.h"

#include "gemm.h"
#include "parallel.h"
#include "vector.h"

#include <math.h>
#include <string.h>

/*
 * Rows and keys of a block: two blocks of scores fit the second-level cache with the rows they are
 * made of.
 */
enum { ROWS = 64, KEYS = 128 };

struct work {
	const struct dpo_attention *a;
	size_t rows, ld, ld_out, group;		/* group: query heads to a key head */
	float scale;
	const float *qkv, *out, *d_out, *sums;
	float *new_out, *new_sums, *d_qkv;
	size_t blocks;				/* blocks of rows in all segments */
};

/* A block of rows of one head against one block of keys. */
struct block {
	size_t first, rows;		/* query rows */
	size_t key, keys;		/* key rows */
	bool own;			/* keys of the own segment: causal */
	size_t head;
};

static struct work
make_work(const struct dpo_attention *a)
{
	struct work w = { .a = a, .rows = a->sequence->rows, .group = a->heads / a->kv_heads };

	w.ld = (a->heads + 2 * a->kv_heads) * a->head_dim;
	w.ld_out = a->heads * a->head_dim;
	w.scale = 1.0f / sqrtf((float)a->head_dim);
	for (size_t i = 0; i < a->sequence->n_segments; i++)
		w.blocks += (a->sequence->segments[i].rows + ROWS - 1) / ROWS;
	return w;
}

/* Columns of a row of qkv at which head h's query, key and value begin. */
static size_t
query_at(const struct work *w, size_t head)
{
	return head * w->a->head_dim;
}

static size_t
key_at(const struct work *w, size_t head)
{
	return (w->a->heads + head / w->group) * w->a->head_dim;
}

static size_t
value_at(const struct work *w, size_t head)
{
	return (w->a->heads + w->a->kv_heads + head / w->group) * w->a->head_dim;
}

/* How many of the block's keys row i sees. */
static size_t
visible(const struct block *b, size_t i)
{
	size_t end;

	if (!b->own)
		return b->keys;
	end = b->first + i + 1;
	if (end <= b->key)
		return 0;
	return end - b->key < b->keys ? end - b->key : b->keys;
}

/* Step to the next block of keys; start with keys 0. false when the rows have seen all. */
static bool
next_keys(struct block *b, const struct dpo_segment *segment)
{
	size_t limit;

	b->key += b->keys;
	if (!b->own && b->key >= segment->prefix) {
		b->own = true;
		b->key = segment->first;
	}
	limit = b->own ? b->first + b->rows : segment->prefix;
	if (b->key >= limit)
		return false;
	b->keys = limit - b->key < KEYS ? limit - b->key : KEYS;
	return true;
}

static struct block
begin(const struct dpo_segment *segment, size_t first, size_t head)
{
	size_t left = segment->first + segment->rows - first;

	return (struct block){ .first = first, .rows = left < ROWS ? left : ROWS, .head = head };
}

/* scores[rows][keys] of the block */
static void
score(const struct work *w, const struct block *b, float *scores)
{
	dpo_gemm_one(b->rows, b->keys, w->a->head_dim, w->scale,
	    (struct dpo_operand){ w->qkv + b->first * w->ld + query_at(w, b->head), w->ld, false },
	    (struct dpo_operand){ w->qkv + b->key * w->ld + key_at(w, b->head), w->ld, true }, 0.0f,
	    scores, b->keys);
}

/* The segment and first row of block number `block`. */
static const struct dpo_segment *
locate(const struct work *w, size_t block, size_t *first)
{
	const struct dpo_segment *segment = w->a->sequence->segments;

	for (size_t here; block >= (here = (segment->rows + ROWS - 1) / ROWS); segment++)
		block -= here;
	*first = segment->first + block * ROWS;
	return segment;
}

/*
 * Turn scores into weights relative to the new maximum, and scale what was gathered before to it.
 */
static void
soften(const struct work *w, const struct block *b, float *scores, float *most, float *sum,
    bool fresh)
{
	float *out = w->new_out + b->first * w->ld_out + query_at(w, b->head);

	for (size_t i = 0; i < b->rows; i++) {
		float *row = scores + i * b->keys, here, shrink;
		size_t n = visible(b, i);

		memset(row + n, 0, (b->keys - n) * sizeof *row);
		if (n == 0)
			continue;
		here = dpo_vector_max(row, n);
		if (!fresh && here > most[i]) {
			shrink = expf(most[i] - here);
			sum[i] *= shrink;
			dpo_vector_scale(out + i * w->ld_out, shrink, w->a->head_dim);
		}
		if (fresh || here > most[i])
			most[i] = here;
		dpo_vector_exp(row, row, most[i], n);
		sum[i] = (fresh ? 0.0f : sum[i]) + (float)dpo_vector_sum(row, n);
	}
}

static void
forward_block(void *context, size_t item)
{
	const struct work *w = context;
	size_t first, head = item / w->blocks;
	const struct dpo_segment *segment = locate(w, item % w->blocks, &first);
	struct block b = begin(segment, first, head);
	float scores[ROWS * KEYS], most[ROWS], sum[ROWS];
	float *out = w->new_out + first * w->ld_out + query_at(w, head);

	for (bool fresh = true; next_keys(&b, segment); fresh = false) {
		score(w, &b, scores);
		soften(w, &b, scores, most, sum, fresh);
		dpo_gemm_one(b.rows, w->a->head_dim, b.keys, 1.0f,
		    (struct dpo_operand){ scores, b.keys, false },
		    (struct dpo_operand){ w->qkv + b.key * w->ld + value_at(w, head), w->ld,
		    false }, fresh ? 0.0f : 1.0f, out, w->ld_out);
	}
	for (size_t i = 0; i < b.rows; i++) {
		dpo_vector_scale(out + i * w->ld_out, 1.0f / sum[i], w->a->head_dim);
		w->new_sums[head * w->rows + first + i] = most[i] + logf(sum[i]);
	}
}

void
dpo_attention_forward(int threads, const struct dpo_attention *attention, const float *qkv,
    float *out, float *log_sums)
{
	struct work w = make_work(attention);

	w.qkv = qkv;
	w.new_out = out;
	w.new_sums = log_sums;
	dpo_parallel_for(w.rows * w.ld < 8192 ? 1 : threads, w.blocks * attention->heads,
	    forward_block, &w);
}

/* d_scores = scale p (d_p - delta), in place of d_p */
DPO_WIDE static void
slope(float *d_p, const float *p, float delta, float scale, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		d_p[i] = scale * p[i] * (d_p[i] - delta);
}

/* p from the block's scores, in place; d_scores from d_p, in place. */
static void
soften_backward(const struct work *w, const struct block *b, float *p, float *d_p,
    const float *delta)
{
	for (size_t i = 0; i < b->rows; i++) {
		float *row = p + i * b->keys;
		size_t n = visible(b, i);

		dpo_vector_exp(row, row, w->sums[b->head * w->rows + b->first + i], n);
		memset(row + n, 0, (b->keys - n) * sizeof *row);
		slope(d_p + i * b->keys, row, delta[i], w->scale, b->keys);
	}
}

static void
backward_keys(const struct work *w, const struct block *b, const float *delta, bool fresh)
{
	float p[ROWS * KEYS], d_p[ROWS * KEYS];
	size_t query = b->first * w->ld + query_at(w, b->head), dim = w->a->head_dim;
	size_t key = b->key * w->ld + key_at(w, b->head);
	size_t value = b->key * w->ld + value_at(w, b->head);
	struct dpo_operand d_out = { w->d_out + b->first * w->ld_out + query_at(w, b->head),
	    w->ld_out, false };

	score(w, b, p);
	dpo_gemm_one(b->rows, b->keys, dim, 1.0f, d_out,
	    (struct dpo_operand){ w->qkv + value, w->ld, true }, 0.0f, d_p, b->keys);
	soften_backward(w, b, p, d_p, delta);
	dpo_gemm_one(b->keys, dim, b->rows, 1.0f, (struct dpo_operand){ p, b->keys, true }, d_out,
	    1.0f, w->d_qkv + value, w->ld);
	dpo_gemm_one(b->keys, dim, b->rows, 1.0f, (struct dpo_operand){ d_p, b->keys, true },
	    (struct dpo_operand){ w->qkv + query, w->ld, false }, 1.0f, w->d_qkv + key, w->ld);
	dpo_gemm_one(b->rows, dim, b->keys, 1.0f, (struct dpo_operand){ d_p, b->keys, false },
	    (struct dpo_operand){ w->qkv + key, w->ld, false }, fresh ? 0.0f : 1.0f,
	    w->d_qkv + query, w->ld);
}

static void
backward_head(const struct work *w, size_t head)
{
	const struct dpo_segment *segment;
	size_t first;
	float delta[ROWS];

	for (size_t block = 0; block < w->blocks; block++) {
		struct block b;

		segment = locate(w, block, &first);
		b = begin(segment, first, head);
		for (size_t i = 0; i < b.rows; i++) {
			size_t at = (first + i) * w->ld_out + query_at(w, head);

			delta[i] = (float)dpo_vector_dot(w->out + at, w->d_out + at,
			    w->a->head_dim);
		}
		for (bool fresh = true; next_keys(&b, segment); fresh = false)
			backward_keys(w, &b, delta, fresh);
	}
}

/* One key head: the query heads that read it, in order, so that its gradient is one ordered sum. */
static void
backward_group(void *context, size_t kv_head)
{
	const struct work *w = context;
	size_t bytes = w->a->head_dim * sizeof *w->d_qkv, head = kv_head * w->group;

	for (size_t row = 0; row < w->rows; row++) {
		memset(w->d_qkv + row * w->ld + key_at(w, head), 0, bytes);
		memset(w->d_qkv + row * w->ld + value_at(w, head), 0, bytes);
	}
	for (size_t i = 0; i < w->group; i++)
		backward_head(w, head + i);
}

void
dpo_attention_backward(int threads, const struct dpo_attention *attention, const float *qkv,
    const float *out, const float *log_sums, const float *d_out, float *d_qkv)
{
	struct work w = make_work(attention);

	w.qkv = qkv;
	w.out = out;
	w.sums = log_sums;
	w.d_out = d_out;
	w.d_qkv = d_qkv;
	dpo_parallel_for(w.rows * w.ld < 8192 ? 1 : threads, attention->kv_heads, backward_group,
	    &w);
}
