/*
 * reference - a reference model that follows the policy: TR-DPO (Gorbatovski et al. 2024, arXiv:2404.09656), as TRL's
 * sync_ref_model. Layer 13; uses error, size, parallel, model, score, columns, rowset.
 *
 * The reference begins as the model to be trained, whose log-probs the rows carry. After every optimizer step s with s %
 * steps == 0, on all weights, in float,
 *
 *	ref = (1 - alpha) ref + alpha policy		(alpha 1: the paper's hard update, below 1: its soft one)
 *
 * and from then on the rows' reference log-probs are those of ref: computed when a row is first requested after a sync,
 * kept until the next one. A row's values depend on the weights and the row alone, never on which rows were requested
 * before, nor on the thread count; so a run resumed from a checkpoint needs only the weights of ref.
 *
 * Memory: a float per parameter, 2 more bytes in bf16; that of a forward pass for the longest row; after the first sync a
 * float per answer token of the rows requested since the last.
 */
#ifndef DPO_REFERENCE_H
#define DPO_REFERENCE_H

#include "base/error.h"
#include "decoder/model.h"
#include "loss/rowset.h"

#include <stdint.h>

struct dpo_reference;

/*
 * The reference of a run at step 0: the model's weights are copied now; the rest is borrowed. alpha: the policy's share, 0
 * to 1; steps: between syncs, at least 1. Rows are those of data and of eval (NULL for none). bf16: as in decoder.h.
 */
enum dpo_status dpo_reference_new(struct dpo_reference **reference, double alpha, uint64_t steps,
	const struct dpo_model *model, struct dpo_rowset *data, struct dpo_rowset *eval, bool bf16, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;
/* Release; NULL is allowed. */
void dpo_reference_free(struct dpo_reference *reference);

/* After optimizer step `step` (from 1): mix in the model's weights if a sync is due. */
void dpo_reference_sync(struct dpo_reference *reference, uint64_t step);

/*
 * After dpo_rowset_get(set, index, row): point row->ref to the log-probs of the reference as it is now, valid until the
 * next sync. Before the first sync the row already carries them, and nothing is done. Errors are those of dpo_score and
 * carry the row's id.
 */
enum dpo_status dpo_reference_row(struct dpo_reference *reference, const struct dpo_rowset *set, size_t index,
	struct dpo_row *row, struct dpo_error *err) DPO_MUST_CHECK;

/* The weights, in the order of the model's table; for checkpoints, which may also fill them. */
float *dpo_reference_weights(struct dpo_reference *reference);
/* Call after the weights were filled with those of a run after `step` steps. */
void dpo_reference_resume(struct dpo_reference *reference, uint64_t step);

#endif
