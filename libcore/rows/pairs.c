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
	return n == 0 || (text->n >= n && memcmp(text->bytes + text->n - n, end, n) == 0);
}

/* The ids of prompt, answer and what ends it (not twice) as one string. */
static enum dpo_status
encode_joined(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row,
    const struct dpo_row_text *answer, struct dpo_row_text eos, struct dpo_ids *ids, struct dpo_error *err)
{
	dpo_buffer_clear(&pair->text);
	dpo_buffer_append(&pair->text, row->prompt.bytes, row->prompt.n);
	dpo_buffer_append(&pair->text, answer->bytes, answer->n);
	if (!ends_with(answer, eos.bytes, eos.n))
		dpo_buffer_append(&pair->text, eos.bytes, eos.n);
	if (pair->text.failed)
		return dpo_fail_memory(err);
	return dpo_tokenizer_encode(tokenizer, dpo_buffer_text(&pair->text), pair->text.len, !row->rendered, ids, err);
}

/* What ends an answer that does not say so itself. */
static enum dpo_status
find_eos(struct dpo_row_text *eos, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row, struct dpo_error *err)
{
	const char *text = dpo_tokenizer_eos_text(tokenizer);

	*eos = row->eos;
	if (row->rendered)
		return DPO_OK;
	if (!text)
		return dpo_fail(err, DPO_FORMAT, "the tokenizer names no EOS token, which ends every answer");
	*eos = (struct dpo_row_text){ text, strlen(text) };
	return DPO_OK;
}

static enum dpo_status
encode_all(struct dpo_pair *pair, const struct dpo_tokenizer *tokenizer, const struct dpo_text_row *row,
    struct dpo_error *err)
{
	const struct dpo_row_text *const texts[2] = { &row->chosen, &row->rejected };
	struct dpo_row_text eos;
	enum dpo_status status;

	pair->n_answers = row->supervised ? 1 : 2;
	pair->prompt.count = pair->answers[0].count = pair->answers[1].count = 0;
	if ((status = find_eos(&eos, tokenizer, row, err)) == DPO_OK)
		status = dpo_tokenizer_encode(tokenizer, row->prompt.bytes, row->prompt.n, !row->rendered, &pair->prompt, err);
	for (size_t i = 0; i < pair->n_answers && status == DPO_OK; i++)
		status = row->rendered == DPO_RENDERED_WHOLE ?
		    dpo_tokenizer_encode(tokenizer, texts[i]->bytes, texts[i]->n, false, &pair->answers[i], err) :
		    encode_joined(pair, tokenizer, row, texts[i], eos, &pair->answers[i], err);
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

/* An answer alone, where its whole text was promised, would be trained on without its prompt. */
static enum dpo_status
check_whole(const struct dpo_pair *pair, const struct dpo_text_row *row, struct dpo_error *err)
{
	const struct dpo_row_text *const texts[2] = { &row->chosen, &row->rejected };
	static const char *const names[2] = { "chosen", "rejected" };

	if (row->rendered != DPO_RENDERED_WHOLE || pair->prompt.count > 0)
		return DPO_OK;
	for (size_t i = 0; i < pair->n_answers; i++)
		if (texts[i]->n < row->prompt.n || memcmp(texts[i]->bytes, row->prompt.bytes, row->prompt.n) != 0)
			return dpo_fail(err, DPO_FORMAT,
			    "\"%s\" does not begin as \"prompt\" does; a rendered row's answers are whole "
			    "texts, prompt included", row->supervised ? "completion" : names[i]);
	return DPO_OK;
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
	if ((status = check_whole(pair, row, err)) != DPO_OK)
		return status;
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
