#include "model/config.h"

#include "base/json.h"
#include "model/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ rotary positions */

static const char *const rope_names[] = {
	[DPO_ROPE_PLAIN] = "default", [DPO_ROPE_LINEAR] = "linear", [DPO_ROPE_DYNAMIC] = "dynamic",
	[DPO_ROPE_LLAMA3] = "llama3", [DPO_ROPE_YARN] = "yarn", [DPO_ROPE_LONGROPE] = "longrope",
};

/* rope_type, or its elder type; Phi-3 called longrope "su", and before that "yarn". */
static enum dpo_status
read_rope_kind(struct dpo_rope *rope, const cJSON *object, const char *where, struct dpo_error *err)
{
	const char *type, *name;
	enum dpo_status status;

	if ((status = dpo_json_string_or(&type, object, "type", rope_names[DPO_ROPE_PLAIN],
	    err)) != DPO_OK ||
	    (status = dpo_json_string_or(&name, object, "rope_type", type, err)) != DPO_OK)
		return status;
	if (strcmp(name, "su") == 0 || (strcmp(name, "yarn") == 0 && rope->short_factors[0] > 0))
		name = rope_names[DPO_ROPE_LONGROPE];
	for (size_t i = 0; i < sizeof rope_names / sizeof *rope_names; i++)
		if (strcmp(rope_names[i], name) == 0) {
			rope->kind = (enum dpo_rope_kind)i;
			return DPO_OK;
		}
	return dpo_fail(err, DPO_UNSUPPORTED, "\"%s\" of type \"%.100s\" is not supported", where,
	    name);
}

/* rope_scaling, or rope_parameters as transformers 5 writes it; its rope_theta counts. */
static enum dpo_status
read_rope(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	static const struct dpo_key *const keys[] = { dpo_rope_keys };
	size_t original = config->rope.original;
	const char *where = "rope_scaling";
	const cJSON *object = dpo_json_get(tree, where);
	enum dpo_status status;

	if (!object || cJSON_IsNull(object))
		object = dpo_json_get(tree, where = "rope_parameters");
	if (!object || cJSON_IsNull(object))
		return DPO_OK;
	if (!cJSON_IsObject(object))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not an object", where);
	if ((status = dpo_fields_check(object, keys, 1, err)) != DPO_OK ||
	    (status = dpo_fields_read(config, object, keys, 1, err)) != DPO_OK)
		return dpo_error_prefix(err, "\"%s\"", where);
	if (original)
		config->rope.original = original;
	return read_rope_kind(&config->rope, object, where, err);
}

static size_t
count_factors(const float *factors)
{
	size_t n = 0;

	while (n < DPO_ROPE_FACTORS && factors[n] > 0)
		n++;
	return n;
}

/* What a kind of stretching cannot do without. */
static enum dpo_status
check_rope(const struct dpo_rope *rope, struct dpo_error *err)
{
	bool factor = rope->kind != DPO_ROPE_PLAIN && rope->kind != DPO_ROPE_LONGROPE;

	if (rope->kind == DPO_ROPE_PLAIN && rope->factor > 0 && rope->factor != 1)
		return dpo_fail(err, DPO_UNSUPPORTED, "rope has a \"factor\", but no type that uses it");
	if (factor && !(rope->factor > 0))
		return dpo_fail(err, DPO_FORMAT, "rope of type \"%s\" has no \"factor\"",
		    rope_names[rope->kind]);
	if (rope->kind == DPO_ROPE_DYNAMIC && rope->dim <= 2)
		return dpo_fail(err, DPO_FORMAT, "rope of type \"dynamic\" needs more than 2 "
		    "rotated elements");
	if (rope->kind == DPO_ROPE_LLAMA3 && !(rope->low_frequency > 0 &&
	    rope->high_frequency > rope->low_frequency))
		return dpo_fail(err, DPO_FORMAT, "rope of type \"llama3\" needs \"low_freq_factor\" "
		    "below \"high_freq_factor\"");
	if (rope->kind == DPO_ROPE_LONGROPE &&
	    (count_factors(rope->short_factors) != rope->dim / 2 ||
	    count_factors(rope->long_factors) != rope->dim / 2))
		return dpo_fail(err, DPO_FORMAT, "rope of type \"longrope\" needs %zu numbers in "
		    "\"short_factor\" and \"long_factor\"", rope->dim / 2);
	return DPO_OK;
}

