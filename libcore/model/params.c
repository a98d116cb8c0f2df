#include "model/params.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 };	/* floats: 64 bytes */

/* The table being built; `failed` is looked at once, at the end. */
struct builder {
	struct dpo_params *params;
	const struct dpo_family *family;
	size_t capacity;
	enum dpo_status failed;
};

/* The tensor is placed after those before it. */
static bool
place(struct dpo_params *params, struct dpo_tensor *tensor)
{
	size_t room = tensor->dtype == DPO_DTYPE_F32 ? tensor->count : tensor->count / 2 + tensor->count % 2;

	tensor->offset = params->total;
	if (tensor->mapped)
		return true;
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

/* Append prefix NAME part; columns 0: a vector of `rows`. */
static void
add(struct builder *b, const char *prefix, const char *name, const char *part, size_t rows,
    size_t columns, enum dpo_init init)
{
	struct dpo_params *params = b->params;
	struct dpo_tensor tensor = { .shape = { rows, columns }, .rank = columns ? 2 : 1,
	    .init = init };
	void *list = params->list;

	if (b->failed != DPO_OK)
		return;
	tensor.decay = init == DPO_INIT_NORMAL;
	snprintf(tensor.name, sizeof tensor.name, "%s%s%s", prefix, name, part);
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

/* What has no name is not there. */
static void
add_matrix(struct builder *b, const char *name, size_t rows, size_t columns)
{
	if (name)
		add(b, "", name, ".weight", rows, columns, DPO_INIT_NORMAL);
}

/* A linear map in -> out, in the family's layout. */
static void
add_linear(struct builder *b, const char *prefix, const char *name, size_t in, size_t out,
    bool bias)
{
	bool in_out = b->family->layout == DPO_LAYOUT_IN_OUT;

	if (!name)
		return;
	add(b, prefix, name, ".weight", in_out ? in : out, in_out ? out : in, DPO_INIT_NORMAL);
	if (b->failed == DPO_OK)
		b->params->list[b->params->count - 1].linear = true;
	if (bias)
		add(b, prefix, name, ".bias", out, 0, DPO_INIT_ZERO);
}

static void
add_norm(struct builder *b, const char *prefix, const char *name, size_t n)
{
	if (!name)
		return;
	add(b, prefix, name, ".weight", n, 0,
	    b->family->norm == DPO_NORM_RMS_FROM_ONE ? DPO_INIT_ZERO : DPO_INIT_ONE);
	if (b->family->norm == DPO_NORM_LAYER)
		add(b, prefix, name, ".bias", n, 0, DPO_INIT_ZERO);
}

struct dpo_widths
dpo_params_widths(const struct dpo_config *c)
{
	size_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, n = c->intermediate_size;
	const struct dpo_names *names = &c->family->names;
	bool head = c->family->qk_norm == DPO_QK_NORM_HEAD;

	return (struct dpo_widths){
	    .qkv = { names->qkv[1] ? q : q + 2 * kv, kv, kv },
	    .qk_norm = { head ? c->head_dim : q, head ? c->head_dim : kv },
	    .up = { c->family->mlp == DPO_MLP_GATED && !names->up[1] ? 2 * n : n, n },
	};
}

static void
add_layer(struct builder *b, const struct dpo_config *c, size_t layer)
{
	const struct dpo_names *names = &c->family->names;
	struct dpo_widths w = dpo_params_widths(c);
	char prefix[64];

	snprintf(prefix, sizeof prefix, "%s.%zu.", names->layer, layer);
	add_norm(b, prefix, names->norm1, c->hidden_size);
	for (size_t i = 0; i < 3; i++)
		add_linear(b, prefix, names->qkv[i], c->hidden_size, w.qkv[i], c->attention_bias);
	for (size_t i = 0; i < 2; i++)
		add_norm(b, prefix, names->qk_norm[i], w.qk_norm[i]);
	add_linear(b, prefix, names->o, c->heads * c->head_dim, c->hidden_size, c->output_bias);
	add_norm(b, prefix, names->post1, c->hidden_size);
	add_norm(b, prefix, names->norm2, c->hidden_size);
	for (size_t i = 0; i < 2; i++)
		add_linear(b, prefix, names->up[i], c->hidden_size, w.up[i], c->mlp_bias);
	add_linear(b, prefix, names->down, c->intermediate_size, c->hidden_size, c->mlp_bias);
	add_norm(b, prefix, names->post2, c->hidden_size);
}

enum dpo_status
dpo_params_init(struct dpo_params *params, const struct dpo_config *config, struct dpo_error *err)
{
	const struct dpo_names *names = &config->family->names;
	struct builder b = { .params = params, .family = config->family };

	*params = (struct dpo_params){ 0 };
	add_matrix(&b, names->tokens, config->vocab_size, config->hidden_size);
	add_matrix(&b, names->positions, config->max_positions, config->hidden_size);
	for (size_t i = 0; i < config->layers; i++)
		add_layer(&b, config, i);
	add_norm(&b, "", names->norm, config->hidden_size);
	if (!config->tied_head)
		add_matrix(&b, names->head, config->vocab_size, config->hidden_size);
	if (b.failed == DPO_OK)
		return DPO_OK;
	dpo_params_free(params);
	return b.failed == DPO_NOMEM ? dpo_fail_memory(err) : dpo_fail(err, DPO_LIMIT,
	    "the model has too many parameters");
}

const float *
dpo_params_data(const struct dpo_tensor *tensor, const float *block)
{
	return tensor->mapped ? tensor->mapped : block + tensor->offset;
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
