#include "tokenizer/vocab.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

struct dpo_vocab_token {
	size_t offset;		/* in texts */
	uint32_t n;
	int32_t id;
	uint32_t hash;
};

/* The hash is kept here as well, so that a text is looked at only where it is the right one. */
struct dpo_vocab_slot {
	uint32_t hash;
	uint32_t index;		/* 1 + index into tokens, 0 where free */
};

/* ------------------------------------------------------------------ the two tables */

/* Eight bytes at a time: multiply and fold (the finish of MurmurHash3). Not keyed: a hostile file can make it slow, not wrong. */
static uint32_t
hash_text(const char *text, size_t n)
{
	uint64_t h = n * 0x9e3779b97f4a7c15u, word;

	for (; n >= 8; text += 8, n -= 8) {
		memcpy(&word, text, 8);
		h = (h ^ word) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, text, n);
	h = (h ^ word) * 0xff51afd7ed558ccdu;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53u;
	return (uint32_t)(h >> 32);
}

static size_t
hash_id(int64_t id)
{
	return (size_t)((uint64_t)id * 0x9e3779b97f4a7c15u >> 32);
}

/* The slot of this text, or the free one where it belongs. */
static struct dpo_vocab_slot *
text_slot(const struct dpo_vocab *vocab, const char *text, size_t n, uint32_t hash)
{
	size_t mask = vocab->slots - 1, i = hash & mask;

	for (; vocab->by_text[i].index; i = (i + 1) & mask) {
		const struct dpo_vocab_token *token = &vocab->tokens[vocab->by_text[i].index - 1];

		if (vocab->by_text[i].hash == hash && token->n == n && memcmp(vocab->texts.data + token->offset, text, n) == 0)
			break;
	}
	return &vocab->by_text[i];
}

static uint32_t *
id_slot(const struct dpo_vocab *vocab, int64_t id)
{
	size_t mask = vocab->slots - 1, i = hash_id(id) & mask;

	while (vocab->by_id[i] && vocab->tokens[vocab->by_id[i] - 1].id != id)
		i = (i + 1) & mask;
	return &vocab->by_id[i];
}

static void
put(struct dpo_vocab *vocab, size_t index)
{
	const struct dpo_vocab_token *token = &vocab->tokens[index];
	size_t mask = vocab->slots - 1, i = token->hash & mask;

	while (vocab->by_text[i].index)
		i = (i + 1) & mask;
	vocab->by_text[i] = (struct dpo_vocab_slot){ token->hash, (uint32_t)index + 1 };
	*id_slot(vocab, token->id) = (uint32_t)index + 1;
}

/* Make room for `count` tokens in all. */
static enum dpo_status
reserve(struct dpo_vocab *vocab, size_t count, struct dpo_error *err)
{
	void *tokens = vocab->tokens;
	size_t slots = vocab->slots ? vocab->slots : 64;

	if (count >= (size_t)DPO_VOCAB_MAX)
		return dpo_fail(err, DPO_LIMIT, "more than %lld tokens", (long long)DPO_VOCAB_MAX - 1);
	while (slots / 2 <= count)
		slots *= 2;
	if (!dpo_size_grow(&tokens, &vocab->capacity, slots / 2, sizeof *vocab->tokens))
		return dpo_fail_memory(err);
	vocab->tokens = tokens;
	if (slots == vocab->slots)
		return DPO_OK;
	free(vocab->by_text);
	free(vocab->by_id);
	vocab->by_text = dpo_alloc(slots, sizeof *vocab->by_text);
	vocab->by_id = dpo_alloc(slots, sizeof *vocab->by_id);
	vocab->slots = vocab->by_text && vocab->by_id ? slots : 0;
	if (!vocab->slots)
		return dpo_fail_memory(err);
	for (size_t i = 0; i < vocab->count; i++)
		put(vocab, i);
	return DPO_OK;
}

/* ------------------------------------------------------------------ in and out */

enum dpo_status
dpo_vocab_add(struct dpo_vocab *vocab, const char *text, size_t n, int64_t id, struct dpo_error *err)
{
	struct dpo_vocab_token token = { .offset = vocab->texts.len, .n = (uint32_t)n };
	int shown = n < 60 ? (int)n : 60;
	enum dpo_status status;
	uint32_t other;

	if (id < 0 || id >= DPO_VOCAB_MAX)
		return dpo_fail(err, DPO_FORMAT, "token \"%.*s\": id %lld is not within 0 and %lld", shown, text,
		    (long long)id, (long long)DPO_VOCAB_MAX - 1);
	if (n > UINT32_MAX)
		return dpo_fail(err, DPO_LIMIT, "a token of %zu bytes", n);
	if (vocab->count + 1 >= vocab->slots / 2 &&
	    (status = reserve(vocab, vocab->count + 1, err)) != DPO_OK)
		return status;
	token.id = (int32_t)id;
	token.hash = hash_text(text, n);
	if ((other = *id_slot(vocab, id)))
		return dpo_fail(err, DPO_FORMAT, "tokens \"%.60s\" and \"%.*s\" have the same id %lld",
		    (const char *)vocab->texts.data + vocab->tokens[other - 1].offset, shown, text, (long long)id);
	if (text_slot(vocab, text, n, token.hash)->index)
		return dpo_fail(err, DPO_FORMAT, "token \"%.*s\" appears twice", shown, text);
	dpo_buffer_append(&vocab->texts, text, n);
	dpo_buffer_byte(&vocab->texts, 0);
	if (vocab->texts.failed)
		return dpo_fail_memory(err);
	vocab->tokens[vocab->count] = token;
	put(vocab, vocab->count++);
	if (vocab->size <= (size_t)id)
		vocab->size = (size_t)id + 1;
	return DPO_OK;
}

int32_t
dpo_vocab_id(const struct dpo_vocab *vocab, const char *text, size_t n)
{
	return dpo_vocab_id_of_first(vocab, vocab->count, text, n);
}

int32_t
dpo_vocab_id_of_first(const struct dpo_vocab *vocab, size_t first, const char *text, size_t n)
{
	uint32_t index = vocab->count ? text_slot(vocab, text, n, hash_text(text, n))->index : 0;

	return index && index <= first ? vocab->tokens[index - 1].id : -1;
}

const char *
dpo_vocab_text(const struct dpo_vocab *vocab, int64_t id, size_t *n)
{
	uint32_t index = vocab->count ? *id_slot(vocab, id) : 0;

	if (!index)
		return NULL;
	*n = vocab->tokens[index - 1].n;
	return (const char *)vocab->texts.data + vocab->tokens[index - 1].offset;
}

void
dpo_vocab_free(struct dpo_vocab *vocab)
{
	dpo_buffer_free(&vocab->texts);
	free(vocab->tokens);
	free(vocab->by_text);
	free(vocab->by_id);
	*vocab = (struct dpo_vocab){ 0 };
}
