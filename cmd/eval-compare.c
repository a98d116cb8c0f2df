/* dpo-eval --baseline: the same rows under two policies, and the differences with their intervals. */
#include "base/size.h"
#include "evaljob.h"
#include "measure/bootstrap.h"

/* Resampling. */
enum { ROUNDS = 2000 };
static const double CONFIDENCE = 0.95;

static const char *const difference_names[] = { "rewards/accuracies", "rewards/margins", "logps/chosen" };

enum dpo_status
job_compare(struct job *job, const struct dpo_row *row, const struct dpo_outcome *ours, struct dpo_error *err)
{
	struct comparison *c = &job->baseline;
	struct dpo_outcome theirs;
	enum dpo_status status = dpo_outcome_score(&theirs, &c->tokens, c->scorer, row, &job->objective, err);
	double margins[2] = { job_margin(job, ours), job_margin(job, &theirs) };
	const double differences[] = { (double)(margins[0] > 0) - (double)(margins[1] > 0), margins[0] - margins[1],
		ours->input.logp[0] - theirs.input.logp[0] };

	if (status != DPO_OK)
		return status;
	for (size_t i = 0; i < DIFFERENCES; i++) {
		void *list = c->rows[i];
		bool fits = dpo_size_grow(&list, &c->capacity[i], c->n + 1, sizeof *c->rows[i]);

		c->rows[i] = list;
		if (!fits)
			return dpo_fail_memory(err);
		c->rows[i][c->n] = differences[i];
	}
	c->n++;
	return DPO_OK;
}

void
job_put_comparison(struct report *report, const struct job *job)
{
	const struct comparison *c = &job->baseline;
	struct dpo_buffer name = { 0 };
	struct dpo_interval interval;
	struct dpo_error err;

	for (size_t i = job->columns.answers == 2 && job->columns.reference ? 0 : LOGP; i < DIFFERENCES; i++) {
		static const char *const ends[] = { "", "/low", "/high" };

		if (!dpo_bootstrap(&interval, c->rows[i], c->n, CONFIDENCE, ROUNDS, 1))
			cli_check(dpo_fail_memory(&err), &err);
		for (size_t k = 0; k < 3; k++) {
			dpo_buffer_clear(&name);
			dpo_buffer_printf(&name, "difference/%s%s", difference_names[i], ends[k]);
			report_put(report, dpo_buffer_text(&name), k == 0 ? interval.mean : k == 1 ? interval.low : interval.high,
			    false);
		}
	}
	dpo_buffer_free(&name);
}
