#include "train/optim.h"

#include "base/parallel.h"
#include "base/size.h"
#include "kernel/vector.h"
#include "train/adamw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dpo_optim_span {
	size_t offset, count;
	bool decay;
};

static size_t
cut_into_spans(struct dpo_optim_span *spans, const struct dpo_params *params)
{
	size_t n = 0;

	for (size_t i = 0; i < params->count; i++) {
		const struct dpo_tensor *tensor = &params->list[i];

		for (size_t done = 0; done < tensor->count; done += DPO_SPAN, n++) {
			size_t left = tensor->count - done;

			if (spans)
				spans[n] = (struct dpo_optim_span){ tensor->offset + done, left < DPO_SPAN ? left : DPO_SPAN,
					tensor->decay };
		}
	}
	return n;
}

/* How many states hold a float for every weight. */
static size_t
count_states(const struct dpo_optim_settings *settings)
{
	const struct dpo_optimizer *optimizer = settings->optimizer;
	size_t n = 0;

	if ((optimizer->uses & DPO_USES_MOMENTUM) && settings->momentum == 0)
		return 0;
	while (n < DPO_OPTIM_STATES && optimizer->states[n])
		n++;
	return n;
}

size_t
dpo_optim_floats(const struct dpo_params *params, const struct dpo_optim_settings *settings)
{
	struct dpo_adafactor adafactor;
	struct dpo_error err;
	size_t floats = SIZE_MAX;

	if (settings->optimizer->step)
		return count_states(settings) * params->total;
	if (dpo_adafactor_init(&adafactor, params, &err) == DPO_OK)
		floats = adafactor.factors.total;
	dpo_adafactor_free(&adafactor);
	return floats;
}

static enum dpo_status
add_state(struct dpo_optim *optim, const char *prefix, const struct dpo_params *params, struct dpo_error *err)
{
	float *data = dpo_alloc_aligned(params->total, sizeof *data);

	optim->states[optim->n_states++] = (struct dpo_params_block){ prefix, params, data };
	return data ? DPO_OK : dpo_fail_memory(err);
}

static enum dpo_status
add_states(struct dpo_optim *optim, struct dpo_error *err)
{
	const struct dpo_optimizer *optimizer = optim->settings.optimizer;
	enum dpo_status status = DPO_OK;

	if (!optimizer->step) {
		status = dpo_adafactor_init(&optim->adafactor, optim->params, err);
		return status == DPO_OK ? add_state(optim, "adafactor/", &optim->adafactor.factors, err) : status;
	}
	for (size_t i = 0; i < count_states(&optim->settings) && status == DPO_OK; i++)
		status = add_state(optim, optimizer->states[i], optim->params, err);
	return status;
}

enum dpo_status
dpo_optim_init(struct dpo_optim *optim, const struct dpo_params *params, const struct dpo_optim_settings *settings,
    int threads, struct dpo_error *err)
{
	enum dpo_status status;

	*optim = (struct dpo_optim){ .settings = *settings, .params = params, .threads = threads };
	optim->n_spans = cut_into_spans(NULL, params);
	optim->spans = dpo_alloc(optim->n_spans, sizeof *optim->spans);
	optim->partial = dpo_alloc(optim->n_spans, sizeof *optim->partial);
	status = optim->spans && optim->partial ? add_states(optim, err) : dpo_fail_memory(err);
	if (status != DPO_OK)
		dpo_optim_free(optim);
	else
		(void)cut_into_spans(optim->spans, params);
	return status;
}

void
dpo_optim_free(struct dpo_optim *optim)
{
	for (size_t i = 0; i < optim->n_states; i++)
		free(optim->states[i].data);
	dpo_adafactor_free(&optim->adafactor);
	free(optim->spans);
	free(optim->partial);
	*optim = (struct dpo_optim){ 0 };
}

/* ------------------------------------------------------------------ norm, sum */

struct norm {
	struct dpo_optim *optim;
	const float *gradients;
};

static void
norm_span(void *context, size_t item)
{
	struct norm *norm = context;
	const struct dpo_optim_span *span = &norm->optim->spans[item];

	norm->optim->partial[item] = dpo_vector_squares(norm->gradients + span->offset, span->count);
}

double
dpo_optim_norm(struct dpo_optim *optim, const float *gradients)
{
	struct norm norm = { optim, gradients };
	double sum = 0;

	dpo_parallel_for(optim->threads, optim->n_spans, norm_span, &norm);
	for (size_t i = 0; i < optim->n_spans; i++)
		sum += optim->partial[i];
	return sqrt(sum);
}

