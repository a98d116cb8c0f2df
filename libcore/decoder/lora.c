#include "decoder/lora.h"

#include "base/buffer.h"
#include "base/random.h"
#include "base/size.h"
#include "kernel/vector.h"
#include "model/leaves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the table */

/* The module of a tensor: its name without the last part. */
static void
module_of(char module[sizeof((struct dpo_tensor *)0)->name], const struct dpo_tensor *tensor)
{
	const char *dot = strrchr(tensor->name, '.');
	size_t n = dot ? (size_t)(dot - tensor->name) : strlen(tensor->name);

	memcpy(module, tensor->name, n);
	module[n] = '\0';
}

/* Room for two tensors of each of the base's. */
static bool
allocate_table(struct dpo_lora *lora)
{
	size_t most;

	if (!dpo_size_mul(lora->base->count, 2, &most))
		return false;
	lora->params.list = dpo_alloc(most, sizeof *lora->params.list);
	lora->parts = dpo_alloc(lora->base->count, sizeof *lora->parts);
	return lora->params.list && lora->parts;
}

static const struct dpo_tensor *
append(struct dpo_lora *lora, const struct dpo_tensor *tensor)
{
	struct dpo_params *params = &lora->params;

	params->list[params->count] = *tensor;
	params->list[params->count].dtype = DPO_DTYPE_F32;
	params->list[params->count].mapped = NULL;
	params->parameters += tensor->count;
	return &params->list[params->count++];
}

/* MODULE.PART.weight [rows][columns] */
static enum dpo_status
append_matrix(struct dpo_lora *lora, const struct dpo_tensor **made, const char *module, const char *part, size_t rows,
    size_t columns, enum dpo_init init, struct dpo_error *err)
{
	struct dpo_tensor tensor = { .shape = { rows, columns }, .rank = 2, .init = init, .decay = true };
	int n = snprintf(tensor.name, sizeof tensor.name, "%s.%s.weight", module, part);

	if (n < 0 || (size_t)n >= sizeof tensor.name || !dpo_size_mul(rows, columns, &tensor.count))
		return dpo_fail(err, DPO_LIMIT, "module \"%s\": the adapter's name or size is too large", module);
	*made = append(lora, &tensor);
	return DPO_OK;
}

static enum dpo_status
add_adapter(struct dpo_lora *lora, size_t index, const char *module, bool in_out, struct dpo_error *err)
{
	const struct dpo_tensor *weight = &lora->base->list[index];
	struct dpo_lora_part *part = &lora->parts[index];
	size_t in = weight->shape[in_out ? 0 : 1], out = weight->shape[in_out ? 1 : 0];
	double scale;
	enum dpo_status status;

	if ((status = dpo_loraconfig_rank(&lora->config, module, &part->rank, &scale, err)) != DPO_OK ||
	    (status = append_matrix(lora, &part->a, module, "lora_A", part->rank, in, DPO_INIT_KAIMING, err)) != DPO_OK ||
	    (status = append_matrix(lora, &part->b, module, "lora_B", out, part->rank, DPO_INIT_ZERO, err)) != DPO_OK)
		return status;
	part->scale = (float)scale;
	lora->rank_max = part->rank > lora->rank_max ? part->rank : lora->rank_max;
	return DPO_OK;
}

static bool
is_matrix_of(const struct dpo_config *config, const struct dpo_tensor *tensor)
{
	return tensor->rank == 2 && tensor->shape[0] == config->vocab_size && tensor->shape[1] == config->hidden_size &&
	    !tensor->linear;
}

const char *
dpo_lora_usual_targets(const struct dpo_params *base)
{
	static const struct { const char *end, *targets; } usual[] = { { ".q_proj.weight", "q_proj,v_proj" },
	    { ".c_attn.weight", "c_attn" }, { ".qkv_proj.weight", "qkv_proj" }, { ".query_key_value.weight", "query_key_value" } };

	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
		for (size_t t = 0; t < base->count; t++) {
			size_t n = strlen(base->list[t].name), m = strlen(usual[i].end);

			if (n > m && strcmp(base->list[t].name + n - m, usual[i].end) == 0)
				return usual[i].targets;
		}
	return "all-linear";
}

