#include "schedule.h"

#include <math.h>
#include <string.h>

const char *const dpo_schedule_names[] = { "linear", "cosine", "constant", "constant_with_warmup", NULL };

enum dpo_schedule
dpo_schedule_find(const char *name)
{
	int i = 0;

	while (i < DPO_SCHEDULES && strcmp(dpo_schedule_names[i], name) != 0)
		i++;
	return (enum dpo_schedule)i;
}

static double
at_least_one(uint64_t low, uint64_t high)
{
	return high > low ? (double)(high - low) : 1.0;
}

double
dpo_schedule_factor(enum dpo_schedule schedule, uint64_t done, uint64_t warmup, uint64_t total)
{
	const double pi = 3.141592653589793238462643383279503;
	double progress;

	if (schedule == DPO_SCHEDULE_CONSTANT)
		return 1.0;
	if (done < warmup)
		return (double)done / at_least_one(0, warmup);
	if (schedule == DPO_SCHEDULE_CONSTANT_WITH_WARMUP)
		return 1.0;
	if (schedule == DPO_SCHEDULE_LINEAR)
		return done >= total ? 0.0 : (double)(total - done) / at_least_one(warmup, total);
	progress = (double)(done - warmup) / at_least_one(warmup, total);
	return fmax(0.0, 0.5 * (1.0 + cos(pi * 0.5 * 2.0 * progress)));
}

uint64_t
dpo_schedule_warmup(double warmup_steps, uint64_t total)
{
	return (uint64_t)(warmup_steps >= 1.0 ? floor(warmup_steps) : ceil((double)total * warmup_steps));
}
