#include "tokenizer/tokenparts.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

enum dpo_status
dpo_tokenparts_add(struct dpo_tokenparts *parts, const struct dpo_added_spec *spec, struct dpo_error *err)
{
	size_t n = strlen(spec->text);
	int32_t known = dpo_vocab_id(&parts->vocab, spec->text, n), id = (int32_t)spec->id;
	struct dpo_buffer form = { 0 };
	enum dpo_status status = DPO_OK;
	bool added, cut;

	if (n == 0)
		return dpo_fail(err, DPO_FORMAT, "added token %lld is empty", (long long)spec->id);
	if (known < 0)
		status = dpo_vocab_add(&parts->vocab, spec->text, n, spec->id, err);
	else if (known != spec->id)
		status = dpo_fail(err, DPO_FORMAT, "added token \"%.60s\" has id %lld, in the vocabulary %d", spec->text,
		    (long long)spec->id, (int)known);
	if (status == DPO_OK && spec->normalized)
		status = dpo_normalize(&parts->normalizer, spec->text, n, &form, &cut, err);
	if (status == DPO_OK && (!spec->normalized || form.len > 0)) {	/* one of nothing is never found */
		added = spec->normalized ?
		    dpo_added_add(&parts->normalized, (const char *)form.data, form.len, id, spec->rules) :
		    dpo_added_add(&parts->literal, spec->text, n, id, spec->rules);
		status = added ? DPO_OK : dpo_fail_memory(err);
	}
	dpo_buffer_free(&form);
	return status;
}

bool
dpo_tokenparts_has(const struct dpo_tokenparts *parts, const char *text)
{
	return dpo_added_has(&parts->literal, text, strlen(text)) || dpo_added_has(&parts->normalized, text, strlen(text));
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
	free(parts->before.ids);
	free(parts->after.ids);
	*parts = (struct dpo_tokenparts){ 0 };
}
