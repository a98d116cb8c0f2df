#include "export/ggufvocab.h"

#include "base/buffer.h"
#include "base/json.h"
#include "base/size.h"
#include "base/table.h"
#include "model/ggufsplit.h"
#include "tokenizer/sentencepiece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* llama.cpp's token types. */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

struct token {
	const char *text;	/* borrowed; NULL: no token has this id */
	uint32_t type;
	float score;
};

/* A tokenizer's files, taken apart. */
struct vocabulary {
	cJSON *json;			/* tokenizer.json, or NULL */
	cJSON *separate;		/* vocab.json, without tokenizer.json */
	cJSON *more;			/* added_tokens.json beside that or tokenizer.model */
	cJSON *config;			/* tokenizer_config.json, or NULL */
	const cJSON *entries;		/* {token: id} */
	const cJSON *added;		/* added_tokens, or NULL */
	struct dpo_buffer merges;	/* "left right", each followed by a NUL */
	size_t n_merges;
	struct token *tokens;		/* owned; `rows` of them */
	size_t rows;
	bool scored;			/* SentencePiece's: scores, not merges */
	struct dpo_sentencepiece pieces;	/* a lone tokenizer.model, or {0} */
};

/* ------------------------------------------------------------------ tokens and merges */

static enum dpo_status
put_token(struct vocabulary *v, const char *text, const cJSON *id, uint32_t type, struct dpo_error *err)
{
	if (!cJSON_IsNumber(id) || !(id->valuedouble >= 0 && id->valuedouble < (double)v->rows))
		return dpo_fail(err, DPO_FORMAT, "token \"%.60s\" has an id beyond the %zu embeddings", text, v->rows);
	v->tokens[(size_t)id->valuedouble] = (struct token){ .text = text, .type = type };
	return DPO_OK;
}

/* "<0x0A>": the byte's own token. */
static bool
is_byte(const char *text)
{
	unsigned byte;
	char rest;

	return strlen(text) == 6 && sscanf(text, "<0x%2X%c", &byte, &rest) == 2 && rest == '>';
}

/* Unigram's list of pieces, each with its score. */
static enum dpo_status
read_scored(struct vocabulary *v, struct dpo_error *err)
{
	const cJSON *unknown = dpo_json_get(dpo_json_get(v->json, "model"), "unk_id"), *item;
	size_t i = 0;

	cJSON_ArrayForEach(item, v->entries) {
		const cJSON *text = cJSON_GetArrayItem(item, 0), *score = cJSON_GetArrayItem(item, 1);

		if (!cJSON_IsString(text) || !cJSON_IsNumber(score))
			return dpo_fail(err, DPO_FORMAT, "tokenizer.json: entry %zu is not a piece and its score", i);
		if (i == v->rows)
			return dpo_fail(err, DPO_FORMAT, "token \"%.60s\" has an id beyond the %zu embeddings",
			    text->valuestring, v->rows);
		v->tokens[i] = (struct token){ .text = text->valuestring, .score = (float)score->valuedouble,
			.type = cJSON_IsNumber(unknown) && unknown->valuedouble == (double)i ? UNKNOWN : NORMAL };
		i++;
	}
	return DPO_OK;
}

/* SentencePiece's types are llama.cpp's. */
static enum dpo_status
read_pieces(struct vocabulary *v, struct dpo_error *err)
{
	if (v->pieces.count > v->rows)
		return dpo_fail(err, DPO_FORMAT, "tokenizer.model has %zu pieces, more than the %zu embeddings", v->pieces.count,
		    v->rows);
	for (size_t i = 0; i < v->pieces.count; i++)
		v->tokens[i] = (struct token){ .text = dpo_sentencepiece_text(&v->pieces, i), .type = v->pieces.list[i].type,
			.score = v->pieces.list[i].score };
	return DPO_OK;
}

static enum dpo_status
read_tokens(struct vocabulary *v, struct dpo_error *err)
{
	const char *unknown = v->json ? dpo_ggufsplit_text(dpo_json_get(v->json, "model"), "unk_token") : "";
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	if (cJSON_IsArray(v->entries))
		status = read_scored(v, err);
	else
		cJSON_ArrayForEach(item, v->entries)
			if (status == DPO_OK)
				status = put_token(v, item->string, item, v->scored && is_byte(item->string) ? BYTE : NORMAL, err);
	/* Added runs of "\u2581" stand for spaces that the normalizer has yet to make so: merges find them. */
	cJSON_ArrayForEach(item, v->added) {
		const char *content = dpo_ggufsplit_text(item, "content");
		bool unk = v->scored && (strcmp(content, "<unk>") == 0 || (*unknown && strcmp(content, unknown) == 0));

		bool spaces = v->scored && strstr(content, "\u2581");

		if (status == DPO_OK)
			status = put_token(v, content, dpo_json_get(item, "id"), unk ? UNKNOWN :
			    dpo_ggufsplit_true(item, "special", false) ? CONTROL : spaces ? NORMAL : USER_DEFINED, err);
	}
	return status;
}

