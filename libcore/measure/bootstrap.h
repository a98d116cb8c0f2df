/*
 * bootstrap - confidence interval of a mean by resampling. Layer 3; uses size, bytes, random.
 */
#ifndef DPO_BOOTSTRAP_H
#define DPO_BOOTSTRAP_H

#include "base/size.h"

#include <stdint.h>

struct dpo_interval {
	double mean, low, high;
};

/*
 * The mean of x[n] and its interval of the given confidence (such as 0.95) by the percentile bootstrap (Efron 1979): the
 * means of `rounds` samples of n drawn from x with replacement, sorted, less a share (1 - confidence) / 2 at each end.
 * Numbers drawn are keyed by (seed, round). For a paired comparison x holds the differences, row by row. n 0 gives NaN.
 * false if out of memory.
 */
bool dpo_bootstrap(struct dpo_interval *interval, const double *x, size_t n, double confidence, size_t rounds, uint64_t seed);

#endif
