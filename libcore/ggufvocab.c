#include "ggufvocab.h"

#include "json.h"
#include "table.h"

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
	cJSON *config;			/* tokenizer_config.json, or NULL */
	const cJSON *entries;		/* {token: id} */
	const cJSON *added;		/* added_tokens, or NULL */
	struct dpo_buffer merges;	/* "left right", each with a NUL behind it */
	size_t n_merges;
	struct token *tokens;		/* owned; `rows` of them */
	size_t rows;
	bool scored;			/* SentencePiece's: scores, not merges */
};

/* ------------------------------------------------------------------ how text is split */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/*
 * What normalizer and pre-tokenizer say (describe() below), and llama.cpp's names for it: the patterns of its
 * llama-vocab.cpp, which normalizes nothing (NFC is taken as done).
 */
static const struct splitter { const char *said, *model, *pre; bool prefix; } splitters[] = {
	{ "ByteLevel", "gpt2", "gpt-2", false },
	{ "NFC ByteLevel", "gpt2", "gpt-2", false },
	{ "Split(" CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" REST ") Bytes", "gpt2", "llama-bpe", false },
	{ "NFC Split(" CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" REST ") Bytes", "gpt2", "qwen2", false },
	{ "Split(" CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" REST ") Bytes", "gpt2", "qwen2", false },
	{ "Digits ByteLevel", "gpt2", "smollm", false },
	{ "Prepend(\u2581) Replace(\u2581)", "llama", "default", true },
	{ "Replace(\u2581)", "llama", "default", false },
	{ "Metaspace(always)", "llama", "default", true },
	{ "Metaspace(first)", "llama", "default", true },
	{ "Metaspace(never)", "llama", "default", false },
};

static const char *
text_of(const cJSON *object, const char *key)
{
	const cJSON *value = dpo_json_get(object, key);

	return cJSON_IsString(value) ? value->valuestring : "";
}

static bool
is_true(const cJSON *object, const char *key, bool absent)
{
	const cJSON *value = dpo_json_get(object, key);

	return value ? cJSON_IsTrue(value) : absent;
}

/* One normalizer or pre-tokenizer in a word; in a Sequence its parts, one after the other. */
static void
describe(struct dpo_buffer *out, const cJSON *part)
{
	const char *type = text_of(part, "type"), *sequences[] = { "normalizers", "pretokenizers" };
	const cJSON *pattern = dpo_json_get(part, "pattern"), *item;

	if (!cJSON_IsObject(part))
		return;
	if (strcmp(type, "Sequence") == 0) {
		for (size_t i = 0; i < 2; i++)
			cJSON_ArrayForEach(item, dpo_json_get(part, sequences[i]))
				describe(out, item);
		return;
	}
	if (out->len > 0)
		dpo_buffer_byte(out, ' ');
	if (strcmp(type, "ByteLevel") == 0)
		dpo_buffer_printf(out, "%s%s", is_true(part, "use_regex", true) ? "ByteLevel" : "Bytes",
		    is_true(part, "add_prefix_space", true) ? "(prefix)" : "");
	else if (strcmp(type, "Split") == 0 && strcmp(text_of(part, "behavior"), "Isolated") == 0 && !is_true(part, "invert", false))
		dpo_buffer_printf(out, "Split(%s)", text_of(pattern, "Regex"));
	else if (strcmp(type, "Digits") == 0 && is_true(part, "individual_digits", false))
		dpo_buffer_string(out, "Digits");
	else if (strcmp(type, "Prepend") == 0)
		dpo_buffer_printf(out, "Prepend(%s)", text_of(part, "prepend"));
	else if (strcmp(type, "Replace") == 0 && strcmp(text_of(pattern, "String"), " ") == 0)
		dpo_buffer_printf(out, "Replace(%s)", text_of(part, "content"));
	else if (strcmp(type, "Metaspace") == 0)
		dpo_buffer_printf(out, "Metaspace(%s)", *text_of(part, "prepend_scheme") ? text_of(part, "prepend_scheme") :
		    is_true(part, "add_prefix_space", true) ? "always" : "never");
	else
		dpo_buffer_printf(out, "%s(?)", type);
}

static enum dpo_status
find_splitter(const struct splitter **splitter, const struct vocabulary *v, struct dpo_error *err)
{
	/* Without tokenizer.json the class says it: GPT-2's or Qwen2's. */
	bool qwen2 = strncmp(text_of(v->config, "tokenizer_class"), "Qwen2Tokenizer", strlen("Qwen2Tokenizer")) == 0;
	struct dpo_buffer said = { 0 };
	const char *text;
	enum dpo_status status;

	if (v->json) {
		describe(&said, dpo_json_get(v->json, "normalizer"));
		describe(&said, dpo_json_get(v->json, "pre_tokenizer"));
	}
	text = v->json ? dpo_buffer_text(&said) : qwen2 ? splitters[4].said : splitters[0].said;
	for (size_t i = 0; i < sizeof splitters / sizeof *splitters; i++)
		if (strcmp(splitters[i].said, text) == 0)
			*splitter = &splitters[i];
	if (said.failed)
		status = dpo_fail_memory(err);
	else
		status = *splitter ? DPO_OK : dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp has no pre-tokenizer that is known to do what "
		    "this tokenizer does: \"%.300s\"", text);
	dpo_buffer_free(&said);
	return status;
}

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