static void
add_merge(struct vocabulary *v, const char *left, size_t n_left, const char *right, size_t n_right)
{
	dpo_buffer_append(&v->merges, left, n_left);
	dpo_buffer_byte(&v->merges, ' ');
	dpo_buffer_append(&v->merges, right, n_right);
	dpo_buffer_byte(&v->merges, '\0');
	v->n_merges++;
}

/* Merges are strings "left right" or pairs. */
static enum dpo_status
read_merges(struct vocabulary *v, const cJSON *merges, struct dpo_error *err)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, merges) {
		const cJSON *left = cJSON_GetArrayItem(item, 0), *right = cJSON_GetArrayItem(item, 1);
		const char *space = cJSON_IsString(item) ? strchr(item->valuestring, ' ') : NULL;

		if (space)
			add_merge(v, item->valuestring, (size_t)(space - item->valuestring), space + 1, strlen(space + 1));
		else if (cJSON_IsString(left) && cJSON_IsString(right))
			add_merge(v, left->valuestring, strlen(left->valuestring), right->valuestring, strlen(right->valuestring));
		else
			return dpo_fail(err, DPO_FORMAT, "tokenizer.json: a merge that is neither a string nor a pair");
	}
	return DPO_OK;
}

/* merges.txt: a line each, LF or CR LF, after a first line that begins with #version. */
static void
read_merge_lines(struct vocabulary *v, const char *text, size_t n)
{
	for (size_t at = 0, end; at < n; at = end + 1) {
		const char *newline = memchr(text + at, '\n', n - at), *space;
		size_t length;

		end = newline ? (size_t)(newline - text) : n;
		length = end - at - (end > at && text[end - 1] == '\r');
		space = memchr(text + at, ' ', length);
		if (space && !(at == 0 && strncmp(text, "#version", 8) == 0))
			add_merge(v, text + at, (size_t)(space - text) - at, space + 1, length - ((size_t)(space - text) + 1 - at));
	}
}

/* The score of a token is minus the number of the first merge that makes it; what no merge makes comes after all of them. */
static enum dpo_status
score_tokens(struct vocabulary *v, struct dpo_error *err)
{
	struct dpo_table ranks = { 0 };
	struct dpo_buffer whole = { 0 };
	const char *merge = (const char *)v->merges.data;
	bool good = true;

	for (size_t i = 0; i < v->n_merges && good; i++, merge += strlen(merge) + 1) {
		const char *space = strchr(merge, ' ');

		dpo_buffer_clear(&whole);
		dpo_buffer_append(&whole, merge, (size_t)(space - merge));
		dpo_buffer_string(&whole, space + 1);
		good = !whole.failed && dpo_table_add(&ranks, whole.data, whole.len, (int64_t)i) >= 0;
	}
	for (size_t i = 0; i < v->rows && good; i++)
		if (v->tokens[i].text && v->tokens[i].type == NORMAL)
			v->tokens[i].score = -(float)dpo_table_get(&ranks, v->tokens[i].text, strlen(v->tokens[i].text),
			    (int64_t)(v->n_merges + i));
	dpo_table_free(&ranks);
	dpo_buffer_free(&whole);
	return good ? DPO_OK : dpo_fail_memory(err);
}

/* ------------------------------------------------------------------ files */

static enum dpo_status
parse(cJSON **tree, const struct dpo_named_file *file, struct dpo_error *err)
{
	enum dpo_status status = dpo_json_parse(tree, (const char *)file->bytes, file->n, err);

	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "%s", file->name);
}

