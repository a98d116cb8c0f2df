#include "tokenizer/tokenparts.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

/* Into the set where it is searched for; one that is nothing once normalized is never found. */
static enum dpo_status
put(struct dpo_tokenparts *parts, const struct dpo_added_spec *spec, size_t n, struct dpo_error *err)
{
	struct dpo_buffer form = { 0 };
	int32_t id = (int32_t)spec->id;
	enum dpo_status status;
	bool cut;

	if (!spec->normalized)
		return dpo_added_add(&parts->literal, spec->text, n, id, spec->rules) ? DPO_OK : dpo_fail_memory(err);
	status = dpo_normalize(&parts->normalizer, spec->text, n, &form, &cut, err);
	if (status == DPO_OK && form.len > 0 &&
	    !dpo_added_add(&parts->normalized, (const char *)form.data, form.len, id, spec->rules))
		status = dpo_fail_memory(err);
	dpo_buffer_free(&form);
	return status;
}

enum dpo_status
dpo_tokenparts_add(struct dpo_tokenparts *parts, const struct dpo_added_spec *spec, struct dpo_error *err)
{
	size_t n = strlen(spec->text);
	int32_t known = dpo_vocab_id(&parts->vocab, spec->text, n);
	enum dpo_status status = DPO_OK;

	if (n == 0)
		return dpo_fail(err, DPO_FORMAT, "added token %lld is empty", (long long)spec->id);
	if (known < 0)
		status = dpo_vocab_add(&parts->vocab, spec->text, n, spec->id, err);
	else if (known != spec->id)
		status = dpo_fail(err, DPO_FORMAT, "added token \"%.60s\" has id %lld, in the vocabulary %d", spec->text,
		    (long long)spec->id, (int)known);
	if (status == DPO_OK && dpo_table_add(&parts->texts, spec->text, n, spec->id) < 0)
		status = dpo_fail_memory(err);
	return status == DPO_OK ? put(parts, spec, n, err) : status;
}

bool
dpo_tokenparts_has(const struct dpo_tokenparts *parts, const char *text)
{
	return dpo_table_get(&parts->texts, text, strlen(text), -1) >= 0;
}

void
dpo_tokenparts_index(struct dpo_tokenparts *parts)
{
	dpo_added_index(&parts->literal);
	dpo_added_index(&parts->normalized);
}

void
dpo_tokenparts_free(struct dpo_tokenparts *parts)
{
	dpo_vocab_free(&parts->vocab);
	dpo_bpe_free(&parts->bpe);
	dpo_unigram_free(&parts->unigram);
	dpo_normalizer_free(&parts->normalizer);
	dpo_pretokenizer_free(&parts->pretokenizer);
	dpo_detokenizer_free(&parts->detokenizer);
	dpo_added_free(&parts->literal);
	dpo_added_free(&parts->normalized);
	dpo_added_free(&parts->symbols);
	dpo_table_free(&parts->texts);
	free(parts->before.ids);
	free(parts->after.ids);
	*parts = (struct dpo_tokenparts){ 0 };
}
