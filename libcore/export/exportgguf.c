#include "export/exportgguf.h"

#include "base/size.h"
#include "decoder/rope.h"
#include "export/ggufvocab.h"
#include "kernel/narrow.h"
#include "model/gguf.h"
#include "model/ggufnames.h"
#include "tokenizer/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ what llama.cpp computes */

/* The families that are written: model_type, llama.cpp's architecture, and what that does and does not. */
static const struct family {
	const char *model_type, *architecture;
	bool neighbours;	/* rotates neighbours */
	bool head;		/* wants the head of its own that a tied model has not (some did until 2025) */
	bool windows;		/* has the sliding window of this family */
	bool biases;		/* takes those that are there */
	bool factors;		/* takes a factor for each rotary frequency */
	enum dpo_activation activation;
} families[] = {
	{ "gpt2", "gpt2", .head = true, .activation = DPO_ACTIVATION_GELU_TANH },
	{ "gpt_neox", "gptneox", .head = true, .activation = DPO_ACTIVATION_GELU },	/* by its tanh form */
	{ "llama", "llama", .neighbours = true, .biases = true, .factors = true, .activation = DPO_ACTIVATION_SILU },
	{ "mistral", "llama", .neighbours = true, .factors = true, .activation = DPO_ACTIVATION_SILU },
	{ "qwen2", "qwen2", .activation = DPO_ACTIVATION_SILU },
	{ "qwen3", "qwen3", .activation = DPO_ACTIVATION_SILU },
	{ "phi3", "phi3", .factors = true, .activation = DPO_ACTIVATION_SILU },
	{ "gemma2", "gemma2", .windows = true, .activation = DPO_ACTIVATION_GELU_TANH },
	{ "olmo2", "olmo2", .head = true, .activation = DPO_ACTIVATION_SILU },
};

static const struct family *
find_family(const struct dpo_config *config)
{
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (strcmp(families[i].model_type, config->family->model_type) == 0)
			return &families[i];
	return NULL;
}

static bool
same(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fabs(b);
}

/* Gemma 2's scores, by the number of layers of its 27B (46), its caps, and its windows on the even layers. */
static enum dpo_status
check_gemma2(const struct dpo_config *config, struct dpo_error *err)
{
	size_t scalar = config->layers == 46 ? config->hidden_size / config->heads : config->head_dim;

	if (!same(config->query_scalar, (double)scalar))
		return dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp takes %zu for \"query_pre_attn_scalar\", not %g", scalar,
		    config->query_scalar);
	if (!(config->attention_cap > 0 && config->logit_cap > 0))
		return dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp always caps the logits of this family");
	for (size_t layer = 0; layer < config->layers; layer++)
		if ((dpo_config_window(config, layer) > 0) != (layer % 2 == 0))
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "llama.cpp has a window on every other layer of this family, from the first");
	return DPO_OK;
}

static enum dpo_status
check_rope(const struct dpo_config *config, const struct family *family, struct dpo_error *err)
{
	const struct dpo_rope *rope = &config->rope;

	if (rope->kind == DPO_ROPE_DYNAMIC || (rope->kind == DPO_ROPE_LLAMA3 && !(family->factors && family->neighbours)) ||
	    (rope->kind == DPO_ROPE_LONGROPE && !family->factors))
		return dpo_fail(err, DPO_UNSUPPORTED, "this rope scaling is not known to llama.cpp for model_type \"%s\"",
		    family->model_type);
	if (rope->kind == DPO_ROPE_LLAMA3 && rope->dim / 2 > DPO_ROPE_FACTORS)
		return dpo_fail(err, DPO_LIMIT, "llama3 rope scaling of heads of more than %d is not written as GGUF",
		    2 * DPO_ROPE_FACTORS);
	if (rope->kind == DPO_ROPE_YARN && !(rope->truncate && same(rope->scale, 1 + 0.1 * log(rope->factor)) &&
	    same(rope->beta_fast, 32) && same(rope->beta_slow, 1)))
		return dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp has yarn with \"beta_fast\" 32, \"beta_slow\" 1, \"truncate\" "
		    "and its own scale only");
	return DPO_OK;
}

