/*
 * schedule - the learning rate as a function of the step, by the formulas of Hugging Face's get_scheduler. Layer 1;
 * uses nothing.
 *
 * With s steps already done, W warm-up steps and T steps in all, the learning rate of the next step is the peak times
 *
 *	s / max(1, W)					in the warm-up, s < W (not for "constant")
 *	max(0, (T - s) / max(1, T - W))			linear
 *	max(0, (1 + cos(pi (s - W) / max(1, T - W))) / 2)	cosine
 *	1						constant, constant_with_warmup
 */
#ifndef DPO_SCHEDULE_H
#define DPO_SCHEDULE_H

#include <stdint.h>

enum dpo_schedule {
	DPO_SCHEDULE_LINEAR,
	DPO_SCHEDULE_COSINE,
	DPO_SCHEDULE_CONSTANT,
	DPO_SCHEDULE_CONSTANT_WITH_WARMUP,
	DPO_SCHEDULES
};

/* The names in that order, NULL at the end. */
extern const char *const dpo_schedule_names[];

/* The schedule of that name, or DPO_SCHEDULES. */
enum dpo_schedule dpo_schedule_find(const char *name);

/* The factor in [0, 1] of the step after `done` steps. */
double dpo_schedule_factor(enum dpo_schedule schedule, uint64_t done, uint64_t warmup, uint64_t total);

/* --warmup-steps as a number of steps: from 1 on it counts steps, below 1 it is a share of `total`, rounded up. */
uint64_t dpo_schedule_warmup(double warmup_steps, uint64_t total);

#endif
