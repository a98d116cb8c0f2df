/*
 * params - the table of named tensors of a model. Layer 4; uses error, size, dtype, random, family.
 *
 * One table drives loading, allocation, checkpoints, export, weight decay, initialisation, the gradient check and the
 * parameter count. Tensor data lie in one block of `total` floats, each tensor at its offset, in table order, names as in
 * the model's safetensors file. In a read-only block a matrix may be stored as F16 or BF16, in half the room, and a tensor
 * may lie elsewhere; what is trained is always float and in the block.
 */
#ifndef DPO_PARAMS_H
#define DPO_PARAMS_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/random.h"
#include "model/family.h"

#define DPO_RANK_MAX 4

enum dpo_init { DPO_INIT_NORMAL, DPO_INIT_ONE, DPO_INIT_ZERO, DPO_INIT_KAIMING };

struct dpo_tensor {
	char name[96];
	size_t shape[DPO_RANK_MAX];
	size_t rank;
	size_t count;		/* elements */
	size_t offset;		/* floats from the start of the block; a multiple of 16 */
	const void *mapped;	/* borrowed; where it lies instead, in a mapped file (weights.h); NULL: in the block */
	uint8_t hash[DPO_HASH_BYTES];	/* of what is mapped, as it was read (identity.h) */
	enum dpo_dtype dtype;	/* as it lies there */
	enum dpo_init init;
	bool decay;		/* weight decay applies: not to biases and norm weights */
	bool linear;		/* the matrix of a layer's linear map, which an adapter may target */
};

struct dpo_params {
	struct dpo_tensor *list;	/* owned */
	size_t count;
	size_t total;		/* floats of the block, with the padding between tensors (zeros) */
	size_t parameters;	/* elements of all tensors */
};

/* Floats laid out by such a table, and the prefix of their names in a stream. */
struct dpo_params_block {
	const char *prefix;			/* "adam_m/" */
	const struct dpo_params *params;
	float *data;				/* params->total */
};

/* Build the table for config. */
enum dpo_status dpo_params_init(struct dpo_params *params, const struct dpo_config *config,
	struct dpo_error *err)
	DPO_MUST_CHECK;
/* Recompute the block's layout, offsets and total, after dtypes of tensors changed. false if they overflow. */
bool dpo_params_lay_out(struct dpo_params *params);
/*
 * The outputs of a layer's maps, and the elements of its query and key norms; only those with a name count (struct
 * dpo_names).
 */
struct dpo_widths {
	size_t qkv[3], qk_norm[2], up[2];
};
struct dpo_widths dpo_params_widths(const struct dpo_config *config);

/* Where the tensor's numbers are, stored as its dtype. */
const float *dpo_params_data(const struct dpo_tensor *tensor, const float *block);
/* The tensor of that name, or NULL. */
const struct dpo_tensor *dpo_params_find(const struct dpo_params *params, const char *name);
void dpo_params_free(struct dpo_params *params);

#endif