/* Does llama.cpp compute what the configuration says? */
static enum dpo_status
check(const struct dpo_config *config, const struct family *family, struct dpo_error *err)
{
	const struct dpo_config *usual = &config->family->defaults;
	enum dpo_status status;

	if (!family)
		return dpo_fail(err, DPO_UNSUPPORTED, "model_type \"%s\" is not written as GGUF", config->family->model_type);
	if (config->activation != family->activation)
		return dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp computes this family with another activation");
	if (!family->biases && (config->attention_bias != usual->attention_bias || config->output_bias != usual->output_bias ||
	    config->mlp_bias != usual->mlp_bias))
		return dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp has other biases for model_type \"%s\"", family->model_type);
	if (family->windows && (status = check_gemma2(config, err)) != DPO_OK)
		return status;
	return config->family->position == DPO_POSITION_ROPE ? check_rope(config, family, err) : DPO_OK;
}

/* ------------------------------------------------------------------ keys */

/* Keys of an architecture. */
struct keys {
	struct dpo_gguf *gguf;
	const char *architecture;
	char full[96];
};

static const char *
full_key(struct keys *keys, const char *key)
{
	snprintf(keys->full, sizeof keys->full, "%s.%s", keys->architecture, key);
	return keys->full;
}

static void
put_size(struct keys *keys, const char *key, size_t value)
{
	dpo_gguf_u32(keys->gguf, full_key(keys, key), (uint32_t)value);
}

static void
put_number(struct keys *keys, const char *key, double value)
{
	dpo_gguf_f32(keys->gguf, full_key(keys, key), value);
}

static void
put_flag(struct keys *keys, const char *key, bool value)
{
	dpo_gguf_bool(keys->gguf, full_key(keys, key), value);
}

static void
put_text(struct keys *keys, const char *key, const char *text)
{
	dpo_gguf_string(keys->gguf, full_key(keys, key), text, strlen(text));
}

/* Where llama.cpp has no window, no more positions than every layer sees. */
static size_t
context_length(const struct dpo_config *config, const struct family *family)
{
	size_t length = config->max_positions;

	for (size_t layer = 0; layer < config->layers && !family->windows; layer++) {
		size_t window = dpo_config_window(config, layer);

		length = window > 0 && window < length ? window : length;
	}
	return length;
}

static void
put_rope(struct keys *keys, const struct dpo_rope *rope)
{
	put_size(keys, "rope.dimension_count", rope->dim);
	put_number(keys, "rope.freq_base", rope->theta);
	switch (rope->kind) {
	case DPO_ROPE_LINEAR:
		put_text(keys, "rope.scaling.type", "linear");
		put_number(keys, "rope.scaling.factor", rope->factor);
		break;
	case DPO_ROPE_YARN:
		put_text(keys, "rope.scaling.type", "yarn");
		put_number(keys, "rope.scaling.factor", rope->factor);
		put_size(keys, "rope.scaling.original_context_length", rope->original);
		break;
	case DPO_ROPE_LONGROPE:
		put_text(keys, "rope.scaling.type", "longrope");
		put_size(keys, "rope.scaling.original_context_length", rope->original);
		put_number(keys, "rope.scaling.attn_factor", rope->scale);
		break;
	default:
		break;
	}
}