static enum dpo_status
open_json(struct vocabulary *v, const struct dpo_named_file *file, struct dpo_error *err)
{
	enum dpo_status status = parse(&v->json, file, err);
	const cJSON *model = dpo_json_get(v->json, "model");
	const char *type = dpo_ggufsplit_text(model, "type");

	if (status != DPO_OK)
		return status;
	if (*type && strcmp(type, "BPE") != 0 && strcmp(type, "Unigram") != 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "a tokenizer of type %.60s is not written as GGUF", type);
	v->entries = dpo_json_get(model, "vocab");
	v->added = dpo_json_get(v->json, "added_tokens");
	return read_merges(v, dpo_json_get(model, "merges"), err);
}

/* What llama.cpp's "llama" and "t5" leave undone is refused. */
static enum dpo_status
open_pieces(struct vocabulary *v, const struct dpo_named_file *file, struct dpo_error *err)
{
	struct dpo_sentencepiece *pieces = &v->pieces;
	enum dpo_status status = dpo_sentencepiece_list(pieces, file->bytes, file->n, err);

	if (status != DPO_OK)
		return dpo_error_prefix(err, "%s", file->name);
	if (pieces->unigram && pieces->byte_fallback)
		return dpo_fail(err, DPO_UNSUPPORTED, "%s: llama.cpp has no unigram with byte_fallback", file->name);
	if (!pieces->unigram && (pieces->charsmap_bytes > 0 || pieces->remove_extra))
		return dpo_fail(err, DPO_UNSUPPORTED, "%s: llama.cpp has no bpe with %s", file->name,
		    pieces->remove_extra ? "remove_extra_whitespaces" : "a charsmap");
	return DPO_OK;
}

/* tokenizer.json, or what there is without one. */
static enum dpo_status
open_files(struct vocabulary *v, const struct dpo_files *files, struct dpo_error *err)
{
	const struct dpo_named_file *json = dpo_files_find(files, "tokenizer.json"),
	    *vocab = dpo_files_find(files, "vocab.json"), *merges = dpo_files_find(files, "merges.txt"),
	    *pieces = dpo_files_find(files, "tokenizer.model"), *more = dpo_files_find(files, "added_tokens.json"),
	    *config = dpo_files_find(files, "tokenizer_config.json");
	enum dpo_status status;

	if (config && (status = parse(&v->config, config, err)) != DPO_OK)
		return status;
	if (!json && more && (status = parse(&v->more, more, err)) != DPO_OK)
		return status;
	if (json) {
		status = open_json(v, json, err);
	} else if (vocab && merges) {
		status = parse(&v->separate, vocab, err);
		v->entries = v->separate;
		read_merge_lines(v, (const char *)merges->bytes, merges->n);
	} else if (pieces) {
		status = open_pieces(v, pieces, err);
	} else {
		return dpo_fail(err, DPO_UNSUPPORTED,
		    "GGUF needs the model's tokenizer.json, vocab.json and merges.txt, or tokenizer.model");
	}
	return status == DPO_OK && v->merges.failed ? dpo_fail_memory(err) : status;
}

static enum dpo_status
add_token(struct vocabulary *v, uint64_t id, const char *text, uint32_t type, struct dpo_error *err)
{
	if (id >= v->rows)
		return dpo_fail(err, DPO_FORMAT, "token \"%.60s\" has an id beyond the %zu embeddings", text, v->rows);
	if (v->tokens[id].type != UNKNOWN)
		v->tokens[id] = (struct token){ .text = text, .type = type };
	return DPO_OK;
}

/*
 * Without tokenizer.json the added tokens are in added_tokens.json and tokenizer_config.json, and BOS and EOS perhaps only
 * among the others.
 */
static enum dpo_status
read_separate(struct vocabulary *v, const struct dpo_tokenizer *tokenizer, struct dpo_error *err)
{
	const int32_t ends[] = { dpo_tokenizer_bos(tokenizer), dpo_tokenizer_eos(tokenizer) };
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	cJSON_ArrayForEach(item, v->more)
		if (status == DPO_OK)
			status = add_token(v, cJSON_IsNumber(item) && item->valuedouble >= 0 ? (uint64_t)item->valuedouble :
			    UINT64_MAX, item->string, USER_DEFINED, err);
	cJSON_ArrayForEach(item, dpo_json_get(v->config, "added_tokens_decoder"))
		if (status == DPO_OK)
			status = add_token(v, strtoul(item->string, NULL, 10), dpo_ggufsplit_text(item, "content"),
			    dpo_ggufsplit_true(item, "special", false) ? CONTROL : USER_DEFINED, err);
	for (size_t i = 0; i < 2; i++)
		if (ends[i] >= 0 && (size_t)ends[i] < v->rows)
			v->tokens[ends[i]].type = CONTROL;
	return status;
}

