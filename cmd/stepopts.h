/*
 * stepopts - the options that say how a step is made: schedule and optimizer, which settings go with which of them, and
 * their formulas. Part of dpo-train; like cli it prints and exits.
 */
#ifndef STEPOPTS_H
#define STEPOPTS_H

#include "training.h"

/* A usage error where a setting is missing that is needed, or given where it has no effect. */
void stepopts_check(const struct training_options *options);

struct dpo_schedule_settings stepopts_schedule(const struct training_options *options);
struct dpo_optim_settings stepopts_optim(const struct training_options *options);

/*
 * For --formula (NULL: not given): print the optimizer or schedule of that name, or all of them for "optim" and
 * "lr-scheduler-type", and exit. Other names are losses.
 */
void stepopts_formula(const char *name);

#endif