static void
put_model_keys(struct dpo_gguf *gguf, const struct family *family, const struct dpo_config *config, enum dpo_dtype dtype)
{
	static const uint32_t file_types[] = { [DPO_DTYPE_F32] = 0, [DPO_DTYPE_F16] = 1, [DPO_DTYPE_BF16] = 32 };
	struct keys keys = { .gguf = gguf, .architecture = family->architecture };

	dpo_gguf_string(gguf, "general.architecture", family->architecture, strlen(family->architecture));
	dpo_gguf_string(gguf, "general.type", "model", 5);
	dpo_gguf_u32(gguf, "general.file_type", file_types[dtype]);
	put_size(&keys, "vocab_size", config->vocab_size);
	put_size(&keys, "context_length", context_length(config, family));
	put_size(&keys, "embedding_length", config->hidden_size);
	put_size(&keys, "block_count", config->layers);
	put_size(&keys, "feed_forward_length", config->intermediate_size);
	put_size(&keys, "attention.head_count", config->heads);
	put_number(&keys, config->family->norm == DPO_NORM_LAYER ? "attention.layer_norm_epsilon" :
	    "attention.layer_norm_rms_epsilon", config->norm_epsilon);
	if (config->family->position == DPO_POSITION_ROPE) {
		put_size(&keys, "attention.head_count_kv", config->kv_heads);
		put_size(&keys, "attention.key_length", config->head_dim);
		put_size(&keys, "attention.value_length", config->head_dim);
		put_rope(&keys, &config->rope);
	}
	if (config->family->defaults.parallel_residual)
		put_flag(&keys, "use_parallel_residual", config->parallel_residual);
	if (config->attention_cap > 0)
		put_number(&keys, "attn_logit_softcapping", config->attention_cap);
	if (config->logit_cap > 0)
		put_number(&keys, "final_logit_softcapping", config->logit_cap);
	if (family->windows)
		put_size(&keys, "attention.sliding_window", config->window);
}

/* ------------------------------------------------------------------ tensors */

/* The embedding is the head as well. */
static bool
needs_head(const struct dpo_model *model, const struct family *family)
{
	return family->head && model->config.tied_head;
}

static enum dpo_dtype
dtype_of(const struct dpo_gguf_place *place, enum dpo_dtype dtype)
{
	return place->wide ? DPO_DTYPE_F32 : dtype;
}

static enum dpo_status
write_tensor(const struct dpo_model *model, const struct family *family, const struct dpo_tensor *tensor,
    enum dpo_dtype dtype, struct dpo_out *out, struct dpo_error *err)
{
	const float *data = model->weights + tensor->offset;
	struct dpo_gguf_place place;
	float *changed = NULL;
	enum dpo_status status = dpo_gguf_place(&place, &model->config, tensor, family->neighbours, err);

	if (status != DPO_OK)
		return status;
	if (place.change != DPO_GGUF_AS_IS) {
		if (!(changed = dpo_alloc(tensor->count, sizeof *changed)))
			return dpo_fail_memory(err);
		dpo_gguf_arrange(changed, data, &model->config, tensor, place.change);
	}
	dtype = dtype_of(&place, dtype);
	status = dpo_narrow_write(out, changed ? changed : data, tensor->count, dtype, err);
	free(changed);
	if (status != DPO_OK)
		return dpo_error_prefix(err, "tensor \"%s\"", tensor->name);
	return dpo_gguf_pad(out, tensor->count * dpo_dtype_size(dtype), err);
}

/* Factors that rotary frequencies are divided by: llama3's, or longrope's for short and for long sequences. */
struct factors {
	const char *name[2];
	float of[2][DPO_ROPE_FACTORS];
	size_t n, tensors;
};

static void
find_factors(struct factors *factors, const struct dpo_config *config)
{
	const struct dpo_rope *rope = &config->rope;

	*factors = (struct factors){ .n = rope->dim / 2 };
	if (config->family->position != DPO_POSITION_ROPE)
		return;
	if (rope->kind == DPO_ROPE_LLAMA3) {
		factors->tensors = 1;
		factors->name[0] = "rope_freqs.weight";
		for (size_t i = 0; i < factors->n; i++)
			factors->of[0][i] = dpo_rope_divisor(rope, i);
	} else if (rope->kind == DPO_ROPE_LONGROPE) {
		factors->tensors = 2;
		factors->name[0] = "rope_factors_long.weight";
		factors->name[1] = "rope_factors_short.weight";
		memcpy(factors->of[0], rope->long_factors, sizeof factors->of[0]);
		memcpy(factors->of[1], rope->short_factors, sizeof factors->of[1]);
	}
}

