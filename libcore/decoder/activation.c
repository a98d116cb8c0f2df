#include "decoder/activation.h"

#include "base/parallel.h"
#include "kernel/exponential.h"
#include "kernel/vector.h"

/* Floats an item works on at a time: its scratch stays in the first-level cache. */
enum { RUN = 512 };

static const float TWICE_ROOT = 1.5957691216f, CUBIC = 0.044715f;	/* 2 sqrt(2/pi) */
static const float HALF_ROOT = 0.7071067812f, DENSITY = 0.3989422804f;	/* sqrt(1/2), 1/sqrt(2 pi) */

struct work {
	enum dpo_activation kind;
	enum dpo_mlp_kind mlp;
	size_t n;
	const float *x, *dy;
	float *dx, *y;		/* dx NULL in the forward pass */
};

/* ------------------------------------------------------------------ a(x) and its slope
 * Each writes a[n], and slope[n] if it is not NULL.
 */

/* 1 / (1 + exp(-x)) */
__attribute__((always_inline)) static inline float
sigmoid(float x)
{
	return 1.0f / (1.0f + dpo_exp(-x));
}

/* GELU by tanh is x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3), for (1 + tanh u)/2 = sigmoid(2 u). */
__attribute__((always_inline)) static inline float
twice_inner(float x)
{
	return x * (TWICE_ROOT + TWICE_ROOT * CUBIC * (x * x));
}

/* The slope of x s, s = sigmoid(2 u): s + x s (1 - s) (2 u)' */
__attribute__((always_inline)) static inline void
gelu_tanh_loop(const bool both, float *a, float *slope, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		float s = sigmoid(twice_inner(x[i])), y = x[i] * s;

		a[i] = y;
		if (both)
			slope[i] = s + y * (1.0f - s) * (TWICE_ROOT + 3.0f * TWICE_ROOT * CUBIC * (x[i] * x[i]));
	}
}

DPO_WIDE static void
gelu_tanh(float *a, float *slope, const float *x, size_t n)
{
	if (slope)
		gelu_tanh_loop(true, a, slope, x, n);
	else
		gelu_tanh_loop(false, a, NULL, x, n);
}

DPO_WIDE static void
times(float *y, float a, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = a * x[i];
}

/* y = x/2 (1 + t) */
DPO_WIDE static void
half_one_plus(float *y, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = 0.5f * x[i] * (1.0f + t[i]);
}

/* (1 + t)/2 + x exp(-x^2/2) / sqrt(2 pi) */
DPO_WIDE static void
gelu_slope(float *slope, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		slope[i] = 0.5f * (1.0f + t[i]) + DENSITY * x[i] * dpo_exp(-0.5f * x[i] * x[i]);
}

static void
gelu(float *a, float *slope, const float *x, size_t n)
{
	float t[RUN];

	times(t, HALF_ROOT, x, n);
	dpo_vector_erf(t, t, n);
	half_one_plus(a, x, t, n);
	if (slope)
		gelu_slope(slope, x, t, n);
}

/* The slope of x s: s (1 + x (1 - s)) */
__attribute__((always_inline)) static inline void
silu_loop(const bool both, float *a, float *slope, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		float s = sigmoid(x[i]);

		a[i] = x[i] * s;
		if (both)
			slope[i] = s * (1.0f + x[i] * (1.0f - s));
	}
}

DPO_WIDE static void
silu(float *a, float *slope, const float *x, size_t n)
{
	if (slope)
		silu_loop(true, a, slope, x, n);
	else
		silu_loop(false, a, NULL, x, n);
}

static void
relu(float *a, float *slope, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		a[i] = x[i] > 0.0f ? x[i] : 0.0f;
		if (slope)
			slope[i] = x[i] > 0.0f ? 1.0f : 0.0f;
	}
}

static void
activate_run(enum dpo_activation kind, float *a, float *slope, const float *x, size_t n)
{
	switch (kind) {
	case DPO_ACTIVATION_GELU_TANH:
		gelu_tanh(a, slope, x, n);
		break;
	case DPO_ACTIVATION_SILU:
		silu(a, slope, x, n);
		break;
	case DPO_ACTIVATION_GELU:
		gelu(a, slope, x, n);
		break;
	case DPO_ACTIVATION_RELU:
		relu(a, slope, x, n);
		break;
	}
}

/* ------------------------------------------------------------------ rows */

DPO_WIDE static void
multiply(float *y, const float *x, const float *s, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * s[i];
}

static void
plain_row(const struct work *w, size_t row)
{
	size_t from = row * w->n;
	float slope[RUN];

	for (size_t i = 0, run; i < w->n; i += run) {
		run = w->n - i < RUN ? w->n - i : RUN;
		activate_run(w->kind, w->y + from + i, w->dx ? slope : NULL, w->x + from + i, run);
		if (w->dx)
			multiply(w->dx + from + i, w->dy + from + i, slope, run);
	}
}

/* d/dup = a; d/dgate = up slope */
DPO_WIDE static void
gate_slope(float *d_gate, float *d_up, const float *dy, const float *a, const float *slope,
    const float *up, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		d_gate[i] = dy[i] * up[i] * slope[i];
		d_up[i] = dy[i] * a[i];
	}
}

static void
gated_row(const struct work *w, size_t row)
{
	const float *gate = w->x + 2 * row * w->n, *up = gate + w->n;
	float a[RUN], slope[RUN];

	for (size_t i = 0, run; i < w->n; i += run) {
		run = w->n - i < RUN ? w->n - i : RUN;
		activate_run(w->kind, a, w->dx ? slope : NULL, gate + i, run);
		multiply(w->y + row * w->n + i, a, up + i, run);
		if (w->dx)
			gate_slope(w->dx + 2 * row * w->n + i, w->dx + (2 * row + 1) * w->n + i,
			    w->dy + row * w->n + i, a, slope, up + i, run);
	}
}

static void
activate(void *context, size_t row)
{
	const struct work *w = context;

	if (w->mlp == DPO_MLP_GATED)
		gated_row(w, row);
	else
		plain_row(w, row);
}

void
dpo_activation_forward(int threads, enum dpo_activation kind, enum dpo_mlp_kind mlp, size_t rows,
    size_t n, const float *x, float *y)
{
	struct work work = { .kind = kind, .mlp = mlp, .n = n, .x = x, .y = y };

	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, activate, &work);
}

void
dpo_activation_backward(int threads, enum dpo_activation kind, enum dpo_mlp_kind mlp, size_t rows,
    size_t n, const float *x, const float *dy, float *dx, float *y)
{
	struct work work = { .kind = kind, .mlp = mlp, .n = n, .x = x, .dy = dy, .dx = dx, .y = y };

	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, activate, &work);
}
