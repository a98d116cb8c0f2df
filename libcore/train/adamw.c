#include "train/adamw.h"

#include "kernel/vector.h"

#include <math.h>

static inline void
moments(const struct dpo_adamw *a, float g, float *m, float *v)
{
	*m += a->one_minus_beta1 * (g - *m);
	*v = *v * a->beta2 + a->one_minus_beta2 * g * g;
}

static inline float
step(const struct dpo_adamw *a, float p, float m, float v)
{
	return p * a->keep - a->rate * (m / (sqrtf(v) / a->root + a->epsilon));
}

DPO_WIDE static void
adamw(struct dpo_adamw a, float *p, float *gradient, float *m, float *v, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		moments(&a, gradient[i] * a.scale, &m[i], &v[i]);
		p[i] = step(&a, p[i], m[i], v[i]);
		gradient[i] = 0.0f;
	}
}

DPO_WIDE static void
adamw_first(struct dpo_adamw a, float *p, float *gradient, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		float m = 0, v = 0;

		gradient[i] *= a.scale;
		moments(&a, gradient[i], &m, &v);
		p[i] = step(&a, p[i], m, v);
	}
}

DPO_WIDE static void
adamw_moments(struct dpo_adamw a, float *m, float *v, size_t n)
{
#pragma omp simd
	for (size_t i = 0; i < n; i++) {
		float g = m[i];

		m[i] = v[i] = 0;
		moments(&a, g, &m[i], &v[i]);
	}
}

void
dpo_adamw_step(const struct dpo_adamw *a, float *p, float *gradient, float *m, float *v, size_t n)
{
	adamw(*a, p, gradient, m, v, n);
}

void
dpo_adamw_first(const struct dpo_adamw *a, float *p, float *gradient, size_t n)
{
	adamw_first(*a, p, gradient, n);
}

void
dpo_adamw_moments(const struct dpo_adamw *a, float *m, float *v, size_t n)
{
	adamw_moments(*a, m, v, n);
}
