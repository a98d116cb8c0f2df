#include "optim.h"

#include "parallel.h"
#include "size.h"
#include "vector.h"

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

enum dpo_status
dpo_optim_init(struct dpo_optim *optim, const struct dpo_params *params, const struct dpo_optim_settings *settings,
    int threads, struct dpo_error *err)
{
	*optim = (struct dpo_optim){ .settings = *settings, .total = params->total, .threads = threads };
	optim->n_spans = cut_into_spans(NULL, params);
	optim->m = dpo_alloc_aligned(params->total, sizeof *optim->m);
	optim->v = dpo_alloc_aligned(params->total, sizeof *optim->v);
	optim->spans = dpo_alloc(optim->n_spans, sizeof *optim->spans);
	optim->partial = dpo_alloc(optim->n_spans, sizeof *optim->partial);
	if (!optim->m || !optim->v || !optim->spans || !optim->partial) {
		dpo_optim_free(optim);
		return dpo_fail_memory(err);
	}
	(void)cut_into_spans(optim->spans, params);
	return DPO_OK;
}

void
dpo_optim_free(struct dpo_optim *optim)
{
	free(optim->m);
	free(optim->v);
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

/* ------------------------------------------------------------------ the step */

struct update {
	const struct dpo_optim *optim;
	float *weights, *gradients;
	struct dpo_adamw adamw;
};

static void
update_span(void *context, size_t item)
{
	const struct update *u = context;
	const struct dpo_optim_span *span = &u->optim->spans[item];
	struct dpo_adamw adamw = u->adamw;

	adamw.keep = span->decay ? adamw.keep : 1.0f;
	dpo_vector_adamw(&adamw, u->weights + span->offset, u->gradients + span->offset, u->optim->m + span->offset,
	    u->optim->v + span->offset, span->count);
}

void
dpo_optim_step(struct dpo_optim *optim, float *weights, float *gradients, uint64_t t, double lr, double scale)
{
	const struct dpo_optim_settings *s = &optim->settings;
	struct update update = { .optim = optim, .weights = weights, .gradients = gradients, .adamw = {
		.keep = (float)(1.0 - lr * s->weight_decay), .scale = (float)scale,
		.one_minus_beta1 = (float)(1.0 - s->beta1), .beta2 = (float)s->beta2,
		.one_minus_beta2 = (float)(1.0 - s->beta2), .rate = (float)(lr / (1.0 - pow(s->beta1, (double)t))),
		.root = (float)sqrt(1.0 - pow(s->beta2, (double)t)), .epsilon = (float)s->epsilon } };

	dpo_parallel_for(optim->threads, optim->n_spans, update_span, &update);
}
