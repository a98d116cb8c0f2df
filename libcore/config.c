#include "config.h"

#include "json.h"

#include <stddef.h>
#include <string.h>

enum { SIZE_LIMIT = 1 << 24, LAYERS_LIMIT = 4096, REQUIRED = -1, DERIVED = 0 };

/* ------------------------------------------------------------------ keys
 * Every key of a config.json is in one of these tables, or it is refused: it may change the
 * mathematics. An absent or null key has its fallback, or the value demanded of it.
 */
enum kind {
	SIZE,		/* 1 to SIZE_LIMIT, into the field; DERIVED leaves 0 */
	POSITIVE,	/* a double above 0, into the field */
	FLAG,		/* a bool, into the field */
	READ_APART,	/* by a function of its own */
	MUST_BE_TRUE, MUST_BE_FALSE, MUST_BE_ONE, MUST_BE_EMPTY,
};

struct key {
	const char *name;
	enum kind kind;
	size_t offset;		/* of the field in struct dpo_config */
	double fallback;
};

#define FIELD(name) offsetof(struct dpo_config, name)

static const struct key common_keys[] = {
	{ "vocab_size", SIZE, FIELD(vocab_size), REQUIRED },
	{ "initializer_range", POSITIVE, FIELD(initializer_range), 0.02 },
	{ "model_type", READ_APART, 0, 0 },
	{ "add_cross_attention", MUST_BE_FALSE, 0, 0 },
	{ "is_encoder_decoder", MUST_BE_FALSE, 0, 0 },
	{ "pruned_heads", MUST_BE_EMPTY, 0, 0 },
	{ "quantization_config", MUST_BE_EMPTY, 0, 0 },
	{ NULL, READ_APART, 0, 0 },
};

static const struct key gpt2_keys[] = {
	{ "n_embd", SIZE, FIELD(hidden_size), REQUIRED },
	{ "n_layer", SIZE, FIELD(layers), REQUIRED },
	{ "n_head", SIZE, FIELD(heads), REQUIRED },
	{ "n_ctx", SIZE, FIELD(max_positions), DERIVED },
	{ "n_positions", SIZE, FIELD(max_positions), DERIVED },	/* wins over n_ctx */
	{ "n_inner", SIZE, FIELD(intermediate_size), DERIVED },
	{ "layer_norm_epsilon", POSITIVE, FIELD(norm_epsilon), 1e-5 },
	{ "tie_word_embeddings", FLAG, FIELD(tied_head), true },
	{ "activation_function", READ_APART, 0, 0 },
	{ "scale_attn_weights", MUST_BE_TRUE, 0, 0 },
	{ "scale_attn_by_inverse_layer_idx", MUST_BE_FALSE, 0, 0 },
	{ NULL, READ_APART, 0, 0 },
};

static const struct key llama_keys[] = {
	{ "hidden_size", SIZE, FIELD(hidden_size), REQUIRED },
	{ "intermediate_size", SIZE, FIELD(intermediate_size), REQUIRED },
	{ "num_hidden_layers", SIZE, FIELD(layers), REQUIRED },
	{ "num_attention_heads", SIZE, FIELD(heads), REQUIRED },
	{ "num_key_value_heads", SIZE, FIELD(kv_heads), DERIVED },
	{ "head_dim", SIZE, FIELD(head_dim), DERIVED },
	{ "max_position_embeddings", SIZE, FIELD(max_positions), 2048 },
	{ "rms_norm_eps", POSITIVE, FIELD(norm_epsilon), 1e-6 },
	{ "rope_theta", POSITIVE, FIELD(rope_theta), 10000 },
	{ "attention_bias", FLAG, FIELD(attention_bias), false },
	{ "mlp_bias", FLAG, FIELD(mlp_bias), false },
	{ "tie_word_embeddings", FLAG, FIELD(tied_head), false },
	{ "hidden_act", READ_APART, 0, 0 },
	{ "rope_scaling", READ_APART, 0, 0 },
	{ "rope_parameters", READ_APART, 0, 0 },
	{ "rope_interleaved", MUST_BE_FALSE, 0, 0 },
	{ "pretraining_tp", MUST_BE_ONE, 0, 0 },
	{ NULL, READ_APART, 0, 0 },
};

