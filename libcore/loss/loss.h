/*
 * loss - the table of losses: each one's value for a pair, its derivative, its source. Layer 1; uses logistic.
 *
 * A loss is a row of dpo_losses. It sees one pair as struct dpo_loss_input and returns its value l and its derivatives. The
 * loss of a batch of N rows with weights w_i is
 *
 *	L = (1/N) sum_i w_i l_i
 *
 * - For a loss `per_token` (sft) the divisor is the number of scored chosen tokens of the batch instead of N, so that it
 *   is the mean over all chosen tokens.
 * - A loss `whole_batch` (aot, aot_unpaired) sorts the pairs of a batch against each other: dpo_loss_sorted.
 *
 * Symbols of the formulas, in nats. Index 0 is the chosen answer, 1 the rejected one:
 *
 *	l_c, l_r	log-prob of the answer under the policy
 *	c, r		l_c, l_r minus the same under the reference
 *	D		s_c - s_r, where s is c and r, or their f-divergence score (divergence.h)
 *	n_c, n_r	tokens of the answer
 *	b, e		beta, label_smoothing
 *	ls, sg		log sigmoid, sigmoid
 *
 * Pure arithmetic in double; nothing here fails, but a value may be infinite where the formula leaves the range of double;
 * the caller checks. Tested in test_loss.c: values against the formulas, derivatives by central differences, extreme
 * arguments, exactly ln 2 where policy and reference agree; and against numbers from TRL and PyTorch
 * (testdata/golden/losses).
 */
#ifndef DPO_LOSS_H
#define DPO_LOSS_H

#include <stdbool.h>
#include <stddef.h>

/* Bits of dpo_loss.takes: the options that change a loss, besides beta. */
enum {
	DPO_TAKES_DIVERGENCE = 1,	/* reads the f-divergence scores */
	DPO_TAKES_LD_ALPHA = 2,		/* reads scores that ld_alpha weights */
	DPO_TAKES_WEIGHTING = 4,	/* WPO's factor applies */
	DPO_TAKES_SMOOTHING = 8,
	DPO_TAKES_DISCOPOP_TAU = 16,
	DPO_TAKES_DPOP_LAMBDA = 32,
	DPO_TAKES_SIMPO_GAMMA = 64,
	DPO_TAKES_ODPO_ALPHA = 128,
	DPO_TAKES_OBJECTIVES = 256,
};

/* One pair. All in nats; 0 where there is no such answer or reference. */
struct dpo_loss_input {
	double logp[2];		/* l */
	double ratio[2];	/* c, r */
	double score[2];	/* s */
	double tokens[2];	/* n, at least 1 */
	double chosen_nll;	/* -log pi(chosen), never weighted by ld_alpha */
	double margin;		/* the row's */
	double objectives;	/* sum_k w_k m_k, of modpo */
};

struct dpo_loss_settings {
	double beta;
	double label_smoothing;
	double discopop_tau;
	double dpop_lambda;
	double simpo_gamma;
	double odpo_alpha;
	double main_weight;	/* w_0 of modpo: 1 minus the sum of the w_k */
};

/* The derivatives of l: by the two log-probs (logp and ratio move together), by the scores, and by chosen_nll. */
struct dpo_loss_slopes {
	double logp[2];
	double score[2];
	double chosen_nll;
};

struct dpo_loss {
	const char *name;	/* TRL's name, as --loss-type takes it */
	const char *formula;	/* l, one line, for people */
	const char *derivative;	/* one line, for people */
	const char *source;
	unsigned takes;		/* DPO_TAKES_* */
	bool pair;		/* reads the rejected answer */
	bool reference;		/* reads the reference's log-probs */
	bool difference;	/* a function of the difference of two scores alone: label_prob is meaningful */
	bool per_token;		/* the divisor is scored chosen tokens */
	bool whole_batch;	/* value is NULL: see dpo_loss_sorted */
	bool unpaired;		/* whole_batch: chosen and rejected are sorted apart */
	/* l, and *slopes, which is zero before. */
	double (*value)(const struct dpo_loss_input *input, const struct dpo_loss_settings *settings,
		struct dpo_loss_slopes *slopes);
};

extern const struct dpo_loss dpo_losses[];	/* name NULL ends the table */

/* The row of that name, or NULL. */
const struct dpo_loss *dpo_loss_find(const char *name);

/*
 * The loss of one row whose label is right with probability p (label_prob): p l(D) + (1-p) l(-D) for losses of a
 * difference; for others p must be 1. Not for whole-batch losses.
 */
double dpo_loss_value(const struct dpo_loss *loss, const struct dpo_loss_input *input,
	const struct dpo_loss_settings *settings, double p, struct dpo_loss_slopes *slopes);

/*
 * A loss of the whole batch (Melnyk et al. 2024, "Distributional Preference Alignment of LLMs via Optimal Transport",
 * arXiv:2406.05882), of n pairs: with d_k the difference of the k-th smallest
 *
 *	aot		of l_c - l_r and of the reference's same difference
 *	aot_unpaired	of c and of r
 *
 * l_k = -(1-e) ls(b d_k) - e ls(-b d_k). values[i] and slopes[i] are those of the pair whose policy difference, or whose
 * c, has rank k; for aot_unpaired the pair whose r has rank k gets the slope of r. Equal numbers keep their order. TRL
 * sorts within each micro-batch; here a batch is always whole. scratch has room for 3 n indices.
 */
void dpo_loss_sorted(const struct dpo_loss *loss, size_t n, const struct dpo_loss_input *inputs,
	const struct dpo_loss_settings *settings, size_t *scratch, double *values, struct dpo_loss_slopes *slopes);

#endif
