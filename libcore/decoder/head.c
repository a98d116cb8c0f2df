#include "decoder/head.h"

#include "base/parallel.h"
#include "kernel/exponential.h"
#include "kernel/lanes.h"
#include "kernel/vector.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Logits looked at at once: while they are in the first-level cache, and as many as are summed in float. */
enum { RUN = 256 };

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
dpo_head_carve(struct dpo_head *head, const struct dpo_linear *map, size_t rows, float cap, size_t chunk, size_t keep,
    struct dpo_arena *arena)
{
	size_t vocab = map->out, most = chunk / sizeof(float) / vocab, chunks, scratch;

	most = most < 16 ? 16 : most;
	chunks = (rows + most - 1) / most;
	*head = (struct dpo_head){ .map = *map, .rows = rows, .cap = cap };
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
	return head->logits + (first < head->kept_rows ? first : head->kept_rows) * head->map.out;
}

static int
useful_threads(int threads, const struct dpo_head *head)
{
	return head->chunk_rows * head->map.out < 8192 ? 1 : threads;
}

static struct dpo_matrix
at(const float *data, size_t ld)
{
	struct dpo_matrix rows = { .ld = ld };

	memcpy(&rows.data, &data, sizeof data);
	return rows;
}

/* A row of the chunk's logits. */
static void
cap_row(void *context, size_t item)
{
	const struct work *w = context;

	dpo_vector_cap(w->logits + item * w->head->map.out, w->head->cap, w->head->map.out);
}

/* w->logits become those of the chunk at w->first. */
static void
compute_chunk(int threads, struct work *w, const float *h)
{
	const struct dpo_head *head = w->head;
	size_t n = chunk_length(head, w->first);

	w->logits = chunk_logits(head, w->first);
	dpo_linear_forward(threads, &head->map, n, at(h + w->first * head->map.in, head->map.in),
	    (struct dpo_matrix){ 0 }, at(w->logits, head->map.out));
	if (head->cap > 0.0f)
		dpo_parallel_for(useful_threads(threads, head), n, cap_row, w);
}

/* What the sums of a row are, relative to the largest logit so far. */
struct sums {
	double all, weighted, squares, total;	/* of e, e (z - most), e^2 and z, where e = exp(z - most) */
};

DPO_WIDE static float
largest(const float *z, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	float most = dpo_lanes_max(z, whole, -FLT_MAX);

	for (size_t i = whole; i < n; i++)
		most = z[i] > most ? z[i] : most;
	return most;
}

static size_t
find(const float *x, float value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(x[i] < value))
			return i;
	return 0;
}

DPO_WIDE static void
add_run(struct sums *sums, const float *z, float most, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	dpo_sums all = { { 0 } }, weighted = { { 0 } }, squares = { { 0 } }, total = { { 0 } };
	float sum[4];

	for (size_t i = 0; i < whole; i += DPO_SUM_LANES)
		DPO_EACH_LANE(k) {
			float e = dpo_exp(z[i + k] - most);

			all.at[k] += e;
			weighted.at[k] += e * (z[i + k] - most);
			squares.at[k] += e * e;
			total.at[k] += z[i + k];
		}
	sum[0] = dpo_lanes_total(&all);
	sum[1] = dpo_lanes_total(&weighted);
	sum[2] = dpo_lanes_total(&squares);
	sum[3] = dpo_lanes_total(&total);
	for (size_t i = whole; i < n; i++) {
		float e = dpo_exp(z[i] - most);

		sum[0] += e;
		sum[1] += e * (z[i] - most);
		sum[2] += e * e;
		sum[3] += z[i];
	}
	sums->all += (double)sum[0];
	sums->weighted += (double)sum[1];
	sums->squares += (double)sum[2];
	sums->total += (double)sum[3];
}

/* The sums relative to a maximum that is larger by `rise`. */
static void
lower(struct sums *sums, double rise)
{
	double factor = exp(-rise);

	sums->weighted = factor * (sums->weighted - rise * sums->all);
	sums->all *= factor;
	sums->squares *= factor * factor;
}

