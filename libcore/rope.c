#include "rope.h"

#include "parallel.h"
#include "vector.h"

#include <math.h>

struct work {
	const float *table;
	const int32_t *positions;
	float *x;
	size_t ld, heads, head_dim;
	float sign;
};

void
dpo_rope_table(float *table, size_t positions, size_t head_dim, double theta)
{
	size_t half = head_dim / 2;

	for (size_t i = 0; i < half; i++) {
		float frequency = 1.0f / powf((float)theta, (float)(2 * i) / (float)head_dim);

		for (size_t p = 0; p < positions; p++) {
			table[p * head_dim + i] = cosf((float)p * frequency);
			table[p * head_dim + half + i] = sinf((float)p * frequency);
		}
	}
}

DPO_WIDE static void
rotate(float *x, const float *cosines, const float *sines, float sign, size_t half)
{
#pragma omp simd
	for (size_t i = 0; i < half; i++) {
		float low = x[i], high = x[half + i], sine = sign * sines[i];

		x[i] = low * cosines[i] - high * sine;
		x[half + i] = high * cosines[i] + low * sine;
	}
}

static void
rotate_row(void *context, size_t row)
{
	const struct work *w = context;
	const float *table = w->table + (size_t)w->positions[row] * w->head_dim;

	for (size_t head = 0; head < w->heads; head++)
		rotate(w->x + row * w->ld + head * w->head_dim, table, table + w->head_dim / 2,
		    w->sign, w->head_dim / 2);
}

void
dpo_rope_apply(int threads, const float *table, const int32_t *positions, size_t rows, float *x,
    size_t ld, size_t heads, size_t head_dim, float sign)
{
	struct work work = { table, positions, x, ld, heads, head_dim, sign };

	dpo_parallel_for(rows * heads * head_dim < 32768 ? 1 : threads, rows, rotate_row, &work);
}
