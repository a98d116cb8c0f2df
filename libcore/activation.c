#include "activation.h"

#include "parallel.h"
#include "vector.h"

/* Floats an item works on at a time: its scratch stays in the first-level cache. */
enum { RUN = 512 };

static const float ROOT = 0.7978845608f, CUBIC = 0.044715f;	/* sqrt(2/pi) */
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

DPO_WIDE static void
gelu_tanh_inner(float *u, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		u[i] = ROOT * (x[i] + CUBIC * x[i] * x[i] * x[i]);
}

/* (1 + t)/2 + x/2 (1 - t^2) sqrt(2/pi) (1 + 3 0.044715 x^2) */
DPO_WIDE static void
gelu_tanh_slope(float *slope, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		slope[i] = 0.5f * (1.0f + t[i]) + 0.5f * x[i] * (1.0f - t[i] * t[i]) * ROOT *
		    (1.0f + 3.0f * CUBIC * x[i] * x[i]);
}

/* y = x/2 (1 + t) */
DPO_WIDE static void
half_one_plus(float *y, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = 0.5f * x[i] * (1.0f + t[i]);
}

static void
gelu_tanh(float *a, float *slope, const float *x, size_t n)
{
	float t[RUN];

	gelu_tanh_inner(t, x, n);
	dpo_vector_tanh(t, t, n);
	half_one_plus(a, x, t, n);
	if (slope)
		gelu_tanh_slope(slope, x, t, n);
}

DPO_WIDE static void
times(float *y, float a, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = a * x[i];
}

DPO_WIDE static void
half_square(float *y, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = -0.5f * x[i] * x[i];
}

/* (1 + t)/2 + x exp(-x^2/2) / sqrt(2 pi); slope holds the exponential */
DPO_WIDE static void
gelu_slope(float *slope, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		slope[i] = 0.5f * (1.0f + t[i]) + DENSITY * x[i] * slope[i];
}

static void
gelu(float *a, float *slope, const float *x, size_t n)
{
	float t[RUN];

	times(t, HALF_ROOT, x, n);
	dpo_vector_erf(t, t, n);
	half_one_plus(a, x, t, n);
	if (!slope)
		return;
	half_square(slope, x, n);
	dpo_vector_exp(slope, slope, 0.0f, n);
	gelu_slope(slope, x, t, n);
}

/* s = 1 / (1 + exp(-x)); e holds exp(-x) */
DPO_WIDE static void
sigmoid(float *e, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		e[i] = 1.0f / (1.0f + e[i]);
}

DPO_WIDE static void
multiply(float *y, const float *x, const float *s, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = x[i] * s[i];
}

/* s (1 + x (1 - s)) */
DPO_WIDE static void
silu_slope(float *slope, const float *x, const float *s, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		slope[i] = s[i] * (1.0f + x[i] * (1.0f - s[i]));
}

static void
silu(float *a, float *slope, const float *x, size_t n)
{
	float s[RUN];

	times(s, -1.0f, x, n);
	dpo_vector_exp(s, s, 0.0f, n);
	sigmoid(s, n);
	multiply(a, x, s, n);
	if (slope)
		silu_slope(slope, x, s, n);
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
