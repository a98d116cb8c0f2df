/*
 * schedule - the learning rate as a function of the step: the table of Hugging Face's get_scheduler (transformers 5,
 * optimization.py), by its names and formulas. Layer 1; uses nothing.
 *
 * With s steps already done, W warm-up steps and T steps in all, the learning rate of the next step is the peak times a
 * factor. In the warm-up, s < W, it is s / max(1, W); `constant` has none, and that of warmup_stable_decay rises from its
 * least factor m: m + (1 - m) s / max(1, W). After it, with p = (s - W) / max(1, T - W), it is the formula of the table.
 * Tested in test_schedule.c against transformers' own numbers.
 */
#ifndef DPO_SCHEDULE_H
#define DPO_SCHEDULE_H

#include <stdint.h>

/* Which settings affect a schedule. */
enum dpo_schedule_use {
	DPO_USES_WARMUP = 1,		/* warmup_steps */
	DPO_USES_CYCLES = 2,		/* num_cycles */
	DPO_USES_MIN_LR = 4,		/* min_lr or min_lr_rate: one of them is required */
	DPO_USES_POLYNOMIAL = 8,	/* lr_end, power */
	DPO_USES_TIMESCALE = 16,	/* timescale */
	DPO_USES_DECAY = 32,		/* num_decay_steps, which is required; decay_type, min_lr_ratio */
};

/* How warmup_stable_decay decays, p from 0 to 1: 1 - p, (1 + cos(2 pi cycles p)) / 2, 1 - sqrt(p). */
enum dpo_decay { DPO_DECAY_LINEAR, DPO_DECAY_COSINE, DPO_DECAY_SQRT };
extern const char *const dpo_decay_names[];	/* in that order, NULL at the end */

/* Named as in lr_scheduler_kwargs. NaN: not given. */
struct dpo_schedule_settings {
	const struct dpo_schedule *schedule;
	double warmup_steps;	/* from 1 on a number of steps, below 1 a share of all, rounded up */
	double num_cycles;	/* NaN: the table's */
	double min_lr, min_lr_rate;	/* least learning rate, or its share of the peak */
	double lr_end, power;
	double timescale;	/* NaN: W, or 10,000 without a warm-up */
	double num_decay_steps;
	enum dpo_decay decay_type;
	double min_lr_ratio;
};

/* Settings made ready for a run. */
struct dpo_schedule_plan {
	const struct dpo_schedule *schedule;
	uint64_t warmup, total;	/* W, T */
	double cycles;
	double least;		/* the least factor: m */
	double power, timescale;
	uint64_t decay_steps;
	enum dpo_decay decay_type;
};

struct dpo_schedule {
	const char *name;
	const char *formula;	/* after the warm-up; one line, for people */
	unsigned uses;		/* enum dpo_schedule_use */
	double cycles;		/* num_cycles where it is not given */
	/* After the warm-up, s >= W. */
	double (*factor)(const struct dpo_schedule_plan *plan, uint64_t s);
};

extern const struct dpo_schedule dpo_schedules[];	/* name NULL ends the table */
extern const char *const dpo_schedule_names[];		/* in the same order, NULL at the end */

/* The schedule of that name, or NULL. */
const struct dpo_schedule *dpo_schedule_find(const char *name);

/* For a run of `total` steps whose peak learning rate is `peak`. */
struct dpo_schedule_plan dpo_schedule_plan(const struct dpo_schedule_settings *settings, double peak, uint64_t total);

/* The factor of the step after `done` steps. */
double dpo_schedule_factor(const struct dpo_schedule_plan *plan, uint64_t done);

#endif
