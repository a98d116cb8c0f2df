#include "loss/objective.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ do the parts go together */

static const struct {
	unsigned bit;
	const char *option;
} options[] = {
	{ DPO_TAKES_DIVERGENCE, "--f-divergence-type" },
	{ DPO_TAKES_LD_ALPHA, "--ld-alpha" },
	{ DPO_TAKES_WEIGHTING, "--use-weighting" },
	{ DPO_TAKES_SMOOTHING, "--label-smoothing" },
	{ DPO_TAKES_DISCOPOP_TAU, "--discopop-tau" },
	{ DPO_TAKES_DPOP_LAMBDA, "--dpop-lambda" },
	{ DPO_TAKES_SIMPO_GAMMA, "--simpo-gamma" },
	{ DPO_TAKES_ODPO_ALPHA, "--odpo-alpha" },
	{ DPO_TAKES_OBJECTIVES, "--objective" },
};

enum { OPTIONS = sizeof options / sizeof *options };

const char *
dpo_objective_option(unsigned bit)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].bit == bit)
			return options[i].option;
	return NULL;
}

static bool
has(const struct dpo_objective *objective, const char *name)
{
	for (size_t k = 0; k < objective->n; k++)
		if (strcmp(objective->losses[k]->name, name) == 0)
			return true;
	return false;
}

static void
sum_up(struct dpo_objective *o)
{
	o->takes = 0;
	o->pair = o->reference = o->whole_batch = false;
	o->difference = true;
	o->per_token = o->n == 1 && o->losses[0]->per_token;
	for (size_t k = 0; k < o->n; k++) {
		o->takes |= o->losses[k]->takes;
		o->pair |= o->losses[k]->pair;
		o->reference |= o->losses[k]->reference && !o->reference_free;
		o->difference &= o->losses[k]->difference;
		o->whole_batch |= o->losses[k]->whole_batch;
	}
}

/* Every option has an effect, and those that act on all losses are defined for all. */
static enum dpo_status
check_options(const struct dpo_objective *o, unsigned given, struct dpo_error *err)
{
	unsigned everywhere = (o->divergence != &dpo_divergences[0] ? DPO_TAKES_DIVERGENCE : 0) |
	    (o->use_weighting ? DPO_TAKES_WEIGHTING : 0);

	for (size_t i = 0; i < OPTIONS; i++)
		if ((given & options[i].bit) && !(o->takes & options[i].bit))
			return dpo_fail(err, DPO_USAGE, "%s has no effect on the loss %s%s", options[i].option,
			    o->losses[0]->name, o->n > 1 ? " nor on the others" : "");
	for (size_t k = 0; k < o->n; k++)
		for (size_t i = 0; i < OPTIONS; i++)
			if ((everywhere & options[i].bit & ~o->losses[k]->takes) &&
			    !(o->losses[k]->per_token && options[i].bit == DPO_TAKES_DIVERGENCE))
				return dpo_fail(err, DPO_USAGE, "%s is not defined for the loss %s", options[i].option,
				    o->losses[k]->name);
	return DPO_OK;
}

static enum dpo_status
check_numbers(const struct dpo_objective *o, struct dpo_error *err)
{
	static const char *const divided[] = { "ipo", "ipo_sum", "sppo_hard" };
	double e = o->settings.label_smoothing;
	bool reads = false;

	for (size_t k = 0; k < o->n; k++)
		reads |= o->losses[k]->reference;
	if (o->reference_free && !reads)
		return dpo_fail(err, DPO_USAGE, "--reference-free has no effect: the loss %s reads no reference",
		    o->losses[0]->name);
	if (has(o, "exo_pair") && !(e > 0 && e < 1))
		return dpo_fail(err, DPO_USAGE, "--label-smoothing is %g; exo_pair needs it above 0 and below 1", e);
	if (has(o, "robust") && !(e < 0.5))
		return dpo_fail(err, DPO_USAGE, "--label-smoothing is %g; robust needs it below 0.5", e);
	for (size_t i = 0; i < 3 && o->settings.beta <= 0; i++)
		if (has(o, divided[i]))
			return dpo_fail(err, DPO_USAGE, "--beta is 0; the loss %s divides by it", divided[i]);
	return DPO_OK;
}

static enum dpo_status
check_columns(struct dpo_objective *o, struct dpo_error *err)
{
	double rest = 1.0;

	for (size_t k = 0; k < o->n_columns; k++)
		rest -= o->column_weights[k];
	o->settings.main_weight = rest;
	if (!has(o, "modpo"))
		return DPO_OK;
	if (o->n_columns == 0)
		return dpo_fail(err, DPO_USAGE, "modpo needs --objective NAME=WEIGHT");
	if (!(rest > 1e-9))
		return dpo_fail(err, DPO_USAGE, "--objective: the weights sum to %g; modpo has nothing left for the preference "
		    "itself", 1.0 - rest);
	return DPO_OK;
}

