#include "train/adafactor.h"

#include "base/parallel.h"
#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a matrix are walked in tasks of about PIECE elements, columns in tasks of STRIP. */
enum { PIECE = 1 << 15, STRIP = 64, ALIGN = 16 };

static const double epsilon = 1e-30;

/* A tensor as `batch` matrices of rows x cols; a vector is one row. */
struct shape {
	size_t batch, rows, cols;
	bool matrix;
};

static struct shape
shape_of(const struct dpo_tensor *tensor)
{
	struct shape shape = { .batch = 1, .rows = 1, .cols = tensor->count, .matrix = tensor->rank >= 2 };

	if (!shape.matrix)
		return shape;
	shape.cols = tensor->shape[tensor->rank - 1];
	shape.rows = tensor->shape[tensor->rank - 2];
	for (size_t d = 0; d + 2 < tensor->rank; d++)
		shape.batch *= tensor->shape[d];
	return shape;
}

/* ------------------------------------------------------------------ the table of the state */

static enum dpo_status
add_factor(struct dpo_params *factors, const struct dpo_tensor *tensor, const char *suffix, size_t without,
    struct dpo_error *err)
{
	struct dpo_tensor *factor = &factors->list[factors->count];
	int n = snprintf(factor->name, sizeof factor->name, "%s%s", tensor->name, suffix);

	if (n < 0 || (size_t)n >= sizeof factor->name)
		return dpo_fail(err, DPO_LIMIT, "tensor \"%s\": the name is too long to append \"%s\"", tensor->name, suffix);
	factor->count = 1;
	factor->offset = factors->total;
	for (size_t d = 0; d < tensor->rank; d++)
		if (d != without) {
			factor->shape[factor->rank++] = tensor->shape[d];
			factor->count *= tensor->shape[d];
		}
	factors->count++;
	factors->parameters += factor->count;
	factors->total += (factor->count + ALIGN - 1) / ALIGN * ALIGN;
	return DPO_OK;
}

enum dpo_status
dpo_adafactor_init(struct dpo_adafactor *adafactor, const struct dpo_params *params, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	size_t most = 1;

	*adafactor = (struct dpo_adafactor){ .factors.list = dpo_alloc(params->count, 2 * sizeof(struct dpo_tensor)) };
	if (!adafactor->factors.list)
		return dpo_fail_memory(err);
	for (size_t i = 0; i < params->count && status == DPO_OK; i++) {
		const struct dpo_tensor *tensor = &params->list[i];
		struct shape shape = shape_of(tensor);

		if (!shape.matrix)
			status = add_factor(&adafactor->factors, tensor, "", DPO_RANK_MAX, err);
		else if ((status = add_factor(&adafactor->factors, tensor, "/row", tensor->rank - 1, err)) == DPO_OK)
			status = add_factor(&adafactor->factors, tensor, "/col", tensor->rank - 2, err);
		most = shape.batch * shape.rows > most ? shape.batch * shape.rows : most;
	}
	if (status == DPO_OK && !(adafactor->partial = dpo_alloc(most, sizeof *adafactor->partial)))
		status = dpo_fail_memory(err);
	return status;
}

void
dpo_adafactor_free(struct dpo_adafactor *adafactor)
{
	dpo_params_free(&adafactor->factors);
	free(adafactor->partial);
	*adafactor = (struct dpo_adafactor){ 0 };
}

/* ------------------------------------------------------------------ one tensor */

struct work {
	struct shape shape;
	float *weights, *gradients;	/* of the tensor */
	float *row, *col;		/* of a vector, row is its v, and col is NULL */
	double *partial;		/* one a row */
	size_t task;			/* rows of one task */
	float scale, keep, add;		/* of the gradient; b; 1 - b */
	float rate, shrink;		/* lr / max(1, rms(u)); lr wd */
};

static double
square(const struct work *w, size_t i)
{
	float g = w->gradients[i] * w->scale;

	return (double)(g * g) + epsilon;
}

/* Rows of task `item`, over all matrices of the tensor: begin to *end - 1. */
static size_t
rows_of(const struct work *w, size_t item, size_t *end)
{
	size_t begin = item * w->task, all = w->shape.batch * w->shape.rows;

	*end = all - begin < w->task ? all : begin + w->task;
	return begin;
}

static void
update_rows(void *context, size_t item)
{
	const struct work *w = context;
	size_t cols = w->shape.cols, end;

	for (size_t r = rows_of(w, item, &end); r < end; r++) {
		double sum = 0;

		for (size_t c = 0; c < cols; c++)
			sum += square(w, r * cols + c);
		w->row[r] = w->row[r] * w->keep + w->add * (float)(sum / (double)cols);
	}
}