/* Peng et al. 2023, arXiv:2309.00071, section 3.4; with the weight of transformers. */
static double
yarn_scale(double factor, double weight)
{
	return factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1;
}

/* The scale of cosines and sines, if it is not given. */
static double
rope_scale(const struct dpo_rope *rope)
{
	if (rope->kind == DPO_ROPE_YARN && rope->mscale > 0 && rope->mscale_all > 0)
		return yarn_scale(rope->factor, rope->mscale) /
		    yarn_scale(rope->factor, rope->mscale_all);
	if (rope->kind == DPO_ROPE_YARN)
		return yarn_scale(rope->factor, 1);
	if (rope->kind == DPO_ROPE_LONGROPE && rope->factor > 1)	/* Ding et al. 2024, arXiv:2402.13753 */
		return sqrt(1 + log(rope->factor) / log((double)rope->original));
	return 1;
}

/* Sequences may be as long as what the positions are stretched to. */
static void
stretch(struct dpo_config *config)
{
	const struct dpo_rope *rope = &config->rope;
	bool grows = rope->kind == DPO_ROPE_LINEAR || rope->kind == DPO_ROPE_DYNAMIC ||
	    rope->kind == DPO_ROPE_YARN;
	double positions = rope->factor * (double)rope->original;

	if (grows && positions > (double)config->max_positions)
		config->max_positions = positions < (double)DPO_SIZE_LIMIT ? (size_t)positions :
		    DPO_SIZE_LIMIT;
}

static enum dpo_status
finish_rope(struct dpo_config *config, struct dpo_error *err)
{
	struct dpo_rope *rope = &config->rope;
	double part = rope->part > 0 ? rope->part : 1;
	enum dpo_status status;

	if (part > 1 || (part < 1 && !(config->family->defaults.rope.part > 0)))
		return dpo_fail(err, DPO_UNSUPPORTED,
		    "this value of \"partial_rotary_factor\" is not supported");
	rope->dim = (size_t)((double)config->head_dim * part);
	if (rope->dim == 0 || rope->dim % 2 != 0)
		return dpo_fail(err, DPO_FORMAT, "%zu of %zu elements of a head are rotated, which "
		    "is not even", rope->dim, config->head_dim);
	if (rope->original == 0 || rope->kind == DPO_ROPE_LINEAR || rope->kind == DPO_ROPE_DYNAMIC)
		rope->original = config->max_positions;
	if ((status = check_rope(rope, err)) != DPO_OK)
		return status;
	if (rope->kind == DPO_ROPE_LONGROPE && !(rope->factor > 0))
		rope->factor = (double)config->max_positions / (double)rope->original;
	if (!(rope->scale > 0) || (rope->kind != DPO_ROPE_YARN && rope->kind != DPO_ROPE_LONGROPE))
		rope->scale = rope_scale(rope);
	stretch(config);
	return DPO_OK;
}

/* ------------------------------------------------------------------ heads and windows */

static enum dpo_status
finish_heads(struct dpo_config *config, struct dpo_error *err)
{
	if (config->kv_heads == 0)
		config->kv_heads = config->heads;
	if (config->heads % config->kv_heads != 0)
		return dpo_fail(err, DPO_FORMAT, "%zu heads are not a multiple of %zu key-value "
		    "heads", config->heads, config->kv_heads);
	if (config->head_dim == 0 && config->hidden_size % config->heads != 0)
		return dpo_fail(err, DPO_FORMAT, "a hidden size of %zu is not a multiple of %zu "
		    "heads", config->hidden_size, config->heads);
	if (config->head_dim == 0)
		config->head_dim = config->hidden_size / config->heads;
	if (config->head_dim > DPO_SIZE_LIMIT / config->heads)
		return dpo_fail(err, DPO_LIMIT, "%zu heads of %zu are more than %zu", config->heads,
		    config->head_dim, DPO_SIZE_LIMIT);
	if (config->head_dim > DPO_HEAD_DIM_LIMIT)
		return dpo_fail(err, DPO_LIMIT, "heads of %zu are larger than %zu", config->head_dim, DPO_HEAD_DIM_LIMIT);
	if (!(config->query_scalar > 0))
		config->query_scalar = (double)config->head_dim;
	return DPO_OK;
}

