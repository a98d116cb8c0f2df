#include "base/parallel.h"
#include "base/size.h"
#include "decoder/attention.h"
#include "kernel/exponential.h"
#include "kernel/lanes.h"
#include "kernel/vector.h"

#include <math.h>
#include <string.h>

/* Keys that a row is set against at once, whole blocks of the cache; below SMALL products no thread is woken. */
enum { KEYS = 8 * DPO_CACHE_BLOCK, SMALL = 1 << 15 };

_Static_assert((int)DPO_CACHE_BLOCK == (int)DPO_SUM_LANES, "a block of keys is one vector");

typedef float half_lanes __attribute__((vector_size(2 * DPO_SUM_LANES)));

struct step {
	const struct dpo_attention *own;	/* of qkv */
	const struct dpo_attention *a;		/* of the cache's keys and values; its queries are not used */
	struct dpo_cache *const *caches;
	size_t layer, ld, ld_values;
	const float *qkv;
	float *out;
};

/* One query against blocks of keys that are ld apart: key by key the products are summed in order. */
DPO_WIDE static void
score(const float *query, const float *keys, size_t ld, size_t blocks, size_t dim, float scale, float *scores)
{
	for (size_t b = 0; b < blocks; b++, keys += ld, scores += DPO_SUM_LANES) {
		dpo_sums sum = { { 0 } };

		for (size_t i = 0; i < dim; i++)
			DPO_EACH_LANE(k)
				sum.at[k] += query[i] * keys[i * DPO_CACHE_BLOCK + k];
		DPO_EACH_LANE(k)
			scores[k] = sum.at[k] * scale;
	}
}

/* out += sum_j weights[j] values[j], of `lanes` vectors, which is a constant where this is called. */
__attribute__((always_inline)) static inline void
weigh_lanes(const size_t lanes, const float *weights, const float *values, size_t ld, size_t n, float *out)
{
	dpo_sums sums[4];

#pragma GCC unroll 4
	for (size_t i = 0; i < lanes; i++)
		DPO_EACH_LANE(k)
			sums[i].at[k] = out[i * DPO_SUM_LANES + k];
	for (size_t j = 0; j < n; j++)
#pragma GCC unroll 4
		for (size_t i = 0; i < lanes; i++)
			DPO_EACH_LANE(k)
				sums[i].at[k] += weights[j] * values[j * ld + i * DPO_SUM_LANES + k];
#pragma GCC unroll 4
	for (size_t i = 0; i < lanes; i++)
		DPO_EACH_LANE(k)
			out[i * DPO_SUM_LANES + k] = sums[i].at[k];
}

/* The same of half a vector. */
__attribute__((always_inline)) static inline void
weigh_half(const float *weights, const float *values, size_t ld, size_t n, float *out)
{
	half_lanes sum, here;

	memcpy(&sum, out, sizeof sum);
	for (size_t j = 0; j < n; j++) {
		memcpy(&here, values + j * ld, sizeof here);
		sum += weights[j] * here;
	}
	memcpy(out, &sum, sizeof sum);
}

/* out += sum_j weights[j] values[j]; the order of sums is that of j throughout. */
DPO_WIDE static void
weigh(const float *weights, const float *values, size_t ld, size_t n, size_t dim, float *out)
{
	size_t i = 0;

	for (; i + 4 * DPO_SUM_LANES <= dim; i += 4 * DPO_SUM_LANES)
		weigh_lanes(4, weights, values + i, ld, n, out + i);
	for (; i + DPO_SUM_LANES <= dim; i += DPO_SUM_LANES)
		weigh_lanes(1, weights, values + i, ld, n, out + i);
	for (; i + DPO_SUM_LANES / 2 <= dim; i += DPO_SUM_LANES / 2)
		weigh_half(weights, values + i, ld, n, out + i);
	for (size_t j = 0; i < dim && j < n; j++)
#pragma omp simd
		for (size_t k = i; k < dim; k++)
			out[k] += weights[j] * values[j * ld + k];
}

/* The weights of positions at .. at + n, each with its value. */
static void
weigh_positions(const struct step *s, size_t row, size_t head, size_t at, size_t n, const float *weights, float *out)
{
	for (size_t here; n > 0; at += here, n -= here, weights += here) {
		here = dpo_size_least(n, DPO_CACHE_BLOCK - at % DPO_CACHE_BLOCK);
		weigh(weights, dpo_cache_value(s->caches[row], s->layer, at) + dpo_attention_value(s->a, head), s->ld_values, here,
		    s->a->head_dim, out);
	}
}

/* One head of one row against its cache, with a running maximum. */
static void
step_head(const struct step *s, size_t row, size_t head)
{
	const struct dpo_attention *a = s->a;
	size_t end = s->caches[row]->length + 1;
	const float *query = s->qkv + row * s->ld + dpo_attention_query(a, head);
	float *out = s->out + (row * a->heads + head) * a->head_dim, block[KEYS], most = -INFINITY, sum = 0.0f, here;

	memset(out, 0, a->head_dim * sizeof *out);
	for (size_t at = a->window && end > a->window ? end - a->window : 0, n; at < end; at += n) {
		size_t skipped = at % DPO_CACHE_BLOCK;
		const float *keys = dpo_cache_key(s->caches[row], s->layer, at - skipped);
		float *scores = block + skipped;

		n = dpo_size_least(end - at, KEYS - skipped);
		score(query, keys + dpo_attention_key(a, head) * DPO_CACHE_BLOCK, 2 * s->ld_values * DPO_CACHE_BLOCK,
		    dpo_size_parts(skipped + n, DPO_CACHE_BLOCK), a->head_dim, a->scale, block);
		if (a->cap > 0.0f)
			dpo_vector_cap(scores, a->cap, n);
		here = dpo_vector_max(scores, n);
		if (here > most) {
			dpo_vector_scale(out, dpo_exp(most - here), a->head_dim);
			sum *= dpo_exp(most - here);
			most = here;
		}
		dpo_vector_exp(scores, scores, most, n);
		sum += (float)dpo_vector_sum(scores, n);
		weigh_positions(s, row, head, at, n, scores, out);
	}
	dpo_vector_scale(out, 1.0f / sum, a->head_dim);
}

/* A key head of a row: its key and value go to the cache, then the query heads that read it are set against that. */
static void
step_group(void *context, size_t item)
{
	const struct step *s = context;
	size_t row = item / s->own->kv_heads, head = item % s->own->kv_heads, group = s->own->heads / s->own->kv_heads;
	const float *from = s->qkv + row * s->ld + head * s->own->kv_step;

	dpo_cache_put(s->caches[row], s->layer, s->caches[row]->length, head * s->own->head_dim, from + s->own->key,
	    from + s->own->value, s->own->head_dim);
	for (size_t i = 0; i < group; i++)
		step_head(s, row, head * group + i);
}

void
dpo_attention_step(int threads, const struct dpo_attention *attention, size_t layer, size_t rows,
    const float *qkv, struct dpo_cache *const *caches, float *out)
{
	size_t kv = attention->kv_heads * attention->head_dim, seen = 0;
	struct dpo_attention cached = *attention;
	struct step s = { attention, &cached, caches, layer, attention->heads * attention->head_dim + 2 * kv, kv, qkv, out };

	cached.key = 0;
	cached.value = 0;
	cached.kv_step = attention->head_dim;
	for (size_t row = 0; row < rows; row++)
		seen += caches[row]->length + 1;
	dpo_parallel_for(seen * kv < SMALL ? 1 : threads, rows * attention->kv_heads, step_group, &s);
}
