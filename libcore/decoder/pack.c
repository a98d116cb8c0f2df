#include "decoder/pack.h"

#include <inttypes.h>
#include <stdlib.h>

static enum dpo_status
check_tokens(const int32_t *tokens, size_t n, const char *what, size_t vocab, struct dpo_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (tokens[i] < 0 || (size_t)tokens[i] >= vocab)
			return dpo_fail(err, DPO_FORMAT,
			    "%s: token %zu is %" PRId32 ", the model's vocabulary has %zu", what, i,
			    tokens[i], vocab);
	return DPO_OK;
}

static enum dpo_status
check(const struct dpo_example *example, size_t vocab, size_t max_positions, struct dpo_error *err)
{
	static const char *const names[] = { "first answer", "second answer" };
	enum dpo_status status = check_tokens(example->prompt, example->n_prompt, "prompt", vocab,
	    err);
	size_t length;

	if (example->n_answers < 1 || example->n_answers > DPO_ANSWERS)
		return dpo_fail(err, DPO_FORMAT, "%zu answers", example->n_answers);
	for (size_t a = 0; a < example->n_answers && status == DPO_OK; a++) {
		if (example->n_answer[a] == 0)
			return dpo_fail(err, DPO_FORMAT, "%s: no tokens", names[a]);
		if (!dpo_size_add(example->n_prompt, example->n_answer[a], &length) ||
		    length > max_positions)
			return dpo_fail(err, DPO_FORMAT,
			    "prompt and %s have %zu tokens, the model has %zu positions",
			    names[a], length, max_positions);
		status = check_tokens(example->answer[a], example->n_answer[a], names[a], vocab,
		    err);
	}
	return status;
}

static bool
grow(int32_t **array, size_t *capacity, size_t need)
{
	void *block = *array;
	bool fits = dpo_size_grow(&block, capacity, need, sizeof **array);

	*array = block;
	return fits;
}

/* Append n tokens as a segment after `prefix` positions. */
static void
append(struct dpo_sequence *s, const int32_t *tokens, size_t n, size_t prefix)
{
	if (n == 0)
		return;
	s->segments[s->n_segments++] = (struct dpo_segment){ s->rows, n, prefix };
	for (size_t i = 0; i < n; i++) {
		s->tokens[s->rows + i] = tokens[i];
		s->positions[s->rows + i] = (int32_t)(prefix + i);
	}
	s->rows += n;
}

static void
aim(struct dpo_sequence *s, const struct dpo_example *example)
{
	size_t row;

	for (size_t i = 0; i < s->head_rows * DPO_ANSWERS; i++)
		s->targets[i] = -1;
	for (size_t a = 0; a < example->n_answers; a++)
		for (size_t t = 0; t < example->n_answer[a]; t++) {
			row = dpo_sequence_head_row(s, a, t);
			if (row != DPO_NO_ROW)
				s->targets[row * DPO_ANSWERS + a] = example->answer[a][t];
		}
}

enum dpo_status
dpo_pack(struct dpo_sequence *sequence, const struct dpo_example *example, size_t vocab,
    size_t max_positions, struct dpo_error *err)
{
	enum dpo_status status = check(example, vocab, max_positions, err);
	size_t need = example->n_prompt;

	if (status != DPO_OK)
		return status;
	for (size_t a = 0; a < example->n_answers; a++)
		need += example->n_answer[a];
	if (!grow(&sequence->tokens, &sequence->tokens_capacity, need) ||
	    !grow(&sequence->positions, &sequence->positions_capacity, need) ||
	    !grow(&sequence->targets, &sequence->targets_capacity, need * DPO_ANSWERS))
		return dpo_fail_memory(err);
	sequence->rows = sequence->n_segments = 0;
	sequence->n_prompt = example->n_prompt;
	sequence->n_answers = example->n_answers;
	append(sequence, example->prompt, example->n_prompt, 0);
	for (size_t a = 0; a < example->n_answers; a++) {
		sequence->n_answer[a] = example->n_answer[a];
		append(sequence, example->answer[a], example->n_answer[a] - 1, example->n_prompt);
	}
	sequence->head_first = example->n_prompt > 0 ? example->n_prompt - 1 : 0;
	sequence->head_rows = sequence->rows - sequence->head_first;
	aim(sequence, example);
	return DPO_OK;
}

size_t
dpo_sequence_head_row(const struct dpo_sequence *sequence, size_t answer, size_t t)
{
	size_t row = sequence->n_prompt > 0 ? 1 : 0;

	if (t == 0)
		return sequence->n_prompt > 0 ? 0 : DPO_NO_ROW;
	for (size_t a = 0; a < answer; a++)
		row += sequence->n_answer[a] - 1;
	return row + t - 1;
}

void
dpo_sequence_free(struct dpo_sequence *sequence)
{
	free(sequence->tokens);
	free(sequence->positions);
	free(sequence->targets);
	*sequence = (struct dpo_sequence){ 0 };
}