/* ------------------------------------------------------------------ keys */

static void
put_tokens(struct dpo_gguf *gguf, const struct vocabulary *v)
{
	char unused[32];

	dpo_gguf_array(gguf, "tokenizer.ggml.tokens", DPO_GGUF_STRING, v->rows);
	for (size_t i = 0; i < v->rows; i++) {
		snprintf(unused, sizeof unused, "[PAD%zu]", i);
		dpo_gguf_put_string(gguf, v->tokens[i].text ? v->tokens[i].text : unused,
		    strlen(v->tokens[i].text ? v->tokens[i].text : unused));
	}
	dpo_gguf_array(gguf, "tokenizer.ggml.token_type", DPO_GGUF_I32, v->rows);
	for (size_t i = 0; i < v->rows; i++)
		dpo_gguf_put_u32(gguf, v->tokens[i].text ? v->tokens[i].type : UNUSED);
}

static void
put_order(struct dpo_gguf *gguf, const struct vocabulary *v)
{
	const char *merge = (const char *)v->merges.data;

	if (v->scored) {
		dpo_gguf_array(gguf, "tokenizer.ggml.scores", DPO_GGUF_F32, v->rows);
		for (size_t i = 0; i < v->rows; i++)
			dpo_gguf_put_f32(gguf, v->tokens[i].score);
		return;
	}
	dpo_gguf_array(gguf, "tokenizer.ggml.merges", DPO_GGUF_STRING, v->n_merges);
	for (size_t i = 0; i < v->n_merges; i++, merge += strlen(merge) + 1)
		dpo_gguf_put_string(gguf, merge, strlen(merge));
}

/* The id of the token that tokenizer_config.json calls `name`, or -1. */
static int64_t
named_token(const struct vocabulary *v, const char *name)
{
	const cJSON *value = dpo_json_get(v->config, name);
	const char *text = cJSON_IsString(value) ? value->valuestring : dpo_ggufsplit_text(value, "content");

	for (size_t i = 0; i < v->rows && *text; i++)
		if (v->tokens[i].text && strcmp(v->tokens[i].text, text) == 0)
			return (int64_t)i;
	return -1;
}

/* That of tokenizer_config.json, or the one a scored vocabulary has. */
static int64_t
unknown_token(const struct vocabulary *v)
{
	int64_t id = named_token(v, "unk_token");

	for (size_t i = 0; i < v->rows && id < 0; i++)
		if (v->tokens[i].text && v->tokens[i].type == UNKNOWN)
			id = (int64_t)i;
	return id;
}

static void
put_id(struct dpo_gguf *gguf, const char *key, int64_t id)
{
	if (id >= 0)
		dpo_gguf_u32(gguf, key, (uint32_t)id);
}

/* Whether the tokenizer puts BOS before and EOS after a text, found by tokenizing one. */
static enum dpo_status
put_ends(struct dpo_gguf *gguf, const struct dpo_tokenizer *tokenizer, struct dpo_error *err)
{
	struct dpo_ids bare = { 0 }, whole = { 0 };
	int32_t bos = dpo_tokenizer_bos(tokenizer), eos = dpo_tokenizer_eos(tokenizer);
	enum dpo_status status;

	if ((status = dpo_tokenizer_encode(tokenizer, "a", 1, false, &bare, err)) == DPO_OK &&
	    (status = dpo_tokenizer_encode(tokenizer, "a", 1, true, &whole, err)) == DPO_OK) {
		bool before = whole.count > bare.count && whole.ids[0] == bos;
		bool behind = whole.count > bare.count && whole.ids[whole.count - 1] == eos;

		if (whole.count != bare.count + before + behind)
			status = dpo_fail(err, DPO_UNSUPPORTED, "a tokenizer that adds tokens other than BOS and EOS");
		dpo_gguf_bool(gguf, "tokenizer.ggml.add_bos_token", before);
		dpo_gguf_bool(gguf, "tokenizer.ggml.add_eos_token", behind);
	}
	free(bare.ids);
	free(whole.ids);
	return status;
}

