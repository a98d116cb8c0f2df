/*
 * objective - what a run minimises: one loss or a weighted sum of several, with the options that act on them. Layer 2; uses
 * error, size, loss, divergence.
 *
 *	L = sum_k W_k (1/N_k) sum_i w_i v_i l_k(i)
 *
 * over the losses k and the rows i of a batch: W_k is --loss-weights, w_i the row's weight, N_k the batch's rows, or its
 * scored chosen tokens for a loss per token, and v_i the factor of WPO (1 without; no gradient flows through it):
 *
 *	v = exp(mean_t(log p_t - log sum_v p_v^2)) of the chosen answer times the same of the rejected one
 *
 * (Zhou et al. 2024, arXiv:2406.11827, eq. 2, as TRL). An ld_alpha a (LD-DPO, Liu et al. 2024, arXiv:2409.06411) makes the
 * log-prob of an answer, under policy and reference alike, the sum over its first m tokens and a times the sum over the
 * others, with m the scored tokens of the shorter answer. TRL 1.16.0 is the reference for all of this.
 */
#ifndef DPO_OBJECTIVE_H
#define DPO_OBJECTIVE_H

#include "base/error.h"
#include "loss/divergence.h"
#include "loss/loss.h"

enum { DPO_OBJECTIVE_LOSSES = 8, DPO_OBJECTIVE_COLUMNS = 8 };

struct dpo_objective {
	const struct dpo_loss *losses[DPO_OBJECTIVE_LOSSES];
	double weights[DPO_OBJECTIVE_LOSSES];		/* W_k */
	size_t n;
	struct dpo_loss_settings settings;
	const struct dpo_divergence *divergence;
	double alpha_coef;				/* of alpha_divergence */
	bool use_ld_alpha;
	double ld_alpha;
	bool use_weighting;				/* WPO */
	bool reference_free;				/* treat the reference's log-probs as 0 */
	const char *columns[DPO_OBJECTIVE_COLUMNS];	/* modpo: names of the m_k; borrowed */
	double column_weights[DPO_OBJECTIVE_COLUMNS];	/* their w_k */
	size_t n_columns;

	/* Filled in by dpo_objective_check. */
	unsigned takes;		/* DPO_TAKES_* of any loss */
	bool pair;		/* some loss reads the rejected answer */
	bool reference;		/* some loss reads the reference's log-probs, and not as 0 */
	bool difference;	/* every loss is of a difference: label_prob is meaningful */
	bool whole_batch;	/* some loss sorts the batch */
	bool per_token;		/* the only loss is per token */
};

/*
 * Check that the parts are compatible and fill in the rest. `given` has the DPO_TAKES_* bits of the options that the user
 * gave. DPO_USAGE, naming option and loss: an option that none of the losses takes; a divergence or WPO with a loss for
 * which it is not defined; a label_smoothing outside exo_pair's (0, 1) or robust's [0, 0.5); a beta of 0 where the loss
 * divides by it; modpo without columns, or with weights that leave nothing for the preference itself.
 */
enum dpo_status dpo_objective_check(struct dpo_objective *objective, unsigned given, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Option names by bit, for messages and --formula: "--label-smoothing". bit is one of DPO_TAKES_*. */
const char *dpo_objective_option(unsigned bit);

/* The losses of one row, by loss: v l_k and v times its derivatives; those by scores are folded into logp. */
struct dpo_objective_result {
	double value[DPO_OBJECTIVE_LOSSES];
	struct dpo_loss_slopes slopes[DPO_OBJECTIVE_LOSSES];
};

/*
 * All losses of one pair except those of the whole batch, whose entries are left 0. Fills in input->score. p is the row's
 * label_prob, factor is v. DPO_NONFINITE, naming the loss, where a value or a derivative is outside the range of float.
 */
enum dpo_status dpo_objective_pair(const struct dpo_objective *objective, struct dpo_loss_input *input, double p,
	double factor, struct dpo_objective_result *result, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The losses of the whole batch, of n rows: their entries in every result. DPO_NONFINITE as above, without naming a row.
 */
enum dpo_status dpo_objective_batch(const struct dpo_objective *objective, size_t n,
	const struct dpo_loss_input *inputs, struct dpo_objective_result *results, struct dpo_error *err) DPO_MUST_CHECK;

/* L, from sums[k] of w v l_k over a batch. */
double dpo_objective_total(const struct dpo_objective *objective, const double *sums, size_t rows, size_t tokens);

/* dL/dlogp[a] and dL/dchosen_nll of one row of weight w, in a batch of that many rows and scored chosen tokens. */
struct dpo_loss_slopes dpo_objective_slopes(const struct dpo_objective *objective,
	const struct dpo_objective_result *result, double weight, size_t rows, size_t tokens);

#endif
