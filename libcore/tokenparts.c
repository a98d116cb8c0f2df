#include "tokenparts.h"

#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ vocabulary and added tokens */

static enum dpo_status
read_vocab(struct dpo_tokenparts *parts, const cJSON *object, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	if (!cJSON_IsObject(object))
		return dpo_fail(err, DPO_FORMAT, "the vocabulary is not an object");
	cJSON_ArrayForEach(item, object) {
		double id = item->valuedouble;

		if (!cJSON_IsNumber(item) || !(fabs(id) < DPO_JSON_EXACT) || id != floor(id))
			return dpo_fail(err, DPO_FORMAT, "the id of token \"%.60s\" is not an integer", item->string);
		if ((status = dpo_vocab_add(&parts->vocab, item->string, strlen(item->string), (int64_t)id, err)) != DPO_OK)
			return status;
	}
	return parts->vocab.size ? DPO_OK : dpo_fail(err, DPO_FORMAT, "the vocabulary is empty");
}

/* One added token; its id must be the vocabulary's, or new there. */
static enum dpo_status
add_token(struct dpo_tokenparts *parts, const char *text, int64_t id, bool normalized, bool lstrip, bool rstrip,
    struct dpo_error *err)
{
	int32_t known = dpo_vocab_id(&parts->vocab, text, strlen(text));
	struct dpo_buffer form = { 0 };
	enum dpo_status status = DPO_OK;
	bool added;

	if (known < 0)
		status = dpo_vocab_add(&parts->vocab, text, strlen(text), id, err);
	else if (known != id)
		status = dpo_fail(err, DPO_FORMAT, "added token \"%.60s\" has id %lld, in the vocabulary %d", text,
		    (long long)id, (int)known);
	if (status == DPO_OK && normalized)
		status = dpo_normalize(&parts->normalizer, text, strlen(text), &form, err);
	if (status == DPO_OK && !*text)
		status = dpo_fail(err, DPO_FORMAT, "added token %lld is empty", (long long)id);
	if (status == DPO_OK) {
		added = normalized ? dpo_added_add(&parts->normalized, (const char *)form.data, form.len, (int32_t)id, lstrip, rstrip) :
		    dpo_added_add(&parts->literal, text, strlen(text), (int32_t)id, lstrip, rstrip);
		status = added ? DPO_OK : dpo_fail_memory(err);
	}
	dpo_buffer_free(&form);
	return status;
}

static enum dpo_status
read_added(struct dpo_tokenparts *parts, const cJSON *item, int64_t id, struct dpo_error *err)
{
	bool single_word, lstrip, rstrip, special, normalized;
	enum dpo_status status;
	const char *content;

	if ((status = dpo_json_string(&content, item, "content", err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&single_word, item, "single_word", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&lstrip, item, "lstrip", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&rstrip, item, "rstrip", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&special, item, "special", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&normalized, item, "normalized", !special, err)) != DPO_OK)
		return status;
	if (single_word)
		return dpo_fail(err, DPO_UNSUPPORTED, "added token \"%.60s\" with single_word", content);
	return add_token(parts, content, id, normalized, lstrip, rstrip, err);
}

static bool
is_added(const struct dpo_tokenparts *parts, const char *text)
{
	return dpo_added_has(&parts->literal, text, strlen(text)) || dpo_added_has(&parts->normalized, text, strlen(text));
}

/* ------------------------------------------------------------------ post-processor */

/* One piece of a template: before the text (*seen false), the text itself, or behind it. */
static enum dpo_status
read_piece(const cJSON *piece, const cJSON *specials, struct dpo_ids *before, struct dpo_ids *after, bool *seen,
    struct dpo_error *err)
{
	const cJSON *token = dpo_json_get(piece, "SpecialToken"), *sequence = dpo_json_get(piece, "Sequence");
	const cJSON *list, *id;
	enum dpo_status status;
	const char *name;

