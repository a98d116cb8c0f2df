#include "head.h"

#include "gemm.h"
#include "parallel.h"
#include "vector.h"

#include <math.h>
#include <string.h>

/* Logits looked at at once. */
enum { RUN = 2048 };

struct work {
	const struct dpo_head *head;
	size_t first;			/* the chunk's first row */
	float *logits;			/* the chunk's */
	const int32_t *targets;
	struct dpo_head_row *results;
	float *logps;
	const struct dpo_head_row *past;
	const float *d_logps;
};

void
dpo_head_carve(struct dpo_head *head, size_t rows, size_t hidden, size_t vocab, float cap,
    size_t chunk, size_t keep, struct dpo_arena *arena)
{
	size_t most = chunk / sizeof(float) / vocab, chunks, scratch;

	most = most < 16 ? 16 : most;
	chunks = (rows + most - 1) / most;
	*head = (struct dpo_head){ .rows = rows, .hidden = hidden, .vocab = vocab,
	    .cap = cap };
	head->chunk_rows = chunks ? (rows + chunks - 1) / chunks : 0;
	if (keep / sizeof(float) / vocab >= rows)
		head->kept_rows = rows;
	else if (chunks)
		head->kept_rows =
		    keep / sizeof(float) / vocab / head->chunk_rows * head->chunk_rows;
	scratch = head->kept_rows < rows ? head->chunk_rows : 0;
	head->logits = dpo_arena_take(arena, head->kept_rows + scratch, vocab);
}

static size_t
chunk_length(const struct dpo_head *head, size_t first)
{
	return head->rows - first < head->chunk_rows ? head->rows - first : head->chunk_rows;
}

static float *
chunk_logits(const struct dpo_head *head, size_t first)
{
	return head->logits + (first < head->kept_rows ? first : head->kept_rows) * head->vocab;
}

static int
useful_threads(int threads, const struct dpo_head *head)
{
	return head->chunk_rows * head->vocab < 8192 ? 1 : threads;
}

static struct dpo_linear
as_linear(const struct dpo_head *head, const float *weight, float *d_weight)
{
	return (struct dpo_linear){ .in = head->hidden, .out = head->vocab,
	    .layout = DPO_LAYOUT_OUT_IN, .dtype = head->dtype, .weight = weight, .d_weight = d_weight,
	    .scratch = head->scratch };
}

static struct dpo_rows
at(const float *data, size_t ld)
{
	struct dpo_rows rows = { .ld = ld };

	memcpy(&rows.data, &data, sizeof data);
	return rows;
}

/* A row of the chunk's logits. */
static void
cap_row(void *context, size_t item)
{
	const struct work *w = context;

	dpo_vector_cap(w->logits + item * w->head->vocab, w->head->cap, w->head->vocab);
}

/* w->logits become those of the chunk at w->first. */
static void
compute_chunk(int threads, struct work *w, const float *weight, const float *h)
{
	const struct dpo_head *head = w->head;
	struct dpo_linear linear = as_linear(head, weight, NULL);
	size_t n = chunk_length(head, w->first);

	w->logits = chunk_logits(head, w->first);
	dpo_linear_forward(threads, &linear, n, at(h + w->first * head->hidden, head->hidden),
	    (struct dpo_rows){ 0 }, at(w->logits, head->vocab));
	if (head->cap > 0.0f)
		dpo_parallel_for(useful_threads(threads, head), n, cap_row, w);
}

static size_t
find(const float *x, float value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(x[i] < value))
			return i;
	return 0;
}

/* entropy = log S - (1/S) sum_v e_v (z_v - most), with e_v = exp(z_v - most), S = sum_v e_v. */
static void
look(void *context, size_t item)
{
	const struct work *w = context;
	size_t row = w->first + item, vocab = w->head->vocab;
	const float *z = w->logits + item * vocab;
	struct dpo_head_row *r = &w->results[row];
	float e[RUN], shifted[RUN];
	double sum = 0.0, weighted = 0.0, total = 0.0, squares = 0.0;

	r->most = dpo_vector_max(z, vocab);
	r->best = find(z, r->most, vocab);
	for (size_t i = 0, n; i < vocab; i += n) {
		n = vocab - i < RUN ? vocab - i : RUN;
		dpo_vector_shift(shifted, z + i, r->most, n);
		dpo_vector_exp(e, shifted, 0.0f, n);
		sum += dpo_vector_sum(e, n);
		weighted += dpo_vector_dot(e, shifted, n);
		squares += dpo_vector_dot(e, e, n);
		total += dpo_vector_sum(z + i, n);
	}
	r->sum = sum;
	r->entropy = log(sum) - weighted / sum;
	r->log_squares = log(squares) - 2.0 * log(sum);
	r->mean = total / (double)vocab;
	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		int32_t target = w->targets[row * DPO_ANSWERS + a];

		w->logps[row * DPO_ANSWERS + a] = target < 0 ? 0.0f :
		    (float)((double)z[target] - (double)r->most - log(sum));
	}
}

