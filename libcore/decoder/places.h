/*
 * places - where the decoder's tensors are in a block of parameters. Layer 7; uses error, size, family, params, linear,
 * norm, lowrank, lora.
 *
 * The same places serve weights and gradients. With an adapter the gradients are those of the adapter's table, and what
 * the adapter trains whole is read from its block.
 */
#ifndef DPO_PLACES_H
#define DPO_PLACES_H

#include "decoder/linear.h"
#include "decoder/lora.h"
#include "decoder/lowrank.h"
#include "decoder/norm.h"
#include "model/params.h"

/* Tensors of the table, borrowed; NULL where the model has none. */
struct dpo_place {
	const struct dpo_tensor *weight, *bias;
	size_t in, out;			/* of a linear map; of a norm both are its width */
	struct dpo_linear_pack *pack;	/* of a linear map (packs.h), or NULL */
	uint16_t *mask;			/* of its adapter's dropout, if that is on */
	float *u;			/* of its adapter (lowrank.h), if it has one */
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
	const struct dpo_lora *lora;	/* borrowed; NULL at first: no adapter */
	size_t n_qkv, n_up;
	const struct dpo_tensor *tokens, *positions;	/* embeddings */
	const struct dpo_tensor *head;	/* `tokens` when tied */
	struct dpo_linear_pack *head_pack;
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

#define DPO_PLACES_MAPS 7
/* The linear maps of a layer; absent maps have weight NULL. */
void dpo_places_maps(struct dpo_layer_places *layer, struct dpo_place *maps[DPO_PLACES_MAPS]);

/* Where a tensor's numbers and gradients are. */
struct dpo_home {
	const float *data;
	enum dpo_dtype dtype;
	float *gradients;	/* NULL if it is not trained */
};

/* tensor and gradients may be NULL. */
struct dpo_home dpo_places_home(const struct dpo_places *places, const struct dpo_tensor *tensor, const float *weights,
	float *gradients);
/* Whether a gradient is needed at or below a layer, the embeddings being below layer 0. */
bool dpo_places_trained(const struct dpo_places *places, size_t layer);
/* Whether one is needed for what the layer's attention reads: for anything below the layer, or for the norm before it. */
bool dpo_places_below(const struct dpo_places *places, size_t layer);
/* The adapter of the map at a place into *low, without scratch, bf16 and dropout's key; false if it has none. */
bool dpo_places_lowrank(const struct dpo_places *places, const struct dpo_place *place, float *gradients,
	struct dpo_lowrank *low);
/* The map and norm at a place; gradients may be NULL in a forward pass. */
struct dpo_linear dpo_places_linear(const struct dpo_places *places, const struct dpo_place *place,
	const float *weights, float *gradients);
struct dpo_norm dpo_places_norm(const struct dpo_places *places, const struct dpo_place *place,
	const float *weights, float *gradients);

#endif
