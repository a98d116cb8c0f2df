/*
 * packs - the weights of a decoder's linear maps packed for products in bf16, so that the examples of a step, or of a whole
 * pass, share the packing. Layer 8; uses size, mixed, linear, lora, places.
 *
 * Two bytes per parameter of the maps, and two more for the backward pass.
 */
#ifndef DPO_PACKS_H
#define DPO_PACKS_H

#include "decoder/places.h"

struct dpo_packs {
	struct dpo_linear_pack *list;	/* owned; two of each map */
	uint16_t *data;			/* owned */
	size_t count;
};

/*
 * Numbers (uint16_t) that dpo_packs_init would allocate for places that have no packs; SIZE_MAX if they overflow or memory
 * runs out.
 */
size_t dpo_packs_room(struct dpo_places *places, bool backward);

/*
 * Allocate packs for every linear map and attach them to the places; nothing is packed yet. backward: for the gradients of
 * inputs too. false if out of memory: *packs is then {0}, and the places have no packs. The places must not be used after
 * dpo_packs_free.
 */
bool dpo_packs_init(struct dpo_packs *packs, struct dpo_places *places, bool backward);
void dpo_packs_free(struct dpo_packs *packs);

/* Call after the trained weights change: marks all maps stale, or with an adapter those it trains whole. {0} is allowed. */
void dpo_packs_stale(struct dpo_packs *packs, const struct dpo_places *places);

#endif