void
dpo_head_forward(int threads, const struct dpo_head *head, const float *weight, const float *h,
    const int32_t *targets, struct dpo_head_row *results, float *logps)
{
	struct work w = { .head = head, .targets = targets, .results = results, .logps = logps };

	for (w.first = 0; w.first < head->rows; w.first += head->chunk_rows) {
		compute_chunk(threads, &w, weight, h);
		dpo_parallel_for(useful_threads(threads, head), chunk_length(head, w.first), look,
		    &w);
	}
}

/* d/dz_v of the row from z, in place; the slope of the cap is left to the caller. */
static void
differentiate_run(const struct work *w, size_t row, float *z, size_t n)
{
	const float *d = w->d_logps + row * DPO_ANSWERS;
	float all = 0.0f;

	for (size_t a = 0; a < DPO_ANSWERS; a++)
		all += w->targets[row * DPO_ANSWERS + a] < 0 ? 0.0f : d[a];
	dpo_vector_exp(z, z, w->past[row].most, n);
	dpo_vector_scale(z, (float)(-(double)all / w->past[row].sum), n);
}

/* The chunk's logits become their gradient. */
static void
differentiate(void *context, size_t item)
{
	const struct work *w = context;
	size_t row = w->first + item, vocab = w->head->vocab;
	float *z = w->logits + item * vocab, at_target[DPO_ANSWERS], slope[RUN];
	const float *d = w->d_logps + row * DPO_ANSWERS;
	const int32_t *targets = w->targets + row * DPO_ANSWERS;

	for (size_t a = 0; a < DPO_ANSWERS; a++)
		at_target[a] = 1.0f;
	for (size_t a = 0; w->head->cap > 0.0f && a < DPO_ANSWERS; a++)
		if (targets[a] >= 0)
			dpo_vector_cap_slope(&at_target[a], z + targets[a], w->head->cap, 1);
	for (size_t i = 0, n; i < vocab; i += n) {
		n = vocab - i < RUN ? vocab - i : RUN;
		if (w->head->cap > 0.0f)
			dpo_vector_cap_slope(slope, z + i, w->head->cap, n);
		differentiate_run(w, row, z + i, n);
		if (w->head->cap > 0.0f)
			dpo_vector_multiply(z + i, slope, n);
	}
	for (size_t a = 0; a < DPO_ANSWERS; a++)
		if (targets[a] >= 0)
			z[targets[a]] += d[a] * at_target[a];
}

void
dpo_head_backward(int threads, const struct dpo_head *head, const float *weight, const float *h,
    const int32_t *targets, const struct dpo_head_row *results, const float *d_logps, float *dh,
    float *d_weight)
{
	struct work w = { .head = head, .targets = targets, .past = results, .d_logps = d_logps };
	struct dpo_linear linear = as_linear(head, weight, d_weight);

	for (w.first = 0; w.first < head->rows; w.first += head->chunk_rows) {
		size_t n = chunk_length(head, w.first), from = w.first * head->hidden;

		w.logits = chunk_logits(head, w.first);
		if (w.first >= head->kept_rows)
			compute_chunk(threads, &w, weight, h);
		dpo_parallel_for(useful_threads(threads, head), n, differentiate, &w);
		dpo_linear_backward_input(threads, &linear, n, at(w.logits, head->vocab), 0.0f,
		    at(dh + from, head->hidden));
		dpo_linear_backward_weight(threads, &linear, n, at(h + from, head->hidden),
		    at(w.logits, head->vocab));
	}
}

void
dpo_head_logits(int threads, const struct dpo_head *head, const float *weight, const float *h,
    size_t first, size_t n, float *logits)
{
	struct work w = { .head = head };

	for (size_t chunk = 0; chunk < head->rows; chunk += head->chunk_rows) {
		size_t end = chunk + chunk_length(head, chunk);
		size_t from = first > chunk ? first : chunk;
		size_t to = first + n < end ? first + n : end;

		if (from >= to)
			continue;
		w.first = chunk;
		compute_chunk(threads, &w, weight, h);
		memcpy(logits + (from - first) * head->vocab,
		    w.logits + (from - chunk) * head->vocab,
		    (to - from) * head->vocab * sizeof *logits);
	}
}
