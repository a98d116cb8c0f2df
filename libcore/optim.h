/*
 * optim - AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) and the gradient's norm. Layer 6; uses error, size,
 * parallel, params, vector.
 *
 * All blocks have params.total floats in table order. Work is cut into spans of at most DPO_SPAN floats within one
 * tensor, so the padding between tensors is never touched, and results do not depend on the thread count.
 */
#ifndef DPO_OPTIM_H
#define DPO_OPTIM_H

#include "error.h"
#include "params.h"

#include <stdint.h>

enum { DPO_SPAN = 1 << 15 };

struct dpo_optim_settings {
	double beta1, beta2;	/* decay of the two moments */
	double epsilon;
	double weight_decay;	/* only where the table says so: not on biases and norm weights */
};

struct dpo_optim {
	struct dpo_optim_settings settings;
	float *m, *v;		/* owned; first and second moment, zero at the start */
	size_t total;
	struct dpo_optim_span *spans;	/* owned */
	size_t n_spans;
	double *partial;	/* owned; one sum of squares a span */
	int threads;
};

enum dpo_status dpo_optim_init(struct dpo_optim *optim, const struct dpo_params *params,
	const struct dpo_optim_settings *settings, int threads, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_optim_free(struct dpo_optim *optim);

/* The Euclidean norm of the gradients: squares summed in double, span by span. Not finite if any of them is not. */
double dpo_optim_norm(struct dpo_optim *optim, const float *gradients);

/* to += from; from becomes zero. */
void dpo_optim_add(struct dpo_optim *optim, float *to, float *from);

/*
 * Step t (from 1) at learning rate lr on the gradients g = scale * gradients; the gradients become zero. As PyTorch's
 * AdamW, in float, with the coefficients computed in double:
 *
 *	p = p (1 - lr weight_decay)
 *	m = m + (1 - beta1) (g - m)
 *	v = beta2 v + (1 - beta2) g g
 *	p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
 */
void dpo_optim_step(struct dpo_optim *optim, float *weights, float *gradients, uint64_t t, double lr, double scale);

/* The factor of PyTorch's clip_grad_norm_: min(1, max_norm / (norm + 1e-6)); 1 if max_norm is 0. */
double dpo_optim_clip(double norm, double max_norm);

#endif