static enum dpo_status
add_part(struct dpo_lora *lora, size_t index, const struct dpo_config *config, struct dpo_error *err)
{
	const struct dpo_tensor *tensor = &lora->base->list[index];
	char module[sizeof tensor->name];
	bool all = cJSON_IsString(lora->config.targets) && strcmp(lora->config.targets->valuestring, "all-linear") == 0, is;
	enum dpo_status status;

	module_of(module, tensor);
	if (dpo_loraconfig_saves(&lora->config, module)) {
		if (config->tied_head && is_matrix_of(config, tensor))
			return dpo_fail(err, DPO_UNSUPPORTED, "\"modules_to_save\": \"%s\" is tied to the head", module);
		lora->parts[index].saved = append(lora, tensor);
		return DPO_OK;
	}
	if (tensor->rank < 2 || (all && !tensor->linear))
		return DPO_OK;
	if ((status = dpo_loraconfig_targets(&lora->config, module, &is, err)) != DPO_OK || !is)
		return status;
	if (!tensor->linear)
		return dpo_fail(err, DPO_UNSUPPORTED, "\"target_modules\": \"%s\" is no linear map of a layer", module);
	return add_adapter(lora, index, module, config->family->layout == DPO_LAYOUT_IN_OUT, err);
}

/* Every name of a list names a module of the base. */
static enum dpo_status
check_names(const struct dpo_lora *lora, const cJSON *names, const char *key, bool save, struct dpo_error *err)
{
	const cJSON *item;

	if (!cJSON_IsArray(names))
		return DPO_OK;
	cJSON_ArrayForEach(item, names) {
		cJSON alone = { .type = cJSON_Array }, only = *item;
		struct dpo_loraconfig config = { .targets = &alone, .save = save ? &alone : NULL };
		bool found = false, is;

		only.next = only.prev = NULL;
		alone.child = &only;
		for (size_t t = 0; t < lora->base->count && !found; t++) {
			char module[sizeof lora->base->list[t].name];

			module_of(module, &lora->base->list[t]);
			if (save)
				found = dpo_loraconfig_saves(&config, module);
			else
				found = dpo_loraconfig_targets(&config, module, &is, NULL) == DPO_OK && is;
		}
		if (!found)
			return dpo_fail(err, DPO_FORMAT, "\"%s\": the model has no module \"%.100s\"", key, item->valuestring);
	}
	return DPO_OK;
}

static enum dpo_status
build(struct dpo_lora *lora, const struct dpo_config *config, struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_loraconfig_read(&lora->config, lora->settings, err)) != DPO_OK ||
	    (status = check_names(lora, lora->config.targets, "target_modules", false, err)) != DPO_OK ||
	    (status = check_names(lora, lora->config.save, "modules_to_save", true, err)) != DPO_OK)
		return status;
	if (!allocate_table(lora))
		return dpo_fail_memory(err);
	for (size_t i = 0; i < lora->base->count; i++)
		if ((status = add_part(lora, i, config, err)) != DPO_OK)
			return status;
	if (lora->rank_max == 0)
		return dpo_fail(err, DPO_FORMAT, "\"target_modules\" names no linear map of the model");
	if (!dpo_params_lay_out(&lora->params))
		return dpo_fail(err, DPO_LIMIT, "the adapter is too large");
	lora->block = dpo_alloc_aligned(lora->params.total, sizeof *lora->block);
	return lora->block ? DPO_OK : dpo_fail_memory(err);
}

enum dpo_status
dpo_lora_init(struct dpo_lora *lora, cJSON *settings, const struct dpo_config *config, const struct dpo_params *base,
    const char *base_id, struct dpo_error *err)
{
	enum dpo_status status;

	*lora = (struct dpo_lora){ .settings = settings, .base = base };
	snprintf(lora->base_id, sizeof lora->base_id, "%s", base_id);
	if ((status = build(lora, config, err)) != DPO_OK)
		dpo_lora_free(lora);
	return status;
}

