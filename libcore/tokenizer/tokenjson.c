#include "tokenizer/tokenjson.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/json.h"
#include "tokenizer/bulk.h"
#include "tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ vocabulary and added tokens */

enum dpo_status
dpo_tokenjson_vocab(struct dpo_vocab *vocab, const char *text, size_t n, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = text, .len = n };
	struct dpo_buffer key = { 0 };
	enum dpo_status status = DPO_OK;
	int64_t id;

	if (!text || dpo_json_next(&lexer, err) != DPO_JSON_OPEN_OBJECT)
		return dpo_fail(err, DPO_FORMAT, "the vocabulary is not an object");
	while (status == DPO_OK && dpo_json_next(&lexer, err) == DPO_JSON_STRING) {
		dpo_buffer_clear(&key);
		dpo_json_unescape(&lexer, &key);
		if (dpo_json_next(&lexer, err) != DPO_JSON_COLON || dpo_json_next(&lexer, err) != DPO_JSON_NUMBER ||
		    !dpo_json_token_integer(&id, text + lexer.start, lexer.length, INT64_MIN, INT64_MAX))
			status = dpo_fail(err, DPO_FORMAT, "the id of token \"%.60s\" is not an integer", dpo_buffer_text(&key));
		else
			status = dpo_vocab_add(vocab, dpo_buffer_text(&key), key.len, id, err);
		if (status == DPO_OK && dpo_json_next(&lexer, err) != DPO_JSON_COMMA)
			break;
	}
	dpo_buffer_free(&key);
	if (status == DPO_OK && vocab->count == 0)
		return dpo_fail(err, DPO_FORMAT, "the vocabulary is empty");
	return status;
}

enum dpo_status
dpo_tokenjson_added(struct dpo_tokenparts *parts, const cJSON *object, int64_t id, struct dpo_error *err)
{
	struct dpo_added_spec spec = { .id = id };
	enum dpo_status status;
	bool special;

	if ((status = dpo_json_string(&spec.text, object, "content", err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&spec.rules.single_word, object, "single_word", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&spec.rules.lstrip, object, "lstrip", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&spec.rules.rstrip, object, "rstrip", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&special, object, "special", false, err)) != DPO_OK ||
	    (status = dpo_json_bool_or(&spec.normalized, object, "normalized", !special, err)) != DPO_OK)
		return status;
	return dpo_tokenparts_add(parts, &spec, err);
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
		    (status = dpo_tokenjson_added(parts, item, id, err)) != DPO_OK)
			return status;
	}
	return DPO_OK;
}

/* ------------------------------------------------------------------ post-processor */

/* One piece of a template: before the text (*seen false), the text itself, or after it. */
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
			return dpo_fail(err, DPO_FORMAT, "TemplateProcessing: an id of \"%.60s\" is not an id", name);
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
	if (strcmp(type, "ByteLevel") == 0)
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

/* ------------------------------------------------------------------ the file */

enum { VOCAB, MERGES, BULKS };

static enum dpo_status
read_model(struct dpo_tokenparts *parts, const cJSON *model, const struct dpo_bulk bulks[BULKS], struct dpo_error *err)
{
	const struct dpo_bulk *vocab = &bulks[VOCAB], *merges = &bulks[MERGES];
	enum dpo_status status;
	const char *type;

	/* Files of before 2020 have no type; theirs is BPE if they have merges. */
	if ((status = dpo_json_string_or(&type, model, "type", merges->text ? "BPE" : "", err)) != DPO_OK)
		return status;
	if (strcmp(type, "Unigram") == 0) {
		parts->model = DPO_TOKEN_UNIGRAM;
		return dpo_unigram_read(&parts->unigram, model, vocab->text, vocab->n, &parts->vocab, err);
	}
	if (strcmp(type, "BPE") != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "tokenizer model \"%.60s\"", type);
	if ((status = dpo_tokenjson_vocab(&parts->vocab, vocab->text, vocab->n, err)) != DPO_OK)
		return status;
	return dpo_bpe_read(&parts->bpe, model, merges->text, merges->n, &parts->vocab, err);
}

static enum dpo_status
read_parts(struct dpo_tokenparts *parts, const cJSON *tree, const struct dpo_bulk bulks[BULKS], struct dpo_error *err)
{
	enum dpo_status status;

	if (!cJSON_IsObject(tree))
		return dpo_fail(err, DPO_FORMAT, "not an object");
	if ((status = read_model(parts, dpo_json_get(tree, "model"), bulks, err)) != DPO_OK ||
	    (status = dpo_normalizer_read(&parts->normalizer, dpo_json_get(tree, "normalizer"), err)) != DPO_OK ||
	    (status = dpo_pretokenizer_read(&parts->pretokenizer, dpo_json_get(tree, "pre_tokenizer"), err)) != DPO_OK ||
	    (status = read_postprocessor(parts, dpo_json_get(tree, "post_processor"), err)) != DPO_OK ||
	    (status = dpo_detokenizer_read(&parts->detokenizer, dpo_json_get(tree, "decoder"), err)) != DPO_OK)
		return status;
	return read_added_list(parts, dpo_json_get(tree, "added_tokens"), err);
}

enum dpo_status
dpo_tokenjson_read(struct dpo_tokenparts *parts, const char *text, size_t n, struct dpo_error *err)
{
	static const char *const names[BULKS] = { "vocab", "merges" };
	struct dpo_bulk bulks[BULKS];
	enum dpo_status status;
	cJSON *tree;

	if ((status = dpo_bulk_parse(&tree, text, n, "model", names, bulks, BULKS, err)) != DPO_OK)
		return status;
	status = read_parts(parts, tree, bulks, err);
	cJSON_Delete(tree);
	return status;
}
