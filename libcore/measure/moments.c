#include "measure/moments.h"

#include <math.h>

void
dpo_moments_add(struct dpo_moments *moments, double x, double y)
{
	struct dpo_moments *m = moments;
	double dx = x - m->mean_x, dy = y - m->mean_y;

	m->n++;
	m->mean_x += dx / (double)m->n;
	m->mean_y += dy / (double)m->n;
	m->xx += dx * (x - m->mean_x);
	m->yy += dy * (y - m->mean_y);
	m->xy += dx * (y - m->mean_y);
}

double
dpo_moments_mean(const struct dpo_moments *moments)
{
	return moments->n ? moments->mean_x : (double)NAN;
}

double
dpo_moments_deviation(const struct dpo_moments *moments)
{
	return moments->n > 1 ? sqrt(moments->xx / (double)(moments->n - 1)) : (double)NAN;
}

double
dpo_moments_error(const struct dpo_moments *moments)
{
	return dpo_moments_deviation(moments) / sqrt((double)moments->n);
}

double
dpo_moments_correlation(const struct dpo_moments *moments)
{
	return moments->xx > 0 && moments->yy > 0 ? moments->xy / sqrt(moments->xx * moments->yy) : (double)NAN;
}
