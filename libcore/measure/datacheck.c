#include "measure/datacheck.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

struct hash {
	uint8_t bytes[DPO_HASH_BYTES];
};

static struct hash
of_ids(const int32_t *ids, size_t n)
{
	struct hash hash;

	dpo_hash(hash.bytes, ids, n * sizeof *ids);
	return hash;
}

static struct hash
of_two(struct hash a, struct hash b)
{
	dpo_hash_two(a.bytes, a.bytes, sizeof a.bytes, b.bytes, sizeof b.bytes);
	return a;
}

static bool
has(const struct dpo_table *table, struct hash hash)
{
	return dpo_table_get(table, hash.bytes, sizeof hash.bytes, -1) >= 0;
}

static bool
count_prompt(struct dpo_datacheck *c, struct hash prompt)
{
	int64_t place = dpo_table_get(&c->prompts, prompt.bytes, sizeof prompt.bytes, -1);
	void *list = c->of_prompt;
	bool fits;

	if (place >= 0) {
		c->of_prompt[place]++;
		return true;
	}
	fits = dpo_size_grow(&list, &c->of_prompt_capacity, c->prompts.count + 1, sizeof *c->of_prompt);
	c->of_prompt = list;
	if (!fits)
		return false;
	c->of_prompt[c->prompts.count] = 1;
	return dpo_table_add(&c->prompts, prompt.bytes, sizeof prompt.bytes, (int64_t)c->prompts.count) >= 0;
}

static void
compare_answers(struct dpo_datacheck *c, const struct dpo_answers *row)
{
	c->length[0] += row->n_answer[0];
	if (row->answers < 2)
		return;
	c->pairs++;
	c->length[1] += row->n_answer[1];
	c->longer += row->n_answer[0] > row->n_answer[1];
	c->shorter += row->n_answer[0] < row->n_answer[1];
	c->same += row->n_answer[0] == row->n_answer[1] &&
	    memcmp(row->answer[0], row->answer[1], row->n_answer[0] * sizeof *row->answer[0]) == 0;
}

enum dpo_status
dpo_datacheck_add(struct dpo_datacheck *check, const struct dpo_datacheck *earlier, const struct dpo_answers *row,
    struct dpo_error *err)
{
	struct dpo_datacheck *c = check;
	struct hash prompt = of_ids(row->prompt, row->n_prompt), chosen = of_ids(row->answer[0], row->n_answer[0]);
	struct hash rejected = row->answers == 2 ? of_ids(row->answer[1], row->n_answer[1]) : chosen;
	struct hash pair = of_two(prompt, of_two(chosen, rejected)), reverse = of_two(prompt, of_two(rejected, chosen));
	bool reversed = memcmp(pair.bytes, reverse.bytes, sizeof pair.bytes) != 0;

	c->count++;
	c->duplicates += has(&c->rows, pair);
	c->contradictions += reversed && has(&c->rows, reverse);
	if (earlier) {
		c->shared_prompts += has(&earlier->prompts, prompt);
		c->shared_rows += has(&earlier->rows, pair) || has(&earlier->rows, reverse);
	}
	compare_answers(c, row);
	if (!count_prompt(c, prompt) || dpo_table_add(&c->rows, pair.bytes, sizeof pair.bytes, 0) < 0)
		return dpo_fail_memory(err);
	return DPO_OK;
}

size_t
dpo_datacheck_dominant(const struct dpo_datacheck *check)
{
	size_t most = 0;

	for (size_t i = 0; i < check->prompts.count; i++)
		most = check->of_prompt[i] > most ? check->of_prompt[i] : most;
	return most;
}

void
dpo_datacheck_free(struct dpo_datacheck *check)
{
	dpo_table_free(&check->prompts);
	dpo_table_free(&check->rows);
	free(check->of_prompt);
	*check = (struct dpo_datacheck){ 0 };
}
