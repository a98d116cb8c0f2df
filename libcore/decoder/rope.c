#include "decoder/rope.h"

#include "base/parallel.h"
#include "kernel/vector.h"

#include <math.h>

static const float TURN = 6.2831853f;	/* 2 pi */

struct work {
	const float *table;
	size_t dim;
	const int32_t *positions;
	float *x;
	size_t ld;
	struct dpo_rope_heads heads;
	float sign;
};

size_t
dpo_rope_steady(const struct dpo_rope *rope)
{
	return rope->kind == DPO_ROPE_LONGROPE || rope->kind == DPO_ROPE_DYNAMIC ? rope->original : SIZE_MAX;
}

size_t
dpo_rope_choice(const struct dpo_rope *rope, size_t length)
{
	if (rope->kind == DPO_ROPE_LONGROPE)
		return length > rope->original ? rope->original + 1 : rope->original;
	if (rope->kind == DPO_ROPE_DYNAMIC)
		return length > rope->original ? length : rope->original;
	return 0;
}

/* ------------------------------------------------------------------ frequencies */

static float
base_of(const struct dpo_rope *rope, size_t length)
{
	double n = (double)dpo_rope_choice(rope, length), dim = (double)rope->dim;

	if (rope->kind != DPO_ROPE_DYNAMIC)
		return (float)rope->theta;
	return (float)(rope->theta * pow(rope->factor * n / (double)rope->original -
	    (rope->factor - 1), dim / (dim - 2)));
}

static float
llama3(const struct dpo_rope *rope, float f)
{
	float wave = TURN / f, factor = (float)rope->factor, original = (float)rope->original;
	float low = (float)rope->low_frequency, high = (float)rope->high_frequency;
	float smooth = (original / wave - low) / (high - low);

	if (wave < original / high)
		return f;
	if (wave > original / low)
		return f / factor;
	return (1.0f - smooth) * f / factor + smooth * f;
}

/* The i at which a head turns that many times within the original positions. */
static double
turning(const struct dpo_rope *rope, double turns)
{
	return (double)rope->dim * log((double)rope->original / (turns * 2 * 3.14159265358979323846)) /
	    (2 * log(rope->theta));
}

static float
yarn(const struct dpo_rope *rope, float power, size_t i)
{
	double low = turning(rope, rope->beta_fast), high = turning(rope, rope->beta_slow);
	float ramp;

	if (rope->truncate) {
		low = floor(low);
		high = ceil(high);
	}
	low = fmax(low, 0);
	high = fmin(high, (double)rope->dim - 1);
	if (low == high)
		high += 0.001;
	ramp = ((float)i - (float)low) / (float)(high - low);
	ramp = 1.0f - fminf(fmaxf(ramp, 0.0f), 1.0f);
	return 1.0f / ((float)rope->factor * power) * (1.0f - ramp) + 1.0f / power * ramp;
}

/* f_i; power is theta^(2i/d). */
static float
frequency(const struct dpo_rope *rope, float power, size_t i, size_t length)
{
	switch (rope->kind) {
	case DPO_ROPE_LINEAR:
		return 1.0f / power / (float)rope->factor;
	case DPO_ROPE_LLAMA3:
		return llama3(rope, 1.0f / power);
	case DPO_ROPE_YARN:
		return yarn(rope, power, i);
	case DPO_ROPE_LONGROPE:
		return 1.0f / ((length > rope->original ? rope->long_factors : rope->short_factors)[i] *
		    power);
	default:
		return 1.0f / power;
	}
}

float
dpo_rope_divisor(const struct dpo_rope *rope, size_t i)
{
	float power = powf(base_of(rope, 0), (float)(2 * i) / (float)rope->dim);

	return 1.0f / power / frequency(rope, power, i, 0);
}

void
dpo_rope_table(float *table, size_t positions, const struct dpo_rope *rope, size_t length)
{
	size_t half = rope->dim / 2;
	float base = base_of(rope, length), scale = (float)rope->scale;

	for (size_t i = 0; i < half; i++) {
		float f = frequency(rope, powf(base, (float)(2 * i) / (float)rope->dim), i, length);

		for (size_t p = 0; p < positions; p++) {
			table[p * rope->dim + i] = cosf((float)p * f) * scale;
			table[p * rope->dim + half + i] = sinf((float)p * f) * scale;
		}
	}
}

/* ------------------------------------------------------------------ rotation */

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
	const float *table = w->table + (size_t)w->positions[row] * w->dim;
	float *x = w->x + row * w->ld + w->heads.first;

	for (size_t head = 0; head < w->heads.heads; head++)
		rotate(x + head * w->heads.step, table, table + w->dim / 2, w->sign, w->dim / 2);
}

void
dpo_rope_apply(int threads, const float *table, size_t dim, const int32_t *positions, size_t rows,
    float *x, size_t ld, struct dpo_rope_heads heads, float sign)
{
	struct work work = { table, dim, positions, x, ld, heads, sign };

	dpo_parallel_for(rows * heads.heads * dim < 32768 ? 1 : threads, rows, rotate_row, &work);
}