static enum dpo_status
write_factors(const struct factors *factors, struct dpo_out *out, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < factors->tensors && status == DPO_OK; i++)
		if ((status = dpo_narrow_write(out, factors->of[i], factors->n, DPO_DTYPE_F32, err)) == DPO_OK)
			status = dpo_gguf_pad(out, factors->n * sizeof(float), err);
	return status;
}

static enum dpo_status
put_tensors(struct dpo_gguf *gguf, const struct dpo_model *model, const struct family *family, const struct factors *factors,
    enum dpo_dtype dtype, struct dpo_error *err)
{
	struct dpo_gguf_place place;
	enum dpo_status status;

	for (size_t t = 0; t < model->params.count; t++) {
		const struct dpo_tensor *tensor = &model->params.list[t];

		if ((status = dpo_gguf_place(&place, &model->config, tensor, family->neighbours, err)) != DPO_OK)
			return status;
		dpo_gguf_tensor(gguf, place.name, place.shape, tensor->rank, dtype_of(&place, dtype));
	}
	if (needs_head(model, family))
		dpo_gguf_tensor(gguf, "output.weight", model->params.list[0].shape, 2, dtype);
	for (size_t i = 0; i < factors->tensors; i++)
		dpo_gguf_tensor(gguf, factors->name[i], &factors->n, 1, DPO_DTYPE_F32);
	return DPO_OK;
}

/*
 * llama.cpp takes a name with "phi3" for a tokenizer with these tokens and their strip rules, and reads no other; Phi-4-mini is of
 * this family too.
 */
static enum dpo_status
put_name(struct dpo_gguf *gguf, const char *model_type, const struct dpo_tokenizer *tokenizer, struct dpo_error *err)
{
	static const char tokens[] = "<s></s><unk><|endoftext|>";
	const char *name = model_type;
	struct dpo_ids ids = { 0 };
	enum dpo_status status = dpo_tokenizer_encode(tokenizer, tokens, strlen(tokens), false, &ids, err);

	if (strcmp(name, "phi3") == 0 && ids.count != 4)
		name = "phi";
	free(ids.ids);
	if (status == DPO_OK)
		dpo_gguf_string(gguf, "general.name", name, strlen(name));
	return status;
}

static enum dpo_status
put_tokenizer(struct dpo_gguf *gguf, const struct dpo_model *model, struct dpo_error *err)
{
	struct dpo_tokenizer *tokenizer;
	enum dpo_status status = dpo_tokenizer_open(&tokenizer, &model->files, err);

	if (status != DPO_OK)
		return status;
	if ((status = put_name(gguf, model->config.family->model_type, tokenizer, err)) == DPO_OK)
		status = dpo_ggufvocab_add(gguf, &model->files, tokenizer, model->config.vocab_size, err);
	dpo_tokenizer_free(tokenizer);
	return status;
}

enum dpo_status
dpo_export_gguf(const struct dpo_model *model, enum dpo_dtype dtype, struct dpo_out *out, struct dpo_error *err)
{
	const struct family *family = find_family(&model->config);
	struct dpo_gguf gguf = { 0 };
	struct factors factors;
	enum dpo_status status;

	if ((status = check(&model->config, family, err)) != DPO_OK)
		return status;
	find_factors(&factors, &model->config);
	put_model_keys(&gguf, family, &model->config, dtype);
	if ((status = put_tokenizer(&gguf, model, err)) == DPO_OK &&
	    (status = put_tensors(&gguf, model, family, &factors, dtype, err)) == DPO_OK)
		status = dpo_gguf_head(&gguf, out, err);
	for (size_t t = 0; t < model->params.count && status == DPO_OK; t++)
		status = write_tensor(model, family, &model->params.list[t], dtype, out, err);
	if (status == DPO_OK && needs_head(model, family))
		status = write_tensor(model, family, &model->params.list[0], dtype, out, err);
	if (status == DPO_OK)
		status = write_factors(&factors, out, err);
	dpo_gguf_free(&gguf);
	return status;
}

void
dpo_export_modelfile(const struct dpo_model *model, const char *name, struct dpo_buffer *out)
{
	dpo_buffer_printf(out, "FROM ./%s\nPARAMETER num_ctx %zu\n", name, model->config.max_positions);
}
