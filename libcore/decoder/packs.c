#include "decoder/packs.h"

#include "base/size.h"
#include "decoder/linear.h"
#include "decoder/lora.h"
#include "kernel/mixed.h"

#include <stdlib.h>

/* Numbers of one way of a map; SIZE_MAX if they overflow. */
static size_t
numbers(size_t in, size_t out, size_t way)
{
	return way == 0 ? dpo_mixed_packed_size(out, in) : dpo_mixed_packed_size(in, out);
}

/* A pass over all maps: counts the numbers, or, once there is room, hands it out. SIZE_MAX if they overflow. */
static size_t
lay_out(struct dpo_packs *packs, struct dpo_places *places, size_t ways)
{
	const struct dpo_config *c = places->config;
	struct dpo_place head = { .weight = places->head, .in = c->hidden_size, .out = c->vocab_size };
	struct dpo_place *maps[DPO_PLACES_MAPS];
	size_t total = 0, at = 0;

	for (size_t layer = 0; layer <= c->layers; layer++) {
		size_t n = layer < c->layers ? DPO_PLACES_MAPS : 1;

		if (layer < c->layers)
			dpo_places_maps(&places->layers[layer], maps);
		else
			maps[0] = &head;
		for (size_t i = 0; i < n; i++, at += 2) {
			struct dpo_linear_pack *pack = &packs->list[at];

			if (!maps[i]->weight)
				continue;
			for (size_t way = 0; way < ways; way++) {
				if (packs->data)
					pack[way] = (struct dpo_linear_pack){ .data = packs->data + total };
				if (!dpo_size_add(total, numbers(maps[i]->in, maps[i]->out, way), &total))
					return SIZE_MAX;
			}
			maps[i]->pack = packs->data ? pack : NULL;
		}
	}
	places->head_pack = head.pack;
	return total;
}

size_t
dpo_packs_room(struct dpo_places *places, bool backward)
{
	struct dpo_packs packs = { .list = dpo_alloc(2 * (places->config->layers * DPO_PLACES_MAPS + 1), sizeof *packs.list) };
	size_t total = packs.list ? lay_out(&packs, places, backward ? 2 : 1) : SIZE_MAX;

	free(packs.list);
	return total;
}

bool
dpo_packs_init(struct dpo_packs *packs, struct dpo_places *places, bool backward)
{
	size_t ways = backward ? 2 : 1, total;

	*packs = (struct dpo_packs){ .count = 2 * (places->config->layers * DPO_PLACES_MAPS + 1) };
	if (!(packs->list = dpo_alloc(packs->count, sizeof *packs->list)) ||
	    (total = lay_out(packs, places, ways)) == SIZE_MAX ||
	    !(packs->data = dpo_alloc_aligned(total, sizeof *packs->data))) {
		dpo_packs_free(packs);
		return false;
	}
	(void)lay_out(packs, places, ways);
	return true;
}

void
dpo_packs_free(struct dpo_packs *packs)
{
	free(packs->list);
	free(packs->data);
	*packs = (struct dpo_packs){ 0 };
}

static void
make_stale(struct dpo_linear_pack *pack)
{
	if (pack)
		pack[0].fresh = pack[1].fresh = false;
}

void
dpo_packs_stale(struct dpo_packs *packs, const struct dpo_places *places)
{
	struct dpo_place *maps[DPO_PLACES_MAPS];

	if (!packs->list)
		return;
	for (size_t layer = 0; layer < places->config->layers; layer++) {
		dpo_places_maps(&places->layers[layer], maps);
		for (size_t i = 0; i < DPO_PLACES_MAPS; i++)
			if (!places->lora || dpo_lora_part(places->lora, maps[i]->weight).saved)
				make_stale(maps[i]->pack);
	}
	if (!places->lora || dpo_lora_part(places->lora, places->head).saved)
		make_stale(places->head_pack);
}
