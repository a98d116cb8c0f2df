#include "decoder/sampling.h"

#include "kernel/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights summed at once on the way to a token. */
enum { RUN = 256 };

struct dpo_candidate {
	float weight;
	int32_t token;
};

bool
dpo_sampler_init(struct dpo_sampler *sampler, size_t vocab)
{
	*sampler = (struct dpo_sampler){ .vocab = vocab, .weights = dpo_alloc_aligned(vocab, sizeof(float)),
	    .candidates = dpo_alloc(vocab, sizeof *sampler->candidates),
	    .scratch = dpo_alloc_aligned(vocab, sizeof(float)), .seen = dpo_alloc(vocab, 1) };
	return sampler->weights && sampler->candidates && sampler->scratch && sampler->seen;
}

void
dpo_sampler_free(struct dpo_sampler *sampler)
{
	free(sampler->weights);
	free(sampler->candidates);
	free(sampler->scratch);
	free(sampler->seen);
	*sampler = (struct dpo_sampler){ 0 };
}

double
dpo_sampler_log_sum(struct dpo_sampler *sampler, const float *logits)
{
	float most = dpo_vector_max(logits, sampler->vocab);

	dpo_vector_exp(sampler->scratch, logits, most, sampler->vocab);
	return (double)most + log(dpo_vector_sum(sampler->scratch, sampler->vocab));
}

/* ------------------------------------------------------------------ the steps */

static void
penalize(struct dpo_sampler *s, float *z, float penalty, const int32_t *seen, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float *at = &z[seen[i]];

		if (!s->seen[seen[i]])
			*at = *at < 0.0f ? *at * penalty : *at / penalty;
		s->seen[seen[i]] = 1;
	}
	for (size_t i = 0; i < n; i++)
		s->seen[seen[i]] = 0;
}

/* The k-th largest of x[n], which is put out of order (Hoare 1961, "Algorithm 65: find"). */
static float
kth_largest(float *x, size_t n, size_t k)
{
	ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, want = (ptrdiff_t)k - 1;

	while (low < high) {
		float pivot = x[low + (high - low) / 2], kept;
		ptrdiff_t i = low, j = high;

		while (i <= j) {
			while (x[i] > pivot)
				i++;
			while (x[j] < pivot)
				j--;
			if (i > j)
				break;
			kept = x[i];
			x[i++] = x[j];
			x[j--] = kept;
		}
		if (want <= j)
			high = j;
		else if (want >= i)
			low = i;
		else
			break;
	}
	return x[want];
}

static void
keep_top_k(struct dpo_sampler *s, float *z, size_t k)
{
	float least;

	if (k >= s->vocab)
		return;
	memcpy(s->scratch, z, s->vocab * sizeof *z);
	least = kth_largest(s->scratch, s->vocab, k);
	for (size_t v = 0; v < s->vocab; v++)
		if (z[v] < least)
			z[v] = -INFINITY;
}

static int
by_weight(const void *a, const void *b)
{
	const struct dpo_candidate *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight < y->weight ? 1 : -1;
	return x->token < y->token ? -1 : 1;
}

/* The tokens of at least this weight, and their sum. */
static size_t
gather(const struct dpo_sampler *s, float least, double *sum)
{
	size_t n = 0;

	*sum = 0;
	for (size_t v = 0; v < s->vocab; v++)
		if (s->weights[v] >= least && s->weights[v] > 0) {
			s->candidates[n++] = (struct dpo_candidate){ s->weights[v], (int32_t)v };
			*sum += (double)s->weights[v];
		}
	return n;
}

/* Only as many of the likeliest tokens are put in order as it takes. The likeliest has weight 1. */
static void
keep_top_p(struct dpo_sampler *s, double p)
{
	double want = p * dpo_vector_sum(s->weights, s->vocab), sum, before = 0;
	float least = 0x1p-6f;
	size_t n = gather(s, least, &sum), kept = 0;

	while (sum < want && least > 0) {
		least = least > 0x1p-60f ? least * 0x1p-6f : 0.0f;
		n = gather(s, least, &sum);
	}
	qsort(s->candidates, n, sizeof *s->candidates, by_weight);
	for (; kept < n && (kept == 0 || before < want); kept++)
		before += (double)s->candidates[kept].weight;
	memset(s->weights, 0, s->vocab * sizeof *s->weights);
	for (size_t i = 0; i < kept; i++)
		s->weights[s->candidates[i].token] = s->candidates[i].weight;
}

static void
take_largest(struct dpo_sampler *s, const float *z)
{
	float most = dpo_vector_max(z, s->vocab);
	size_t v = 0;

	while (z[v] < most)
		v++;
	memset(s->weights, 0, s->vocab * sizeof *s->weights);
	s->weights[v] = 1;
	s->total = 1;
}

void
dpo_sampler_weigh(struct dpo_sampler *sampler, const struct dpo_sampling *sampling, const float *logits,
    const int32_t *seen, size_t n)
{
	struct dpo_sampler *s = sampler;
	float *z = s->weights;

	memcpy(z, logits, s->vocab * sizeof *z);
	if (sampling->repetition_penalty != 1.0)
		penalize(s, z, (float)sampling->repetition_penalty, seen, n);
	if (sampling->temperature == 0.0) {
		memcpy(s->scratch, z, s->vocab * sizeof *z);
		take_largest(s, s->scratch);
		return;
	}
	for (size_t v = 0; sampling->temperature != 1.0 && v < s->vocab; v++)
		z[v] /= (float)sampling->temperature;
	if (sampling->top_k > 0)
		keep_top_k(s, z, sampling->top_k);
	dpo_vector_exp(s->weights, z, dpo_vector_max(z, s->vocab), s->vocab);
	if (sampling->top_p < 1.0)
		keep_top_p(s, sampling->top_p);
	for (size_t v = 0; sampling->min_p > 0.0 && v < s->vocab; v++)
		if (s->weights[v] < (float)sampling->min_p)
			s->weights[v] = 0;
	s->total = dpo_vector_sum(s->weights, s->vocab);
}

int32_t
dpo_sampler_draw(const struct dpo_sampler *sampler, double u)
{
	const float *weights = sampler->weights;
	double left = u * sampler->total;
	size_t v = 0;

	for (double sum; v + RUN < sampler->vocab; v += RUN) {
		sum = dpo_vector_sum(weights + v, RUN);
		if (left < sum)
			break;
		left -= sum;
	}
	for (; v < sampler->vocab; v++) {
		if (left < (double)weights[v])
			return (int32_t)v;
		left -= (double)weights[v];
	}
	/* Rounding left a little: the last token that has any weight. */
	while (weights[--v] <= 0)
		;
	return (int32_t)v;
}