	if ((status = dpo_json_string(&name, token ? token : sequence, "id", err)) != DPO_OK)
		return status;
	if (!token) {
		if (*seen || strcmp(name, "A") != 0)
			return dpo_fail(err, DPO_UNSUPPORTED, "TemplateProcessing with this \"single\"");
		*seen = true;
		return DPO_OK;
	}
	list = dpo_json_get(dpo_json_get(specials, name), "ids");
	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "TemplateProcessing: no ids of \"%.60s\"", name);
	cJSON_ArrayForEach(id, list) {
		if (!cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble >= (double)DPO_VOCAB_MAX ||
		    id->valuedouble != (double)id->valueint)
			return dpo_fail(err, DPO_FORMAT, "TemplateProcessing: an id of \"%.60s\" is no id", name);
		if (!dpo_ids_add(*seen ? after : before, (int32_t)id->valuedouble))
			return dpo_fail_memory(err);
	}
	return DPO_OK;
}

/* Put `more` in front of ids. */
static bool
put_before(struct dpo_ids *ids, const struct dpo_ids *more)
{
	for (size_t i = 0; i < more->count; i++)
		if (!dpo_ids_add(ids, 0))
			return false;
	if (more->count) {
		memmove(ids->ids + more->count, ids->ids, (ids->count - more->count) * sizeof *ids->ids);
		memcpy(ids->ids, more->ids, more->count * sizeof *ids->ids);
	}
	return true;
}

static enum dpo_status
read_template(struct dpo_tokenparts *parts, const cJSON *spec, struct dpo_error *err)
{
	const cJSON *single = dpo_json_get(spec, "single"), *piece;
	struct dpo_ids before = { 0 };
	enum dpo_status status = DPO_OK;
	bool seen = false;

	if (!cJSON_IsArray(single))
		return dpo_fail(err, DPO_FORMAT, "TemplateProcessing: \"single\" is not a list");
	cJSON_ArrayForEach(piece, single)
		if (status == DPO_OK)
			status = read_piece(piece, dpo_json_get(spec, "special_tokens"), &before, &parts->after, &seen, err);
	if (status == DPO_OK && !seen)
		status = dpo_fail(err, DPO_UNSUPPORTED, "TemplateProcessing with a \"single\" that has no text");
	if (status == DPO_OK && !put_before(&parts->before, &before))
		status = dpo_fail_memory(err);
	free(before.ids);
	return status;
}

static enum dpo_status
read_postprocessor(struct dpo_tokenparts *parts, const cJSON *spec, struct dpo_error *err)
{
	enum dpo_status status;
	const cJSON *item, *list;
	const char *type;

	if (!spec || cJSON_IsNull(spec))
		return DPO_OK;
	if ((status = dpo_json_string(&type, spec, "type", err)) != DPO_OK)
		return status;
	if (strcmp(type, "ByteLevel") == 0)	/* acts on offsets, which are not kept here */
		return DPO_OK;
	if (strcmp(type, "TemplateProcessing") == 0)
		return read_template(parts, spec, err);
	if (strcmp(type, "Sequence") != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "post-processor %.60s", type);
	list = dpo_json_get(spec, "processors");
	if (!cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"processors\" is not a list");
	cJSON_ArrayForEach(item, list)
		if (status == DPO_OK)
			status = read_postprocessor(parts, item, err);
	return status;
}

/* ------------------------------------------------------------------ tokenizer.json */

static enum dpo_status
read_model(struct dpo_tokenparts *parts, const cJSON *model, struct dpo_error *err)
{
	enum dpo_status status;
	const char *type;

	/* Files of before 2020 have no type; theirs is BPE if they have merges. */
	if ((status = dpo_json_string_or(&type, model, "type", dpo_json_get(model, "merges") ? "BPE" : "", err)) != DPO_OK)
		return status;
	if (strcmp(type, "BPE") != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "tokenizer model \"%.60s\"", type);
	if ((status = read_vocab(parts, dpo_json_get(model, "vocab"), err)) != DPO_OK)
		return status;
	return dpo_bpe_read(&parts->bpe, model, &parts->vocab, err);
}