static enum dpo_status
read_tokens(struct vocabulary *v, struct dpo_error *err)
{
	const char *unknown = v->json ? text_of(dpo_json_get(v->json, "model"), "unk_token") : "";
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	cJSON_ArrayForEach(item, v->entries)
		if (status == DPO_OK)
			status = put_token(v, item->string, item, v->scored && is_byte(item->string) ? BYTE : NORMAL, err);
	cJSON_ArrayForEach(item, v->added) {
		const char *content = text_of(item, "content");
		bool unk = v->scored && (strcmp(content, "<unk>") == 0 || (*unknown && strcmp(content, unknown) == 0));

		if (status == DPO_OK)
			status = put_token(v, content, dpo_json_get(item, "id"), unk ? UNKNOWN :
			    is_true(item, "special", false) ? CONTROL : USER_DEFINED, err);
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
open_files(struct vocabulary *v, const struct dpo_files *files, struct dpo_error *err)
{
	const struct dpo_named_file *json = dpo_files_find(files, "tokenizer.json"),
	    *vocab = dpo_files_find(files, "vocab.json"), *merges = dpo_files_find(files, "merges.txt"),
	    *config = dpo_files_find(files, "tokenizer_config.json");
	enum dpo_status status;

	if (config && (status = parse(&v->config, config, err)) != DPO_OK)
		return status;
	if (!json && (!vocab || !merges))
		return dpo_fail(err, DPO_UNSUPPORTED, "GGUF needs the model's tokenizer.json, or vocab.json and merges.txt");
	if (!json) {
		if ((status = parse(&v->separate, vocab, err)) != DPO_OK)
			return status;
		v->entries = v->separate;
		read_merge_lines(v, (const char *)merges->bytes, merges->n);
	} else {
		const cJSON *model;

		if ((status = parse(&v->json, json, err)) != DPO_OK)
			return status;
		model = dpo_json_get(v->json, "model");
		if (*text_of(model, "type") && strcmp(text_of(model, "type"), "BPE") != 0)
			return dpo_fail(err, DPO_UNSUPPORTED, "a tokenizer of type %.60s is not written as GGUF", text_of(model, "type"));
		v->entries = dpo_json_get(model, "vocab");
		v->added = dpo_json_get(v->json, "added_tokens");
		if ((status = read_merges(v, dpo_json_get(model, "merges"), err)) != DPO_OK)
			return status;
	}
	return v->merges.failed ? dpo_fail_memory(err) : DPO_OK;
}

/* Without tokenizer.json the added tokens are in tokenizer_config.json, and BOS and EOS perhaps only in vocab.json. */
static enum dpo_status
read_separate(struct vocabulary *v, const struct dpo_tokenizer *tokenizer, struct dpo_error *err)
{
	const int32_t ends[] = { dpo_tokenizer_bos(tokenizer), dpo_tokenizer_eos(tokenizer) };
	const cJSON *item;

	cJSON_ArrayForEach(item, dpo_json_get(v->config, "added_tokens_decoder")) {
		unsigned long id = strtoul(item->string, NULL, 10);

		if (id >= v->rows)
			return dpo_fail(err, DPO_FORMAT, "token \"%.60s\" has an id beyond the %zu embeddings", text_of(item, "content"),
			    v->rows);
		v->tokens[id] = (struct token){ .text = text_of(item, "content"),
			.type = is_true(item, "special", false) ? CONTROL : USER_DEFINED };
	}
	for (size_t i = 0; i < 2; i++)
		if (ends[i] >= 0 && (size_t)ends[i] < v->rows)
			v->tokens[ends[i]].type = CONTROL;
	return DPO_OK;
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
	const char *text = cJSON_IsString(value) ? value->valuestring : text_of(value, "content");

	for (size_t i = 0; i < v->rows && *text; i++)
		if (v->tokens[i].text && strcmp(v->tokens[i].text, text) == 0)
			return (int64_t)i;
	return -1;
}

static void
put_id(struct dpo_gguf *gguf, const char *key, int64_t id)
{
	if (id >= 0)
		dpo_gguf_u32(gguf, key, (uint32_t)id);
}

/* Whether the tokenizer puts BOS before and EOS behind a text: by one it tokenizes. */
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
			status = dpo_fail(err, DPO_UNSUPPORTED, "a tokenizer that adds other tokens than BOS and EOS");
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
		if (strcmp(text_of(item, "name"), "default") == 0)
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
	put_id(gguf, "tokenizer.ggml.unknown_token_id", named_token(v, "unk_token"));
	put_id(gguf, "tokenizer.ggml.padding_token_id", named_token(v, "pad_token"));
	put_template(gguf, files, v->config);
	return put_ends(gguf, tokenizer, err);
}

static enum dpo_status
add_all(struct dpo_gguf *gguf, struct vocabulary *v, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
    struct dpo_error *err)
{
	const struct splitter *splitter = NULL;
	enum dpo_status status;

	if ((status = open_files(v, files, err)) != DPO_OK || (status = find_splitter(&splitter, v, err)) != DPO_OK)
		return status;
	v->scored = strcmp(splitter->model, "llama") == 0;
	if (!(v->tokens = dpo_alloc(v->rows, sizeof *v->tokens)))
		return dpo_fail_memory(err);
	if ((status = read_tokens(v, err)) != DPO_OK ||
	    (v->separate && (status = read_separate(v, tokenizer, err)) != DPO_OK) ||
	    (v->scored && (status = score_tokens(v, err)) != DPO_OK))
		return status;
	dpo_gguf_string(gguf, "tokenizer.ggml.model", splitter->model, strlen(splitter->model));
	dpo_gguf_string(gguf, "tokenizer.ggml.pre", splitter->pre, strlen(splitter->pre));
	put_tokens(gguf, v);
	put_order(gguf, v);
	if (v->scored)
		dpo_gguf_bool(gguf, "tokenizer.ggml.add_space_prefix", splitter->prefix);
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
	cJSON_Delete(v.config);
	dpo_buffer_free(&v.merges);
	free(v.tokens);
	return status;
}
