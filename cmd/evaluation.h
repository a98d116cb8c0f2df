/*
 * evaluation - the three things dpo-eval looks at, each in a file of its own: rows with a reference, the data itself, and
 * generations. Like cli they print and exit.
 */
#ifndef EVALUATION_H
#define EVALUATION_H

#include "cli.h"
#include "lossopts.h"
#include "report.h"

struct options {
	struct cli_common common;
	const char *model, *adapter, *reference, *baseline, *baseline_adapter, *format, *slice, *per_pair, *against, *dtype;
	struct cli_list require;
	bool data, samples, score;
	struct loss_options loss;
};

/* Pairs with a reference, or supervised rows, under the policy. Returns an exit code. */
int evaluate_rows(const struct options *options, const char *path);

/* --score: the implicit reward of each answer, a line of JSON a row. */
int score_rows(const struct options *options, const char *path);

/* --data: numbers of a stream of pairs; options->against is one it should have nothing in common with. */
int evaluate_data(const struct options *options, const char *path);

/* --samples: numbers of completions as dpo-gen writes them; with a model their entropy, with a reference the divergence. */
int evaluate_samples(const struct options *options, const char *path);

#endif
