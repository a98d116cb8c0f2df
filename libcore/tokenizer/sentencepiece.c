#include "tokenizer/sentencepiece.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/size.h"
#include "base/utf8.h"
#include "tokenizer/vocab.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ protocol buffers */

/* A message, or what is left of it. */
struct message {
	const uint8_t *bytes;
	size_t n;
};

/* One field: an integer or a float's bits in `value`, or bytes. */
struct field {
	uint64_t number, value;
	struct message bytes;
};

static bool
varint(struct message *message, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64 && message->n > 0; shift += 7) {
		uint8_t byte = *message->bytes++;

		message->n--;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/* The next field of a message that is not empty; false if it is damaged. */
static bool
next_field(struct message *message, struct field *field)
{
	uint64_t key, length;

	*field = (struct field){ 0 };
	if (!varint(message, &key))
		return false;
	field->number = key >> 3;
	switch (key & 7) {
	case 0:
		return varint(message, &field->value);
	case 1:
		length = 8;
		break;
	case 2:
		if (!varint(message, &length))
			return false;
		break;
	case 5:
		length = 4;
		break;
	default:
		return false;
	}
	if (length > message->n)
		return false;
	field->bytes = (struct message){ message->bytes, (size_t)length };
	if ((key & 7) == 5)
		field->value = dpo_bytes_load32(message->bytes);
	message->bytes += length;
	message->n -= (size_t)length;
	return true;
}

static enum dpo_status
damaged(const char *what, struct dpo_error *err)
{
	return dpo_fail(err, DPO_FORMAT, "%s is not a protocol buffer, or damaged", what);
}

/* ------------------------------------------------------------------ the model */

enum type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE, TYPES };
enum { UNIGRAM = 1, BPE };

struct model {
	struct dpo_piece *pieces;	/* owned; count of them, by id */
	size_t count, capacity;
	uint64_t model_type;
	bool has_trainer, has_normalizer;
	bool byte_fallback, whitespace_suffix, escape, denormalizes;
	struct message bos, eos;	/* names; bytes NULL: the defaults */
	struct message charsmap;
	bool dummy_prefix, remove_extra;
};

static enum dpo_status
read_piece(struct dpo_tokenparts *parts, struct model *model, struct message message, struct dpo_error *err)
{
	struct dpo_piece piece = { .type = NORMAL };
	struct message text = { 0 };
	void *pieces = model->pieces;
	struct field field;

	while (message.n > 0) {
		if (!next_field(&message, &field))
			return damaged("a piece", err);
		if (field.number == 1)
			text = field.bytes;
		else if (field.number == 2)
			piece.score = dpo_bytes_to_float((uint32_t)field.value);
		else if (field.number == 3)
			piece.type = field.value < TYPES ? (uint8_t)field.value : 0;
	}
	if (text.n == 0 || memchr(text.bytes, 0, text.n) || dpo_utf8_check(text.bytes, text.n) != text.n)
		return dpo_fail(err, DPO_FORMAT, "the text of piece %zu is empty or not UTF-8", model->count);
	if (piece.type == 0)
		return dpo_fail(err, DPO_UNSUPPORTED, "piece %zu is of an unknown type", model->count);
	if (!isfinite(piece.score))
		return dpo_fail(err, DPO_FORMAT, "the score of piece %zu is not finite", model->count);
	if (!dpo_size_grow(&pieces, &model->capacity, model->count + 1, sizeof *model->pieces))
		return dpo_fail_memory(err);
	model->pieces = pieces;
	model->pieces[model->count] = piece;
	return dpo_vocab_add(&parts->vocab, (const char *)text.bytes, text.n, (int64_t)model->count++, err);
}

static enum dpo_status
read_trainer(struct model *model, struct message message, struct dpo_error *err)
{
	struct field field;

	model->has_trainer = true;
	while (message.n > 0) {
		if (!next_field(&message, &field))
			return damaged("trainer_spec", err);
		switch (field.number) {
		case 3:
			model->model_type = field.value;
			break;
		case 24:
			model->whitespace_suffix = field.value;
			break;
		case 35:
			model->byte_fallback = field.value;
			break;
		case 46:
			model->bos = field.bytes;
			break;
		case 47:
			model->eos = field.bytes;
			break;
		default:
			break;
		}
	}
	return DPO_OK;
}