enum dpo_status
dpo_objective_check(struct dpo_objective *objective, unsigned given, struct dpo_error *err)
{
	enum dpo_status status;

	sum_up(objective);
	if ((status = check_options(objective, given, err)) == DPO_OK &&
	    (status = check_numbers(objective, err)) == DPO_OK)
		status = check_columns(objective, err);
	return status;
}

/* ------------------------------------------------------------------ one pair */

static bool
fits(double x)
{
	return isfinite((float)x);
}

static enum dpo_status
check_result(const struct dpo_objective *o, size_t k, const struct dpo_objective_result *result, struct dpo_error *err)
{
	const struct dpo_loss_slopes *s = &result->slopes[k];
	const char *name = o->losses[k]->name;

	if (!fits(result->value[k]))
		return dpo_fail(err, DPO_NONFINITE, "the loss %s is %g", name, result->value[k]);
	if (!fits(s->logp[0]) || !fits(s->logp[1]) || !fits(s->chosen_nll))
		return dpo_fail(err, DPO_NONFINITE, "the derivative of the loss %s is not finite", name);
	return DPO_OK;
}

/* s of both answers, and ds/du. */
static enum dpo_status
fill_scores(const struct dpo_objective *o, struct dpo_loss_input *input, double by_ratio[2], struct dpo_error *err)
{
	for (size_t a = 0; a < 2; a++) {
		input->score[a] = o->divergence->score(input->ratio[a], o->alpha_coef, &by_ratio[a]);
		if ((o->takes & DPO_TAKES_DIVERGENCE) && (!fits(input->score[a]) || !fits(by_ratio[a])))
			return dpo_fail(err, DPO_NONFINITE, "%s of log-ratio %g is out of range", o->divergence->name,
			    input->ratio[a]);
	}
	return DPO_OK;
}

enum dpo_status
dpo_objective_pair(const struct dpo_objective *objective, struct dpo_loss_input *input, double p, double factor,
    struct dpo_objective_result *result, struct dpo_error *err)
{
	const struct dpo_objective *o = objective;
	double by_ratio[2];
	enum dpo_status status = fill_scores(o, input, by_ratio, err);

	*result = (struct dpo_objective_result){ 0 };
	for (size_t k = 0; k < o->n && status == DPO_OK; k++) {
		struct dpo_loss_slopes *s = &result->slopes[k];

		if (o->losses[k]->whole_batch)
			continue;
		result->value[k] = factor * dpo_loss_value(o->losses[k], input, &o->settings, p, s);
		for (size_t a = 0; a < 2; a++)
			s->logp[a] = factor * (s->logp[a] + s->score[a] * by_ratio[a]);
		s->chosen_nll *= factor;
		status = check_result(o, k, result, err);
	}
	return status;
}

/* ------------------------------------------------------------------ a batch */

enum dpo_status
dpo_objective_batch(const struct dpo_objective *objective, size_t n, const struct dpo_loss_input *inputs,
    struct dpo_objective_result *results, struct dpo_error *err)
{
	size_t *scratch = dpo_alloc(3 * n, sizeof *scratch);
	double *values = dpo_alloc(n, sizeof *values);
	struct dpo_loss_slopes *slopes = dpo_alloc(n, sizeof *slopes);
	enum dpo_status status = scratch && values && slopes ? DPO_OK : dpo_fail_memory(err);

	for (size_t k = 0; k < objective->n && status == DPO_OK; k++) {
		if (!objective->losses[k]->whole_batch)
			continue;
		dpo_loss_sorted(objective->losses[k], n, inputs, &objective->settings, scratch, values, slopes);
		for (size_t i = 0; i < n && status == DPO_OK; i++) {
			results[i].value[k] = values[i];
			results[i].slopes[k] = slopes[i];
			status = check_result(objective, k, &results[i], err);
		}
	}
	free(scratch);
	free(values);
	free(slopes);
	return status;
}

/* N_k: rows or scored chosen tokens of the batch, at least 1. */
static double
divisor(const struct dpo_loss *loss, size_t rows, size_t tokens)
{
	size_t n = loss->per_token ? tokens : rows;

	return n ? (double)n : 1.0;
}

double
dpo_objective_total(const struct dpo_objective *objective, const double *sums, size_t rows, size_t tokens)
{
	double total = 0;

	for (size_t k = 0; k < objective->n; k++)
		total += objective->weights[k] * (sums[k] / divisor(objective->losses[k], rows, tokens));
	return total;
}

struct dpo_loss_slopes
dpo_objective_slopes(const struct dpo_objective *objective, const struct dpo_objective_result *result, double weight,
    size_t rows, size_t tokens)
{
	struct dpo_loss_slopes total = { 0 };

	for (size_t k = 0; k < objective->n; k++) {
		double factor = objective->weights[k] * (weight / divisor(objective->losses[k], rows, tokens));

		for (size_t a = 0; a < 2; a++)
			total.logp[a] += factor * result->slopes[k].logp[a];
		total.chosen_nll += factor * result->slopes[k].chosen_nll;
	}
	return total;
}