static void
update_columns(void *context, size_t item)
{
	const struct work *w = context;
	size_t cols = w->shape.cols, rows = w->shape.rows, strips = (cols + STRIP - 1) / STRIP;
	size_t matrix = item / strips, begin = item % strips * STRIP, n = cols - begin < STRIP ? cols - begin : STRIP;
	float *col = w->col + matrix * cols + begin;
	double sum[STRIP] = { 0 };

	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < n; c++)
			sum[c] += square(w, (matrix * rows + r) * cols + begin + c);
	for (size_t c = 0; c < n; c++)
		col[c] = col[c] * w->keep + w->add * (float)(sum[c] / (double)rows);
}

/* From the state of the matrix of row r: the factor of that row, mean(row) taken in partial by row_means. */
static float
row_factor(const struct work *w, size_t r)
{
	return w->shape.matrix ? 1.0f / sqrtf(w->row[r] / (float)w->partial[r / w->shape.rows]) : 1.0f;
}

static void
row_means(struct work *w)
{
	for (size_t b = 0; b < w->shape.batch && w->shape.matrix; b++) {
		double sum = 0;

		for (size_t r = 0; r < w->shape.rows; r++)
			sum += (double)w->row[b * w->shape.rows + r];
		w->partial[b] = sum / (double)w->shape.rows;
	}
}

/* The gradients become u before its clipping. */
static void
make_update(void *context, size_t item)
{
	const struct work *w = context;
	size_t cols = w->shape.cols, end;

	for (size_t r = rows_of(w, item, &end); r < end; r++) {
		const float *second = w->shape.matrix ? w->col + r / w->shape.rows * cols : w->row;
		float *g = w->gradients + r * cols, factor = row_factor(w, r);

		for (size_t c = 0; c < cols; c++)
			g[c] = factor * (1.0f / sqrtf(second[c])) * (g[c] * w->scale);
	}
}

static void
sum_squares(void *context, size_t item)
{
	const struct work *w = context;
	size_t cols = w->shape.cols, end;

	for (size_t r = rows_of(w, item, &end); r < end; r++) {
		double sum = 0;

		for (size_t c = 0; c < cols; c++)
			sum += (double)w->gradients[r * cols + c] * (double)w->gradients[r * cols + c];
		w->partial[r] = sum;
	}
}

static void
apply_update(void *context, size_t item)
{
	const struct work *w = context;
	size_t cols = w->shape.cols, end;

	for (size_t r = rows_of(w, item, &end), i = r * cols; i < end * cols; i++) {
		w->weights[i] = w->weights[i] - w->shrink * w->weights[i] - w->rate * w->gradients[i];
		w->gradients[i] = 0;
	}
}

static void
step_tensor(struct work *w, double lr, int threads)
{
	const struct shape *shape = &w->shape;
	size_t all = shape->batch * shape->rows, tasks;
	double sum = 0, rms;

	w->task = shape->cols < PIECE ? PIECE / shape->cols : 1;
	tasks = (all + w->task - 1) / w->task;
	if (shape->matrix) {
		dpo_parallel_for(threads, tasks, update_rows, w);
		dpo_parallel_for(threads, shape->batch * ((shape->cols + STRIP - 1) / STRIP), update_columns, w);
		row_means(w);
	} else {
		for (size_t c = 0; c < shape->cols; c++)
			w->row[c] = w->row[c] * w->keep + w->add * (float)square(w, c);
	}
	dpo_parallel_for(threads, tasks, make_update, w);
	dpo_parallel_for(threads, tasks, sum_squares, w);
	for (size_t r = 0; r < all; r++)
		sum += w->partial[r];
	rms = sqrt(sum / ((double)all * (double)shape->cols));
	w->rate = (float)(lr / fmax(1.0, rms));
	dpo_parallel_for(threads, tasks, apply_update, w);
}

void
dpo_adafactor_step(struct dpo_adafactor *adafactor, const struct dpo_params *params, float *weights, float *gradients,
    float *state, uint64_t t, double lr, double scale, double weight_decay, int threads)
{
	const struct dpo_tensor *factor = adafactor->factors.list;
	double b = 1.0 - pow((double)t, -0.8);

	for (size_t i = 0; i < params->count; i++) {
		const struct dpo_tensor *tensor = &params->list[i];
		struct work work = { .shape = shape_of(tensor), .weights = weights + tensor->offset,
			.gradients = gradients + tensor->offset, .row = state + factor->offset, .partial = adafactor->partial,
			.scale = (float)scale, .keep = (float)b, .add = (float)(1.0 - b),
			.shrink = tensor->decay ? (float)(lr * weight_decay) : 0.0f };

		factor++;
		if (work.shape.matrix)
			work.col = state + factor++->offset;
		step_tensor(&work, lr, threads);
	}
}