void
dpo_lora_free(struct dpo_lora *lora)
{
	if (!lora)
		return;
	cJSON_Delete(lora->settings);
	dpo_params_free(&lora->params);
	free(lora->block);
	free(lora->parts);
	*lora = (struct dpo_lora){ 0 };
}

bool
dpo_lora_set_dropout(struct dpo_lora *lora, double p)
{
	static const char key[] = "lora_dropout";

	lora->config.dropout = p;
	if (cJSON_GetObjectItemCaseSensitive(lora->settings, key))
		return cJSON_ReplaceItemInObjectCaseSensitive(lora->settings, key, cJSON_CreateNumber(p));
	return cJSON_AddNumberToObject(lora->settings, key, p) != NULL;
}

struct dpo_lora_part
dpo_lora_part(const struct dpo_lora *lora, const struct dpo_tensor *tensor)
{
	return lora && tensor ? lora->parts[tensor - lora->base->list] : (struct dpo_lora_part){ 0 };
}

/* ------------------------------------------------------------------ the start */

static enum dpo_status
check_patterns(const struct dpo_lora *lora, const cJSON *patterns, const char *key, struct dpo_error *err)
{
	enum dpo_status status;
	const cJSON *item;

	cJSON_ArrayForEach(item, patterns) {
		bool found = false;

		for (size_t i = 0; i < lora->base->count && !found; i++) {
			char module[sizeof lora->base->list[i].name];

			module_of(module, &lora->base->list[i]);
			if (lora->parts[i].a && (status = dpo_loraconfig_fits(item->string, module, &found, err)) != DPO_OK)
				return status;
		}
		if (!found)
			return dpo_fail(err, DPO_FORMAT, "\"%s\": no module with an adapter is a \"%.100s\"", key, item->string);
	}
	return DPO_OK;
}

enum dpo_status
dpo_lora_check_patterns(const struct dpo_lora *lora, struct dpo_error *err)
{
	enum dpo_status status = check_patterns(lora, lora->config.ranks, "rank_pattern", err);

	return status == DPO_OK ? check_patterns(lora, lora->config.alphas, "alpha_pattern", err) : status;
}

bool
dpo_lora_start(struct dpo_lora *lora, const float *weights, uint64_t seed)
{
	for (size_t i = 0; i < lora->base->count; i++) {
		const struct dpo_tensor *from = &lora->base->list[i];
		const struct dpo_lora_part *part = &lora->parts[i];

		if (part->saved)
			dpo_vector_widen(lora->block + part->saved->offset, dpo_params_data(from, weights), from->dtype,
			    from->count);
		if (part->a && !dpo_random_uniform(lora->block + part->a->offset, part->a->count,
		    1.0 / sqrt((double)part->a->shape[1]), seed, part->a->name))
			return false;
		if (part->b)
			memset(lora->block + part->b->offset, 0, part->b->count * sizeof(float));
	}
	return true;
}

/* ------------------------------------------------------------------ the id */

static void
put_text(struct dpo_buffer *text, const struct dpo_lora *lora)
{
	dpo_buffer_printf(text, "adapter %s\n", lora->base_id);
	for (size_t i = 0; i < lora->base->count; i++)
		if (lora->parts[i].a)
			dpo_buffer_printf(text, "%s %a\n", lora->parts[i].a->name, (double)lora->parts[i].scale);
}

enum dpo_status
dpo_lora_identify(char id[DPO_HEX_BYTES], const struct dpo_lora *lora, int threads, struct dpo_error *err)
{
	struct dpo_buffer text = { 0 };
	enum dpo_status status;

	put_text(&text, lora);
	status = dpo_leaves_identify(id, &lora->params, lora->block, &text, threads, err);
	dpo_buffer_free(&text);
	return status;
}
