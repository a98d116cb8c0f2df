#include "exportgguf.h"

#include "gguf.h"
#include "ggufvocab.h"
#include "narrow.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ names */

enum change { AS_IS, TRANSPOSED, QUERY_ROWS, KEY_ROWS };

/* A tensor's name up to ".weight" or ".bias", there and here; % is the layer's number. */
static const struct name { const char *from, *to; enum change change; bool wide; } names[] = {
	{ "transformer.wte", "token_embd", AS_IS, false },
	{ "transformer.wpe", "position_embd", AS_IS, true },
	{ "transformer.h.%.ln_1", "blk.%.attn_norm", AS_IS, true },
	{ "transformer.h.%.attn.c_attn", "blk.%.attn_qkv", TRANSPOSED, false },
	{ "transformer.h.%.attn.c_proj", "blk.%.attn_output", TRANSPOSED, false },
	{ "transformer.h.%.ln_2", "blk.%.ffn_norm", AS_IS, true },
	{ "transformer.h.%.mlp.c_fc", "blk.%.ffn_up", TRANSPOSED, false },
	{ "transformer.h.%.mlp.c_proj", "blk.%.ffn_down", TRANSPOSED, false },
	{ "transformer.ln_f", "output_norm", AS_IS, true },
	{ "model.embed_tokens", "token_embd", AS_IS, false },
	{ "model.layers.%.input_layernorm", "blk.%.attn_norm", AS_IS, true },
	{ "model.layers.%.self_attn.q_proj", "blk.%.attn_q", QUERY_ROWS, false },
	{ "model.layers.%.self_attn.k_proj", "blk.%.attn_k", KEY_ROWS, false },
	{ "model.layers.%.self_attn.v_proj", "blk.%.attn_v", AS_IS, false },
	{ "model.layers.%.self_attn.o_proj", "blk.%.attn_output", AS_IS, false },
	{ "model.layers.%.post_attention_layernorm", "blk.%.ffn_norm", AS_IS, true },
	{ "model.layers.%.mlp.gate_proj", "blk.%.ffn_gate", AS_IS, false },
	{ "model.layers.%.mlp.up_proj", "blk.%.ffn_up", AS_IS, false },
	{ "model.layers.%.mlp.down_proj", "blk.%.ffn_down", AS_IS, false },
	{ "model.norm", "output_norm", AS_IS, true },
	{ "lm_head", "output", AS_IS, false },
};

/*
 * The families that are written: model_type, llama.cpp's architecture, whether it rotates neighbours, and whether it wants the
 * head of its own that a tied model has not (llama.cpp did until 2025).
 */
static const struct family {
	const char *model_type, *architecture;
	bool neighbours, head;
	enum dpo_activation activation;		/* the one llama.cpp has */
} families[] = {
	{ "gpt2", "gpt2", false, true, DPO_ACTIVATION_GELU_TANH },
	{ "llama", "llama", true, false, DPO_ACTIVATION_SILU },
};

/* Does the name fit, with digits for %? Its layer, or -1 for none, into *layer, and what is left (".weight") into *rest. */
static bool
fits(const char *pattern, const char *name, long *layer, const char **rest)
{
	char *end;

	*layer = -1;
	while (*pattern) {
		if (*pattern == '%') {
			*layer = strtol(name, &end, 10);
			name = end;
			pattern++;
		} else if (*pattern++ != *name++) {
			return false;
		}
	}
	*rest = name;
	return strcmp(name, ".weight") == 0 || strcmp(name, ".bias") == 0;
}

/* llama.cpp's name of a tensor into to[96], and the row of the table; NULL if it has none. */
static const struct name *
rename_tensor(char *to, const char *from)
{
	const char *rest;
	long layer;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (fits(names[i].from, from, &layer, &rest)) {
			size_t n = strcspn(names[i].to, "%");

			if (layer < 0)
				snprintf(to, 96, "%s%s", names[i].to, rest);
			else
				snprintf(to, 96, "%.*s%ld%s%s", (int)n, names[i].to, layer, names[i].to + n + 1, rest);
			return &names[i];
		}
	return NULL;
}

/* ------------------------------------------------------------------ keys */

