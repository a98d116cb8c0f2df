/*
 * watch - warnings about a finished run, from its own pairs. Layer 13; uses error, buffer, json, state, outcome.
 *
 * With c and r the log-ratios (nats) of chosen and rejected answer to the reference and D = c - r, as each pair had them
 * when a step used it, sums are kept over blocks of steps: a quarter of an epoch, or of the run where that is shorter, but
 * at least DPO_WATCH_PAIRS pairs. The last whole block and what came after it are judged, if they have at least
 * DPO_WATCH_PAIRS pairs:
 *
 *	likelihood_displacement	c < 0 in more than half of the pairs (Razin et al. 2024, arXiv:2410.08847)
 *	length_correlation	|correlation of D with the difference of the answers' lengths in tokens| >= 0.5
 *	margin_collapse		the mean of D is less than half of the largest mean M of any block, and below M by more than
 *				3 standard errors of the difference
 *	nothing_moved		the root mean square of c and r together is below 0.1 nats; then nothing else is judged
 *	beta_too_small		the root mean square of D is 1 nat or more, that of beta D below 0.1: the loss is practically
 *				linear, and beta holds nothing back; only for losses of the difference D
 *
 * Rows without reference or without a rejected answer are skipped. Sums are in double, in row order.
 */
#ifndef DPO_WATCH_H
#define DPO_WATCH_H

#include "base/buffer.h"
#include "base/error.h"
#include "loss/outcome.h"

#include <cjson/cJSON.h>

enum { DPO_WATCH_PAIRS = 32, DPO_WATCH_FINDINGS = 5 };

enum dpo_watch_sum {
	DPO_WATCH_COUNT,	/* pairs */
	DPO_WATCH_FELL,		/* pairs with c < 0 */
	DPO_WATCH_RATIO2,	/* c^2 + r^2 */
	DPO_WATCH_MARGIN, DPO_WATCH_MARGIN2,	/* D, D^2 */
	DPO_WATCH_LENGTH, DPO_WATCH_LENGTH2,	/* L, L^2: tokens of chosen less those of rejected */
	DPO_WATCH_CROSS,	/* D L */
	DPO_WATCH_SUMS
};

/* {0} is empty. */
struct dpo_watch_sums {
	double sum[DPO_WATCH_SUMS];
};

struct dpo_watch {
	uint64_t block;			/* steps of one */
	uint64_t steps;			/* in `now` */
	struct dpo_watch_sums now, last, peak;	/* the current block, the last whole one, the one with the largest mean D */
};

/* For a run of `total` steps, `per_epoch` of them an epoch. */
void dpo_watch_init(struct dpo_watch *watch, uint64_t total, uint64_t per_epoch, uint64_t batch_size);

void dpo_watch_add(struct dpo_watch_sums *sums, const struct dpo_outcome *outcome);
/* A step with these pairs is done. */
void dpo_watch_step(struct dpo_watch *watch, const struct dpo_watch_sums *sums);

struct dpo_finding {
	const char *name;	/* as above */
	const char *figure;	/* what `value` is, as the log names it */
	double value;
	size_t pairs;		/* judged */
	char text[240];		/* one line for people */
};

/* The findings so far; returns how many. difference: the loss depends on D alone. */
size_t dpo_watch_findings(const struct dpo_watch *watch, double beta, bool difference,
	struct dpo_finding found[DPO_WATCH_FINDINGS]);

/* Append the log's line, {"warning":NAME,FIGURE:...,"pairs":N,"epoch":E,"step":S}. */
void dpo_watch_line(const struct dpo_finding *finding, struct dpo_buffer *log, double epoch, uint64_t step);

/* Append "watch":{...} of a checkpoint's state, and read it back. */
void dpo_watch_save(const struct dpo_watch *watch, struct dpo_buffer *state);
enum dpo_status dpo_watch_resume(struct dpo_watch *watch, const cJSON *state, struct dpo_error *err) DPO_MUST_CHECK;

#endif
