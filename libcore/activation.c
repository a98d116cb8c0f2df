#include "activation.h"

#include "parallel.h"
#include "vector.h"

/* Floats an item works on at a time: its scratch stays in the first-level cache. */
enum { RUN = 512 };

static const float ROOT = 0.7978845608f, CUBIC = 0.044715f;	/* sqrt(2/pi) */

struct work {
	enum dpo_activation kind;
	size_t n;
	const float *x, *dy;
	float *dx, *y;		/* dx NULL in the forward pass */
};

DPO_WIDE static void
gelu_inner(float *u, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		u[i] = ROOT * (x[i] + CUBIC * x[i] * x[i] * x[i]);
}

DPO_WIDE static void
gelu_outer(float *y, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = 0.5f * x[i] * (1.0f + t[i]);
}

/* d/dx = (1 + t)/2 + x/2 (1 - t^2) sqrt(2/pi) (1 + 3 0.044715 x^2) */
DPO_WIDE static void
gelu_slope(float *dx, const float *dy, const float *x, const float *t, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		dx[i] = dy[i] * (0.5f * (1.0f + t[i]) + 0.5f * x[i] * (1.0f - t[i] * t[i]) * ROOT *
		    (1.0f + 3.0f * CUBIC * x[i] * x[i]));
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
negate(float *y, const float *x, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = -x[i];
}

DPO_WIDE static void
silu_outer(float *y, const float *gate, const float *up, const float *s, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++)
		y[i] = gate[i] * s[i] * up[i];
}

/* d/dup = gate s; d/dgate = up s (1 + gate (1 - s)) */
DPO_WIDE static void
silu_slope(float *d_gate, float *d_up, const float *dy, const float *gate, const float *up,
    const float *s, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		d_gate[i] = dy[i] * up[i] * s[i] * (1.0f + gate[i] * (1.0f - s[i]));
		d_up[i] = dy[i] * gate[i] * s[i];
	}
}

static void
gelu_row(const struct work *w, size_t row)
{
	size_t from = row * w->n;
	float t[RUN];

	for (size_t i = 0, run; i < w->n; i += run) {
		const float *x = w->x + from + i;

		run = w->n - i < RUN ? w->n - i : RUN;
		gelu_inner(t, x, run);
		dpo_vector_tanh(t, t, run);
		gelu_outer(w->y + from + i, x, t, run);
		if (w->dx)
			gelu_slope(w->dx + from + i, w->dy + from + i, x, t, run);
	}
}

static void
silu_row(const struct work *w, size_t row)
{
	const float *gate = w->x + 2 * row * w->n, *up = gate + w->n;
	float s[RUN];

	for (size_t i = 0, run; i < w->n; i += run) {
		run = w->n - i < RUN ? w->n - i : RUN;
		negate(s, gate + i, run);
		dpo_vector_exp(s, s, 0.0f, run);
		sigmoid(s, run);
		silu_outer(w->y + row * w->n + i, gate + i, up + i, s, run);
		if (w->dx)
			silu_slope(w->dx + 2 * row * w->n + i, w->dx + (2 * row + 1) * w->n + i,
			    w->dy + row * w->n + i, gate + i, up + i, s, run);
	}
}

static void
activate(void *context, size_t row)
{
	const struct work *w = context;

	if (w->kind == DPO_ACTIVATION_GELU_TANH)
		gelu_row(w, row);
	else
		silu_row(w, row);
}

void
dpo_activation_forward(int threads, enum dpo_activation kind, size_t rows, size_t n, const float *x,
    float *y)
{
	struct work work = { .kind = kind, .n = n, .x = x, .y = y };

	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, activate, &work);
}

void
dpo_activation_backward(int threads, enum dpo_activation kind, size_t rows, size_t n,
    const float *x, const float *dy, float *dx, float *y)
{
	struct work work = { .kind = kind, .n = n, .x = x, .dy = dy, .dx = dx, .y = y };

	dpo_parallel_for(rows * n < 8192 ? 1 : threads, rows, activate, &work);
}