double
dpo_optim_clip(double norm, double max_norm)
{
	double factor = max_norm / (norm + 1e-6);

	return max_norm > 0 && factor < 1 ? factor : 1.0;
}

struct addition {
	const struct dpo_optim *optim;
	float *to, *from;
};

static void
add_span(void *context, size_t item)
{
	struct addition *addition = context;
	const struct dpo_optim_span *span = &addition->optim->spans[item];
	float *to = addition->to + span->offset, *from = addition->from + span->offset;

	dpo_vector_add(to, from, span->count);
	memset(from, 0, span->count * sizeof *from);
}

void
dpo_optim_add(struct dpo_optim *optim, float *to, float *from)
{
	struct addition addition = { optim, to, from };

	dpo_parallel_for(optim->threads, optim->n_spans, add_span, &addition);
}

/* ------------------------------------------------------------------ the steps */

struct dpo_optim_update {
	const struct dpo_optim *optim;
	float *weights, *gradients;
	void (*step)(const struct dpo_optim_update *update, size_t offset, size_t count, double weight_decay);
	double lr;
	float scale;			/* of the gradient */
	struct dpo_adamw adamw;		/* but for its keep */
};

static struct dpo_adamw
with_decay(const struct dpo_optim_update *u, double weight_decay)
{
	struct dpo_adamw step = u->adamw;

	step.keep = (float)(1.0 - u->lr * weight_decay);
	return step;
}

static void
adamw(const struct dpo_optim_update *u, size_t offset, size_t count, double weight_decay)
{
	struct dpo_adamw step = with_decay(u, weight_decay);

	dpo_adamw_step(&step, u->weights + offset, u->gradients + offset, u->optim->states[0].data + offset,
	    u->optim->states[1].data + offset, count);
}

static void
adamw_first(const struct dpo_optim_update *u, size_t offset, size_t count, double weight_decay)
{
	struct dpo_adamw step = with_decay(u, weight_decay);

	dpo_adamw_first(&step, u->weights + offset, u->gradients + offset, count);
}

static void
adamw_settle(const struct dpo_optim_update *u, size_t offset, size_t count)
{
	dpo_adamw_moments(&u->adamw, u->optim->states[0].data + offset, u->optim->states[1].data + offset, count);
}

static void
rmsprop(const struct dpo_optim_update *u, size_t offset, size_t count, double weight_decay)
{
	const struct dpo_optim_settings *s = &u->optim->settings;
	float *p = u->weights + offset, *gradient = u->gradients + offset, *v = u->optim->states[0].data + offset;
	float alpha = (float)s->alpha, rest = (float)(1.0 - s->alpha), epsilon = (float)s->rms_epsilon, lr = (float)u->lr;
	float decay = (float)weight_decay;

	for (size_t i = 0; i < count; i++) {
		float g = gradient[i] * u->scale + decay * p[i];

		v[i] = v[i] * alpha + rest * g * g;
		p[i] -= lr * (g / (sqrtf(v[i]) + epsilon));
		gradient[i] = 0;
	}
}

static void
sgd(const struct dpo_optim_update *u, size_t offset, size_t count, double weight_decay)
{
	float *p = u->weights + offset, *gradient = u->gradients + offset;
	float *b = u->optim->n_states ? u->optim->states[0].data + offset : NULL;
	float momentum = (float)u->optim->settings.momentum, lr = (float)u->lr, decay = (float)weight_decay;

	for (size_t i = 0; i < count; i++) {
		float g = gradient[i] * u->scale + decay * p[i];

		if (b)
			g = b[i] = b[i] * momentum + g;
		p[i] -= lr * g;
		gradient[i] = 0;
	}
}

