/*
 * calibration - do the probabilities that a policy implies hold? Layer 1; uses logistic.
 *
 * DPO's policy says of a pair that the chosen answer is the better one with probability p = sigmoid(margin), margin being
 * the difference of implicit rewards (Rafailov et al. 2023, arXiv:2305.18290, equation 6). It is right where p > 1/2. For its
 * confidence c = max(p, 1 - p):
 *
 *	ECE	sum_b n_b/n |share right in b - mean confidence in b|, over DPO_BINS equal bins of c in [1/2, 1]
 *		(Guo et al. 2017, arXiv:1706.04599)
 *	Brier	the mean of (1 - p)^2 (Brier 1950)
 */
#ifndef DPO_CALIBRATION_H
#define DPO_CALIBRATION_H

#include <stddef.h>

enum { DPO_BINS = 10 };

/* {0} is empty. */
struct dpo_calibration {
	size_t n;
	size_t in_bin[DPO_BINS];
	double confidence[DPO_BINS], right[DPO_BINS];	/* sums; a tie is half right */
	double brier;					/* sum */
};

void dpo_calibration_add(struct dpo_calibration *calibration, double margin);
/* 0 if there are no pairs. */
double dpo_calibration_ece(const struct dpo_calibration *calibration);
double dpo_calibration_brier(const struct dpo_calibration *calibration);

#endif
