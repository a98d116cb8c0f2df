/*
 * moments - mean, deviation and correlation of numbers seen one by one. Layer 1; uses nothing.
 */
#ifndef DPO_MOMENTS_H
#define DPO_MOMENTS_H

#include <stddef.h>

/* Of x, and of pairs (x, y) where y is given; running means (Welford 1962) preserve precision. {0} is empty. */
struct dpo_moments {
	size_t n;
	double mean_x, mean_y;
	double xx, yy, xy;	/* sums of products of differences from the means */
};

void dpo_moments_add(struct dpo_moments *moments, double x, double y);

/* Of x. Mean; standard deviation of the n-1 kind; standard error of the mean. NaN for fewer than 1, 2, 2 numbers. */
double dpo_moments_mean(const struct dpo_moments *moments);
double dpo_moments_deviation(const struct dpo_moments *moments);
double dpo_moments_error(const struct dpo_moments *moments);

/* Pearson's correlation of x and y; NaN where one of them does not vary. */
double dpo_moments_correlation(const struct dpo_moments *moments);

#endif