/*
 * Without influence on a log-probability: what transformers writes for any model, in versions 3 to
 * 5, settings of generation once kept here, dropout (there is none), and what tools leave behind.
 */
static const char *const harmless[] = {
	"architectures", "dtype", "torch_dtype", "use_cache", "transformers_version",
	"transformers.js_config", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
	"unk_token_id", "decoder_start_token_id", "_name_or_path", "name_or_path", "_commit_hash",
	"_attn_implementation", "attn_implementation", "_attn_implementation_autoset",
	"gradient_checkpointing", "is_decoder", "chunk_size_feed_forward",
	"cross_attention_hidden_size", "tie_encoder_decoder", "torchscript", "use_bfloat16",
	"tf_legacy_loss", "return_dict", "return_dict_in_generate", "output_attentions",
	"output_hidden_states", "output_scores", "output_past", "id2label", "label2id",
	"num_labels", "problem_type", "finetuning_task", "task_specific_params", "tokenizer_class",
	"prefix", "unsloth_version", "unsloth_fixed", "max_length", "min_length", "do_sample",
	"early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
	"top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
	"no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
	"num_return_sequences", "forced_bos_token_id", "forced_eos_token_id",
	"remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
	"begin_suppress_tokens", NULL,
};

static const char *const gpt2_harmless[] = {
	"reorder_and_upcast_attn", "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_activation",
	"summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
	"predict_special_tokens", "n_special", "afn", NULL,
};

static const char *const llama_harmless[] = {
	"attention_dropout", "max_sequence_length", "is_llama_config", NULL,
};

static const struct key *
find_key(const struct key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

static bool
is_among(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static bool
as_demanded(const cJSON *item, enum kind kind)
{
	switch (kind) {
	case MUST_BE_TRUE:
		return cJSON_IsTrue(item);
	case MUST_BE_FALSE:
		return cJSON_IsFalse(item);
	case MUST_BE_ONE:
		return cJSON_IsNumber(item) && item->valuedouble == 1;
	case MUST_BE_EMPTY:
		return (cJSON_IsObject(item) || cJSON_IsArray(item)) && !item->child;
	default:
		return true;
	}
}

static enum dpo_status
check_keys(const cJSON *tree, const struct key *keys, const char *const *family_harmless,
    struct dpo_error *err)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, tree) {
		const struct key *key = find_key(common_keys, item->string);

		if (!key)
			key = find_key(keys, item->string);
		if (cJSON_IsNull(item))
			continue;
		if (!key && !is_among(harmless, item->string) &&
		    !is_among(family_harmless, item->string))
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "key \"%.100s\" is not known and may change the mathematics",
			    item->string);
		if (key && !as_demanded(item, key->kind))
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "this value of \"%s\" is not supported", key->name);
	}
	return DPO_OK;
}

/* ------------------------------------------------------------------ fields */

static enum dpo_status
read_size(size_t *size, const cJSON *tree, const struct key *key, struct dpo_error *err)
{
	const cJSON *item = dpo_json_get(tree, key->name);
	enum dpo_status status;
	int64_t value;

	if (key->fallback >= 0 && (!item || cJSON_IsNull(item))) {
		if (key->fallback > 0)
			*size = (size_t)key->fallback;
		return DPO_OK;
	}
	if ((status = dpo_json_integer(&value, tree, key->name, 1, SIZE_LIMIT, err)) == DPO_OK)
		*size = (size_t)value;
	return status;
}

static enum dpo_status
read_positive(double *value, const cJSON *tree, const char *key, double fallback,
    struct dpo_error *err)
{
	enum dpo_status status = dpo_json_number_or(value, tree, key, fallback, err);

	if (status == DPO_OK && !(*value > 0))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is %g, not above 0", key, *value);
	return status;
}

static enum dpo_status
read_field(void *field, const cJSON *tree, const struct key *key, struct dpo_error *err)
{
	switch (key->kind) {
	case SIZE:
		return read_size(field, tree, key, err);
	case POSITIVE:
		return read_positive(field, tree, key->name, key->fallback, err);
	case FLAG:
		return dpo_json_bool_or(field, tree, key->name, key->fallback != 0, err);
	default:
		return DPO_OK;
	}
}

