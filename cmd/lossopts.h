/*
 * lossopts - the options that say what is minimised, shared by dpo-train and dpo-eval. Like cli it prints and exits.
 */
#ifndef LOSSOPTS_H
#define LOSSOPTS_H

#include "cli.h"
#include "loss/objective.h"

struct loss_options {
	const char *types;	/* names, with commas between */
	const char *weights;	/* numbers, with commas between; NULL: 1 each */
	const char *divergence;
	double beta, label_smoothing, alpha_coef, ld_alpha, discopop_tau, dpop_lambda, simpo_gamma, odpo_alpha;
	bool use_weighting, reference_free;
	struct cli_list columns;	/* NAME=WEIGHT */
	const char *formula;
};

/* TRL's defaults, and those of the papers for what TRL lacks. */
#define LOSS_DEFAULTS { .types = "sigmoid", .divergence = "reverse_kl", .beta = 0.1, .alpha_coef = 0.5, .ld_alpha = 1, \
	.discopop_tau = 0.05, .dpop_lambda = 50, .simpo_gamma = 0.5, .odpo_alpha = 1 }

/* Each option, as row(of, NAME, KIND, FIELD, ARGUMENT, HELP, LOW, HIGH, CHOICES). */
#define LOSS_EACH(row, of) \
	row(of, "loss-type", CLI_TEXT, types, "NAME[,NAME...]", "the loss, or several; --formula all lists them", 0, 0, \
	    NULL), \
	row(of, "loss-weights", CLI_TEXT, weights, "W[,W...]", "their weights (default: 1 each)", 0, 0, NULL), \
	row(of, "formula", CLI_TEXT, formula, "NAME", "print a loss, its derivative and source; all: every loss", 0, 0, \
	    NULL), \
	row(of, "beta", CLI_NUMBER, beta, "B", "strength of the pull to the reference", 0, 1e6, NULL), \
	row(of, "label-smoothing", CLI_NUMBER, label_smoothing, "E", "share of labels assumed wrong", 0, 1, NULL), \
	row(of, "f-divergence-type", CLI_CHOICE, divergence, "NAME", "divergence from the reference", 0, 0, \
	    dpo_divergence_names), \
	row(of, "f-alpha-divergence-coef", CLI_NUMBER, alpha_coef, "A", "coefficient of alpha_divergence", -1e3, 1e3, \
	    NULL), \
	row(of, "ld-alpha", CLI_NUMBER, ld_alpha, "A", "weight of tokens past the shorter answer's length", 0, 1, NULL), \
	row(of, "use-weighting", CLI_FLAG, use_weighting, NULL, \
	    "weigh pairs by their probability under the policy (WPO)", 0, 0, NULL), \
	row(of, "reference-free", CLI_FLAG, reference_free, NULL, "treat the reference's log-probs as 0", 0, 0, NULL), \
	row(of, "discopop-tau", CLI_NUMBER, discopop_tau, "T", "temperature of discopop", 1e-6, 1e6, NULL), \
	row(of, "dpop-lambda", CLI_NUMBER, dpop_lambda, "L", "dpop's penalty on a falling chosen answer", 0, 1e6, NULL), \
	row(of, "simpo-gamma", CLI_NUMBER, simpo_gamma, "G", "target margin of simpo", -1e6, 1e6, NULL), \
	row(of, "odpo-alpha", CLI_NUMBER, odpo_alpha, "A", "weight of the rows' margins in odpo", -1e6, 1e6, NULL), \
	row(of, "objective", CLI_LIST, columns, "NAME=WEIGHT", \
	    "modpo: a column of differences that dpo-tok kept; may be repeated", 0, 0, NULL)

/* The rows of the option table, for an options struct with a struct loss_options named `loss`. */
#define CLI_LOSS(type) LOSS_EACH(LOSS_OPTION, type)
#define LOSS_OPTION(type, name, kind, field, argument, help, low, high, choices) \
	{ name, 0, kind, offsetof(type, loss.field), argument, help, low, high, choices }

/* The rows of a list of uses (cli.h). */
#define LOSS_USES(bit) LOSS_EACH(LOSS_USE, bit)
#define LOSS_USE(bit, name, ...) { name, bit }

/*
 * The objective that the options name; usage errors exit. With --formula, print it and exit. The objective's names are
 * borrowed from the command line.
 */
struct dpo_objective loss_objective(const struct loss_options *options);

#endif
