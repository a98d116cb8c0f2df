#include "train/schedule.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const double pi = 3.141592653589793238462643383279503;

const char *const dpo_decay_names[] = { "linear", "cosine", "1-sqrt", NULL };

static double
at_least_one(uint64_t low, uint64_t high)
{
	return high > low ? (double)(high - low) : 1.0;
}

/* p of the formulas. */
static double
progress(const struct dpo_schedule_plan *plan, uint64_t s)
{
	return (double)(s - plan->warmup) / at_least_one(plan->warmup, plan->total);
}

static double
raised(double factor, double least)
{
	return fmax(0.0, factor * (1.0 - least) + least);
}

/* ------------------------------------------------------------------ the formulas */

static double
linear(const struct dpo_schedule_plan *plan, uint64_t s)
{
	return s >= plan->total ? 0.0 : (double)(plan->total - s) / at_least_one(plan->warmup, plan->total);
}

static double
wave(double cycles, double p)
{
	return 0.5 * (1.0 + cos(pi * cycles * 2.0 * p));
}

static double
cosine(const struct dpo_schedule_plan *plan, uint64_t s)
{
	return fmax(0.0, wave(plan->cycles, progress(plan, s)));
}

static double
cosine_with_min_lr(const struct dpo_schedule_plan *plan, uint64_t s)
{
	return raised(wave(plan->cycles, progress(plan, s)), plan->least);
}

static double
cosine_with_restarts(const struct dpo_schedule_plan *plan, uint64_t s)
{
	double p = progress(plan, s);

	return p >= 1.0 ? 0.0 : fmax(0.0, 0.5 * (1.0 + cos(pi * fmod(plan->cycles * p, 1.0))));
}

static double
constant(const struct dpo_schedule_plan *plan, uint64_t s)
{
	(void)plan;
	(void)s;
	return 1.0;
}

static double
polynomial(const struct dpo_schedule_plan *plan, uint64_t s)
{
	if (s > plan->total)
		return plan->least;
	return (1.0 - plan->least) * pow(1.0 - progress(plan, s), plan->power) + plan->least;
}

static double
inverse_sqrt(const struct dpo_schedule_plan *plan, uint64_t s)
{
	return 1.0 / sqrt(((double)(s - plan->warmup) + plan->timescale) / plan->timescale);
}

static double
warmup_stable_decay(const struct dpo_schedule_plan *plan, uint64_t s)
{
	double since = (double)s + (double)plan->decay_steps - (double)plan->total, p = since / at_least_one(0, plan->decay_steps);

	if (since < 0)
		return 1.0;
	if (s >= plan->total)
		return plan->least;
	if (plan->decay_type == DPO_DECAY_LINEAR)
		return raised(1.0 - p, plan->least);
	return raised(plan->decay_type == DPO_DECAY_COSINE ? wave(plan->cycles, p) : 1.0 - sqrt(p), plan->least);
}

const struct dpo_schedule dpo_schedules[] = {
	{ "linear", "(T - s) / max(1, T - W), at least 0", DPO_USES_WARMUP, 0, linear },
	{ "cosine", "(1 + cos(2 pi num_cycles p)) / 2", DPO_USES_WARMUP | DPO_USES_CYCLES, 0.5, cosine },
	{ "cosine_with_min_lr", "m + (1 - m) (1 + cos(2 pi num_cycles p)) / 2, m = min_lr_rate or min_lr / peak",
	  DPO_USES_WARMUP | DPO_USES_CYCLES | DPO_USES_MIN_LR, 0.5, cosine_with_min_lr },
	{ "cosine_with_restarts", "(1 + cos(pi (num_cycles p mod 1))) / 2", DPO_USES_WARMUP | DPO_USES_CYCLES, 1,
	  cosine_with_restarts },
	{ "constant", "1, without warm-up", 0, 0, constant },
	{ "constant_with_warmup", "1", DPO_USES_WARMUP, 0, constant },
	{ "polynomial", "m + (1 - m) (1 - p)^power, m = lr_end / peak", DPO_USES_WARMUP | DPO_USES_POLYNOMIAL, 0, polynomial },
	{ "inverse_sqrt", "1 / sqrt(1 + (s - W) / timescale)", DPO_USES_WARMUP | DPO_USES_TIMESCALE, 0, inverse_sqrt },
	{ "warmup_stable_decay", "1, in the last num_decay_steps from 1 to m = min_lr_ratio by decay_type",
	  DPO_USES_WARMUP | DPO_USES_CYCLES | DPO_USES_DECAY, 0.5, warmup_stable_decay },
	{ 0 },
};

const char *const dpo_schedule_names[] = { "linear", "cosine", "cosine_with_min_lr", "cosine_with_restarts", "constant",
	"constant_with_warmup", "polynomial", "inverse_sqrt", "warmup_stable_decay", NULL };

/* ------------------------------------------------------------------ a run's plan */

const struct dpo_schedule *
dpo_schedule_find(const char *name)
{
	for (const struct dpo_schedule *schedule = dpo_schedules; schedule->name; schedule++)
		if (strcmp(schedule->name, name) == 0)
			return schedule;
	return NULL;
}

static uint64_t
warmup_of(double warmup_steps, uint64_t total)
{
	return (uint64_t)(warmup_steps >= 1.0 ? floor(warmup_steps) : ceil((double)total * warmup_steps));
}

static double
or_else(double value, double fallback)
{
	return isnan(value) ? fallback : value;
}

static double
least_of(const struct dpo_schedule_settings *settings, double peak)
{
	unsigned uses = settings->schedule->uses;

	if (uses & DPO_USES_MIN_LR)
		return isnan(settings->min_lr) ? settings->min_lr_rate : settings->min_lr / peak;
	if (uses & DPO_USES_POLYNOMIAL)
		return settings->lr_end / peak;
	return uses & DPO_USES_DECAY ? settings->min_lr_ratio : 0.0;
}

struct dpo_schedule_plan
dpo_schedule_plan(const struct dpo_schedule_settings *settings, double peak, uint64_t total)
{
	struct dpo_schedule_plan plan = { .schedule = settings->schedule, .total = total, .least = least_of(settings, peak),
		.cycles = or_else(settings->num_cycles, settings->schedule->cycles), .power = settings->power,
		.decay_type = settings->decay_type };

	if (settings->schedule->uses & DPO_USES_WARMUP)
		plan.warmup = warmup_of(settings->warmup_steps, total);
	if (settings->schedule->uses & DPO_USES_DECAY)
		plan.decay_steps = (uint64_t)settings->num_decay_steps;
	plan.timescale = or_else(settings->timescale, plan.warmup ? (double)plan.warmup : 10000.0);
	return plan;
}

double
dpo_schedule_factor(const struct dpo_schedule_plan *plan, uint64_t done)
{
	double rise;

	if (done >= plan->warmup)
		return plan->schedule->factor(plan, done);
	rise = (double)done / (double)plan->warmup;
	return plan->schedule->uses & DPO_USES_DECAY ? raised(rise, plan->least) : rise;
}
