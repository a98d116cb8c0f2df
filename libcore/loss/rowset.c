#include "loss/rowset.h"

#include "base/random.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdlib.h>

enum dpo_status
dpo_rowset_get(struct dpo_rowset *set, size_t index, struct dpo_row *row, struct dpo_error *err)
{
	enum dpo_status status = dpo_spool_get(set->spool, index, set->values, err);

	return status == DPO_OK ? dpo_columns_row(&set->columns, set->values, row, err) : status;
}

/* ------------------------------------------------------------------ looking at every row */

enum dpo_status
dpo_rowset_room(struct dpo_rowset *set, struct dpo_rowset *other, struct dpo_scorer *scorer, struct dpo_room *room,
    struct dpo_error *err)
{
	struct dpo_row row;
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < set->rows && status == DPO_OK; i++)
		if ((status = dpo_rowset_get(set, i, &row, err)) == DPO_OK)
			status = dpo_scorer_room(scorer, &row.example, room, err);
	return status == DPO_OK && other ? dpo_rowset_room(other, NULL, scorer, room, err) : status;
}

static enum dpo_status
check_tokens(const struct dpo_config *config, const struct dpo_example *example, struct dpo_error *err)
{
	const int32_t *runs[1 + DPO_ANSWERS] = { example->prompt, example->answer[0], example->answer[1] };
	size_t counts[1 + DPO_ANSWERS] = { example->n_prompt, example->n_answer[0], example->n_answer[1] };

	for (size_t r = 0; r < 1 + example->n_answers; r++) {
		for (size_t t = 0; t < counts[r]; t++)
			if (runs[r][t] < 0 || (size_t)runs[r][t] >= config->vocab_size)
				return dpo_fail(err, DPO_FORMAT, "token %" PRId32 " is outside the vocabulary of %zu",
				    runs[r][t], config->vocab_size);
		if (r > 0 && counts[0] + counts[r] > config->max_positions)
			return dpo_fail(err, DPO_FORMAT, "%zu tokens, but the model has %zu positions",
			    counts[0] + counts[r], config->max_positions);
	}
	return DPO_OK;
}

enum dpo_status
dpo_rowset_suits(const struct dpo_objective *objective, const struct dpo_row *row, struct dpo_error *err)
{
	if (row->label_prob != 1 && !objective->difference)
		return dpo_fail(err, DPO_UNSUPPORTED, "\"label_prob\" is %g, which the loss cannot use", row->label_prob);
	if (row->weight != 1 && objective->whole_batch)
		return dpo_fail(err, DPO_UNSUPPORTED, "\"weight\" is %g, but the loss sorts pairs against each other",
		    row->weight);
	return DPO_OK;
}

static enum dpo_status
check_row(struct dpo_rowset *set, size_t index, const struct dpo_config *config, const struct dpo_objective *objective,
    bool *margins, struct dpo_error *err)
{
	struct dpo_row row;
	enum dpo_status status = dpo_rowset_get(set, index, &row, err);

	if (status != DPO_OK)
		return status;
	status = check_tokens(config, &row.example, err);
	if (status == DPO_OK)
		status = dpo_rowset_suits(objective, &row, err);
	*margins |= row.margin != 0;
	set->scored[index] = (uint32_t)dpo_columns_scored(&row.example, 0);
	return status == DPO_OK ? DPO_OK : dpo_columns_blame(&row, err);
}

enum dpo_status
dpo_rowset_init(struct dpo_rowset *set, struct dpo_spool *spool, const struct dpo_header *header,
    const struct dpo_config *config, const struct dpo_objective *objective, const char *name, struct dpo_error *err)
{
	enum dpo_status status;
	bool margins = false;

	*set = (struct dpo_rowset){ .spool = spool, .rows = dpo_spool_count(spool) };
	status = dpo_columns_find(&set->columns, header, err);
	if (status == DPO_OK)
		status = dpo_columns_objectives(&set->columns, header, objective->columns, objective->n_columns, err);
	if (status == DPO_OK && set->rows == 0)
		status = dpo_fail(err, DPO_FORMAT, "no rows");
	if (status == DPO_OK && set->rows >= UINT32_MAX)
		status = dpo_fail(err, DPO_LIMIT, "more than %" PRIu32 " rows", UINT32_MAX);
	if (status != DPO_OK)
		return dpo_error_prefix(err, "%s", name);
	set->values = dpo_alloc(header->n_columns, sizeof *set->values);
	set->scored = dpo_alloc(set->rows, sizeof *set->scored);
	if (!set->values || !set->scored)
		return dpo_fail_memory(err);
	for (size_t i = 0; i < set->rows && status == DPO_OK; i++)
		status = check_row(set, i, config, objective, &margins, err);
	if (status == DPO_OK && !margins && (objective->takes & DPO_TAKES_ODPO_ALPHA))
		status = dpo_fail(err, DPO_FORMAT, "no row has a \"margin\", which the loss odpo needs");
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "%s", name);
}

void
dpo_rowset_free(struct dpo_rowset *set)
{
	free(set->values);
	free(set->scored);
	*set = (struct dpo_rowset){ 0 };
}

/* ------------------------------------------------------------------ order */

enum dpo_status
dpo_order_set(struct dpo_order *order, uint64_t epoch, struct dpo_error *err)
{
	if (order->index && order->epoch == epoch)
		return DPO_OK;
	if (!order->index && !(order->index = dpo_alloc(order->rows, sizeof *order->index)))
		return dpo_fail_memory(err);
	order->epoch = epoch;
	if (order->shuffle)
		return dpo_random_order(order->index, order->rows, order->seed, epoch) ? DPO_OK : dpo_fail_memory(err);
	for (size_t i = 0; i < order->rows; i++)
		order->index[i] = (uint32_t)i;
	return DPO_OK;
}

void
dpo_order_free(struct dpo_order *order)
{
	free(order->index);
	*order = (struct dpo_order){ 0 };
}