static enum dpo_status
read_fields(struct dpo_config *config, const cJSON *tree, const struct key *keys,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (; keys->name && status == DPO_OK; keys++)
		status = read_field((char *)config + keys->offset, tree, keys, err);
	return status;
}

/* The activation must be one of `names`, the first of which is the default. */
static enum dpo_status
check_activation(const cJSON *tree, const char *key, const char *const *names,
    struct dpo_error *err)
{
	const char *value;
	enum dpo_status status = dpo_json_string_or(&value, tree, key, names[0], err);

	if (status != DPO_OK || is_among(names, value))
		return status;
	return dpo_fail(err, DPO_UNSUPPORTED, "\"%s\" is \"%.100s\", which is not supported", key,
	    value);
}

/* ------------------------------------------------------------------ families */

static enum dpo_status
finish_gpt2(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	static const char *const activations[] = { "gelu_new", "gelu_pytorch_tanh", NULL };

	if (config->max_positions == 0)
		return dpo_fail(err, DPO_FORMAT, "\"n_positions\" is missing");
	if (config->hidden_size % config->heads != 0)
		return dpo_fail(err, DPO_FORMAT,
		    "\"n_embd\" %zu is not a multiple of \"n_head\" %zu", config->hidden_size,
		    config->heads);
	if (config->intermediate_size == 0)
		config->intermediate_size = 4 * config->hidden_size;
	config->kv_heads = config->heads;
	config->head_dim = config->hidden_size / config->heads;
	config->attention_bias = config->mlp_bias = true;
	return check_activation(tree, "activation_function", activations, err);
}

/*
 * rope_parameters as transformers 5 writes it, or its elder rope_scaling: only plain rope; its
 * rope_theta counts.
 */
static enum dpo_status
read_rope(struct dpo_config *config, const cJSON *tree, const char *key, struct dpo_error *err)
{
	const cJSON *rope = dpo_json_get(tree, key), *item;

	if (!rope || cJSON_IsNull(rope))
		return DPO_OK;
	if (!cJSON_IsObject(rope))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not an object", key);
	cJSON_ArrayForEach(item, rope) {
		bool type = cJSON_IsString(item) && (strcmp(item->string, "rope_type") == 0 ||
		    strcmp(item->string, "type") == 0);

		if (type && strcmp(item->valuestring, "default") != 0)
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "\"%s\" of type \"%.100s\" is not supported", key, item->valuestring);
		if (!type && strcmp(item->string, "rope_theta") != 0)
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "\"%.100s\" in \"%s\" is not supported", item->string, key);
	}
	return read_positive(&config->rope_theta, rope, "rope_theta", config->rope_theta, err);
}

static enum dpo_status
finish_heads(struct dpo_config *config, struct dpo_error *err)
{
	if (config->kv_heads == 0)
		config->kv_heads = config->heads;
	if (config->heads % config->kv_heads != 0)
		return dpo_fail(err, DPO_FORMAT, "\"num_attention_heads\" %zu is not a multiple of "
		    "\"num_key_value_heads\" %zu", config->heads, config->kv_heads);
	if (config->head_dim == 0 && config->hidden_size % config->heads != 0)
		return dpo_fail(err, DPO_FORMAT, "\"hidden_size\" %zu is not a multiple of "
		    "\"num_attention_heads\" %zu", config->hidden_size, config->heads);
	if (config->head_dim == 0)
		config->head_dim = config->hidden_size / config->heads;
	if (config->head_dim % 2 != 0)
		return dpo_fail(err, DPO_FORMAT, "head dimension %zu is odd", config->head_dim);
	if (config->head_dim > SIZE_LIMIT / config->heads)
		return dpo_fail(err, DPO_LIMIT, "%zu heads of %zu are more than %d", config->heads,
		    config->head_dim, SIZE_LIMIT);
	return DPO_OK;
}

