#include "decoder/places.h"

#include "base/error.h"
#include "base/size.h"
#include "model/family.h"

#include <stdio.h>
#include <stdlib.h>

struct search {
	const struct dpo_params *params;
	const struct dpo_names *names;
	size_t layer;
	struct dpo_error *err;
	enum dpo_status status;
};

/* The tensor NAME.PART, which has `count` elements. */
static const struct dpo_tensor *
find(struct search *s, const char *name, const char *part, size_t count)
{
	char full[128];
	const struct dpo_tensor *tensor;

	if (s->status != DPO_OK)
		return NULL;
	snprintf(full, sizeof full, "%s.%s", name, part);
	tensor = dpo_params_find(s->params, full);
	if (!tensor)
		s->status = dpo_fail(s->err, DPO_FORMAT, "no tensor %s", full);
	else if (tensor->count != count)
		s->status = dpo_fail(s->err, DPO_FORMAT,
		    "tensor %s has %zu elements instead of %zu", full, tensor->count, count);
	return s->status == DPO_OK ? tensor : NULL;
}

static void
in_layer(const struct search *s, char full[96], const char *name)
{
	snprintf(full, 96, "%s.%zu.%s", s->names->layer, s->layer, name);
}

/* A map of the layer; one that the family lacks is absent. */
static struct dpo_place
linear(struct search *s, const char *name, size_t in, size_t out, bool bias)
{
	struct dpo_place place = { .in = in, .out = out };
	char full[96];

	if (!name)
		return place;
	in_layer(s, full, name);
	place.weight = find(s, full, "weight", in * out);
	if (bias)
		place.bias = find(s, full, "bias", out);
	return place;
}

static struct dpo_place
norm(struct search *s, const char *full, const struct dpo_config *c, size_t width)
{
	struct dpo_place place = { .in = width, .out = width };

	place.weight = find(s, full, "weight", width);
	if (c->family->norm == DPO_NORM_LAYER)
		place.bias = find(s, full, "bias", width);
	return place;
}

static struct dpo_place
norm_in_layer(struct search *s, const char *name, const struct dpo_config *c, size_t width)
{
	char full[96];

	if (!name)
		return (struct dpo_place){ 0 };
	in_layer(s, full, name);
	return norm(s, full, c, width);
}

static void
find_layer(struct search *s, struct dpo_layer_places *layer, const struct dpo_config *c)
{
	size_t n = c->hidden_size;
	const struct dpo_names *names = s->names;
	struct dpo_widths w = dpo_params_widths(c);

	layer->norm1 = norm_in_layer(s, names->norm1, c, n);
	layer->norm2 = norm_in_layer(s, names->norm2, c, n);
	layer->post1 = norm_in_layer(s, names->post1, c, n);
	layer->post2 = norm_in_layer(s, names->post2, c, n);
	for (size_t i = 0; i < 3; i++)
		layer->qkv[i] = linear(s, names->qkv[i], n, w.qkv[i], c->attention_bias);
	for (size_t i = 0; i < 2; i++)
		layer->qk_norm[i] = norm_in_layer(s, names->qk_norm[i], c, w.qk_norm[i]);
	layer->o = linear(s, names->o, c->heads * c->head_dim, n, c->output_bias);
	for (size_t i = 0; i < 2; i++)
		layer->up[i] = linear(s, names->up[i], n, w.up[i], c->mlp_bias);
	layer->down = linear(s, names->down, c->intermediate_size, n, c->mlp_bias);
}

enum dpo_status
dpo_places_init(struct dpo_places *places, const struct dpo_config *config,
    const struct dpo_params *params, struct dpo_error *err)
{
	struct search s = { .params = params, .names = &config->family->names, .err = err };
	size_t table = config->vocab_size * config->hidden_size;

	*places = (struct dpo_places){ .config = config };
	places->n_qkv = s.names->qkv[1] ? 3 : 1;
	places->n_up = s.names->up[1] ? 2 : 1;
	places->layers = dpo_alloc(config->layers, sizeof *places->layers);
	if (!places->layers)
		return dpo_fail_memory(err);
	places->tokens = find(&s, s.names->tokens, "weight", table);
	if (s.names->positions)
		places->positions = find(&s, s.names->positions, "weight",
		    config->max_positions * config->hidden_size);
	for (s.layer = 0; s.layer < config->layers; s.layer++)
		find_layer(&s, &places->layers[s.layer], config);
	places->norm = norm(&s, s.names->norm, config, config->hidden_size);
	places->head = config->tied_head ? places->tokens : find(&s, s.names->head, "weight", table);
	if (s.status != DPO_OK)
		dpo_places_free(places);
	return s.status;
}

void
dpo_places_free(struct dpo_places *places)
{
	free(places->layers);
	*places = (struct dpo_places){ 0 };
}

