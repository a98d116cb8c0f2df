#include "params.h"

#include "size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 };	/* floats: 64 bytes */

/* The table being built; `failed` is looked at once, at the end. */
struct builder {
	struct dpo_params *params;
	size_t capacity;
	enum dpo_status failed;
};

/* The tensor's place is behind those before it. */
static bool
place(struct dpo_params *params, struct dpo_tensor *tensor)
{
	size_t room = tensor->dtype == DPO_DTYPE_F32 ? tensor->count : tensor->count / 2 + tensor->count % 2;

	tensor->offset = params->total;
	return dpo_size_add(room, ALIGN - 1, &room) &&
	    dpo_size_add(params->total, room / ALIGN * ALIGN, &params->total);
}

static bool
lay_out(struct dpo_params *params, struct dpo_tensor *tensor)
{
	tensor->count = 1;
	for (size_t d = 0; d < tensor->rank; d++)
		if (!dpo_size_mul(tensor->count, tensor->shape[d], &tensor->count))
			return false;
	return place(params, tensor) &&
	    dpo_size_add(params->parameters, tensor->count, &params->parameters);
}

bool
dpo_params_lay_out(struct dpo_params *params)
{
	params->total = 0;
	for (size_t i = 0; i < params->count; i++)
		if (!place(params, &params->list[i]))
			return false;
	return true;
}

/* Append a tensor; columns 0: a vector of `rows`. */
static void
add(struct builder *b, const char *prefix, const char *name, size_t rows, size_t columns,
    enum dpo_init init)
{
	struct dpo_params *params = b->params;
	struct dpo_tensor tensor = { .shape = { rows, columns }, .rank = columns ? 2 : 1,
	    .init = init };
	void *list = params->list;

	if (b->failed != DPO_OK)
		return;
	tensor.decay = init == DPO_INIT_NORMAL;
	snprintf(tensor.name, sizeof tensor.name, "%s%s", prefix, name);
	if (!lay_out(params, &tensor)) {
		b->failed = DPO_LIMIT;
		return;
	}
	if (!dpo_size_grow(&list, &b->capacity, params->count + 1, sizeof *params->list)) {
		b->failed = DPO_NOMEM;
		return;
	}
	params->list = list;
	params->list[params->count++] = tensor;
}

static void
add_matrix(struct builder *b, const char *prefix, const char *name, size_t rows, size_t columns)
{
	add(b, prefix, name, rows, columns, DPO_INIT_NORMAL);
}

/* A linear map in -> out, prefixNAME.weight and perhaps .bias, in the family's layout. */
static void
add_linear(struct builder *b, const char *prefix, const char *name, size_t in, size_t out,
    enum dpo_layout layout, bool bias)
{
	char full[64];

	snprintf(full, sizeof full, "%s.weight", name);
	if (layout == DPO_LAYOUT_IN_OUT)
		add_matrix(b, prefix, full, in, out);
	else
		add_matrix(b, prefix, full, out, in);
	snprintf(full, sizeof full, "%s.bias", name);
	if (bias)
		add(b, prefix, full, out, 0, DPO_INIT_ZERO);
}

static void
add_norm(struct builder *b, const char *prefix, const char *name, size_t n, bool bias)
{
	char full[64];

	snprintf(full, sizeof full, "%s.weight", name);
	add(b, prefix, full, n, 0, DPO_INIT_ONE);
	snprintf(full, sizeof full, "%s.bias", name);
	if (bias)
		add(b, prefix, full, n, 0, DPO_INIT_ZERO);
}

static void
build_gpt2(struct builder *b, const struct dpo_config *c)
{
	size_t n = c->hidden_size, inner = c->intermediate_size;
	char prefix[64];

	add_matrix(b, "", "transformer.wte.weight", c->vocab_size, n);
	add_matrix(b, "", "transformer.wpe.weight", c->max_positions, n);
	for (size_t i = 0; i < c->layers; i++) {
		snprintf(prefix, sizeof prefix, "transformer.h.%zu.", i);
		add_norm(b, prefix, "ln_1", n, true);
		add_linear(b, prefix, "attn.c_attn", n, 3 * n, DPO_LAYOUT_IN_OUT, true);
		add_linear(b, prefix, "attn.c_proj", n, n, DPO_LAYOUT_IN_OUT, true);
		add_norm(b, prefix, "ln_2", n, true);
		add_linear(b, prefix, "mlp.c_fc", n, inner, DPO_LAYOUT_IN_OUT, true);
		add_linear(b, prefix, "mlp.c_proj", inner, n, DPO_LAYOUT_IN_OUT, true);
	}
	add_norm(b, "", "transformer.ln_f", n, true);
}

static void
build_llama(struct builder *b, const struct dpo_config *c)
{
	size_t n = c->hidden_size, inner = c->intermediate_size;
	size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
	char prefix[64];

	add_matrix(b, "", "model.embed_tokens.weight", c->vocab_size, n);
	for (size_t i = 0; i < c->layers; i++) {
		snprintf(prefix, sizeof prefix, "model.layers.%zu.", i);
		add_norm(b, prefix, "input_layernorm", n, false);
		add_linear(b, prefix, "self_attn.q_proj", n, q, DPO_LAYOUT_OUT_IN,
		    c->attention_bias);
		add_linear(b, prefix, "self_attn.k_proj", n, kv, DPO_LAYOUT_OUT_IN,
		    c->attention_bias);
		add_linear(b, prefix, "self_attn.v_proj", n, kv, DPO_LAYOUT_OUT_IN,
		    c->attention_bias);
		add_linear(b, prefix, "self_attn.o_proj", q, n, DPO_LAYOUT_OUT_IN,
		    c->attention_bias);
		add_norm(b, prefix, "post_attention_layernorm", n, false);
		add_linear(b, prefix, "mlp.gate_proj", n, inner, DPO_LAYOUT_OUT_IN, c->mlp_bias);
		add_linear(b, prefix, "mlp.up_proj", n, inner, DPO_LAYOUT_OUT_IN, c->mlp_bias);
		add_linear(b, prefix, "mlp.down_proj", inner, n, DPO_LAYOUT_OUT_IN, c->mlp_bias);
	}
	add_norm(b, "", "model.norm", n, false);
}

enum dpo_status
dpo_params_init(struct dpo_params *params, const struct dpo_config *config, struct dpo_error *err)
{
	struct builder b = { .params = params };

	*params = (struct dpo_params){ 0 };
	if (config->family->position == DPO_POSITION_LEARNED)
		build_gpt2(&b, config);
	else
		build_llama(&b, config);
	if (!config->tied_head)
		add_matrix(&b, "", "lm_head.weight", config->vocab_size, config->hidden_size);
	if (b.failed == DPO_OK)
		return DPO_OK;
	dpo_params_free(params);
	return b.failed == DPO_NOMEM ? dpo_fail_memory(err) : dpo_fail(err, DPO_LIMIT,
	    "the model has too many parameters");
}

const struct dpo_tensor *
dpo_params_find(const struct dpo_params *params, const char *name)
{
	for (size_t i = 0; i < params->count; i++)
		if (strcmp(params->list[i].name, name) == 0)
			return &params->list[i];
	return NULL;
}

void
dpo_params_free(struct dpo_params *params)
{
	free(params->list);
	*params = (struct dpo_params){ 0 };
}