static enum dpo_status
read_added_list(struct dpo_tokenparts *parts, const cJSON *list, struct dpo_error *err)
{
	enum dpo_status status;
	const cJSON *item;
	int64_t id;

	if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
		return dpo_fail(err, DPO_FORMAT, "\"added_tokens\" is not a list");
	cJSON_ArrayForEach(item, list) {
		if ((status = dpo_json_integer(&id, item, "id", 0, DPO_VOCAB_MAX - 1, err)) != DPO_OK ||
		    (status = read_added(parts, item, id, err)) != DPO_OK)
			return status;
	}
	return DPO_OK;
}

static enum dpo_status
read_tokenizer_json(struct dpo_tokenparts *parts, const cJSON *tree, struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = read_model(parts, dpo_json_get(tree, "model"), err)) != DPO_OK ||
	    (status = dpo_normalizer_read(&parts->normalizer, dpo_json_get(tree, "normalizer"), err)) != DPO_OK ||
	    (status = dpo_pretokenizer_read(&parts->pretokenizer, dpo_json_get(tree, "pre_tokenizer"), err)) != DPO_OK ||
	    (status = read_postprocessor(parts, dpo_json_get(tree, "post_processor"), err)) != DPO_OK ||
	    (status = dpo_detokenizer_read(&parts->detokenizer, dpo_json_get(tree, "decoder"), err)) != DPO_OK)
		return status;
	return read_added_list(parts, dpo_json_get(tree, "added_tokens"), err);
}

/* ------------------------------------------------------------------ vocab.json and merges.txt */

