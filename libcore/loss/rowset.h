/*
 * rowset - the rows of a spooled stream by number, and which of them form a step. Layer 12; uses error, size, random,
 * objective, config, score, spool, columns.
 */
#ifndef DPO_ROWSET_H
#define DPO_ROWSET_H

#include "base/error.h"
#include "decoder/score.h"
#include "loss/columns.h"
#include "loss/objective.h"
#include "model/config.h"
#include "stream/spool.h"

struct dpo_rowset {
	struct dpo_spool *spool;	/* borrowed */
	struct dpo_columns columns;
	struct dpo_value *values;	/* owned; of the current row */
	size_t rows;
	uint32_t *scored;		/* owned; scored chosen tokens of each row */
};

/*
 * Read every row once, so that a bad one is found before training and not hours later: what dpo_columns_row refuses;
 * DPO_FORMAT for a token outside the vocabulary, a sequence longer than the model's positions, or no rows at all; what
 * dpo_rowset_suits refuses; DPO_FORMAT if the objective reads margins and no row has one. Errors begin with `name`. Free it
 * even on error.
 */
enum dpo_status dpo_rowset_init(struct dpo_rowset *set, struct dpo_spool *spool, const struct dpo_header *header,
	const struct dpo_config *config, const struct dpo_objective *objective, const char *name, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_rowset_free(struct dpo_rowset *set);

/*
 * Whether the objective can use the row: DPO_UNSUPPORTED for a label_prob other than 1 unless every loss is of a
 * difference, and for a weight other than 1 where the batch is sorted.
 */
enum dpo_status dpo_rowset_suits(const struct dpo_objective *objective, const struct dpo_row *row,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Row `index`, valid until the next call. */
enum dpo_status dpo_rowset_get(struct dpo_rowset *set, size_t index, struct dpo_row *row, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Make room enough for every row of the set, and of the other if it is not NULL (score.h). */
enum dpo_status dpo_rowset_room(struct dpo_rowset *set, struct dpo_rowset *other, struct dpo_scorer *scorer,
	struct dpo_room *room, struct dpo_error *err) DPO_MUST_CHECK;

/* The order of rows in each epoch: as they come, or shuffled by (seed, epoch). {0} with rows, seed and shuffle set is valid. */
struct dpo_order {
	size_t rows;
	uint64_t seed;
	bool shuffle;
	uint32_t *index;	/* owned; of `epoch` */
	uint64_t epoch;
};

/* Bring order->index to that epoch. */
enum dpo_status dpo_order_set(struct dpo_order *order, uint64_t epoch, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_order_free(struct dpo_order *order);

#endif
