#include "places.h"

#include "size.h"

#include <stdio.h>
#include <stdlib.h>

/* A family's names; those of a layer follow LAYER.NUMBER.. */
struct names {
	const char *tokens, *positions, *norm, *layer;
	const char *norm1, *norm2, *qkv[3], *o, *up[2], *down;
};

static const struct names gpt2 = {
	.tokens = "transformer.wte", .positions = "transformer.wpe", .norm = "transformer.ln_f",
	.layer = "transformer.h", .norm1 = "ln_1", .norm2 = "ln_2", .qkv = { "attn.c_attn" },
	.o = "attn.c_proj", .up = { "mlp.c_fc" }, .down = "mlp.c_proj",
};

static const struct names llama = {
	.tokens = "model.embed_tokens", .norm = "model.norm", .layer = "model.layers",
	.norm1 = "input_layernorm", .norm2 = "post_attention_layernorm",
	.qkv = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" },
	    .o = "self_attn.o_proj",
	.up = { "mlp.gate_proj", "mlp.up_proj" }, .down = "mlp.down_proj",
};

struct search {
	const struct dpo_params *params;
	const struct names *names;
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

static struct dpo_place
linear(struct search *s, const char *name, size_t in, size_t out, bool bias)
{
	struct dpo_place place = { .in = in, .out = out };
	char full[96];

	in_layer(s, full, name);
	place.weight = find(s, full, "weight", in * out);
	if (bias)
		place.bias = find(s, full, "bias", out);
	return place;
}

static struct dpo_place
norm(struct search *s, const char *full, const struct dpo_config *c)
{
	struct dpo_place place = { 0 };

	place.weight = find(s, full, "weight", c->hidden_size);
	if (c->family->norm == DPO_NORM_LAYER)
		place.bias = find(s, full, "bias", c->hidden_size);
	return place;
}

static struct dpo_place
norm_in_layer(struct search *s, const char *name, const struct dpo_config *c)
{
	char full[96];

	in_layer(s, full, name);
	return norm(s, full, c);
}

static void
find_layer(struct search *s, struct dpo_layer_places *layer, const struct dpo_config *c)
{
	size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, n = c->hidden_size;
	const struct names *names = s->names;

	layer->norm1 = norm_in_layer(s, names->norm1, c);
	layer->norm2 = norm_in_layer(s, names->norm2, c);
	if (c->family->fused_qkv) {
		layer->qkv[0] = linear(s, names->qkv[0], n, q + 2 * kv, c->attention_bias);
	} else {
		layer->qkv[0] = linear(s, names->qkv[0], n, q, c->attention_bias);
		layer->qkv[1] = linear(s, names->qkv[1], n, kv, c->attention_bias);
		layer->qkv[2] = linear(s, names->qkv[2], n, kv, c->attention_bias);
	}
	layer->o = linear(s, names->o, q, n, c->attention_bias);
	layer->up[0] = linear(s, names->up[0], n, c->intermediate_size, c->mlp_bias);
	if (c->family->mlp == DPO_MLP_GATED)
		layer->up[1] = linear(s, names->up[1], n, c->intermediate_size, c->mlp_bias);
	layer->down = linear(s, names->down, c->intermediate_size, n, c->mlp_bias);
}

enum dpo_status
dpo_places_init(struct dpo_places *places, const struct dpo_config *config,
    const struct dpo_params *params, struct dpo_error *err)
{
	const struct dpo_family *family = config->family;
	struct search s = { .params = params, .err = err };
	size_t table = config->vocab_size * config->hidden_size;

	s.names = family->position == DPO_POSITION_LEARNED ? &gpt2 : &llama;
	*places = (struct dpo_places){ .config = config };
	places->n_qkv = family->fused_qkv ? 1 : 3;
	places->n_up = family->mlp == DPO_MLP_GATED ? 2 : 1;
	places->layers = dpo_alloc(config->layers, sizeof *places->layers);
	if (!places->layers)
		return dpo_fail_memory(err);
	places->tokens = find(&s, s.names->tokens, "weight", table);
	if (s.names->positions)
		places->positions = find(&s, s.names->positions, "weight",
		    config->max_positions * config->hidden_size);
	for (s.layer = 0; s.layer < config->layers; s.layer++)
		find_layer(&s, &places->layers[s.layer], config);
	places->norm = norm(&s, s.names->norm, config);
	places->head = config->tied_head ? places->tokens : find(&s, "lm_head", "weight", table);
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

static const float *
of_weights(const float *weights, const struct dpo_tensor *tensor)
{
	return tensor ? weights + tensor->offset : NULL;
}

static float *
of_gradients(float *gradients, const struct dpo_tensor *tensor)
{
	return tensor && gradients ? gradients + tensor->offset : NULL;
}

struct dpo_linear
dpo_places_linear(const struct dpo_places *places, const struct dpo_place *place,
    const float *weights, float *gradients)
{
	return (struct dpo_linear){ .in = place->in, .out = place->out,
	    .layout = places->config->family->layout, .dtype = place->weight->dtype,
	    .weight = of_weights(weights, place->weight), .bias = of_weights(weights, place->bias),
	    .d_weight = of_gradients(gradients, place->weight), .d_bias = of_gradients(gradients,
	    place->bias) };
}

struct dpo_norm
dpo_places_norm(const struct dpo_places *places, const struct dpo_place *place,
    const float *weights, float *gradients)
{
	return (struct dpo_norm){ .kind = places->config->family->norm,
	    .n = places->config->hidden_size,
	    .epsilon = (float)places->config->norm_epsilon,
	    .weight = of_weights(weights, place->weight), .bias = of_weights(weights, place->bias),
	    .d_weight = of_gradients(gradients, place->weight), .d_bias = of_gradients(gradients,
	    place->bias) };
}
