#include "attention.h"
#include "exponential.h"
#include "parallel.h"
#include "vector.h"

#include <math.h>
#include <string.h>

/* Keys that a row is set against at once. */
enum { KEYS = 128 };

struct step {
	const struct dpo_attention *a;		/* as of the cache's rows, but for its queries */
	struct dpo_cache *const *caches;
	size_t layer, ld, ld_keys;
	const float *qkv;
	float *out;
};

/* One query against n keys: a product of one row, which a BLAS would spend on packing its operands. */
DPO_WIDE static void
score(const float *query, const float *keys, size_t ld, size_t n, size_t dim, float scale, float *scores)
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
weigh(const float *weights, const float *values, size_t ld, size_t n, size_t dim, float *out)
{
	for (size_t j = 0; j < n; j++)
#pragma omp simd
		for (size_t i = 0; i < dim; i++)
			out[i] += weights[j] * values[j * ld + i];
}

/* One head of one row against its cache, with a running maximum. */
static void
step_head(void *context, size_t item)
{
	const struct step *s = context;
	const struct dpo_attention *a = s->a;
	size_t row = item / a->heads, head = item % a->heads, end = s->caches[row]->length + 1;
	const float *query = s->qkv + row * s->ld + dpo_attention_query(a, head);
	float *out = s->out + (row * a->heads + head) * a->head_dim, scores[KEYS], most = -INFINITY, sum = 0.0f, here;

	memset(out, 0, a->head_dim * sizeof *out);
	for (size_t at = a->window && end > a->window ? end - a->window : 0, n; at < end; at += n) {
		const float *keys = dpo_cache_row(s->caches[row], s->layer, at);

		n = end - at < KEYS ? end - at : KEYS;
		score(query, keys + dpo_attention_key(a, head), s->ld_keys, n, a->head_dim, a->scale, scores);
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
		weigh(scores, keys + dpo_attention_value(a, head), s->ld_keys, n, a->head_dim, out);
	}
	dpo_vector_scale(out, 1.0f / sum, a->head_dim);
}

void
dpo_attention_step(int threads, const struct dpo_attention *attention, size_t layer, size_t rows,
    const float *qkv, struct dpo_cache *const *caches, float *out)
{
	size_t kv = attention->kv_heads * attention->head_dim, seen = 0;
	struct dpo_attention cached = *attention;
	struct step s = { &cached, caches, layer, attention->heads * attention->head_dim + 2 * kv, 2 * kv, qkv, out };

	cached.key = 0;
	cached.value = kv;
	cached.kv_step = attention->head_dim;
	for (size_t row = 0; row < rows; row++)
		seen += caches[row]->length + 1;
	dpo_parallel_for(seen * kv < 65536 ? 1 : threads, rows * attention->heads, step_head, &s);
}