void
dpo_places_maps(struct dpo_layer_places *layer, struct dpo_place *maps[DPO_PLACES_MAPS])
{
	for (size_t i = 0; i < 3; i++)
		maps[i] = &layer->qkv[i];
	maps[3] = &layer->o;
	for (size_t i = 0; i < 2; i++)
		maps[4 + i] = &layer->up[i];
	maps[6] = &layer->down;
}

struct dpo_home
dpo_places_home(const struct dpo_places *places, const struct dpo_tensor *tensor, const float *weights, float *gradients)
{
	const struct dpo_tensor *saved = dpo_lora_part(places->lora, tensor).saved;

	if (!tensor)
		return (struct dpo_home){ 0 };
	if (saved)
		return (struct dpo_home){ places->lora->block + saved->offset, DPO_DTYPE_F32,
		    gradients ? gradients + saved->offset : NULL };
	return (struct dpo_home){ dpo_params_data(tensor, weights), tensor->dtype,
	    gradients && !places->lora ? gradients + tensor->offset : NULL };
}

bool
dpo_places_lowrank(const struct dpo_places *places, const struct dpo_place *place, float *gradients,
    struct dpo_lowrank *low)
{
	struct dpo_lora_part part = dpo_lora_part(places->lora, place->weight);

	if (!part.a)
		return false;
	*low = (struct dpo_lowrank){ .in = place->in, .out = place->out, .rank = part.rank, .scale = part.scale,
	    .a = places->lora->block + part.a->offset, .b = places->lora->block + part.b->offset,
	    .d_a = gradients ? gradients + part.a->offset : NULL, .d_b = gradients ? gradients + part.b->offset : NULL,
	    .dropout = { .p = places->lora->config.dropout, .name = part.a->name, .mask = place->mask },
	    .u = place->u };
	return true;
}

static bool
is_trained(const struct dpo_places *places, const struct dpo_place *place)
{
	struct dpo_lora_part weight = dpo_lora_part(places->lora, place->weight), bias = dpo_lora_part(places->lora,
	    place->bias);

	return weight.a || weight.saved || bias.saved;
}

static bool
layer_is_trained(const struct dpo_places *places, const struct dpo_layer_places *layer)
{
	bool trained = is_trained(places, &layer->norm1) || is_trained(places, &layer->norm2) ||
	    is_trained(places, &layer->o) || is_trained(places, &layer->down);

	trained = trained || is_trained(places, &layer->post1) || is_trained(places, &layer->post2);
	for (size_t i = 0; i < 2; i++)
		trained = trained || is_trained(places, &layer->qk_norm[i]);
	for (size_t i = 0; i < places->n_qkv; i++)
		trained = trained || is_trained(places, &layer->qkv[i]);
	for (size_t i = 0; i < places->n_up; i++)
		trained = trained || is_trained(places, &layer->up[i]);
	return trained;
}

static bool
embeddings_are_trained(const struct dpo_places *places)
{
	struct dpo_place tokens = { .weight = places->tokens }, positions = { .weight = places->positions };

	return !places->lora || is_trained(places, &tokens) || is_trained(places, &positions);
}

bool
dpo_places_trained(const struct dpo_places *places, size_t layer)
{
	bool trained = embeddings_are_trained(places);

	for (size_t i = 0; i <= layer && !trained; i++)
		trained = layer_is_trained(places, &places->layers[i]);
	return trained;
}

bool
dpo_places_below(const struct dpo_places *places, size_t layer)
{
	return is_trained(places, &places->layers[layer].norm1) ||
	    (layer > 0 ? dpo_places_trained(places, layer - 1) : embeddings_are_trained(places));
}

struct dpo_linear
dpo_places_linear(const struct dpo_places *places, const struct dpo_place *place,
    const float *weights, float *gradients)
{
	struct dpo_home weight = dpo_places_home(places, place->weight, weights, gradients);
	struct dpo_home bias = dpo_places_home(places, place->bias, weights, gradients);

	return (struct dpo_linear){ .in = place->in, .out = place->out,
	    .layout = places->config->family->layout, .dtype = weight.dtype, .pack = place->pack,
	    .weight = weight.data, .bias = bias.data, .d_weight = weight.gradients, .d_bias = bias.gradients };
}

struct dpo_norm
dpo_places_norm(const struct dpo_places *places, const struct dpo_place *place,
    const float *weights, float *gradients)
{
	struct dpo_home weight = dpo_places_home(places, place->weight, weights, gradients);
	struct dpo_home bias = dpo_places_home(places, place->bias, weights, gradients);

	return (struct dpo_norm){ .kind = places->config->family->norm,
	    .n = place->in,
	    .epsilon = (float)places->config->norm_epsilon,
	    .weight = weight.data, .bias = bias.data, .d_weight = weight.gradients, .d_bias = bias.gradients };
}
