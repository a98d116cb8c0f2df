#include "rows/pairs.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

/* Ids that both begin with. */
static size_t
common_prefix(const struct dpo_ids *a, const struct dpo_ids *b)
{
	size_t n = a->count < b->count ? a->count : b->count, i = 0;

	while (i < n && a->ids[i] == b->ids[i])
		i++;
	return i;
}

static bool
ends_with(const struct dpo_row_text *text, const char *end, size_t n)
{
	return text->n >= n && memcmp(text->bytes + text->n - n, end, n) == 0;
}

/* The ids of prompt, answer and EOS as one string. */
static enum dpo_status
encode_whole(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_row_text *prompt,
    const struct dpo_row_text *answer, struct dpo_ids *ids, struct dpo_error *err)
{
	const char *eos = dpo_tokenizer_eos_text(tokenizer);

	dpo_buffer_clear(&pair->text);
	dpo_buffer_append(&pair->text, prompt->bytes, prompt->n);
	dpo_buffer_append(&pair->text, answer->bytes, answer->n);
	if (!ends_with(answer, eos, strlen(eos)))
		dpo_buffer_string(&pair->text, eos);
	if (pair->text.failed)
		return dpo_fail_memory(err);
	return dpo_tokenizer_encode(tokenizer, (const char *)pair->text.data, pair->text.len, true, ids, err);
}

/* Texts of a chat template say all there is to say. */
static enum dpo_status
encode_rendered(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row,
    struct dpo_error *err)
{
	const struct dpo_row_text *const texts[3] = { &row->prompt, &row->chosen, &row->rejected };
	struct dpo_ids *const ids[3] = { &pair->prompt, &pair->answers[0], &pair->answers[1] };
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < 1 + pair->n_answers && status == DPO_OK; i++)
		status = dpo_tokenizer_encode(tokenizer, texts[i]->bytes, texts[i]->n, false, ids[i], err);
	return status;
}

static enum dpo_status
encode_all(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row,
    struct dpo_error *err)
{
	const struct dpo_row_text *const texts[2] = { &row->chosen, &row->rejected };
	enum dpo_status status;

	pair->n_answers = row->supervised ? 1 : 2;
	pair->prompt.count = pair->answers[0].count = pair->answers[1].count = 0;
	if (row->rendered)
		return encode_rendered(pair, tokenizer, row, err);
	if (!dpo_tokenizer_eos_text(tokenizer))
		return dpo_fail(err, DPO_FORMAT, "the tokenizer names no EOS token, which ends every answer");
	status = dpo_tokenizer_encode(tokenizer, row->prompt.bytes, row->prompt.n, true, &pair->prompt, err);
	for (size_t i = 0; i < pair->n_answers && status == DPO_OK; i++)
		status = encode_whole(pair, tokenizer, &row->prompt, texts[i], &pair->answers[i], err);
	return status;
}

/* Take the first n ids away. */
static void
remove_prompt(struct dpo_ids *ids, size_t n)
{
	ids->count -= n;
	if (n > 0 && ids->count > 0)
		memmove(ids->ids, ids->ids + n, ids->count * sizeof *ids->ids);
}

static void
split_at_boundary(struct dpo_pair *pair)
{
	size_t length = pair->prompt.count, common;

	for (size_t i = 0; i < pair->n_answers; i++)
		if ((common = common_prefix(&pair->prompt, &pair->answers[i])) < length)
			length = common;
	pair->moved = length < pair->prompt.count;
	pair->prompt.count = length;
	for (size_t i = 0; i < pair->n_answers; i++)
		remove_prompt(&pair->answers[i], length);
}

static enum dpo_pair_fate
judge(const struct dpo_pair *pair, size_t max_length)
{
	if (max_length && pair->prompt.count >= max_length)
		return DPO_PAIR_PROMPT_TOO_LONG;
	for (size_t i = 0; i < pair->n_answers; i++)
		if (pair->answers[i].count == 0)
			return DPO_PAIR_EMPTY_ANSWER;
	return DPO_PAIR_WHOLE;
}

/* Cut the answers and note how they end. */
static void
cut(struct dpo_pair *pair, size_t max_length, int32_t eos)
{
	size_t room = max_length - pair->prompt.count;

	for (size_t i = 0; i < pair->n_answers; i++) {
		struct dpo_ids *answer = &pair->answers[i];

		if (max_length && answer->count > room) {
			answer->count = room;
			pair->cut++;
		}
		pair->open += answer->ids[answer->count - 1] != eos;
	}
	pair->same = pair->n_answers == 2 && pair->answers[0].count == pair->answers[1].count &&
	    common_prefix(&pair->answers[0], &pair->answers[1]) == pair->answers[0].count;
}

enum dpo_status
dpo_pair_make(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row,
    size_t max_length, struct dpo_error *err)
{
	enum dpo_status status;

	pair->cut = pair->open = 0;
	pair->same = false;
	if ((status = encode_all(pair, tokenizer, row, err)) != DPO_OK)
		return status;
	split_at_boundary(pair);
	pair->fate = judge(pair, max_length);
	if (pair->fate == DPO_PAIR_WHOLE)
		cut(pair, max_length, dpo_tokenizer_eos(tokenizer));
	return DPO_OK;
}

void
dpo_pair_free(struct dpo_pair *pair)
{
	free(pair->prompt.ids);
	free(pair->answers[0].ids);
	free(pair->answers[1].ids);
	dpo_buffer_free(&pair->text);
	*pair = (struct dpo_pair){ 0 };
}

void
dpo_pair_count(struct dpo_pair_counts *counts, const struct dpo_pair *pair)
{
	counts->rows++;
	if (pair->fate != DPO_PAIR_WHOLE) {
		counts->dropped[pair->fate]++;
		return;
	}
	counts->written++;
	counts->cut += pair->cut > 0;
	counts->open += pair->open > 0;
	counts->moved += pair->moved;
	counts->same += pair->same;
}