static const struct family *
find_family(const struct dpo_config *config)
{
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (strcmp(families[i].model_type, config->family->model_type) == 0)
			return &families[i];
	return NULL;
}

static void
put_size(struct dpo_gguf *gguf, const struct family *family, const char *key, size_t value)
{
	char full[96];

	snprintf(full, sizeof full, "%s.%s", family->architecture, key);
	dpo_gguf_u32(gguf, full, (uint32_t)value);
}

static void
put_number(struct dpo_gguf *gguf, const struct family *family, const char *key, double value)
{
	char full[96];

	snprintf(full, sizeof full, "%s.%s", family->architecture, key);
	dpo_gguf_f32(gguf, full, value);
}

static void
put_model_keys(struct dpo_gguf *gguf, const struct family *family, const struct dpo_config *config, enum dpo_dtype dtype)
{
	static const uint32_t file_types[] = { [DPO_DTYPE_F32] = 0, [DPO_DTYPE_F16] = 1, [DPO_DTYPE_BF16] = 32 };

	dpo_gguf_string(gguf, "general.architecture", family->architecture, strlen(family->architecture));
	dpo_gguf_string(gguf, "general.type", "model", 5);
	dpo_gguf_string(gguf, "general.name", config->family->model_type, strlen(config->family->model_type));
	dpo_gguf_u32(gguf, "general.file_type", file_types[dtype]);
	put_size(gguf, family, "vocab_size", config->vocab_size);
	put_size(gguf, family, "context_length", config->max_positions);
	put_size(gguf, family, "embedding_length", config->hidden_size);
	put_size(gguf, family, "block_count", config->layers);
	put_size(gguf, family, "feed_forward_length", config->intermediate_size);
	put_size(gguf, family, "attention.head_count", config->heads);
	if (config->family->norm == DPO_NORM_LAYER)
		put_number(gguf, family, "attention.layer_norm_epsilon", config->norm_epsilon);
	else
		put_number(gguf, family, "attention.layer_norm_rms_epsilon", config->norm_epsilon);
	if (config->family->position == DPO_POSITION_ROPE) {
		put_size(gguf, family, "attention.head_count_kv", config->kv_heads);
		put_size(gguf, family, "attention.key_length", config->head_dim);
		put_size(gguf, family, "attention.value_length", config->head_dim);
		put_size(gguf, family, "rope.dimension_count", config->rope.dim);
		put_number(gguf, family, "rope.freq_base", config->rope.theta);
	}
}

/* ------------------------------------------------------------------ tensors */

static enum dpo_dtype
dtype_of(const struct name *name, const struct dpo_tensor *tensor, enum dpo_dtype dtype)
{
	return tensor->rank < 2 || name->wide ? DPO_DTYPE_F32 : dtype;
}

static void
transpose(float *to, const float *from, size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < columns; c++)
			to[c * rows + r] = from[r * columns + c];
}

/* The rows of `heads` heads, from halves to neighbours. */
static void
interleave(float *to, const float *from, size_t heads, size_t head_dim, size_t columns)
{
	size_t half = head_dim / 2;

	for (size_t head = 0; head < heads; head++)
		for (size_t j = 0; j < half; j++)
			for (size_t h = 0; h < 2; h++)
				memcpy(to + (head * head_dim + 2 * j + h) * columns, from + (head * head_dim + h * half + j) * columns,
				    columns * sizeof *to);
}

/* The change a tensor needs; none for vectors that are only transposed. */
static enum change
change_of(const struct family *family, const struct name *name, const struct dpo_tensor *tensor)
{
	if (name->change == TRANSPOSED)
		return tensor->rank == 2 ? TRANSPOSED : AS_IS;
	return family->neighbours ? name->change : AS_IS;
}

/* The embedding is the head as well. */
static bool
needs_head(const struct dpo_model *model, const struct family *family)
{
	return family->head && model->config.tied_head;
}

