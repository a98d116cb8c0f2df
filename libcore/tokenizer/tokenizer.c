#include "tokenizer/tokenizer.h"

#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/specials.h"
#include "tokenizer/tokenclass.h"
#include "tokenizer/tokenjson.h"
#include "tokenizer/tokenparts.h"

#include <stdlib.h>
#include <string.h>

struct dpo_tokenizer {
	struct dpo_tokenparts parts;
};

/* One call of dpo_tokenizer_encode. */
struct encoding {
	const struct dpo_tokenparts *parts;
	struct dpo_ids *ids;
	struct dpo_pretokenize_scratch *pretokenize;
	struct dpo_bpe_scratch bpe;
	struct dpo_unigram_scratch unigram;
	struct dpo_buffer normal;	/* the normalized form of a piece */
};

/* ------------------------------------------------------------------ reading */

enum { TOKENIZER_CONFIG, SPECIAL_MAP, CONFIG, ADDED, TREES };

/* added_tokens.json: {text: id, ...}, tokens that the vocabulary may lack. */
static enum dpo_status
read_added(struct dpo_tokenparts *parts, const cJSON *tree, struct dpo_error *err)
{
	struct dpo_added_spec spec = { 0 };
	enum dpo_status status = DPO_OK;
	const cJSON *item;

	cJSON_ArrayForEach(item, tree) {
		spec.text = item->string;
		if ((status = dpo_json_integer_of(&spec.id, item, 0, DPO_VOCAB_MAX - 1, err)) != DPO_OK ||
		    (status = dpo_tokenparts_add(parts, &spec, err)) != DPO_OK)
			break;
	}
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "added_tokens.json");
}

static enum dpo_status
read_parts(struct dpo_tokenparts *parts, const struct dpo_files *files, cJSON *const trees[TREES], struct dpo_error *err)
{
	const struct dpo_named_file *json = dpo_files_find(files, "tokenizer.json"),
	    *model = dpo_files_find(files, "tokenizer.model");
	const struct dpo_specials_files specials = { trees[TOKENIZER_CONFIG], trees[SPECIAL_MAP], trees[CONFIG], json != NULL };
	enum dpo_status status;

	if (json) {
		if (dpo_tokenjson_read(parts, (const char *)json->bytes, json->n, err) != DPO_OK)
			return dpo_error_prefix(err, "tokenizer.json");
	} else if (dpo_files_find(files, "vocab.json")) {
		status = dpo_tokenclass_read(parts, files, trees[TOKENIZER_CONFIG], trees[CONFIG], err);
		if (status != DPO_OK)
			return status;
	} else if (model) {
		if (dpo_sentencepiece_read(parts, model->bytes, model->n, err) != DPO_OK)
			return dpo_error_prefix(err, "tokenizer.model");
	} else {
		return dpo_fail(err, DPO_FORMAT, "the model has neither tokenizer.json, vocab.json nor tokenizer.model");
	}
	if (!json && (status = read_added(parts, trees[ADDED], err)) != DPO_OK)
		return status;
	if ((status = dpo_specials_read(parts, &specials, err)) == DPO_OK)
		dpo_tokenparts_index(parts);
	return status;
}

static enum dpo_status
read_files(struct dpo_tokenparts *parts, const struct dpo_files *files, struct dpo_error *err)
{
	static const char *const names[TREES] = { "tokenizer_config.json", "special_tokens_map.json", "config.json",
		"added_tokens.json" };
	cJSON *trees[TREES] = { NULL };
	enum dpo_status status = DPO_OK;

	*parts = (struct dpo_tokenparts){ .bos = -1, .eos = -1 };
	for (size_t i = 0; i < TREES && status == DPO_OK; i++)
		status = dpo_files_tree(&trees[i], files, names[i], err);
	if (status == DPO_OK)
		status = read_parts(parts, files, trees, err);
	for (size_t i = 0; i < TREES; i++)
		cJSON_Delete(trees[i]);
	if (status != DPO_OK)
		dpo_tokenparts_free(parts);
	return status;
}

enum dpo_status
dpo_tokenizer_open(struct dpo_tokenizer **tokenizer, const struct dpo_files *files, struct dpo_error *err)
{
	enum dpo_status status;

	if (!(*tokenizer = dpo_alloc(1, sizeof **tokenizer)))
		return dpo_fail_memory(err);
	if ((status = read_files(&(*tokenizer)->parts, files, err)) != DPO_OK) {
		free(*tokenizer);
		*tokenizer = NULL;
	}
	return status;
}

void
dpo_tokenizer_free(struct dpo_tokenizer *tokenizer)
{
	if (tokenizer)
		dpo_tokenparts_free(&tokenizer->parts);
	free(tokenizer);
}

size_t
dpo_tokenizer_size(const struct dpo_tokenizer *tokenizer)
{
	return tokenizer->parts.vocab.size;
}

int32_t
dpo_tokenizer_eos(const struct dpo_tokenizer *tokenizer)
{
	return tokenizer->parts.eos;
}

