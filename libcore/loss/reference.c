#include "loss/reference.h"

#include "base/parallel.h"
#include "base/size.h"
#include "decoder/score.h"
#include "loss/columns.h"

#include <stdlib.h>
#include <string.h>

enum { SPAN = 1 << 15 };	/* floats of one item of work */

/* Log-probs computed since the last sync. */
struct kept {
	const struct dpo_rowset *set;	/* borrowed; NULL for none */
	float **logps;			/* owned; of each row, one answer after the other; NULL where not computed */
};

struct dpo_reference {
	double alpha;
	uint64_t steps;
	const struct dpo_model *model;	/* borrowed */
	float *weights;			/* owned */
	struct dpo_scorer *scorer;
	int threads;
	bool moved;			/* by a sync */
	struct kept kept[2];
};

static enum dpo_status
keep_for(struct kept *kept, const struct dpo_rowset *set, struct dpo_error *err)
{
	kept->set = set;
	return !set || (kept->logps = dpo_alloc(set->rows, sizeof *kept->logps)) ? DPO_OK : dpo_fail_memory(err);
}

/* The scorer, with memory for the longest row at once. */
static enum dpo_status
make_scorer(struct dpo_reference *reference, struct dpo_rowset *data, struct dpo_rowset *eval, bool bf16, struct dpo_error *err)
{
	const struct dpo_model *model = reference->model;
	struct dpo_room room = { 0 };
	struct dpo_passes passes = { .bf16 = bf16, .threads = reference->threads };
	enum dpo_status status = dpo_scorer_new(&reference->scorer, &model->config, &model->params, reference->weights, &passes,
	    err);

	if (status != DPO_OK)
		return status;
	status = dpo_rowset_room(data, eval, reference->scorer, &room, err);
	return status == DPO_OK ? dpo_scorer_reserve(reference->scorer, &room, err) : status;
}

enum dpo_status
dpo_reference_new(struct dpo_reference **result, double alpha, uint64_t steps,
    const struct dpo_model *model, struct dpo_rowset *data, struct dpo_rowset *eval, bool bf16, int threads,
    struct dpo_error *err)
{
	struct dpo_reference *reference = *result = dpo_alloc(1, sizeof *reference);
	size_t total = model->params.total;
	enum dpo_status status;

	if (!reference)
		return dpo_fail_memory(err);
	reference->alpha = alpha;
	reference->steps = steps;
	reference->model = model;
	reference->threads = threads;
	if ((status = keep_for(&reference->kept[0], data, err)) == DPO_OK)
		status = keep_for(&reference->kept[1], eval, err);
	if (status == DPO_OK && !(reference->weights = dpo_alloc_aligned(total, sizeof(float))))
		status = dpo_fail_memory(err);
	if (status == DPO_OK) {
		memcpy(reference->weights, model->weights, total * sizeof(float));
		status = make_scorer(reference, data, eval, bf16, err);
	}
	if (status != DPO_OK) {
		dpo_reference_free(reference);
		*result = NULL;
	}
	return status;
}

static void
forget(struct kept *kept)
{
	for (size_t i = 0; kept->logps && i < kept->set->rows; i++) {
		free(kept->logps[i]);
		kept->logps[i] = NULL;
	}
}

void
dpo_reference_free(struct dpo_reference *reference)
{
	if (!reference)
		return;
	for (size_t k = 0; k < 2; k++) {
		forget(&reference->kept[k]);
		free(reference->kept[k].logps);
	}
	dpo_scorer_free(reference->scorer);
	free(reference->weights);
	free(reference);
}

/* ------------------------------------------------------------------ following the policy */

static void
mix_span(void *context, size_t item)
{
	const struct dpo_reference *reference = context;
	size_t begin = item * SPAN, left = reference->model->params.total - begin, n = left < SPAN ? left : SPAN;
	float *to = reference->weights + begin;
	const float *policy = reference->model->weights + begin;
	float keep = (float)(1.0 - reference->alpha), alpha = (float)reference->alpha;

	for (size_t i = 0; i < n; i++)
		to[i] = keep * to[i] + alpha * policy[i];
}

void
dpo_reference_sync(struct dpo_reference *reference, uint64_t step)
{
	size_t total = reference->model->params.total;

	if (step % reference->steps != 0)
		return;
	dpo_parallel_for(reference->threads, total / SPAN + (total % SPAN != 0), mix_span, reference);
	for (size_t k = 0; k < 2; k++)
		forget(&reference->kept[k]);
	reference->moved = true;
	dpo_scorer_changed(reference->scorer);
}

/* ------------------------------------------------------------------ log-probs of a row */

static enum dpo_status
score(struct dpo_reference *reference, const struct dpo_row *row, float **result, struct dpo_error *err)
{
	float *logps[DPO_ANSWERS] = { 0 };
	size_t n = 0;

	for (size_t a = 0; a < row->example.n_answers; a++)
		n += row->example.n_answer[a];
	if (!(logps[0] = dpo_alloc(n, sizeof **result)))
		return dpo_fail_memory(err);
	for (size_t a = 1; a < row->example.n_answers; a++)
		logps[a] = logps[a - 1] + row->example.n_answer[a - 1];
	if (dpo_score(reference->scorer, &row->example, logps, NULL, err) != DPO_OK) {
		free(logps[0]);
		(void)dpo_error_prefix(err, "the synced reference");
		return dpo_columns_blame(row, err);
	}
	*result = logps[0];
	return DPO_OK;
}

enum dpo_status
dpo_reference_row(struct dpo_reference *reference, const struct dpo_rowset *set, size_t index, struct dpo_row *row,
    struct dpo_error *err)
{
	struct kept *kept = &reference->kept[set == reference->kept[1].set];
	enum dpo_status status = DPO_OK;
	const float *logps;

	if (!reference->moved)
		return DPO_OK;
	if (!kept->logps[index])
		status = score(reference, row, &kept->logps[index], err);
	if (status != DPO_OK)
		return status;
	logps = kept->logps[index];
	for (size_t a = 0; a < row->example.n_answers; a++) {
		row->ref[a] = logps;
		logps += row->example.n_answer[a];
	}
	return DPO_OK;
}

/* ------------------------------------------------------------------ checkpoints */

float *
dpo_reference_weights(struct dpo_reference *reference)
{
	return reference->weights;
}

void
dpo_reference_resume(struct dpo_reference *reference, uint64_t step)
{
	reference->moved = step >= reference->steps;
}