static enum dpo_status
write_tensor(const struct dpo_model *model, const struct family *family, const struct dpo_tensor *tensor,
    enum dpo_dtype dtype, struct dpo_out *out, struct dpo_error *err)
{
	const float *data = model->weights + tensor->offset;
	const struct dpo_config *config = &model->config;
	size_t columns = tensor->rank == 2 ? tensor->shape[1] : 1;
	char to[96];
	const struct name *name = rename_tensor(to, tensor->name);
	enum change change = change_of(family, name, tensor);
	enum dpo_dtype stored = dtype_of(name, tensor, dtype);
	float *changed = NULL;
	enum dpo_status status;

	if (change != AS_IS && !(changed = dpo_alloc(tensor->count, sizeof *changed)))
		return dpo_fail_memory(err);
	if (change == TRANSPOSED)
		transpose(changed, data, tensor->shape[0], columns);
	else if (change != AS_IS)
		interleave(changed, data, change == QUERY_ROWS ? config->heads : config->kv_heads, config->head_dim, columns);
	status = dpo_narrow_write(out, changed ? changed : data, tensor->count, stored, err);
	free(changed);
	if (status != DPO_OK)
		return dpo_error_prefix(err, "tensor \"%s\"", tensor->name);
	return dpo_gguf_pad(out, tensor->count * dpo_dtype_size(stored), err);
}

static enum dpo_status
put_tensors(struct dpo_gguf *gguf, const struct dpo_model *model, const struct family *family, enum dpo_dtype dtype,
    struct dpo_error *err)
{
	for (size_t t = 0; t < model->params.count; t++) {
		const struct dpo_tensor *tensor = &model->params.list[t];
		size_t turned[2] = { tensor->shape[1], tensor->shape[0] };
		char to[96];
		const struct name *name = rename_tensor(to, tensor->name);

		if (!name)
			return dpo_fail(err, DPO_UNSUPPORTED, "GGUF has no name for tensor \"%s\"", tensor->name);
		dpo_gguf_tensor(gguf, to, name->change == TRANSPOSED && tensor->rank == 2 ? turned : tensor->shape, tensor->rank,
		    dtype_of(name, tensor, dtype));
	}
	if (needs_head(model, family))
		dpo_gguf_tensor(gguf, "output.weight", model->params.list[0].shape, 2, dtype);
	return DPO_OK;
}

static enum dpo_status
put_tokenizer(struct dpo_gguf *gguf, const struct dpo_model *model, struct dpo_error *err)
{
	struct dpo_tokenizer *tokenizer;
	enum dpo_status status = dpo_tokenizer_open(&tokenizer, &model->files, err);

	if (status != DPO_OK)
		return status;
	status = dpo_ggufvocab_add(gguf, &model->files, tokenizer, model->config.vocab_size, err);
	dpo_tokenizer_free(tokenizer);
	return status;
}

enum dpo_status
dpo_export_gguf(const struct dpo_model *model, enum dpo_dtype dtype, struct dpo_out *out, struct dpo_error *err)
{
	const struct family *family = find_family(&model->config);
	struct dpo_gguf gguf = { 0 };
	enum dpo_status status;

	if (!family)
		return dpo_fail(err, DPO_UNSUPPORTED, "model_type \"%s\" is not written as GGUF", model->config.family->model_type);
	if (model->config.activation != family->activation)
		return dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp computes this family with another activation");
	if (model->config.rope.kind != DPO_ROPE_PLAIN)
		return dpo_fail(err, DPO_UNSUPPORTED, "rope scaling is not written as GGUF");
	put_model_keys(&gguf, family, &model->config, dtype);
	if ((status = put_tokenizer(&gguf, model, err)) == DPO_OK &&
	    (status = put_tensors(&gguf, model, family, dtype, err)) == DPO_OK)
		status = dpo_gguf_head(&gguf, out, err);
	for (size_t t = 0; t < model->params.count && status == DPO_OK; t++)
		status = write_tensor(model, family, &model->params.list[t], dtype, out, err);
	if (status == DPO_OK && needs_head(model, family))
		status = write_tensor(model, family, &model->params.list[0], dtype, out, err);
	dpo_gguf_free(&gguf);
	return status;
}

void
dpo_export_modelfile(const struct dpo_model *model, const char *name, struct dpo_buffer *out)
{
	dpo_buffer_printf(out, "FROM ./%s\nPARAMETER num_ctx %zu\n", name, model->config.max_positions);
}
