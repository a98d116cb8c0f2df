/*
 * ggufnames - a model's tensors as llama.cpp names and arranges them. Layer 6; uses error, family, config, params.
 *
 * The names follow from the family's (struct dpo_names): each part has one here, whatever the model calls it. The numbers
 * are rearranged where llama.cpp computes differently: GPT-2's matrices are transposed to rows of outputs; where it rotates
 * neighbouring elements of a head (its "llama"), row 2j + h of a head of Q or K is row h d/2 + j, d = head_dim, h in {0,
 * 1}; q, k and v that a fused tensor has head by head are put one after the other; norm weights that count from 1 get their
 * 1.
 */
#ifndef DPO_GGUFNAMES_H
#define DPO_GGUFNAMES_H

#include "base/error.h"
#include "model/config.h"
#include "model/params.h"

enum dpo_gguf_change {
	DPO_GGUF_AS_IS, DPO_GGUF_TRANSPOSED, DPO_GGUF_QUERY_ROWS, DPO_GGUF_KEY_ROWS, DPO_GGUF_BY_PART, DPO_GGUF_PLUS_ONE,
};

struct dpo_gguf_place {
	char name[96];
	enum dpo_gguf_change change;
	size_t shape[2];	/* after rearranging; as many dimensions as the tensor */
	bool wide;		/* always F32 */
};

/* Where a tensor of the model goes. neighbours: llama.cpp rotates neighbouring elements. No place: DPO_UNSUPPORTED naming it. */
enum dpo_status dpo_gguf_place(struct dpo_gguf_place *place, const struct dpo_config *config, const struct dpo_tensor *tensor,
	bool neighbours, struct dpo_error *err) DPO_MUST_CHECK;

/* to[tensor->count] = from, arranged. Not for DPO_GGUF_AS_IS. */
void dpo_gguf_arrange(float *to, const float *from, const struct dpo_config *config, const struct dpo_tensor *tensor,
	enum dpo_gguf_change change);

#endif
