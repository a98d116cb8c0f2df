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
	const float *qkv, *out, *d_out, *sums;
	const float *keys;			/* rows of keys and values: of qkv, or of a cache */
	size_t ld_keys, key_column, value_column, kv_step;
	float *new_out, *new_sums, *d_qkv;
	size_t blocks;				/* blocks of rows in all segments */
};

/* A block of rows of one head against one block of keys. */
struct block {
	const struct dpo_segment *segment;
	size_t window;
	size_t first, rows;		/* query rows */
	size_t key, keys;		/* key rows */
	bool own;			/* keys of the own segment: causal */
	size_t head;
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

static struct work
make_work(const struct dpo_attention *a, const float *qkv)
{
	struct work w = { .a = a, .group = a->heads / a->kv_heads, .qkv = qkv, .keys = qkv };

	w.ld = (a->heads + 2 * a->kv_heads) * a->head_dim;
	w.ld_out = a->heads * a->head_dim;
	w.ld_keys = w.ld;
	w.key_column = a->key;
	w.value_column = a->value;
	w.kv_step = a->kv_step;
	return w;
}

static struct work
make_packed(const struct dpo_attention *a, const float *qkv)
{
	struct work w = make_work(a, qkv);

	w.rows = a->sequence->rows;
	for (size_t i = 0; i < a->sequence->n_segments; i++)
		w.blocks += (a->sequence->segments[i].rows + ROWS - 1) / ROWS;
	return w;
}

/*
 * Columns at which head h's query begins in a row of qkv, its key and value in a row of keys, and
 * its output.
 */
static size_t
query_at(const struct work *w, size_t head)
{
	return head * w->a->query_step;
}

static size_t
key_at(const struct work *w, size_t head)
{
	return w->key_column + head / w->group * w->kv_step;
}

static size_t
value_at(const struct work *w, size_t head)
{
	return w->value_column + head / w->group * w->kv_step;
}

static size_t
out_at(const struct work *w, size_t head)
{
	return head * w->a->head_dim;
}

/*
 * The first row of the prefix, or of the own segment, that a query row sees. Rows of the prefix are
 * positions.
 */
static size_t
lowest(const struct block *b, size_t row)
{
	size_t start = b->own ? b->segment->first : 0, before = b->own ? b->segment->prefix : 0;
	size_t end = b->segment->prefix + (row - b->segment->first) + 1;
	size_t low = b->window && end > b->window ? end - b->window : 0;

	return low > before ? start + (low - before) : start;
}

/* How many of the block's keys lie before those that row i sees. */
static size_t
hidden(const struct block *b, size_t i)
{
	size_t low = lowest(b, b->first + i);

	if (low <= b->key)
		return 0;
	return low - b->key < b->keys ? low - b->key : b->keys;
}

/* How many of the block's keys lie before the first that is too late for row i. */
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
next_keys(struct block *b)
{
	size_t limit;

	b->key = b->keys > 0 ? b->key + b->keys : lowest(b, b->first);
	if (!b->own && b->key >= b->segment->prefix) {
		b->own = true;
		b->key = lowest(b, b->first);
	}
	limit = b->own ? b->first + b->rows : b->segment->prefix;
	if (b->key >= limit)
		return false;
	b->keys = limit - b->key < KEYS ? limit - b->key : KEYS;
	return true;
}

/* The block of rows at `first`, without those of which nothing is wanted: with no rows if that is all. */
static struct block
begin(const struct work *w, const struct dpo_segment *segment, size_t first, size_t head)
{
	size_t left = segment->first + segment->rows - first, rows = left < ROWS ? left : ROWS;
	size_t skip = w->a->first > first ? w->a->first - first : 0;

	skip = skip < rows ? skip : rows;
	return (struct block){ .segment = segment, .window = w->a->window, .first = first + skip,
	    .rows = rows - skip, .head = head };
}

/* One query against n keys: a product of one row, which a BLAS would spend on packing its operands. */
DPO_WIDE static void
score_row(const float *query, const float *keys, size_t ld, size_t n, size_t dim, float scale, float *scores)
{
	for (size_t j = 0; j < n; j++) {
		float sum = 0.0f;

#pragma omp simd reduction(+ : sum)
		for (size_t i = 0; i < dim; i++)
			sum += query[i] * keys[j * ld + i];
		scores[j] = scale * sum;
	}
}

/* out += sum_j weights[j] values[j] */
DPO_WIDE static void
weigh_row(const float *weights, const float *values, size_t ld, size_t n, size_t dim, float *out)
{
	for (size_t j = 0; j < n; j++)
#pragma omp simd
		for (size_t i = 0; i < dim; i++)
			out[i] += weights[j] * values[j * ld + i];
}

/* scores[rows][keys] of the block */
static void
score(const struct work *w, const struct block *b, float *scores)
{
	const float *query = w->qkv + b->first * w->ld + query_at(w, b->head);
	const float *keys = w->keys + b->key * w->ld_keys + key_at(w, b->head);
	float scale = w->a->scale;

	if (b->rows == 1)
		score_row(query, keys, w->ld_keys, b->keys, w->a->head_dim, scale, scores);
	else
		dpo_gemm_one(b->rows, b->keys, w->a->head_dim, scale, (struct dpo_operand){ query, w->ld, false },
		    (struct dpo_operand){ keys, w->ld_keys, true }, 0.0f, scores, b->keys);
	if (w->a->cap > 0.0f)
		dpo_vector_cap(scores, w->a->cap, b->rows * b->keys);
}

/* Add the block's values, weighted, to out; to 0 if fresh. */
static void
weigh(const struct work *w, const struct block *b, const float *weights, bool fresh)
{
	const float *values = w->keys + b->key * w->ld_keys + value_at(w, b->head);
	float *out = w->new_out + b->first * w->ld_out + out_at(w, b->head);
	size_t dim = w->a->head_dim;

	if (b->rows != 1) {
		dpo_gemm_one(b->rows, dim, b->keys, 1.0f, (struct dpo_operand){ weights, b->keys, false },
		    (struct dpo_operand){ values, w->ld_keys, false }, fresh ? 0.0f : 1.0f, out, w->ld_out);
		return;
	}
	if (fresh)
		memset(out, 0, dim * sizeof *out);
	weigh_row(weights, values, w->ld_keys, b->keys, dim, out);
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
 * Zero what row i of the block does not see; *row moves to what it does, and its number is
 * returned.
 */
static size_t
mask(const struct block *b, size_t i, float **row)
{
	size_t before = hidden(b, i), end = visible(b, i);

	before = before < end ? before : end;
	memset(*row, 0, before * sizeof **row);
	memset(*row + end, 0, (b->keys - end) * sizeof **row);
	*row += before;
	return end - before;
}

/*
 * Turn scores into weights relative to the new maximum, and scale what was gathered before to it.
 */
static void
soften(const struct work *w, const struct block *b, float *scores, float *most, float *sum,
    bool fresh)
{
	float *out = w->new_out + b->first * w->ld_out + out_at(w, b->head);

	for (size_t i = 0; i < b->rows; i++) {
		float *row = scores + i * b->keys, here, shrink;
		size_t n = mask(b, i, &row);

		if (fresh) {
			most[i] = -INFINITY;
			sum[i] = 0.0f;
		}
		if (n == 0)
			continue;
		here = dpo_vector_max(row, n);
		if (!fresh && here > most[i]) {
			shrink = expf(most[i] - here);
			sum[i] *= shrink;
			dpo_vector_scale(out + i * w->ld_out, shrink, w->a->head_dim);
		}
		if (here > most[i])
			most[i] = here;
		dpo_vector_exp(row, row, most[i], n);
		sum[i] += (float)dpo_vector_sum(row, n);
	}
}

/* Rows b.first .. of one head against all keys they see. */
static void
attend(const struct work *w, struct block b)
{
	float scores[ROWS * KEYS], most[ROWS], sum[ROWS];
	float *out = w->new_out + b.first * w->ld_out + out_at(w, b.head);

	for (bool fresh = true; next_keys(&b); fresh = false) {
		score(w, &b, scores);
		soften(w, &b, scores, most, sum, fresh);
		weigh(w, &b, scores, fresh);
	}
	for (size_t i = 0; i < b.rows; i++) {
		dpo_vector_scale(out + i * w->ld_out, 1.0f / sum[i], w->a->head_dim);
		if (w->new_sums)
			w->new_sums[b.head * w->rows + b.first + i] = most[i] + logf(sum[i]);
	}
}

static void
forward_block(void *context, size_t item)
{
	const struct work *w = context;
	size_t first, head = item / w->blocks;
	const struct dpo_segment *segment = locate(w, item % w->blocks, &first);
	struct block b = begin(w, segment, first, head);

	if (b.rows > 0)
		attend(w, b);
}

void
dpo_attention_forward(int threads, const struct dpo_attention *attention, const float *qkv,
    float *out, float *log_sums)
{
	struct work w = make_packed(attention, qkv);

	w.new_out = out;
	w.new_sums = log_sums;
	dpo_parallel_for(w.rows * w.ld < 8192 ? 1 : threads, w.blocks * attention->heads,
	    forward_block, &w);
}

struct step {
	struct work work;
	struct dpo_cache *const *caches;
	size_t layer;
};

/* One head of one row. All its keys are in the cache: a prefix, with no keys of its own behind it. */
static void
step_head(void *context, size_t item)
{
	const struct step *s = context;
	struct work w = s->work;
	size_t row = item / w.a->heads;
	const struct dpo_cache *cache = s->caches[row];
	struct dpo_segment segment = { .first = row + 1, .prefix = cache->length + 1 };

	w.keys = dpo_cache_row(cache, s->layer, 0);
	attend(&w, (struct block){ .segment = &segment, .window = w.a->window, .first = row, .rows = 1,
	    .head = item % w.a->heads });
}

void
dpo_attention_step(int threads, const struct dpo_attention *attention, size_t layer, size_t rows,
    const float *qkv, struct dpo_cache *const *caches, float *out)
{
	struct step s = { make_work(attention, qkv), caches, layer };
	size_t kv = attention->kv_heads * attention->head_dim, seen = 0;

	s.work.ld_keys = 2 * kv;
	s.work.key_column = 0;
	s.work.value_column = kv;
	s.work.kv_step = attention->head_dim;
	s.work.new_out = out;
	for (size_t row = 0; row < rows; row++)
		seen += caches[row]->length + 1;
	dpo_parallel_for(seen * kv < 65536 ? 1 : threads, rows * attention->heads, step_head, &s);
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
	float cap_slope[KEYS];

	for (size_t i = 0; i < b->rows; i++) {
		float *row = p + i * b->keys, *seen = row;
		size_t n = mask(b, i, &seen);

		if (w->a->cap > 0.0f)
			dpo_vector_cap_slope(cap_slope, row, w->a->cap, b->keys);
		dpo_vector_exp(seen, seen, w->sums[b->head * w->rows + b->first + i], n);
		slope(d_p + i * b->keys, row, delta[i], w->a->scale, b->keys);
		if (w->a->cap > 0.0f)
			dpo_vector_multiply(d_p + i * b->keys, cap_slope, b->keys);
	}
}

static void
backward_keys(const struct work *w, const struct block *b, const float *delta, bool fresh)
{
	float p[ROWS * KEYS], d_p[ROWS * KEYS];
	size_t query = b->first * w->ld + query_at(w, b->head), dim = w->a->head_dim;
	size_t key = b->key * w->ld + key_at(w, b->head);
	size_t value = b->key * w->ld + value_at(w, b->head);
	struct dpo_operand d_out = { w->d_out + b->first * w->ld_out + out_at(w, b->head),
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
		b = begin(w, segment, first, head);
		for (size_t i = 0; i < b.rows; i++) {
			size_t at = (b.first + i) * w->ld_out + out_at(w, head);

			delta[i] = (float)dpo_vector_dot(w->out + at, w->d_out + at,
			    w->a->head_dim);
		}
		for (bool fresh = true; b.rows > 0 && next_keys(&b); fresh = false)
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
	for (size_t i = 0; i < w->group; i++) {
		for (size_t row = 0; row < w->a->first; row++)
			memset(w->d_qkv + row * w->ld + query_at(w, head + i), 0, bytes);
		backward_head(w, head + i);
	}
}

void
dpo_attention_backward(int threads, const struct dpo_attention *attention, const float *qkv,
    const float *out, const float *log_sums, const float *d_out, float *d_qkv)
{
	struct work w = make_packed(attention, qkv);

	w.out = out;
	w.sums = log_sums;
	w.d_out = d_out;
	w.d_qkv = d_qkv;
	dpo_parallel_for(w.rows * w.ld < 8192 ? 1 : threads, attention->kv_heads, backward_group,
	    &w);
}
