#include "tokenizer/specials.h"

#include "base/error.h"
#include "base/json.h"
#include "model/tokennames.h"
#include "tokenizer/tokenjson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* {"50256": {"content": ...}, ...}: tokens the vocabulary may lack. */
static enum dpo_status
read_added_decoder(struct dpo_tokenparts *parts, const cJSON *object, struct dpo_error *err)
{
	enum dpo_status status;
	const cJSON *item;
	const char *content;
	long long id;
	char *end;

	if (!cJSON_IsObject(object))
		return DPO_OK;
	cJSON_ArrayForEach(item, object) {
		id = strtoll(item->string, &end, 10);	/* of one out of range the vocabulary complains */
		if (end == item->string || *end)
			return dpo_fail(err, DPO_FORMAT, "added_tokens_decoder: \"%.60s\" is not an id", item->string);
		if ((status = dpo_json_string(&content, item, "content", err)) != DPO_OK)
			return status;
		if (!dpo_tokenparts_has(parts, content) && (status = dpo_tokenjson_added(parts, item, id, err)) != DPO_OK)
			return status;
	}
	return DPO_OK;
}

/* A special token in the vocabulary is an added token, whether tokenizer.json lists it or not. */
static enum dpo_status
use_special(struct dpo_tokenparts *parts, const char *text, int32_t *id, struct dpo_error *err)
{
	*id = dpo_vocab_id(&parts->vocab, text, strlen(text));
	if (*id < 0 || dpo_tokenparts_has(parts, text))
		return DPO_OK;
	return dpo_tokenparts_add(parts, &(struct dpo_added_spec){ .text = text, .id = *id }, err);
}

/* The token that config.json names by its id. */
static enum dpo_status
special_by_id(const struct dpo_tokenparts *parts, const cJSON *config, const char *name, const char **text,
    struct dpo_error *err)
{
	const cJSON *item = dpo_tokennames_id(config, name);
	size_t n;

	if (!item)
		return DPO_OK;
	if (fabs(item->valuedouble) < DPO_JSON_EXACT)
		*text = dpo_vocab_text(&parts->vocab, (int64_t)item->valuedouble, &n);
	if (!*text)
		return dpo_fail(err, DPO_FORMAT, "config.json: %s_id %.0f is not in the vocabulary", name, item->valuedouble);
	return DPO_OK;
}

static enum dpo_status
find_special(struct dpo_tokenparts *parts, const struct dpo_specials_files *files, const char *name, int32_t *id,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	const char *text;

	if (!(text = dpo_tokennames_text(files->tokenizer_config, name)))
		text = dpo_tokennames_text(files->special_tokens_map, name);
	if (!text && (status = special_by_id(parts, files->config, name, &text, err)) != DPO_OK)
		return status;
	if (!text)
		return DPO_OK;
	if ((status = use_special(parts, text, id, err)) == DPO_OK && *id < 0)
		return dpo_fail(err, DPO_FORMAT, "%s \"%.60s\" is not in the vocabulary", name, text);
	return status;
}

/* All texts of a list or an object, such as {"image_token": "<image>"}. */
static enum dpo_status
use_list(struct dpo_tokenparts *parts, const cJSON *list, struct dpo_error *err)
{
	enum dpo_status status;
	const cJSON *item;
	const char *text;
	int32_t id;

	cJSON_ArrayForEach(item, list) {
		text = cJSON_GetStringValue(cJSON_IsObject(item) ? dpo_json_get(item, "content") : item);
		if (text && (status = use_special(parts, text, &id, err)) != DPO_OK)
			return status;
	}
	return DPO_OK;
}

/* Tokens without a part to play: found in the text, that is all. */
static enum dpo_status
use_others(struct dpo_tokenparts *parts, const cJSON *tokenizer_config, struct dpo_error *err)
{
	static const char *const names[] = { "unk_token", "sep_token", "pad_token", "cls_token", "mask_token" };
	enum dpo_status status;
	const char *text;
	int32_t id;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if ((text = dpo_tokennames_text(tokenizer_config, names[i])) && (status = use_special(parts, text, &id,
		    err)) != DPO_OK)
			return status;
	if ((status = use_list(parts, dpo_json_get(tokenizer_config, "additional_special_tokens"), err)) != DPO_OK)
		return status;
	return use_list(parts, dpo_json_get(tokenizer_config, "extra_special_tokens"), err);
}

static enum dpo_status
read_policy(struct dpo_tokenparts *parts, const cJSON *tokenizer_config, struct dpo_error *err)
{
	bool add_bos, add_eos;
	enum dpo_status status;

	if ((status = dpo_json_bool_or(&add_bos, tokenizer_config, "add_bos_token", parts->adds_bos, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&add_eos, tokenizer_config, "add_eos_token", false, err)) != DPO_OK)
		return dpo_error_prefix(err, "tokenizer_config.json");
	if ((add_bos && parts->bos >= 0 && !dpo_ids_add(&parts->before, parts->bos)) ||
	    (add_eos && parts->eos >= 0 && !dpo_ids_add(&parts->after, parts->eos)))
		return dpo_fail_memory(err);
	return DPO_OK;
}

enum dpo_status
dpo_specials_read(struct dpo_tokenparts *parts, const struct dpo_specials_files *files, struct dpo_error *err)
{
	enum dpo_status status;

	if (read_added_decoder(parts, dpo_json_get(files->tokenizer_config, "added_tokens_decoder"), err) != DPO_OK)
		return dpo_error_prefix(err, "tokenizer_config.json");
	if ((status = find_special(parts, files, "bos_token", &parts->bos, err)) != DPO_OK ||
	    (status = find_special(parts, files, "eos_token", &parts->eos, err)) != DPO_OK)
		return status;
	if (parts->eos < 0 && (status = use_special(parts, "<|endoftext|>", &parts->eos, err)) != DPO_OK)
		return status;
	if ((status = use_others(parts, files->tokenizer_config, err)) != DPO_OK)
		return status;
	return files->tokenizer_json ? DPO_OK : read_policy(parts, files->tokenizer_config, err);
}