static void
set_window(struct dpo_config *config, size_t layer, bool on)
{
	if (on)
		config->windowed[layer / 8] |= (uint8_t)(1u << layer % 8);
}

size_t
dpo_config_window(const struct dpo_config *config, size_t layer)
{
	return config->windowed[layer / 8] >> layer % 8 & 1 ? config->window : 0;
}

/* "layer_types" says of each layer what it sees. */
static enum dpo_status
read_layer_types(struct dpo_config *config, const cJSON *types, struct dpo_error *err)
{
	const cJSON *item;
	size_t layer = 0;

	if (!cJSON_IsArray(types) || (size_t)cJSON_GetArraySize(types) != config->layers)
		return dpo_fail(err, DPO_FORMAT, "\"layer_types\" is not a list of %zu",
		    config->layers);
	cJSON_ArrayForEach(item, types) {
		bool slides = cJSON_IsString(item) && strcmp(item->valuestring,
		    "sliding_attention") == 0;

		if (!slides && !(cJSON_IsString(item) && strcmp(item->valuestring,
		    "full_attention") == 0))
			return dpo_fail(err, DPO_UNSUPPORTED,
			    "\"layer_types\"[%zu] is not supported", layer);
		if (slides && config->window == 0)
			return dpo_fail(err, DPO_FORMAT,
			    "\"layer_types\"[%zu] slides, but there is no \"sliding_window\"", layer);
		set_window(config, layer++, slides);
	}
	return DPO_OK;
}

static enum dpo_status
finish_windows(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	const cJSON *types = dpo_json_get(tree, "layer_types");

	if (config->layers > DPO_LAYERS_MAX)
		return dpo_fail(err, DPO_LIMIT, "%zu layers are more than %d", config->layers,
		    DPO_LAYERS_MAX);
	if (!config->use_window)
		config->window = 0;
	if (types && !cJSON_IsNull(types))
		return read_layer_types(config, types, err);
	for (size_t layer = 0; layer < config->layers; layer++)
		set_window(config, layer, layer >= config->full_layers &&
		    !(config->family->window_alternates && layer % 2 == 1));
	return DPO_OK;
}

/* ------------------------------------------------------------------ reading */

/* As torch.nn.Embedding counts its padding_idx; a token outside the vocabulary has no row. */
static void
finish_padding(struct dpo_config *config)
{
	int64_t n = (int64_t)config->vocab_size;

	if (config->pad_token < 0)
		config->pad_token += n;
	if (config->pad_token < 0 || config->pad_token >= n)
		config->pad_token = DPO_NO_TOKEN;
}

static enum dpo_status
find_family(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	const struct dpo_family *family;
	const char *type;
	enum dpo_status status = dpo_json_string(&type, tree, "model_type", err);

	if (status != DPO_OK)
		return status;
	if (!(family = dpo_family_find(type)))
		return dpo_fail(err, DPO_UNSUPPORTED, "model_type \"%.100s\" is not supported%s", type,
		    dpo_family_is_mixture(type) ? ": it is a mixture of experts" : "");
	*config = family->defaults;
	config->family = family;
	config->initializer_range = 0.02;
	return DPO_OK;
}

