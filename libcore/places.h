/*
 * places - where the decoder's tensors lie in a block of parameters. Layer 6; uses error, family,
 * params, linear, norm.
 *
 * The same places serve weights and gradients.
 */
#ifndef DPO_PLACES_H
#define DPO_PLACES_H

#include "linear.h"
#include "norm.h"
#include "params.h"

/* Tensors of the table, borrowed; NULL where the model has none. */
struct dpo_place {
	const struct dpo_tensor *weight, *bias;
	size_t in, out;			/* of a linear map; of a norm both are its width */
};

struct dpo_layer_places {
	struct dpo_place norm1, norm2;
	struct dpo_place post1, post2;	/* norms of what attention and MLP add */
	struct dpo_place qkv[3];	/* one fused map, or query, key and value */
	struct dpo_place qk_norm[2];	/* of queries, of keys */
	struct dpo_place o;
	struct dpo_place up[2];		/* one map, or gate and up */
	struct dpo_place down;
};

struct dpo_places {
	const struct dpo_config *config;
	size_t n_qkv, n_up;
	const struct dpo_tensor *tokens, *positions;	/* embeddings */
	const struct dpo_tensor *head;	/* `tokens` when tied */
	struct dpo_place norm;		/* the last */
	struct dpo_layer_places *layers;	/* owned */
};

/*
 * Find every tensor of config in params, both borrowed. One that is absent or of another size is
 * DPO_FORMAT.
 */
enum dpo_status dpo_places_init(struct dpo_places *places, const struct dpo_config *config,
	const struct dpo_params *params, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_places_free(struct dpo_places *places);

/* The map and norm at a place; gradients may be NULL in a forward pass. */
struct dpo_linear dpo_places_linear(const struct dpo_places *places, const struct dpo_place *place,
	const float *weights, float *gradients);
struct dpo_norm dpo_places_norm(const struct dpo_places *places, const struct dpo_place *place,
	const float *weights, float *gradients);

#endif
