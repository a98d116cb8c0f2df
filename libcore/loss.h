/*
 * loss - the table of losses: what each is of a pair's log-ratios, and its derivative. Layer 1; uses nothing.
 *
 * A loss is a row of dpo_losses. It sees one pair as struct dpo_loss_input and returns its value and the derivatives
 * with respect to the log-probs of the two answers. The loss of a batch of N rows with weights w_i is
 *
 *	L = (1/N) sum_i w_i l_i
 *
 * and for a loss `per_token` the divisor is the number of scored chosen tokens of the batch instead of N, so that
 * sft is the mean over all chosen tokens. Pure arithmetic in double; nothing here fails. Tested in test_loss.c: values
 * and derivatives by central differences, extreme arguments, and exactly ln 2 where policy and reference agree.
 */
#ifndef DPO_LOSS_H
#define DPO_LOSS_H

#include <stdbool.h>
#include <stddef.h>

/* One row. Index 0 is the chosen answer, 1 the rejected one. All in nats; 0 where there is no such answer or reference. */
struct dpo_loss_input {
	double logp[2];		/* log-prob of the answer under the policy, summed over its tokens */
	double ratio[2];	/* logp minus the same under the reference */
};

struct dpo_loss_settings {
	double beta;
};

struct dpo_loss {
	const char *name;	/* TRL's name, as --loss-type takes it */
	const char *formula;	/* one line, for people */
	const char *source;
	bool pair;		/* reads the rejected answer */
	bool reference;		/* reads the reference's log-probs */
	bool difference;	/* of D = ratio[0] - ratio[1] alone: a label_prob has a meaning */
	bool per_token;		/* the divisor is scored chosen tokens */
	/* The value l, and slopes[a] = dl/dlogp[a] = dl/dratio[a]. */
	double (*value)(const struct dpo_loss_input *input, const struct dpo_loss_settings *settings, double slopes[2]);
};

extern const struct dpo_loss dpo_losses[];	/* name NULL ends the table */
extern const char *const dpo_loss_names[];	/* in the same order, NULL at the end */

/* The row of that name, or NULL. */
const struct dpo_loss *dpo_loss_find(const char *name);

/*
 * The loss of one row whose label is right with probability p (label_prob): p l(D) + (1-p) l(-D) for losses of the
 * difference D; for others p must be 1.
 */
double dpo_loss_value(const struct dpo_loss *loss, const struct dpo_loss_input *input,
	const struct dpo_loss_settings *settings, double p, double slopes[2]);

/* -log sigmoid(z) = log(1 + exp(-z)), without overflow, as log1p(exp(-|z|)) + max(-z, 0). Exactly ln 2 at 0. */
double dpo_loss_softplus_minus(double z);
/* 1 / (1 + exp(-z)), without overflow. */
double dpo_loss_sigmoid(double z);

#endif
