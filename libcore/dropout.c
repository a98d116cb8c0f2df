#include "dropout.h"

#include "lanes.h"
#include "parallel.h"
#include "random.h"
#include "size.h"
#include "vector.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RUN = 2048 };	/* elements that one call of the generator serves; a multiple of DPO_LANES */

struct work {
	char purpose[160];
	uint64_t seed;
	uint16_t threshold;
	float factor;
	uint16_t *mask;
	size_t n, words, ldx, ldy;
	const float *x;
	float *y;
	bool add;
};

size_t
dpo_dropout_words(size_t n)
{
	return 2 * dpo_size_parts(n, 2 * DPO_LANES);	/* whole floats' worth */
}

static struct work
work_of(const struct dpo_dropout *dropout, size_t n)
{
	struct work work = { .seed = dropout->key.seed, .mask = dropout->mask, .n = n, .words = dpo_dropout_words(n) };
	double threshold = fmin(round(dropout->p * 65536.0), 65535.0);

	work.threshold = (uint16_t)threshold;
	work.factor = (float)(65536.0 / (65536.0 - threshold));
	snprintf(work.purpose, sizeof work.purpose, "dropout %.95s %" PRIu64 " %" PRIu64, dropout->name, dropout->key.step,
	    dropout->key.row);
	return work;
}

/* ------------------------------------------------------------------ drawing */

/* One row; its runs are numbered across all rows. */
static void
draw_row(void *context, size_t row)
{
	const struct work *w = context;
	size_t runs = dpo_size_parts(w->n, RUN);
	uint16_t *mask = w->mask + row * w->words;
	uint8_t raw[2 * RUN] = { 0 };

	for (size_t run = 0; run < runs; run++) {
		size_t n = dpo_size_least(w->n - run * RUN, RUN);

		dpo_random_bytes(raw, 2 * n, w->purpose, w->seed, row * runs + run);
		for (size_t i = 0; i < n; i += DPO_LANES) {
			unsigned bits = 0;

			for (size_t k = 0; k < DPO_LANES; k++)
				bits |= (unsigned)((raw[2 * (i + k)] | raw[2 * (i + k) + 1] << 8) >= w->threshold) << k;
			*mask++ = (uint16_t)bits;
		}
	}
}

void
dpo_dropout_draw(int threads, const struct dpo_dropout *dropout, size_t rows, size_t n)
{
	struct work work = work_of(dropout, n);

	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, draw_row, &work);
}

/* ------------------------------------------------------------------ applying */

/* y[0 .. DPO_LANES) */
__attribute__((always_inline)) static inline void
apply_lanes(float *y, const float *x, uint16_t bits, float factor, bool add)
{
	const dpo_lanes_mask place = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768 };
	dpo_lanes here, sum;

	dpo_lanes_load(&here, x);
	here = (dpo_lanes)((dpo_lanes_mask)(here * factor) & (((int32_t)bits & place) != 0));
	if (add) {
		dpo_lanes_load(&sum, y);
		here += sum;
	}
	memcpy(y, &here, sizeof here);
}

DPO_WIDE static void
apply(float *y, const float *x, const uint16_t *mask, float factor, size_t n, bool add)
{
	size_t whole = n - n % DPO_LANES;

	for (size_t i = 0; i < whole; i += DPO_LANES)
		apply_lanes(y + i, x + i, mask[i / DPO_LANES], factor, add);
	for (size_t i = whole; i < n; i++)
		y[i] = (add ? y[i] : 0.0f) + (mask[i / DPO_LANES] >> i % DPO_LANES & 1 ? factor * x[i] : 0.0f);
}

static void
apply_row(void *context, size_t row)
{
	const struct work *w = context;

	apply(w->y + row * w->ldy, w->x + row * w->ldx, w->mask + row * w->words, w->factor, w->n, w->add);
}

void
dpo_dropout_apply(int threads, const struct dpo_dropout *dropout, size_t rows, size_t n, const float *x, size_t ldx,
    float *y, size_t ldy, bool add)
{
	struct work work = work_of(dropout, n);

	work.x = x;
	work.ldx = ldx;
	work.y = y;
	work.ldy = ldy;
	work.add = add;
	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, apply_row, &work);
}
