#include "decoder/loraconfig.h"

#include "base/buffer.h"
#include "base/size.h"
#include "tokenizer/regex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Keys that are read here, or that say nothing about what the tensors do. */
static const char *const known[] = {
	"r", "lora_alpha", "use_rslora", "lora_dropout", "target_modules", "rank_pattern", "alpha_pattern",
	"modules_to_save", "peft_type", "bias", "init_lora_weights", "task_type", "auto_mapping",
	"base_model_name_or_path", "revision", "peft_version", "inference_mode", "fan_in_fan_out", "megatron_core",
	"loftq_config", "eva_config", "corda_config", "lora_ga_config", "layers_pattern", "qalora_group_size",
	"runtime_config", "ensure_weight_tying", NULL
};

/* Initialisations that leave the base as it is; others (pissa, olora, corda, loftq) train against a changed one. */
static const char *const plain_starts[] = { "gaussian", "orthogonal", "eva", NULL };

static bool
is_in(const char *const *list, const char *name)
{
	while (*list && strcmp(*list, name) != 0)
		list++;
	return *list != NULL;
}

/* null, false, "", [] or {}: the key is not used. */
static bool
is_unset(const cJSON *value)
{
	return cJSON_IsNull(value) || cJSON_IsFalse(value) || (cJSON_IsString(value) && !*value->valuestring) ||
	    ((cJSON_IsArray(value) || cJSON_IsObject(value)) && !value->child);
}

static enum dpo_status
refuse(const cJSON *value, struct dpo_error *err)
{
	char *text = cJSON_PrintUnformatted(value);

	(void)dpo_fail(err, DPO_UNSUPPORTED, "\"%.60s\": %.60s is not implemented", value->string, text ? text : "");
	cJSON_free(text);
	return DPO_UNSUPPORTED;
}

static enum dpo_status
check_keys(const cJSON *tree, struct dpo_error *err)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, tree) {
		bool text = cJSON_IsString(item), good = is_in(known, item->string) || is_unset(item);

		if (strcmp(item->string, "bias") == 0)
			good = is_unset(item) || (text && strcmp(item->valuestring, "none") == 0);
		else if (strcmp(item->string, "peft_type") == 0)
			good = text && strcmp(item->valuestring, "LORA") == 0;
		else if (strcmp(item->string, "init_lora_weights") == 0)
			good = !text || is_in(plain_starts, item->valuestring);
		if (!good)
			return refuse(item, err);
	}
	return DPO_OK;
}

/* The member of that name; a list of strings, also in another form if `or_text`. NULL if it is not used. */
static enum dpo_status
read_names(const cJSON **names, const cJSON *tree, const char *key, bool or_text, struct dpo_error *err)
{
	const cJSON *value = dpo_json_get(tree, key), *item;

	*names = value && !is_unset(value) ? value : NULL;
	if (!*names || (or_text && cJSON_IsString(value)))
		return DPO_OK;
	if (!cJSON_IsArray(value))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not a list of names", key);
	cJSON_ArrayForEach(item, value)
		if (!cJSON_IsString(item) || !*item->valuestring)
			return dpo_fail(err, DPO_FORMAT, "\"%s\" holds something that is not a name", key);
	return DPO_OK;
}

static bool
is_rank(const cJSON *value)
{
	return cJSON_IsNumber(value) && value->valuedouble >= 1 && value->valuedouble <= DPO_LORA_RANK_MAX &&
	    floor(value->valuedouble) >= value->valuedouble;
}

static enum dpo_status
read_patterns(const cJSON **patterns, const cJSON *tree, const char *key, bool ranks, struct dpo_error *err)
{
	const cJSON *value = dpo_json_get(tree, key), *item;

	*patterns = value && !is_unset(value) ? value : NULL;
	if (!*patterns)
		return DPO_OK;
	if (!cJSON_IsObject(value))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is not an object", key);
	cJSON_ArrayForEach(item, value)
		if (ranks ? !is_rank(item) : !cJSON_IsNumber(item))
			return dpo_fail(err, DPO_FORMAT, "\"%s\": \"%.100s\" is not a %s", key, item->string,
			    ranks ? "rank" : "number");
	return DPO_OK;
}

