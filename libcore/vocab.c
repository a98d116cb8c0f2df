#include "vocab.h"

#include <stdlib.h>

enum dpo_status
dpo_vocab_add(struct dpo_vocab *vocab, const char *text, size_t n, int64_t id, struct dpo_error *err)
{
	size_t index = (size_t)id, offset = vocab->texts.len;
	void *entries = vocab->by_id;
	int added;

	if (id < 0 || id >= DPO_VOCAB_MAX)
		return dpo_fail(err, DPO_FORMAT, "token \"%.60s\": id %lld is not within 0 and %lld", text, (long long)id,
		    (long long)DPO_VOCAB_MAX - 1);
	if (index < vocab->size && vocab->by_id[index].used)
		return dpo_fail(err, DPO_FORMAT, "tokens \"%.60s\" and \"%.60s\" have the same id %lld",
		    (const char *)vocab->texts.data + vocab->by_id[index].offset, text, (long long)id);
	if (!dpo_size_grow(&entries, &vocab->capacity, index + 1, sizeof *vocab->by_id))
		return dpo_fail_memory(err);
	vocab->by_id = entries;
	if ((added = dpo_table_add(&vocab->by_text, text, n, id)) < 0)
		return dpo_fail_memory(err);
	if (added == 0)
		return dpo_fail(err, DPO_FORMAT, "token \"%.60s\" is there twice", text);
	dpo_buffer_append(&vocab->texts, text, n);
	dpo_buffer_byte(&vocab->texts, 0);
	if (vocab->texts.failed)
		return dpo_fail_memory(err);
	for (; vocab->size <= index; vocab->size++)
		vocab->by_id[vocab->size] = (struct dpo_vocab_entry){ 0 };
	vocab->by_id[index] = (struct dpo_vocab_entry){ .offset = offset, .n = n, .used = true };
	return DPO_OK;
}

int32_t
dpo_vocab_id(const struct dpo_vocab *vocab, const char *text, size_t n)
{
	return (int32_t)dpo_table_get(&vocab->by_text, text, n, -1);
}

const char *
dpo_vocab_text(const struct dpo_vocab *vocab, int64_t id, size_t *n)
{
	const struct dpo_vocab_entry *entry;

	if (id < 0 || (uint64_t)id >= vocab->size || !vocab->by_id[id].used)
		return NULL;
	entry = &vocab->by_id[id];
	*n = entry->n;
	return (const char *)vocab->texts.data + entry->offset;
}

void
dpo_vocab_free(struct dpo_vocab *vocab)
{
	dpo_table_free(&vocab->by_text);
	dpo_buffer_free(&vocab->texts);
	free(vocab->by_id);
	*vocab = (struct dpo_vocab){ 0 };
}