static enum dpo_status
read_tree(struct dpo_config *config, const cJSON *tree, struct dpo_error *err)
{
	enum { TABLES = 1 + sizeof config->family->keys / sizeof *config->family->keys };
	const struct dpo_key *tables[TABLES] = { dpo_common_keys };
	enum dpo_status status;

	if (!cJSON_IsObject(tree))
		return dpo_fail(err, DPO_FORMAT, "not a JSON object");
	if ((status = find_family(config, tree, err)) != DPO_OK)
		return status;
	memcpy(tables + 1, config->family->keys, sizeof config->family->keys);
	if ((status = dpo_fields_check(tree, tables, TABLES, err)) != DPO_OK ||
	    (status = dpo_fields_read(config, tree, tables, TABLES, err)) != DPO_OK ||
	    (status = finish_heads(config, err)) != DPO_OK ||
	    (status = finish_windows(config, tree, err)) != DPO_OK)
		return status;
	finish_padding(config);
	if (config->max_positions == 0)
		return dpo_fail(err, DPO_FORMAT, "\"n_positions\" is missing");
	if (config->intermediate_size == 0)
		config->intermediate_size = 4 * config->hidden_size;
	if (config->family->position != DPO_POSITION_ROPE)
		return DPO_OK;
	status = read_rope(config, tree, err);
	return status == DPO_OK ? finish_rope(config, err) : status;
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

static void
put_factors(struct dpo_buffer *out, const char *key, const float *factors)
{
	dpo_buffer_printf(out, "%s=", key);
	for (size_t i = 0; i < count_factors(factors); i++)
		dpo_buffer_printf(out, "%s%.9g", i ? "," : "", (double)factors[i]);
	dpo_buffer_string(out, "\n");
}

static void
put_rope(struct dpo_buffer *out, const struct dpo_rope *rope, size_t head_dim)
{
	put_number(out, "rope_theta", rope->theta);
	if (rope->dim != head_dim)
		dpo_buffer_printf(out, "rope_dim=%zu\n", rope->dim);
	if (rope->kind == DPO_ROPE_PLAIN)
		return;
	dpo_buffer_printf(out, "rope_type=%s\nrope_original=%zu\n", rope_names[rope->kind],
	    rope->original);
	put_number(out, "rope_scale", rope->scale);
	if (rope->kind == DPO_ROPE_LONGROPE) {
		put_factors(out, "rope_short", rope->short_factors);
		put_factors(out, "rope_long", rope->long_factors);
		return;
	}
	put_number(out, "rope_factor", rope->factor);
	if (rope->kind == DPO_ROPE_LLAMA3) {
		put_number(out, "rope_low", rope->low_frequency);
		put_number(out, "rope_high", rope->high_frequency);
	}
	if (rope->kind == DPO_ROPE_YARN) {
		put_number(out, "rope_beta_fast", rope->beta_fast);
		put_number(out, "rope_beta_slow", rope->beta_slow);
		dpo_buffer_printf(out, "rope_truncate=%d\n", rope->truncate);
	}
}

static void
put_windows(struct dpo_buffer *out, const struct dpo_config *config)
{
	bool any = false;

	for (size_t layer = 0; layer < config->layers; layer++)
		any = any || dpo_config_window(config, layer) > 0;
	if (!any)
		return;
	dpo_buffer_printf(out, "window=%zu\nwindowed=", config->window);
	for (size_t layer = 0; layer < config->layers; layer++)
		dpo_buffer_string(out, dpo_config_window(config, layer) > 0 ? "1" : "0");
	dpo_buffer_string(out, "\n");
}

/*
 * What every family has comes first, as it always did; then, only where it is not the family's
 * rule, what some configurations add. So ids outlive new keys.
 */
void
dpo_config_canonical(const struct dpo_config *config, struct dpo_buffer *out)
{
	static const char *const activations[] = {
		[DPO_ACTIVATION_GELU_TANH] = "gelu_tanh", [DPO_ACTIVATION_SILU] = "silu",
		[DPO_ACTIVATION_GELU] = "gelu", [DPO_ACTIVATION_RELU] = "relu",
	};
	const struct dpo_config *rule = &config->family->defaults;

	dpo_buffer_printf(out, "model_type=%s\n", config->family->model_type);
	dpo_buffer_printf(out, "vocab_size=%zu\nhidden_size=%zu\nlayers=%zu\n", config->vocab_size,
	    config->hidden_size, config->layers);
	dpo_buffer_printf(out, "heads=%zu\nkv_heads=%zu\nhead_dim=%zu\nintermediate_size=%zu\n",
	    config->heads, config->kv_heads, config->head_dim, config->intermediate_size);
	dpo_buffer_printf(out, "attention_bias=%d\nmlp_bias=%d\ntied_head=%d\n",
	    config->attention_bias, config->mlp_bias, config->tied_head);
	put_number(out, "norm_epsilon", config->norm_epsilon);
	if (config->family->position == DPO_POSITION_ROPE)
		put_rope(out, &config->rope, config->head_dim);
	if (config->activation != rule->activation)
		dpo_buffer_printf(out, "activation=%s\n", activations[config->activation]);
	if (config->parallel_residual != rule->parallel_residual)
		dpo_buffer_printf(out, "parallel_residual=%d\n", config->parallel_residual);
	if (config->query_scalar != (double)config->head_dim)
		put_number(out, "query_scalar", config->query_scalar);
	if (config->attention_cap > 0)
		put_number(out, "attention_cap", config->attention_cap);
	if (config->logit_cap > 0)
		put_number(out, "logit_cap", config->logit_cap);
	put_windows(out, config);
}