static enum dpo_status
read_normalizer(struct model *model, struct message message, struct dpo_error *err)
{
	struct field field;

	model->has_normalizer = true;
	while (message.n > 0) {
		if (!next_field(&message, &field))
			return damaged("normalizer_spec", err);
		switch (field.number) {
		case 2:
			model->charsmap = field.bytes;
			break;
		case 3:
			model->dummy_prefix = field.value;
			break;
		case 4:
			model->remove_extra = field.value;
			break;
		case 5:
			model->escape = field.value;
			break;
		default:
			break;
		}
	}
	return DPO_OK;
}

static enum dpo_status
read_denormalizer(struct model *model, struct message message, struct dpo_error *err)
{
	struct field field;

	while (message.n > 0) {
		if (!next_field(&message, &field))
			return damaged("denormalizer_spec", err);
		model->denormalizes |= field.number == 2 && field.bytes.n > 0;
	}
	return DPO_OK;
}

static enum dpo_status
read_message(struct dpo_tokenparts *parts, struct model *model, struct message message, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	struct field field;

	while (message.n > 0 && status == DPO_OK) {
		if (!next_field(&message, &field))
			return damaged("the file", err);
		if (field.number == 1)
			status = read_piece(parts, model, field.bytes, err);
		else if (field.number == 2)
			status = read_trainer(model, field.bytes, err);
		else if (field.number == 3)
			status = read_normalizer(model, field.bytes, err);
		else if (field.number == 5)
			status = read_denormalizer(model, field.bytes, err);
	}
	if (status != DPO_OK)
		return status;
	if (model->count == 0 || !model->has_trainer || !model->has_normalizer)
		return dpo_fail(err, DPO_FORMAT, "there %s, or the file is cut short",
		    model->count == 0 ? "are no pieces" : model->has_trainer ? "is no normalizer_spec" : "is no trainer_spec");
	return DPO_OK;
}

static enum dpo_status
check(const struct dpo_tokenparts *parts, const struct model *model, struct dpo_error *err)
{
	size_t n;

	if (model->model_type != UNIGRAM && model->model_type != BPE)
		return dpo_fail(err, DPO_UNSUPPORTED, "model_type %llu, neither unigram nor bpe",
		    (unsigned long long)model->model_type);
	if (model->whitespace_suffix)
		return dpo_fail(err, DPO_UNSUPPORTED, "treat_whitespace_as_suffix");
	if (!model->escape)
		return dpo_fail(err, DPO_UNSUPPORTED, "escape_whitespaces false");
	if (model->denormalizes)
		return dpo_fail(err, DPO_UNSUPPORTED, "a denormalizer");
	for (size_t i = 0; i < model->count && model->model_type == BPE; i++)
		if (model->pieces[i].type == UNUSED)
			return dpo_fail(err, DPO_UNSUPPORTED, "an unused piece, \"%.60s\"",
			    dpo_vocab_text(&parts->vocab, (int64_t)i, &n));
	return DPO_OK;
}

/* ------------------------------------------------------------------ unigram */

static enum dpo_status
make_unigram(struct dpo_tokenparts *parts, const struct model *model, int32_t unk, struct dpo_error *err)
{
	struct dpo_unigram *unigram = &parts->unigram;
	enum dpo_status status = DPO_OK;
	const char *text;
	size_t n;

	parts->model = DPO_TOKEN_UNIGRAM;
	*unigram = (struct dpo_unigram){ .worst = (double)FLT_MAX, .unk = unk, .single = true,
		.byte_fallback = model->byte_fallback };
	for (size_t i = 0; i < model->count && status == DPO_OK; i++) {
		if (model->pieces[i].type != NORMAL)
			continue;
		text = dpo_vocab_text(&parts->vocab, (int64_t)i, &n);
		status = dpo_unigram_add(unigram, text, n, (int32_t)i, (double)model->pieces[i].score, err);
	}
	if (status == DPO_OK && unigram->n_nodes == 0)
		return dpo_fail(err, DPO_FORMAT, "there are no normal pieces");
	dpo_unigram_find_bytes(unigram, &parts->vocab);
	return status;
}