enum dpo_status
dpo_loraconfig_read(struct dpo_loraconfig *config, const cJSON *tree, struct dpo_error *err)
{
	enum dpo_status status;
	int64_t rank;

	*config = (struct dpo_loraconfig){ 0 };
	if (!cJSON_IsObject(tree))
		return dpo_fail(err, DPO_FORMAT, "not an object");
	if ((status = check_keys(tree, err)) != DPO_OK ||
	    (status = dpo_json_integer_or(&rank, tree, "r", 1, DPO_LORA_RANK_MAX, 8, err)) != DPO_OK ||
	    (status = dpo_json_number_or(&config->alpha, tree, "lora_alpha", 8, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&config->rslora, tree, "use_rslora", false, err)) != DPO_OK ||
	    (status = dpo_json_number_or(&config->dropout, tree, "lora_dropout", 0, err)) != DPO_OK ||
	    (status = read_names(&config->targets, tree, "target_modules", true, err)) != DPO_OK ||
	    (status = read_names(&config->save, tree, "modules_to_save", false, err)) != DPO_OK ||
	    (status = read_patterns(&config->ranks, tree, "rank_pattern", true, err)) != DPO_OK ||
	    (status = read_patterns(&config->alphas, tree, "alpha_pattern", false, err)) != DPO_OK)
		return status;
	config->rank = (size_t)rank;
	if (!config->targets)
		return dpo_fail(err, DPO_FORMAT, "no \"target_modules\"");
	if (!(config->dropout >= 0 && config->dropout < 1))
		return dpo_fail(err, DPO_FORMAT, "\"lora_dropout\" is not within 0 and 1");
	return DPO_OK;
}

/* ------------------------------------------------------------------ made of words */

/* The next name of a list, a copy to be freed; NULL at the end or out of memory (*rest is then "!"). */
static char *
next_name(const char **rest)
{
	size_t n = strcspn(*rest, ",");
	char *name;

	if (!**rest)
		return NULL;
	name = dpo_size_copy(*rest, n);
	*rest = name ? *rest + n + ((*rest)[n] == ',') : "!";
	return name;
}

static enum dpo_status
add_names(cJSON *tree, const char *key, const char *text, struct dpo_error *err)
{
	cJSON *list = cJSON_AddArrayToObject(tree, key);
	enum dpo_status status = list ? DPO_OK : dpo_fail_memory(err);
	char *name;

	while (status == DPO_OK && (name = next_name(&text))) {
		if (!*name)
			status = dpo_fail(err, DPO_USAGE, "an empty name in a list of modules");
		else if (!cJSON_AddItemToArray(list, cJSON_CreateString(name)))
			status = dpo_fail_memory(err);
		free(name);
	}
	return status == DPO_OK && strcmp(text, "!") == 0 ? dpo_fail_memory(err) : status;
}

static enum dpo_status
add_patterns(cJSON *tree, const char *key, const char *text, struct dpo_error *err)
{
	cJSON *object = cJSON_AddObjectToObject(tree, key);
	enum dpo_status status = object ? DPO_OK : dpo_fail_memory(err);
	char *name, *equals, *end = NULL;

	while (status == DPO_OK && (name = next_name(&text))) {
		double value = (equals = strrchr(name, '=')) ? strtod(equals + 1, &end) : 0;

		if (!equals || equals == name || end == equals + 1 || *end || !isfinite(value))
			status = dpo_fail(err, DPO_USAGE, "\"%.100s\" is not NAME=NUMBER", name);
		else {
			*equals = '\0';
			status = cJSON_GetObjectItemCaseSensitive(object, name) ?
			    dpo_fail(err, DPO_USAGE, "\"%.100s\" appears twice in \"%s\"", name, key) :
			    cJSON_AddNumberToObject(object, name, value) ? DPO_OK : dpo_fail_memory(err);
		}
		free(name);
	}
	return status == DPO_OK && strcmp(text, "!") == 0 ? dpo_fail_memory(err) : status;
}

static bool
add_scalars(cJSON *tree, const struct dpo_loraconfig_text *text)
{
	return cJSON_AddStringToObject(tree, "peft_type", "LORA") && cJSON_AddStringToObject(tree, "task_type", "CAUSAL_LM") &&
	    cJSON_AddNullToObject(tree, "base_model_name_or_path") && cJSON_AddNumberToObject(tree, "r", (double)text->rank) &&
	    cJSON_AddNumberToObject(tree, "lora_alpha", text->alpha) &&
	    cJSON_AddNumberToObject(tree, "lora_dropout", text->dropout) &&
	    cJSON_AddBoolToObject(tree, "use_rslora", text->rslora) && cJSON_AddStringToObject(tree, "bias", "none") &&
	    cJSON_AddBoolToObject(tree, "fan_in_fan_out", text->in_out) &&
	    cJSON_AddBoolToObject(tree, "init_lora_weights", true) && cJSON_AddBoolToObject(tree, "inference_mode", true);
}

