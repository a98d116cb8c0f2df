/*
 * optim - the table of optimizers, their steps, and the gradient's norm. Layer 7; uses error, size, parallel, params,
 * vector, adamw, adafactor.
 *
 * Weights and gradients are blocks of params.total floats in table order. Work is cut into spans of at most DPO_SPAN
 * floats within one tensor, so the padding between tensors is never touched, and results do not depend on the thread
 * count. Steps are those of PyTorch and transformers, in float, with coefficients computed in double; tested in
 * test_optim.c against their numbers.
 *
 * With g = scale * gradients, wd the weight decay (0 for biases and norm weights), t the step from 1:
 *
 *	adamw		p = p (1 - lr wd);  m = m + (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g g
 *			p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
 *	rmsprop		g = g + wd p;  v = alpha v + (1 - alpha) g g;  p = p - lr g / (sqrt(v) + epsilon)
 *	sgd		g = g + wd p;  b = momentum b + g;  p = p - lr b
 *	adafactor	adafactor.h
 */
#ifndef DPO_OPTIM_H
#define DPO_OPTIM_H

#include "base/error.h"
#include "model/params.h"
#include "train/adafactor.h"

#include <stdint.h>

enum { DPO_SPAN = 1 << 15, DPO_OPTIM_STATES = 2 };

/* Which settings act in an optimizer; learning rate, weight decay and clipping act in all. */
enum dpo_optim_use {
	DPO_USES_ADAM = 1,	/* beta1, beta2, epsilon */
	DPO_USES_RMSPROP = 2,	/* alpha, rms_epsilon */
	DPO_USES_MOMENTUM = 4,	/* momentum */
};

struct dpo_optim_settings {
	const struct dpo_optimizer *optimizer;
	double beta1, beta2;	/* adamw: decay of the two moments */
	double epsilon;
	double alpha, rms_epsilon;	/* rmsprop */
	double momentum;	/* sgd; 0 for none */
	double weight_decay;	/* only where the table of tensors says so: not on biases and norm weights */
};

struct dpo_optim_update;

struct dpo_optimizer {
	const char *name;
	const char *formula;		/* one line, for people */
	const char *source;
	const char *memory;		/* what the states take */
	unsigned uses;			/* enum dpo_optim_use */
	/* Names of the states that hold a float for every weight, the prefixes of a checkpoint's tensors; NULL after the last. */
	const char *states[DPO_OPTIM_STATES];
	/* The step on one span. NULL: not elementwise, but Adafactor. */
	void (*step)(const struct dpo_optim_update *update, size_t offset, size_t count, double weight_decay);
	/*
	 * The first step on one span, which leaves in the gradient's place what `settle` makes the states from. NULL: like
	 * the others.
	 */
	void (*first)(const struct dpo_optim_update *update, size_t offset, size_t count, double weight_decay);
	void (*settle)(const struct dpo_optim_update *update, size_t offset, size_t count);
};

extern const struct dpo_optimizer dpo_optimizers[];	/* name NULL ends the table */
extern const char *const dpo_optim_names[];		/* in the same order, NULL at the end */

/* The optimizer of that name, or NULL. */
const struct dpo_optimizer *dpo_optim_find(const char *name);

struct dpo_optim {
	struct dpo_optim_settings settings;
	const struct dpo_params *params;	/* borrowed */
	struct dpo_params_block states[DPO_OPTIM_STATES];	/* data owned; what a step passes to the next, zero at first */
	size_t n_states;
	bool unsettled;		/* the first state holds what the states are still to be made from (dpo_optim_first) */
	struct dpo_adafactor adafactor;	/* owned; the shape of its state */
	struct dpo_optim_span *spans;	/* owned */
	size_t n_spans;
	double *partial;	/* owned; one sum of squares per span */
	int threads;
};

/*
 * States take 4 bytes per weight each: adamw has 2, rmsprop 1, sgd 1 with momentum and none without, adafactor rows +
 * columns of each matrix. params is borrowed.
 */
enum dpo_status dpo_optim_init(struct dpo_optim *optim, const struct dpo_params *params,
	const struct dpo_optim_settings *settings, int threads, struct dpo_error *err) DPO_MUST_CHECK;
/* Floats of the states that dpo_optim_init would make; SIZE_MAX if memory runs out. */
size_t dpo_optim_floats(const struct dpo_params *params, const struct dpo_optim_settings *settings);
void dpo_optim_free(struct dpo_optim *optim);

/* The Euclidean norm of the gradients: squares summed in double, span by span. Not finite if any of them is not. */
double dpo_optim_norm(struct dpo_optim *optim, const float *gradients);

/* to += from; from becomes zero. */
void dpo_optim_add(struct dpo_optim *optim, float *to, float *from);

/* Step t (from 1) at learning rate lr on g = scale * gradients; the gradients become zero. */
void dpo_optim_step(struct dpo_optim *optim, float *weights, float *gradients, uint64_t t, double lr, double scale);

/*
 * Step 1, to the same bits as dpo_optim_step, but touching less memory: for adamw, whose moments follow from the first
 * gradient, the gradient takes the place of the moments until the next step, and *gradients becomes the zeros that were
 * there.
 */
void dpo_optim_first(struct dpo_optim *optim, float *weights, float **gradients, double lr, double scale);

/* Make the states what they are after the last step; call it before anything else reads them. */
void dpo_optim_settle(struct dpo_optim *optim);

/* The factor of PyTorch's clip_grad_norm_: min(1, max_norm / (norm + 1e-6)); 1 if max_norm is 0. */
double dpo_optim_clip(double norm, double max_norm);

#endif