static enum dpo_status
finish_llama(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	static const char *const activations[] = { "silu", "swish", NULL };
	enum dpo_status status;

	if ((status = check_activation(tree, "hidden_act", activations, err)) != DPO_OK ||
	    (status = read_rope(config, tree, "rope_scaling", err)) != DPO_OK ||
	    (status = read_rope(config, tree, "rope_parameters", err)) != DPO_OK)
		return status;
	return finish_heads(config, err);
}

struct row {
	struct dpo_family family;
	const struct key *keys;
	const char *const *harmless;
	enum dpo_status (*finish)(struct dpo_config *, const cJSON *, struct dpo_error *);
};

static const struct row rows[] = {
	{ { "gpt2", DPO_NORM_LAYER, DPO_POSITION_LEARNED, DPO_MLP_PLAIN, DPO_ACTIVATION_GELU_TANH,
	    DPO_LAYOUT_IN_OUT, true }, gpt2_keys, gpt2_harmless, finish_gpt2 },
	{ { "llama", DPO_NORM_RMS, DPO_POSITION_ROPE, DPO_MLP_GATED, DPO_ACTIVATION_SILU,
	    DPO_LAYOUT_OUT_IN, false }, llama_keys, llama_harmless, finish_llama },
};

static enum dpo_status
find_row(const struct row **row, const cJSON *tree, struct dpo_error *err)
{
	const char *type;
	enum dpo_status status = dpo_json_string(&type, tree, "model_type", err);

	if (status != DPO_OK)
		return status;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		*row = &rows[i];
		if (strcmp((*row)->family.model_type, type) == 0)
			return DPO_OK;
	}
	return dpo_fail(err, DPO_UNSUPPORTED, "model_type \"%.100s\" is not supported", type);
}

static enum dpo_status
read_tree(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	const struct row *row = NULL;
	enum dpo_status status;

	if (!cJSON_IsObject(tree))
		return dpo_fail(err, DPO_FORMAT, "not a JSON object");
	if ((status = find_row(&row, tree, err)) != DPO_OK ||
	    (status = check_keys(tree, row->keys, row->harmless, err)) != DPO_OK ||
	    (status = read_fields(config, tree, common_keys, err)) != DPO_OK ||
	    (status = read_fields(config, tree, row->keys, err)) != DPO_OK ||
	    (status = row->finish(config, tree, err)) != DPO_OK)
		return status;
	config->family = &row->family;
	if (config->layers > LAYERS_LIMIT)
		return dpo_fail(err, DPO_LIMIT, "%zu layers are more than %d", config->layers,
		    LAYERS_LIMIT);
	return DPO_OK;
}

enum dpo_status
dpo_config_read(struct dpo_config *config, const char *text, size_t len, struct dpo_error *err)
{
	enum dpo_status status;
	cJSON *tree;

	*config = (struct dpo_config){ 0 };
	if ((status = dpo_json_parse(&tree, text, len, err)) != DPO_OK)
		return status;
	status = read_tree(config, tree, err);
	cJSON_Delete(tree);
	return status;
}

/* ------------------------------------------------------------------ canonical text */

/* 17 digits tell every double apart; the id must not follow changes in how numbers are shown. */
static void
put_number(struct dpo_buffer *out, const char *key, double value)
{
	dpo_buffer_printf(out, "%s=%.17g\n", key, value);
}

void
dpo_config_canonical(const struct dpo_config *config, struct dpo_buffer *out)
{
	dpo_buffer_printf(out, "model_type=%s\n", config->family->model_type);
	dpo_buffer_printf(out, "vocab_size=%zu\nhidden_size=%zu\nlayers=%zu\n", config->vocab_size,
	    config->hidden_size, config->layers);
	dpo_buffer_printf(out, "heads=%zu\nkv_heads=%zu\nhead_dim=%zu\nintermediate_size=%zu\n",
	    config->heads, config->kv_heads, config->head_dim, config->intermediate_size);
	dpo_buffer_printf(out, "attention_bias=%d\nmlp_bias=%d\ntied_head=%d\n",
	    config->attention_bias, config->mlp_bias, config->tied_head);
	put_number(out, "norm_epsilon", config->norm_epsilon);
	if (config->family->position == DPO_POSITION_ROPE)
		put_number(out, "rope_theta", config->rope_theta);
}