/* ------------------------------------------------------------------ bpe */

static int
descending(const void *left, const void *right)
{
	float a = *(const float *)left, b = *(const float *)right;

	return a > b ? -1 : a < b;
}

/* The rank of a score: how many different ones are greater. scores are sorted, without repetitions. */
static uint32_t
rank(const float *scores, size_t n, float score)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (scores[middle] > score)
			low = middle + 1;
		else
			high = middle;
	}
	return (uint32_t)low;
}

static bool
is_normal(const struct model *model, int32_t id)
{
	return id >= 0 && (size_t)id < model->count && model->pieces[id].type == NORMAL;
}

/* Every cut of a piece into two pieces is a merge. */
static enum dpo_status
add_merges(struct dpo_tokenparts *parts, const struct model *model, int32_t id, uint32_t place, struct dpo_error *err)
{
	enum dpo_status status;
	size_t n, length;
	const char *text = dpo_vocab_text(&parts->vocab, id, &n);
	uint32_t code;

	for (size_t at = 0; at < n; at += length) {
		struct dpo_merge_ids merge = { .merged = id, .left = dpo_vocab_id(&parts->vocab, text, at) };

		length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code);
		if (!is_normal(model, dpo_vocab_id(&parts->vocab, text + at, length)))
			return dpo_fail(err, DPO_UNSUPPORTED, "piece \"%.60s\", whose character U+%04X is no piece", text, code);
		merge.right = dpo_vocab_id(&parts->vocab, text + at, n - at);
		if (at == 0 || !is_normal(model, merge.left) || !is_normal(model, merge.right))
			continue;
		if ((status = dpo_bpe_add(&parts->bpe, merge, place, err)) != DPO_OK)
			return status;
	}
	return DPO_OK;
}

static enum dpo_status
make_bpe(struct dpo_tokenparts *parts, const struct model *model, int32_t unk, struct dpo_error *err)
{
	float *scores = dpo_alloc(model->count, sizeof *scores);
	enum dpo_status status = DPO_OK;
	size_t distinct = 0;

	if (!scores)
		return dpo_fail_memory(err);
	for (size_t i = 0; i < model->count; i++)
		scores[i] = model->pieces[i].score;
	qsort(scores, model->count, sizeof *scores, descending);
	for (size_t i = 0; i < model->count; i++)
		if (i == 0 || scores[i] < scores[distinct - 1])
			scores[distinct++] = scores[i];
	dpo_bpe_init(&parts->bpe, &parts->vocab);
	parts->bpe.unk = unk;
	parts->bpe.fuse_unk = true;
	parts->bpe.byte_fallback = model->byte_fallback;
	for (size_t i = 0; i < model->count && status == DPO_OK; i++)
		if (model->pieces[i].type == NORMAL)
			status = add_merges(parts, model, (int32_t)i, rank(scores, distinct, model->pieces[i].score), err);
	free(scores);
	return status;
}

/* ------------------------------------------------------------------ the other parts */

static bool
note(struct dpo_tokenparts *parts, const char *text, size_t n, int32_t id)
{
	return dpo_table_add(&parts->texts, text, n, id) >= 0;
}

/* Control pieces and the unknown one are literal added tokens; user-defined ones are found in normalized text. */
static enum dpo_status
add_tokens(struct dpo_tokenparts *parts, const struct model *model, int32_t *unk, struct dpo_error *err)
{
	const struct dpo_added_rules plain = { 0 };
	size_t n;

	*unk = -1;
	for (size_t i = 0; i < model->count; i++) {
		const char *text = dpo_vocab_text(&parts->vocab, (int64_t)i, &n);
		int32_t id = (int32_t)i;
		bool added = true;

		switch (model->pieces[i].type) {
		case UNKNOWN:
			*unk = id;
			/* fallthrough */
		case CONTROL:
			added = note(parts, text, n, id) && dpo_added_add(&parts->literal, text, n, id, plain);
			break;
		case USER_DEFINED:
			added = note(parts, text, n, id) && dpo_added_add(&parts->normalized, text, n, id, plain) &&
			    dpo_added_add(&parts->symbols, text, n, id, plain);
			break;
		default:
			break;
		}
		if (!added)
			return dpo_fail_memory(err);
	}
	return DPO_OK;
}