/* entropy = log S - (1/S) sum_v e_v (z_v - most), with S = sum_v e_v. */
static void
look(void *context, size_t item)
{
	const struct work *w = context;
	size_t row = w->first + item, vocab = w->head->map.out;
	const float *z = w->logits + item * vocab;
	struct dpo_head_row *r = &w->results[row];
	struct sums sums = { 0 };

	r->most = -FLT_MAX;
	r->best = 0;
	for (size_t i = 0, n; i < vocab; i += n) {
		float here;

		n = vocab - i < RUN ? vocab - i : RUN;
		here = largest(z + i, n);
		if (here > r->most) {
			lower(&sums, (double)here - (double)r->most);
			r->most = here;
			r->best = i + find(z + i, here, n);
		}
		add_run(&sums, z + i, r->most, n);
	}
	r->sum = sums.all;
	r->entropy = log(sums.all) - sums.weighted / sums.all;
	r->log_squares = log(sums.squares) - 2.0 * log(sums.all);
	r->mean = sums.total / (double)vocab;
	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		int32_t target = w->targets[row * DPO_ANSWERS + a];

		w->logps[row * DPO_ANSWERS + a] = target < 0 ? 0.0f :
		    (float)((double)z[target] - (double)r->most - log(sums.all));
	}
}

void
dpo_head_forward(int threads, const struct dpo_head *head, const float *h,
    const int32_t *targets, struct dpo_head_row *results, float *logps)
{
	struct work w = { .head = head, .targets = targets, .results = results, .logps = logps };

	for (w.first = 0; w.first < head->rows; w.first += head->chunk_rows) {
		compute_chunk(threads, &w, h);
		dpo_parallel_for(useful_threads(threads, head), chunk_length(head, w.first), look,
		    &w);
	}
}

/* z = factor exp(z - most) */
DPO_WIDE static void
soften(float *z, float most, float factor, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		z[i] = dpo_exp(z[i] - most) * factor;
}

/* The same, times the slope of the cap. */
DPO_WIDE static void
soften_capped(float *z, float cap, float most, float factor, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		z[i] = dpo_exp(z[i] - most) * factor * (1.0f - z[i] / cap * (z[i] / cap));
}

/* The chunk's logits become their gradient. */
static void
differentiate(void *context, size_t item)
{
	const struct work *w = context;
	size_t row = w->first + item, vocab = w->head->map.out;
	float *z = w->logits + item * vocab, at_target[DPO_ANSWERS], cap = w->head->cap, all = 0.0f, factor;
	const float *d = w->d_logps + row * DPO_ANSWERS;
	const int32_t *targets = w->targets + row * DPO_ANSWERS;

	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		at_target[a] = 1.0f;
		if (targets[a] >= 0 && cap > 0.0f)
			dpo_vector_cap_slope(&at_target[a], z + targets[a], cap, 1);
		all += targets[a] < 0 ? 0.0f : d[a];
	}
	factor = (float)(-(double)all / w->past[row].sum);
	if (cap > 0.0f)
		soften_capped(z, cap, w->past[row].most, factor, vocab);
	else
		soften(z, w->past[row].most, factor, vocab);
	for (size_t a = 0; a < DPO_ANSWERS; a++)
		if (targets[a] >= 0)
			z[targets[a]] += d[a] * at_target[a];
}

void
dpo_head_backward(int threads, const struct dpo_head *head, const float *h,
    const int32_t *targets, const struct dpo_head_row *results, const float *d_logps, float *dh,
    float *d_weight)
{
	struct work w = { .head = head, .targets = targets, .past = results, .d_logps = d_logps };
	struct dpo_linear map = head->map;

	map.d_weight = d_weight;
	for (w.first = 0; w.first < head->rows; w.first += head->chunk_rows) {
		size_t n = chunk_length(head, w.first), from = w.first * head->map.in;

		w.logits = chunk_logits(head, w.first);
		if (w.first >= head->kept_rows)
			compute_chunk(threads, &w, h);
		dpo_parallel_for(useful_threads(threads, head), n, differentiate, &w);
		dpo_linear_backward_input(threads, &map, n, at(w.logits, head->map.out), false,
		    at(dh + from, head->map.in));
		dpo_linear_backward_weight(threads, &map, n, at(h + from, head->map.in),
		    at(w.logits, head->map.out));
	}
}

void
dpo_head_logits(int threads, const struct dpo_head *head, const float *h,
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
		compute_chunk(threads, &w, h);
		memcpy(logits + (from - first) * head->map.out,
		    w.logits + (from - chunk) * head->map.out,
		    (to - from) * head->map.out * sizeof *logits);
	}
}