static void
put_template(struct dpo_gguf *gguf, const struct dpo_files *files, const cJSON *config)
{
	static const char key[] = "tokenizer.chat_template";
	const struct dpo_named_file *file = dpo_files_find(files, "chat_template.jinja");
	const cJSON *value = dpo_json_get(config, "chat_template"), *item, *chosen = NULL;

	cJSON_ArrayForEach(item, value)
		if (strcmp(dpo_ggufsplit_text(item, "name"), "default") == 0)
			chosen = dpo_json_get(item, "template");
	if (cJSON_IsString(value))
		chosen = value;
	if (file)
		dpo_gguf_string(gguf, key, (const char *)file->bytes, file->n);
	else if (cJSON_IsString(chosen))
		dpo_gguf_string(gguf, key, chosen->valuestring, strlen(chosen->valuestring));
}

static enum dpo_status
put_specials(struct dpo_gguf *gguf, const struct vocabulary *v, const struct dpo_files *files,
    const struct dpo_tokenizer *tokenizer, struct dpo_error *err)
{
	put_id(gguf, "tokenizer.ggml.bos_token_id", dpo_tokenizer_bos(tokenizer));
	put_id(gguf, "tokenizer.ggml.eos_token_id", dpo_tokenizer_eos(tokenizer));
	put_id(gguf, "tokenizer.ggml.unknown_token_id", unknown_token(v));
	put_id(gguf, "tokenizer.ggml.padding_token_id", named_token(v, "pad_token"));
	put_template(gguf, files, v->config);
	return put_ends(gguf, tokenizer, err);
}

/* SentencePiece's own rules, where there is no tokenizer.json that states them. */
static void
put_spaces(struct dpo_gguf *gguf, const struct vocabulary *v, bool prefix)
{
	const struct dpo_sentencepiece *pieces = &v->pieces;

	dpo_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", prefix);
	if (!pieces->unigram)
		return;
	dpo_gguf_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", pieces->remove_extra);
	if (pieces->charsmap_bytes > 0) {
		dpo_gguf_array(gguf, "tokenizer.ggml.precompiled_charsmap", DPO_GGUF_U8, pieces->charsmap_bytes);
		dpo_gguf_put_bytes(gguf, pieces->charsmap, pieces->charsmap_bytes);
	}
}

static enum dpo_status
find_split(const struct dpo_ggufsplit **split, const struct vocabulary *v, struct dpo_ggufsplit *own, struct dpo_error *err)
{
	if (v->pieces.count == 0)
		return dpo_ggufsplit_find(split, v->json, v->config, err);
	*own = (struct dpo_ggufsplit){ .model = v->pieces.unigram ? "t5" : "llama", .pre = "default",
		.prefix = v->pieces.dummy_prefix };
	*split = own;
	return DPO_OK;
}

static enum dpo_status
add_all(struct dpo_gguf *gguf, struct vocabulary *v, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
    struct dpo_error *err)
{
	const struct dpo_ggufsplit *split;
	struct dpo_ggufsplit own;
	bool bpe;
	enum dpo_status status;

	if ((status = open_files(v, files, err)) != DPO_OK || (status = find_split(&split, v, &own, err)) != DPO_OK)
		return status;
	v->scored = strcmp(split->model, "gpt2") != 0;
	bpe = v->json && cJSON_IsObject(v->entries);
	if (!(v->tokens = dpo_alloc(v->rows, sizeof *v->tokens)))
		return dpo_fail_memory(err);
	if ((status = v->pieces.count > 0 ? read_pieces(v, err) : read_tokens(v, err)) != DPO_OK ||
	    (!v->json && (status = read_separate(v, tokenizer, err)) != DPO_OK) ||
	    (v->scored && bpe && (status = score_tokens(v, err)) != DPO_OK))
		return status;
	dpo_gguf_string(gguf, "tokenizer.ggml.model", split->model, strlen(split->model));
	dpo_gguf_string(gguf, "tokenizer.ggml.pre", split->pre, strlen(split->pre));
	put_tokens(gguf, v);
	put_order(gguf, v);
	if (v->scored)
		put_spaces(gguf, v, split->prefix);
	return put_specials(gguf, v, files, tokenizer, err);
}

enum dpo_status
dpo_ggufvocab_add(struct dpo_gguf *gguf, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer, size_t rows,
    struct dpo_error *err)
{
	struct vocabulary v = { .rows = rows };
	enum dpo_status status = add_all(gguf, &v, files, tokenizer, err);

	cJSON_Delete(v.json);
	cJSON_Delete(v.separate);
	cJSON_Delete(v.more);
	dpo_sentencepiece_free(&v.pieces);
	cJSON_Delete(v.config);
	dpo_buffer_free(&v.merges);
	free(v.tokens);
	return status;
}