static enum dpo_status
make_normalizer(struct dpo_tokenparts *parts, const struct model *model, struct dpo_error *err)
{
	struct dpo_charsmap map = { .symbols = &parts->symbols, .dummy_prefix = model->dummy_prefix,
		.remove_extra = model->remove_extra, .escape = true };
	enum dpo_status status;

	dpo_added_index(&parts->symbols);
	if ((status = dpo_charsmap_read(&map, model->charsmap.bytes, model->charsmap.n, err)) != DPO_OK)
		return status;
	return dpo_normalizer_charsmap(&parts->normalizer, &map, err);
}

/* The id of a control piece, -1 if there is none of that name. */
static int32_t
control(const struct dpo_tokenparts *parts, const struct model *model, struct message name, const char *fallback)
{
	int32_t id = name.bytes ? dpo_vocab_id(&parts->vocab, (const char *)name.bytes, name.n) :
	    dpo_vocab_id(&parts->vocab, fallback, strlen(fallback));

	return id >= 0 && model->pieces[id].type == CONTROL ? id : -1;
}

static enum dpo_status
make_parts(struct dpo_tokenparts *parts, const struct model *model, struct dpo_error *err)
{
	enum dpo_status status;
	int32_t unk;

	if ((status = check(parts, model, err)) != DPO_OK || (status = add_tokens(parts, model, &unk, err)) != DPO_OK)
		return status;
	status = model->model_type == BPE ? make_bpe(parts, model, unk, err) : make_unigram(parts, model, unk, err);
	if (status != DPO_OK || (status = make_normalizer(parts, model, err)) != DPO_OK)
		return status;
	parts->bos = control(parts, model, model->bos, "<s>");
	parts->eos = control(parts, model, model->eos, "</s>");
	parts->adds_bos = true;
	return dpo_detokenizer_sentencepiece(&parts->detokenizer, model->dummy_prefix, err);
}

/* What the fields mean that a file lacks. */
static const struct model usual = { .model_type = UNIGRAM, .dummy_prefix = true, .remove_extra = true, .escape = true };

enum dpo_status
dpo_sentencepiece_read(struct dpo_tokenparts *parts, const uint8_t *bytes, size_t n, struct dpo_error *err)
{
	struct model model = usual;
	enum dpo_status status = read_message(parts, &model, (struct message){ bytes, n }, err);

	if (status == DPO_OK)
		status = make_parts(parts, &model, err);
	free(model.pieces);
	return status;
}

enum dpo_status
dpo_sentencepiece_list(struct dpo_sentencepiece *pieces, const uint8_t *bytes, size_t n, struct dpo_error *err)
{
	struct model model = usual;
	struct dpo_tokenparts parts = { 0 };
	enum dpo_status status = read_message(&parts, &model, (struct message){ bytes, n }, err);

	if (status == DPO_OK)
		status = check(&parts, &model, err);
	*pieces = (struct dpo_sentencepiece){ .vocab = parts.vocab, .list = model.pieces, .count = model.count,
		.unigram = model.model_type == UNIGRAM, .byte_fallback = model.byte_fallback,
		.dummy_prefix = model.dummy_prefix, .remove_extra = model.remove_extra, .charsmap = model.charsmap.bytes,
		.charsmap_bytes = model.charsmap.n };
	return status;
}

const char *
dpo_sentencepiece_text(const struct dpo_sentencepiece *pieces, size_t id)
{
	size_t n;

	return dpo_vocab_text(&pieces->vocab, (int64_t)id, &n);
}

void
dpo_sentencepiece_free(struct dpo_sentencepiece *pieces)
{
	dpo_vocab_free(&pieces->vocab);
	free(pieces->list);
	*pieces = (struct dpo_sentencepiece){ 0 };
}
