/*
 * diversity - how much a set of generations repeats itself: the signs of mode collapse. Layer 2; uses error, size, ids, table.
 *
 *	distinct-n	distinct n-grams of the whole set / all its n-grams (Li et al. 2016, arXiv:1510.03055)
 *	self-BLEU	the mean over the set of a generation's BLEU-4 with all the others as its references (Zhu et al. 2018,
 *			arXiv:1802.01886): 1 where all are the same. BLEU of a sentence (Papineni et al. 2002) with uniform
 *			weights; a precision without a match counts 0.1 matches (Chen and Cherry 2014, method 1), but without a
 *			common token BLEU is 0
 *	repetition	the mean over the set of 1 - distinct / all 4-grams of one generation (Welleck et al. 2020,
 *			arXiv:1908.04319, seq-rep-4); generations without a 4-gram are left out
 *
 * over token ids. Memory: the tokens, and a few dozen bytes per n-gram.
 */
#ifndef DPO_DIVERSITY_H
#define DPO_DIVERSITY_H

#include "base/error.h"
#include "base/ids.h"

enum { DPO_DISTINCT = 3, DPO_BLEU = 4 };

/* A set; {0} is empty. */
struct dpo_diversity {
	struct dpo_ids tokens;		/* of all generations, one after the other */
	size_t *ends;			/* owned */
	size_t count, capacity;
};

struct dpo_diversity_values {
	double distinct[DPO_DISTINCT];	/* distinct-1, -2, -3; NaN without such n-grams */
	double self_bleu;		/* NaN for fewer than two */
	double repetition;		/* NaN without 4-grams */
};

/* Add a generation of n tokens. DPO_NOMEM only. */
enum dpo_status dpo_diversity_add(struct dpo_diversity *set, const int32_t *ids, size_t n, struct dpo_error *err)
	DPO_MUST_CHECK;
/* DPO_NOMEM only. */
enum dpo_status dpo_diversity_measure(const struct dpo_diversity *set, struct dpo_diversity_values *values,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_diversity_free(struct dpo_diversity *set);

#endif
