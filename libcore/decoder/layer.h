/*
 * layer - one layer of the decoder, forward and backward. Layer 8; uses arena, cache, config, dropout,
 * pack, places, linear, lowrank, skinny, norm, rope, attention, activation, vector.
 *
 *	x += post1(o(attention(qkv(norm1 x)))), x += post2(down(act(up(norm2 x))))
 *
 * A norm that the family lacks (family.h) is left out; with a parallel residual both parts read the
 * same x. Queries and keys go through their norms, if there are any, and are rotated.
 */
#ifndef DPO_LAYER_H
#define DPO_LAYER_H

#include "base/arena.h"
#include "decoder/cache.h"
#include "decoder/pack.h"
#include "decoder/places.h"

/* What the forward pass keeps of a layer. Rows are those of the sequence. */
struct dpo_saved {
	float *x;		/* [hidden], the layer's input */
	float *raw[2];		/* [query], [kv], before their norms; NULL if there are none */
	float *qkv;		/* [qkv], after rope */
	float *attended;	/* [query], attention's output */
	float *log_sums;	/* [heads][rows] */
	float *added[2];	/* [hidden], what attention and MLP add, before its norm; or NULL */
	float *middle;		/* [hidden], after attention */
	float *up;		/* [up], before the activation */
};

/* What all layers share; the memory is an arena's. */
struct dpo_layers {
	const struct dpo_config *config;	/* borrowed */
	const struct dpo_places *places;	/* borrowed */
	int threads;
	size_t hidden, query, kv, qkv, inner, up;	/* widths of rows */
	const float *rope;		/* borrowed; table of rotations, or NULL */
	bool bf16;			/* products of maps (linear.h), adapters (lowrank.h) and attention (strip.h) are in bf16 */
	float *scratch;			/* for products in bf16, or tiles of matrices that are not float */
	float *lowrank, *lowrank_v;	/* for adapters: scratch, and v of the current map (lowrank.h) */
	bool dropping;			/* with dropout, by this key: */
	struct dpo_dropout_key dropout;
	/* generation only: of the current pass */
	struct dpo_cache *const *caches;	/* of each row, if `step`, or the one of all; NULL: none */
	bool step;			/* rows are of different sequences, one token each */
	float *normed, *stats;		/* [hidden], [2] */
	float *heads, *head_stats;	/* [query], [2 heads]: queries or keys by themselves */
	float *activated;		/* [inner] */
	/* backward only */
	float *dx;			/* [hidden], the gradient passed from layer to layer */
	float *d_branch, *d_normed, *d_attended, *d_qkv, *d_raw, *d_up, *d_activated, *partial;
	float *d_scores;		/* scratch of attention */
};

/* The widths, of config and places (borrowed). */
struct dpo_layers dpo_layers_of(const struct dpo_config *config, const struct dpo_places *places,
	int threads);

/* Take the memory of one layer, and what layers share, for that many rows. */
void dpo_saved_carve(struct dpo_saved *saved, const struct dpo_layers *layers, size_t rows,
	struct dpo_arena *arena);
void dpo_layers_carve(struct dpo_layers *layers, size_t rows, bool train, struct dpo_arena *arena);

/* out[rows][hidden] from saved->x, filling in the rest of saved. out may be saved->x. */
void dpo_layer_forward(const struct dpo_layers *layers, size_t layer, const struct dpo_saved *saved,
	const struct dpo_sequence *sequence, const float *weights, float *out);

/*
 * Recompute what dpo_layer_forward left in saved from saved->x, to the same bits: needed before dpo_layer_backward where
 * layers share the memory of all but x.
 */
void dpo_layer_again(const struct dpo_layers *layers, size_t layer, const struct dpo_saved *saved,
	const struct dpo_sequence *sequence, const float *weights);

/* Turn layers->dx from the gradient of the layer's output into that of its input, and add to gradients. */
void dpo_layer_backward(const struct dpo_layers *layers, size_t layer, const struct dpo_saved *saved,
	const struct dpo_sequence *sequence, const float *weights, float *gradients);

#endif
