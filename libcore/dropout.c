#include "dropout.h"

#include "parallel.h"
#include "random.h"
#include "vector.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RUN = 2048 };	/* elements that one call of the generator serves */

struct work {
	char purpose[160];
	uint64_t seed;
	uint16_t threshold;
	float factor;
	size_t n, ldx, ldy;
	const float *x;
	float *y;
	bool add;
};

DPO_WIDE static void
mask_run(float *y, const float *x, const uint16_t *bits, uint16_t threshold, float factor, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = (bits[i] < threshold ? 0.0f : factor) * x[i];
}

/* One row; its runs are numbered across all rows. */
static void
mask_row(void *context, size_t row)
{
	const struct work *w = context;
	size_t runs = (w->n + RUN - 1) / RUN;
	uint8_t raw[2 * RUN];
	uint16_t bits[RUN];
	float masked[RUN];

	for (size_t run = 0; run < runs; run++) {
		size_t at = run * RUN, n = w->n - at < RUN ? w->n - at : RUN;
		float *y = w->y + row * w->ldy + at;

		dpo_random_bytes(raw, 2 * n, w->purpose, w->seed, row * runs + run);
		for (size_t i = 0; i < n; i++)
			bits[i] = (uint16_t)(raw[2 * i] | raw[2 * i + 1] << 8);
		mask_run(masked, w->x + row * w->ldx + at, bits, w->threshold, w->factor, n);
		if (w->add)
			dpo_vector_add(y, masked, n);
		else
			memcpy(y, masked, n * sizeof *y);
	}
}

void
dpo_dropout_apply(int threads, const struct dpo_dropout *dropout, size_t rows, size_t n, const float *x, size_t ldx,
    float *y, size_t ldy, bool add)
{
	struct work work = { .seed = dropout->key.seed, .n = n, .ldx = ldx, .ldy = ldy, .x = x, .y = y, .add = add };
	double threshold = fmin(round(dropout->p * 65536.0), 65535.0);

	work.threshold = (uint16_t)threshold;
	work.factor = (float)(65536.0 / (65536.0 - threshold));
	snprintf(work.purpose, sizeof work.purpose, "dropout %.95s %" PRIu64 " %" PRIu64, dropout->name, dropout->key.step,
	    dropout->key.row);
	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, mask_row, &work);
}