enum dpo_status
dpo_loraconfig_make(cJSON **tree, const struct dpo_loraconfig_text *text, struct dpo_error *err)
{
	cJSON *made = *tree = cJSON_CreateObject();
	enum dpo_status status = made && add_scalars(made, text) ? DPO_OK : dpo_fail_memory(err);

	if (status == DPO_OK && strcmp(text->targets, "all-linear") == 0)
		status = cJSON_AddStringToObject(made, "target_modules", text->targets) ? DPO_OK : dpo_fail_memory(err);
	else if (status == DPO_OK)
		status = add_names(made, "target_modules", text->targets, err);
	if (status == DPO_OK && text->save)
		status = add_names(made, "modules_to_save", text->save, err);
	if (status == DPO_OK && text->ranks)
		status = add_patterns(made, "rank_pattern", text->ranks, err);
	if (status == DPO_OK && text->alphas)
		status = add_patterns(made, "alpha_pattern", text->alphas, err);
	if (status != DPO_OK) {
		cJSON_Delete(made);
		*tree = NULL;
	}
	return status;
}

/* ------------------------------------------------------------------ modules */

static bool
ends_in(const char *name, size_t n, const char *end)
{
	size_t m = strlen(end);

	return n >= m && memcmp(name + n - m, end, m) == 0;
}

/* Whether BEFORE pattern AFTER, a regular expression, matches the whole name. */
static enum dpo_status
matches(bool *is, const char *before, const char *pattern, const char *after, const char *name, struct dpo_error *err)
{
	struct dpo_regex_scratch *scratch = dpo_regex_scratch_new();
	struct dpo_buffer text = { 0 };
	struct dpo_regex *regex = NULL;
	enum dpo_status status;
	size_t start, end;

	dpo_buffer_printf(&text, "%s%s%s", before, pattern, after);
	if (!scratch || text.failed)
		status = dpo_fail_memory(err);
	else if ((status = dpo_regex_new(&regex, (const char *)text.data, text.len, err)) == DPO_OK)
		status = dpo_regex_find(regex, scratch, name, strlen(name), 0, &start, &end, err);
	*is = status == DPO_OK && start == 0 && end == strlen(name);
	dpo_regex_free(regex);
	dpo_regex_scratch_free(scratch);
	dpo_buffer_free(&text);
	return status == DPO_END ? DPO_OK : status;
}

bool
dpo_loraconfig_saves(const struct dpo_loraconfig *config, const char *module)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, config->save)
		for (size_t n = strlen(module); n > 0; n--)
			if ((!module[n] || module[n] == '.') && ends_in(module, n, item->valuestring))
				return true;
	return false;
}

enum dpo_status
dpo_loraconfig_targets(const struct dpo_loraconfig *config, const char *module, bool *is, struct dpo_error *err)
{
	size_t n = strlen(module);
	const cJSON *item;

	*is = false;
	if (dpo_loraconfig_saves(config, module))
		return DPO_OK;
	if (cJSON_IsString(config->targets)) {
		*is = strcmp(config->targets->valuestring, "all-linear") == 0;
		return *is ? DPO_OK : matches(is, "^(?:", config->targets->valuestring, ")$", module, err);
	}
	cJSON_ArrayForEach(item, config->targets) {
		size_t m = strlen(item->valuestring);

		if (ends_in(module, n, item->valuestring) && (n == m || module[n - m - 1] == '.'))
			*is = true;
	}
	return DPO_OK;
}

enum dpo_status
dpo_loraconfig_fits(const char *key, const char *module, bool *is, struct dpo_error *err)
{
	return matches(is, "^(?:.*\\.)?(?:", key, ")$", module, err);
}

/* The number of the first pattern that fits, or `general`. */
static enum dpo_status
pattern_value(double *value, const cJSON *patterns, const char *module, double general, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	const cJSON *item;
	bool is = false;

	*value = general;
	cJSON_ArrayForEach(item, patterns) {
		if ((status = dpo_loraconfig_fits(item->string, module, &is, err)) != DPO_OK)
			return status;
		if (is) {
			*value = item->valuedouble;
			break;
		}
	}
	return DPO_OK;
}

enum dpo_status
dpo_loraconfig_rank(const struct dpo_loraconfig *config, const char *module, size_t *rank, double *scale,
    struct dpo_error *err)
{
	double r = 0, alpha = 0;
	enum dpo_status status = pattern_value(&r, config->ranks, module, (double)config->rank, err);

	if (status == DPO_OK)
		status = pattern_value(&alpha, config->alphas, module, config->alpha, err);
	*rank = (size_t)r;
	*scale = alpha / (config->rslora ? sqrt(r) : r);
	return status;
}