const char *
dpo_tokenizer_eos_text(const struct dpo_tokenizer *tokenizer)
{
	size_t n;

	return dpo_vocab_text(&tokenizer->parts.vocab, tokenizer->parts.eos, &n);
}

int32_t
dpo_tokenizer_bos(const struct dpo_tokenizer *tokenizer)
{
	return tokenizer->parts.bos;
}

/* ------------------------------------------------------------------ encoding */

static enum dpo_status
encode_word(void *context, const char *word, size_t n, struct dpo_error *err)
{
	struct encoding *encoding = context;

	if (encoding->parts->model == DPO_TOKEN_UNIGRAM)
		return dpo_unigram_encode(&encoding->parts->unigram, &encoding->unigram, word, n, encoding->ids, err);
	return dpo_bpe_encode(&encoding->parts->bpe, &encoding->parts->vocab, &encoding->bpe, word, n, encoding->ids, err);
}

/* A piece without literal added tokens: normalize it, find the added tokens of normalized text, split the rest into words. */
static enum dpo_status
encode_piece(struct encoding *encoding, const char *text, size_t n, bool first, struct dpo_error *err)
{
	const struct dpo_tokenparts *parts = encoding->parts;
	struct dpo_added_walk walk = { .text = text, .n = n };
	enum dpo_status status = DPO_OK;
	size_t start, end;
	bool cut;
	int32_t id;

	if (parts->normalizer.count > 0) {
		if ((status = dpo_normalize(&parts->normalizer, text, n, &encoding->normal, &cut, err)) != DPO_OK)
			return status;
		first = first && !cut;
		walk.text = (const char *)encoding->normal.data;
		walk.n = encoding->normal.len;
	}
	while (status == DPO_OK && dpo_added_next(&parts->normalized, &walk, &start, &end, &id)) {
		if (id < 0)
			status = dpo_pretokenize(&parts->pretokenizer, encoding->pretokenize, walk.text + start, end - start,
			    first && start == 0, encode_word, encoding, err);
		else if (!dpo_ids_add(encoding->ids, id))
			status = dpo_fail_memory(err);
	}
	return status;
}

static enum dpo_status
encode_text(struct encoding *encoding, const char *text, size_t n, struct dpo_error *err)
{
	struct dpo_added_walk walk = { .text = text, .n = n };
	enum dpo_status status = DPO_OK;
	size_t start, end;
	int32_t id;

	while (status == DPO_OK && dpo_added_next(&encoding->parts->literal, &walk, &start, &end, &id)) {
		if (id < 0)
			status = encode_piece(encoding, text + start, end - start, start == 0, err);
		else if (!dpo_ids_add(encoding->ids, id))
			status = dpo_fail_memory(err);
	}
	return status;
}

static bool
append_all(struct dpo_ids *ids, const struct dpo_ids *more)
{
	for (size_t i = 0; i < more->count; i++)
		if (!dpo_ids_add(ids, more->ids[i]))
			return false;
	return true;
}

enum dpo_status
dpo_tokenizer_encode(const struct dpo_tokenizer *tokenizer, const char *text, size_t n, bool special,
    struct dpo_ids *ids, struct dpo_error *err)
{
	struct encoding encoding = { .parts = &tokenizer->parts, .ids = ids };
	enum dpo_status status;

	if (dpo_utf8_check((const uint8_t *)text, n) != n)
		return dpo_fail(err, DPO_FORMAT, "text is not UTF-8");
	if (!(encoding.pretokenize = dpo_pretokenize_scratch_new()))
		return dpo_fail_memory(err);
	status = !special || append_all(ids, &tokenizer->parts.before) ? DPO_OK : dpo_fail_memory(err);
	if (status == DPO_OK)
		status = encode_text(&encoding, text, n, err);
	if (status == DPO_OK && special && !append_all(ids, &tokenizer->parts.after))
		status = dpo_fail_memory(err);
	dpo_pretokenize_scratch_free(encoding.pretokenize);
	dpo_bpe_scratch_free(&encoding.bpe);
	dpo_unigram_scratch_free(&encoding.unigram);
	dpo_buffer_free(&encoding.normal);
	return status;
}

/* ------------------------------------------------------------------ decoding */

enum dpo_status
dpo_tokenizer_decode(const struct dpo_tokenizer *tokenizer, const int32_t *ids, size_t n, struct dpo_buffer *out,
    struct dpo_error *err)
{
	struct dpo_texts tokens = { 0 };
	enum dpo_status status = DPO_OK;
	const char *text;
	size_t length;

	for (size_t i = 0; i < n && status == DPO_OK; i++) {
		if ((text = dpo_vocab_text(&tokenizer->parts.vocab, ids[i], &length)))
			dpo_texts_add(&tokens, text, length);
		else
			status = dpo_fail(err, DPO_FORMAT, "token %d is not in the vocabulary", (int)ids[i]);
	}
	if (status == DPO_OK)
		return dpo_detokenize(&tokenizer->parts.detokenizer, &tokens, out, err);
	dpo_texts_free(&tokens);
	return status;
}