const struct dpo_optimizer dpo_optimizers[] = {
	{ .name = "adamw", .formula = "p = p (1 - lr wd); m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g; "
	  "p = p - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + e)",
	  .source = "Loshchilov and Hutter 2019, arXiv:1711.05101; torch.optim.AdamW", .memory = "8 bytes a weight: m, v",
	  .uses = DPO_USES_ADAM, .states = { "adam_m/", "adam_v/" }, .step = adamw, .first = adamw_first,
	  .settle = adamw_settle },
	{ .name = "rmsprop", .formula = "g = g + wd p; v = a v + (1 - a) g g; p = p - lr g / (sqrt(v) + e)",
	  .source = "Tieleman and Hinton 2012, lecture 6.5; torch.optim.RMSprop", .memory = "4 bytes a weight: v",
	  .uses = DPO_USES_RMSPROP, .states = { "rmsprop_v/" }, .step = rmsprop },
	{ .name = "sgd", .formula = "g = g + wd p; b = momentum b + g; p = p - lr b",
	  .source = "Polyak 1964; torch.optim.SGD", .memory = "4 bytes a weight: b; none without momentum",
	  .uses = DPO_USES_MOMENTUM, .states = { "momentum/" }, .step = sgd },
	{ .name = "adafactor", .formula = "b = 1 - t^-0.8; row, col = b row, col + (1 - b) means of g g + 1e-30; "
	  "u = g / sqrt(row col / mean(row)); p = p (1 - lr wd) - lr u / max(1, rms(u))",
	  .source = "Shazeer and Stern 2018, arXiv:1804.04235; transformers.Adafactor as Trainer sets it",
	  .memory = "4 bytes a row and a column of a matrix, and a weight of a vector" },
	{ 0 },
};

const char *const dpo_optim_names[] = { "adamw", "rmsprop", "sgd", "adafactor", NULL };

const struct dpo_optimizer *
dpo_optim_find(const char *name)
{
	for (const struct dpo_optimizer *optimizer = dpo_optimizers; optimizer->name; optimizer++)
		if (strcmp(optimizer->name, name) == 0)
			return optimizer;
	return NULL;
}

static void
step_span(void *context, size_t item)
{
	const struct dpo_optim_update *update = context;
	const struct dpo_optim *optim = update->optim;
	const struct dpo_optim_span *span = &optim->spans[item];

	if (optim->unsettled)
		optim->settings.optimizer->settle(update, span->offset, span->count);
	update->step(update, span->offset, span->count, span->decay ? optim->settings.weight_decay : 0.0);
}

static void
settle_span(void *context, size_t item)
{
	const struct dpo_optim_update *update = context;
	const struct dpo_optim *optim = update->optim;

	optim->settings.optimizer->settle(update, optim->spans[item].offset, optim->spans[item].count);
}

static struct dpo_optim_update
plan_update(const struct dpo_optim *optim, float *weights, float *gradients, uint64_t t, double lr, double scale)
{
	const struct dpo_optim_settings *s = &optim->settings;

	return (struct dpo_optim_update){ .optim = optim, .weights = weights, .gradients = gradients, .step = s->optimizer->step,
		.lr = lr, .scale = (float)scale, .adamw = { .scale = (float)scale,
		.one_minus_beta1 = (float)(1.0 - s->beta1), .beta2 = (float)s->beta2,
		.one_minus_beta2 = (float)(1.0 - s->beta2), .rate = (float)(lr / (1.0 - pow(s->beta1, (double)t))),
		.root = (float)sqrt(1.0 - pow(s->beta2, (double)t)), .epsilon = (float)s->epsilon } };
}

void
dpo_optim_step(struct dpo_optim *optim, float *weights, float *gradients, uint64_t t, double lr, double scale)
{
	struct dpo_optim_update update = plan_update(optim, weights, gradients, t, lr, scale);

	if (update.step)
		dpo_parallel_for(optim->threads, optim->n_spans, step_span, &update);
	else
		dpo_adafactor_step(&optim->adafactor, optim->params, weights, gradients, optim->states[0].data, t, lr, scale,
		    optim->settings.weight_decay, optim->threads);
	optim->unsettled = false;
}

void
dpo_optim_first(struct dpo_optim *optim, float *weights, float **gradients, double lr, double scale)
{
	struct dpo_optim_update update = plan_update(optim, weights, *gradients, 1, lr, scale);
	float *zeros = optim->states[0].data;

	if (!optim->settings.optimizer->first) {
		dpo_optim_step(optim, weights, *gradients, 1, lr, scale);
		return;
	}
	update.step = optim->settings.optimizer->first;
	dpo_parallel_for(optim->threads, optim->n_spans, step_span, &update);
	optim->states[0].data = *gradients;
	*gradients = zeros;
	optim->unsettled = true;
}

void
dpo_optim_settle(struct dpo_optim *optim)
{
	struct dpo_optim_update update = plan_update(optim, NULL, NULL, 1, 0, 1);

	if (optim->unsettled)
		dpo_parallel_for(optim->threads, optim->n_spans, settle_span, &update);
	optim->unsettled = false;
}
