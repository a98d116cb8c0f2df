/*
 * evaljob - what dpo-eval keeps while it goes through rows with a reference, and the parts that take hold of it: eval-open,
 * eval-rows, eval-compare, eval-perpair and eval-report. Like cli they print and exit.
 */
#ifndef EVALJOB_H
#define EVALJOB_H

#include "decoder/model.h"
#include "evaluation.h"
#include "loss/rowset.h"
#include "measure/drift.h"
#include "measure/eval.h"
#include "measure/slices.h"
#include "stream/stream.h"

/* Row by row: this policy's number less the baseline's. */
enum difference { ACCURACY, MARGIN, LOGP, DIFFERENCES };

/* Columns of --per-pair, after the row's own. */
enum { PAIR_COLUMNS = 4 };

struct comparison {
	struct dpo_model model;
	struct dpo_scorer *scorer;	/* NULL: there is no baseline */
	struct dpo_tokens tokens;
	double *rows[DIFFERENCES];	/* owned; [n] each */
	size_t n, capacity[DIFFERENCES];
};

struct job {
	struct dpo_reader *reader;
	struct dpo_columns columns;
	struct dpo_value *values;	/* owned; the input's columns, and ours of --per-pair */
	struct dpo_model model, reference;
	bool bf16;
	struct dpo_scorer *scorer, *reference_scorer;	/* the latter NULL without -r */
	struct dpo_objective objective;
	struct dpo_tokens tokens;
	struct dpo_eval eval;
	struct comparison baseline;
	struct dpo_drift drift;
	double kl[DPO_ANSWERS], reference_logp;	/* sums over rows, with -r */
	struct dpo_slices slices;
	size_t slice;			/* its column; n_columns: none */
	struct dpo_writer *writer;	/* of --per-pair, or NULL */
	struct dpo_out per_pair;
};

/* Open rows and policy, and what the options ask for besides. */
void job_open(struct job *job, const struct options *options, const char *path);
/* After the last row: exit if a model became another meanwhile (policy.h). */
void job_same(struct job *job);
void job_close(struct job *job);

/* beta times the difference of the log-ratios: the reward of the chosen answer less that of the rejected one. */
double job_margin(const struct job *job, const struct dpo_outcome *outcome);

/* --baseline: the row under the baseline too; and the report's differences with their intervals. */
enum dpo_status job_compare(struct job *job, const struct dpo_row *row, const struct dpo_outcome *ours, struct dpo_error *err);
void job_put_comparison(struct report *report, const struct job *job);

/* --per-pair: the rows with their numbers as a stream; nothing without the option. */
void job_open_per_pair(struct job *job, const struct options *options);
void job_write_pair(struct job *job, const struct dpo_outcome *outcome);
void job_close_per_pair(struct job *job);

/* The numbers of all rows. */
void job_report(struct report *report, const struct job *job);

#endif