static const struct class {
	const char *name, *fast, *model_type;
	bool nfc;
	const char *pattern;	/* NULL: GPT-2's */
} classes[] = {
	{ "GPT2Tokenizer", "GPT2TokenizerFast", "gpt2", false, NULL },
	{ "Qwen2Tokenizer", "Qwen2TokenizerFast", "qwen2", true,
	    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
	    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" },
};

static enum dpo_status
find_class(const struct class **found, const cJSON *tokenizer_config, const cJSON *config, struct dpo_error *err)
{
	const char *name, *type;
	enum dpo_status status;

	if ((status = dpo_json_string_or(&name, tokenizer_config, "tokenizer_class", "", err)) != DPO_OK ||
	    (status = dpo_json_string_or(&type, config, "model_type", *name ? "" : "gpt2", err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
		*found = &classes[i];
		if (*name ? strcmp(name, (*found)->name) == 0 || strcmp(name, (*found)->fast) == 0 :
		    strcmp(type, (*found)->model_type) == 0)
			return DPO_OK;
	}
	return dpo_fail(err, DPO_UNSUPPORTED, "vocab.json and merges.txt of %s \"%.60s\" without tokenizer.json",
	    *name ? "tokenizer_class" : "model_type", *name ? name : type);
}

static enum dpo_status
read_vocab_and_merges(struct dpo_tokenparts *parts, const struct dpo_files *files, const cJSON *vocab,
    const cJSON *tokenizer_config, const cJSON *config, struct dpo_error *err)
{
	const struct dpo_named_file *merges = dpo_files_find(files, "merges.txt");
	const struct class *class;
	enum dpo_status status;

	if (!merges)
		return dpo_fail(err, DPO_FORMAT, "merges.txt is missing beside vocab.json");
	if ((status = find_class(&class, tokenizer_config, config, err)) != DPO_OK)
		return status;
	if ((status = read_vocab(parts, vocab, err)) != DPO_OK)
		return dpo_error_prefix(err, "vocab.json");
	status = dpo_bpe_read_text(&parts->bpe, (const char *)merges->bytes, merges->n, &parts->vocab, err);
	if (status != DPO_OK)
		return dpo_error_prefix(err, "merges.txt");
	if ((status = dpo_pretokenizer_byte_level(&parts->pretokenizer, class->pattern, err)) != DPO_OK ||
	    (status = dpo_detokenizer_byte_level(&parts->detokenizer, err)) != DPO_OK)
		return status;
	return class->nfc ? dpo_normalizer_nfc(&parts->normalizer, err) : DPO_OK;
}

/* ------------------------------------------------------------------ special tokens */

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
		id = strtoll(item->string, &end, 10);
		if (end == item->string || *end)
			return dpo_fail(err, DPO_FORMAT, "added_tokens_decoder: \"%.60s\" is no id", item->string);
		if ((status = dpo_json_string(&content, item, "content", err)) != DPO_OK)
			return status;
		if (!is_added(parts, content) && (status = read_added(parts, item, id, err)) != DPO_OK)
			return status;
	}
	return DPO_OK;
}

/* The text of a special token: a string, or an object with "content"; NULL where there is none. */
static const char *
special_text(const cJSON *object, const char *name)
{
	const cJSON *item = dpo_json_get(object, name);

	if (cJSON_IsObject(item))
		item = dpo_json_get(item, "content");
	return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* A special token in the vocabulary is an added token, whether tokenizer.json lists it or not. */
static enum dpo_status
use_special(struct dpo_tokenparts *parts, const char *text, int32_t *id, struct dpo_error *err)
{
	*id = dpo_vocab_id(&parts->vocab, text, strlen(text));
	if (*id < 0 || is_added(parts, text))
		return DPO_OK;
	return add_token(parts, text, *id, false, false, false, err);
}

/* The token that config.json names by its id (or a list of ids: the first). */
static enum dpo_status
special_by_id(const struct dpo_tokenparts *parts, const cJSON *config, const char *key, const char **text,
    struct dpo_error *err)
{
	const cJSON *item = dpo_json_get(config, key);
	size_t n;

	if (cJSON_IsArray(item))
		item = item->child;
	if (!cJSON_IsNumber(item))
		return DPO_OK;
	if (fabs(item->valuedouble) < DPO_JSON_EXACT)
		*text = dpo_vocab_text(&parts->vocab, (int64_t)item->valuedouble, &n);
	if (!*text)
		return dpo_fail(err, DPO_FORMAT, "config.json: %s %.0f is not in the vocabulary", key, item->valuedouble);
	return DPO_OK;
}

/* trees: tokenizer_config.json, special_tokens_map.json, config.json; NULL where absent. */
static enum dpo_status
find_special(struct dpo_tokenparts *parts, const cJSON *const trees[3], const char *name, int32_t *id,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	const char *text;
	char key[32] = "";

	if (!(text = special_text(trees[0], name)))
		text = special_text(trees[1], name);
	strncat(key, name, 16);
	strncat(key, "_id", 4);
	if (!text && (status = special_by_id(parts, trees[2], key, &text, err)) != DPO_OK)
		return status;
	*id = -1;
	if (!text)
		return DPO_OK;
	if ((status = use_special(parts, text, id, err)) == DPO_OK && *id < 0)
		return dpo_fail(err, DPO_FORMAT, "%s \"%.60s\" is not in the vocabulary", name, text);
	return status;
}

static enum dpo_status
read_specials(struct dpo_tokenparts *parts, const cJSON *const trees[3], struct dpo_error *err)
{
	static const char end_of_text[] = "<|endoftext|>";
	static const char *const others[] = { "unk_token", "pad_token" };
	const cJSON *list, *item;
	enum dpo_status status;
	const char *text;
	int32_t id;

	if ((status = read_added_decoder(parts, dpo_json_get(trees[0], "added_tokens_decoder"), err)) != DPO_OK)
		return dpo_error_prefix(err, "tokenizer_config.json");
	if ((status = find_special(parts, trees, "bos_token", &parts->bos, err)) != DPO_OK ||
	    (status = find_special(parts, trees, "eos_token", &parts->eos, err)) != DPO_OK)
		return status;
	if (parts->eos < 0 && (status = use_special(parts, end_of_text, &parts->eos, err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < 2; i++)
		if ((text = special_text(trees[0], others[i])) && (status = use_special(parts, text, &id, err)) != DPO_OK)
			return status;
	list = dpo_json_get(trees[0], "additional_special_tokens");
	cJSON_ArrayForEach(item, list)
		if (cJSON_IsString(item) && (status = use_special(parts, item->valuestring, &id, err)) != DPO_OK)
			return status;
	return DPO_OK;
}

/* ------------------------------------------------------------------ all of it */

enum { TOKENIZER_CONFIG, SPECIAL_MAP, CONFIG, TOKENIZER, VOCAB, TREES };

/* The tree of a file, NULL if the model does not have it. */
static enum dpo_status
parse(cJSON **tree, const struct dpo_files *files, const char *name, struct dpo_error *err)
{
	const struct dpo_named_file *file = dpo_files_find(files, name);
	enum dpo_status status;

	if (!file)
		return DPO_OK;
	if ((status = dpo_json_parse(tree, (const char *)file->bytes, file->n, err)) != DPO_OK) {
		dpo_error_prefix(err, "%s", name);
		return status;
	}
	return cJSON_IsObject(*tree) ? DPO_OK : dpo_fail(err, DPO_FORMAT, "%s: not an object", name);
}

static enum dpo_status
read_trees(struct dpo_tokenparts *parts, const struct dpo_files *files, cJSON *const trees[TREES],
    struct dpo_error *err)
{
	const cJSON *const specials[3] = { trees[TOKENIZER_CONFIG], trees[SPECIAL_MAP], trees[CONFIG] };
	enum dpo_status status;

	if (trees[TOKENIZER]) {
		if ((status = read_tokenizer_json(parts, trees[TOKENIZER], err)) != DPO_OK)
			return dpo_error_prefix(err, "tokenizer.json");
	} else if (trees[VOCAB]) {
		status = read_vocab_and_merges(parts, files, trees[VOCAB], trees[TOKENIZER_CONFIG], trees[CONFIG], err);
		if (status != DPO_OK)
			return status;
	} else {
		return dpo_fail(err, DPO_FORMAT, "the model has neither tokenizer.json nor vocab.json");
	}
	if ((status = read_specials(parts, specials, err)) != DPO_OK)
		return status;
	dpo_added_index(&parts->literal);
	dpo_added_index(&parts->normalized);
	return DPO_OK;
}

enum dpo_status
dpo_tokenparts_read(struct dpo_tokenparts *parts, const struct dpo_files *files, struct dpo_error *err)
{
	static const char *const names[TREES] = { "tokenizer_config.json", "special_tokens_map.json", "config.json",
		"tokenizer.json", "vocab.json" };
	cJSON *trees[TREES] = { NULL };
	enum dpo_status status = DPO_OK;

	*parts = (struct dpo_tokenparts){ .bos = -1, .eos = -1 };
	for (size_t i = 0; i < TREES && status == DPO_OK; i++)
		if (i != VOCAB || !trees[TOKENIZER])
			status = parse(&trees[i], files, names[i], err);
	if (status == DPO_OK)
		status = read_trees(parts, files, trees, err);
	for (size_t i = 0; i < TREES; i++)
		cJSON_Delete(trees[i]);
	if (status != DPO_OK)
		dpo_tokenparts_free(parts);
	return status;
}

void
dpo_tokenparts_free(struct dpo_tokenparts *parts)
{
	dpo_vocab_free(&parts->vocab);
	dpo_bpe_free(&parts->bpe);
	dpo_normalizer_free(&parts->normalizer);
	dpo_pretokenizer_free(&parts->pretokenizer);
	dpo_detokenizer_free(&parts->detokenizer);
	dpo_added_free(&parts->literal);
	dpo_added_free(&parts->normalized);
	free(parts->before.ids);
	free(parts->after.ids);
	*parts = (struct dpo_tokenparts){ 0 };
}
