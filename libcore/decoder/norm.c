#include "decoder/norm.h"

#include "base/parallel.h"
#include "kernel/lanes.h"
#include "kernel/vector.h"

#include <math.h>
#include <string.h>

/* Rows of one item. Weight gradients are summed within an item, then over items in order. */
enum { ROWS = 32 };

struct work {
	const struct dpo_norm *norm;
	size_t rows;
	const float *x, *dy;
	const float *stats;		/* of the forward pass, for the backward pass */
	float *y, *dx, *new_stats, *partial;
};

static int
useful_threads(int threads, size_t rows, size_t n)
{
	return rows * n < 16384 ? 1 : threads;
}

/* What is added to the weights. */
static float
offset_of(const struct dpo_norm *norm)
{
	return norm->kind == DPO_NORM_RMS_FROM_ONE ? 1.0f : 0.0f;
}

DPO_WIDE static void
normalize(float *y, const float *x, float mean, float rstd, const float *weight, float offset,
    size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) * rstd * (offset + weight[i]);
}

DPO_WIDE static void
normalize_biased(float *y, const float *x, float mean, float rstd, const float *weight, const float *bias, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) * rstd * weight[i] + bias[i];
}

static void
forward_rows(void *context, size_t item)
{
	const struct work *w = context;
	const struct dpo_norm *norm = w->norm;
	size_t n = norm->n, end = w->rows - item * ROWS < ROWS ? w->rows : item * ROWS + ROWS;
	float mean, rstd;

	for (size_t row = item * ROWS; row < end; row++) {
		const float *x = w->x + row * n;

		mean = norm->kind == DPO_NORM_LAYER ? (float)(dpo_vector_sum(x,
		    n) / (double)n) : 0.0f;
		rstd = (float)(1.0 / sqrt(dpo_vector_spread(x, mean,
		    n) / (double)n + (double)norm->epsilon));
		if (norm->kind == DPO_NORM_LAYER)
			normalize_biased(w->y + row * n, x, mean, rstd, norm->weight, norm->bias, n);
		else
			normalize(w->y + row * n, x, mean, rstd, norm->weight, offset_of(norm), n);
		w->new_stats[2 * row] = mean;
		w->new_stats[2 * row + 1] = rstd;
	}
}

void
dpo_norm_forward(int threads, const struct dpo_norm *norm, size_t rows, const float *x, float *y,
    float *stats)
{
	struct work work = { .norm = norm, .rows = rows, .x = x, .y = y, .new_stats = stats };

	dpo_parallel_for(useful_threads(threads, rows, norm->n), (rows + ROWS - 1) / ROWS,
	    forward_rows, &work);
}

/*
 * With h = (x - mean) rstd and g = dy weight: d_weight += dy h, d_bias += dy, and
 * dx = rstd (g - mean(g) - h mean(g h)), without mean(g) for RMS. d_weight and d_bias NULL: they are not wanted.
 */
DPO_WIDE static void
backward_sums(float *sums, float *d_weight, float *d_bias, const float *x, const float *dy,
    const float *weight, float offset, float mean, float rstd, size_t n)
{
	size_t whole = n - n % DPO_SUM_LANES;
	dpo_sums g_sum = { { 0 } }, gh_sum = { { 0 } };

	for (size_t i = 0; i < whole; i += DPO_SUM_LANES) {
		DPO_EACH_LANE(k) {
			float h = (x[i + k] - mean) * rstd, g = dy[i + k] * (offset + weight[i + k]);

			g_sum.at[k] += g;
			gh_sum.at[k] += g * h;
		}
		if (d_weight)
			DPO_EACH_LANE(k) {
				d_weight[i + k] += (x[i + k] - mean) * rstd * dy[i + k];
				d_bias[i + k] += dy[i + k];
			}
	}
	sums[0] = dpo_lanes_total(&g_sum);
	sums[1] = dpo_lanes_total(&gh_sum);
	for (size_t i = whole; i < n; i++) {
		float h_one = (x[i] - mean) * rstd, g_one = dy[i] * (offset + weight[i]);

		sums[0] += g_one;
		sums[1] += g_one * h_one;
		if (d_weight) {
			d_weight[i] += dy[i] * h_one;
			d_bias[i] += dy[i];
		}
	}
}

DPO_WIDE static void
backward_input(float *dx, const float *x, const float *dy, const float *weight, float offset,
    float mean, float rstd, float g_mean, float gh_mean, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		dx[i] += rstd * (dy[i] * (offset + weight[i]) - g_mean -
		    (x[i] - mean) * rstd * gh_mean);
}

static void
backward_rows(void *context, size_t item)
{
	const struct work *w = context;
	const struct dpo_norm *norm = w->norm;
	size_t n = norm->n, end = w->rows - item * ROWS < ROWS ? w->rows : item * ROWS + ROWS;
	float *d_weight = norm->d_weight ? w->partial + item * 2 * n : NULL, *d_bias = d_weight ? d_weight + n : NULL, sums[2];
	float offset = offset_of(norm);

	if (d_weight)
		memset(d_weight, 0, 2 * n * sizeof *d_weight);
	for (size_t row = item * ROWS; row < end; row++) {
		const float *x = w->x + row * n, *dy = w->dy + row * n;
		float mean = w->stats[2 * row], rstd = w->stats[2 * row + 1];

		backward_sums(sums, d_weight, d_bias, x, dy, norm->weight, offset, mean, rstd, n);
		backward_input(w->dx + row * n, x, dy, norm->weight, offset, mean, rstd,
		    norm->kind == DPO_NORM_LAYER ? sums[0] / (float)n : 0.0f, sums[1] / (float)n,
		    n);
	}
}

size_t
dpo_norm_partial(size_t rows, size_t n)
{
	return (rows + ROWS - 1) / ROWS * 2 * n;
}

void
dpo_norm_backward(int threads, const struct dpo_norm *norm, size_t rows, const float *x,
    const float *stats, const float *dy, float *dx, float *partial)
{
	struct work work = { .norm = norm, .rows = rows, .x = x, .dy = dy, .stats = stats, .dx = dx,
	    .partial = partial };
	size_t n = norm->n, items = (rows + ROWS - 1) / ROWS;

	dpo_parallel_for(useful_threads(threads, rows, n), items, backward_rows, &work);
	for (size_t item = 0; item < items && norm->d_weight; item++) {
		dpo_vector_add(norm->d_weight, partial + item * 2 * n, n);
		if (norm->kind == DPO_NORM_LAYER)
			dpo_vector_add(norm->d_bias, partial + item * 2 * n + n, n);
	}
}
