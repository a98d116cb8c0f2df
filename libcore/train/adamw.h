/*
 * adamw - AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) on a run of parameters; optim.h has the equation. Layer 3;
 * uses vector.
 *
 * Elementwise, in float: the results depend on nothing else.
 */
#ifndef DPO_ADAMW_H
#define DPO_ADAMW_H

#include <stddef.h>

/* What a step needs, with g = scale gradient. */
struct dpo_adamw {
	float keep;		/* 1 - lr weight_decay */
	float scale, one_minus_beta1, beta2, one_minus_beta2;
	float rate;		/* lr / (1 - beta1^t) */
	float root;		/* sqrt(1 - beta2^t) */
	float epsilon;
};

/* A step on n parameters; gradient becomes 0. */
void dpo_adamw_step(const struct dpo_adamw *a, float *p, float *gradient, float *m, float *v, size_t n);
/* The first step, from moments of zero, which are not written: gradient becomes g. The same bits. */
void dpo_adamw_first(const struct dpo_adamw *a, float *p, float *gradient, size_t n);
/* The moments after it: m holds g. Only the betas of `a` are used. */
void dpo_adamw_moments(const struct dpo_adamw *a, float *m, float *v, size_t n);

#endif
