/*
 * lineage - whether a stream belongs to a model, by the ids in its chain of stages. Layer 10; uses error, json, header,
 * model, bf16, gemm.
 */
#ifndef DPO_LINEAGE_H
#define DPO_LINEAGE_H

#include "base/error.h"
#include "decoder/model.h"
#include "stream/header.h"

/*
 * The tokenizer that made the stream must be the model's: DPO_MISMATCH showing both. *known becomes false if the stream or
 * the model names none: nothing was checked.
 */
enum dpo_status dpo_lineage_tokenizer(const struct dpo_header *header, const struct dpo_model *model, bool *known,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The id of the model whose log-probs the stream carries: that of its last dpo-reflogp stage, or, if another program took
 * that role, of the last stage that names a model. NULL if none does. Borrowed from header.
 */
const char *dpo_lineage_reference(const struct dpo_header *header);

/* Whether `id` is the model's own id, or its adapter's base, or names a model or a reference in the stages that made it. */
bool dpo_lineage_descends(const struct dpo_model *model, const char *id);

/*
 * What dpo-reflogp recorded about how the reference's log-probs were computed, under the key "dtype" or "kernel" of its
 * settings; or NULL. Borrowed from header.
 */
const char *dpo_lineage_computed(const struct dpo_header *header, const char *key);

/* The kernel of this process's products in that precision (gemm.h, bf16.h). */
const char *dpo_lineage_kernel_here(bool bf16);

#endif
