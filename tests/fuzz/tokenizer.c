/*
 * Any bytes as a tokenizer, tokenizer.json if they begin with a brace, else tokenizer.model: refused, or texts become ids of
 * its vocabulary and these a text.
 */
#include "model/files.h"
#include "tokenizer/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
use(const struct dpo_tokenizer *tokenizer)
{
	static const char *const texts[] = { "Once upon a time, there's  42 \n\tthings.",
	    "\xc3\xa9t\xc3\xa9 e\xcc\x81 \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80", " </s><s>a" };
	struct dpo_ids ids = { 0 };
	struct dpo_buffer out = { 0 };
	struct dpo_error err;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		ids.count = 0;
		if (dpo_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]), i % 2 == 0, &ids, &err) != DPO_OK)
			continue;
		for (size_t k = 0; k < ids.count; k++)
			assert(ids.ids[k] >= 0 && (size_t)ids.ids[k] < dpo_tokenizer_size(tokenizer));
		assert(dpo_tokenizer_decode(tokenizer, ids.ids, ids.count, &out, &err) == DPO_OK);
	}
	free(ids.ids);
	dpo_buffer_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *name = size > 0 && data[0] == '{' ? "tokenizer.json" : "tokenizer.model";
	struct dpo_tokenizer *tokenizer;
	struct dpo_files files = { 0 };
	struct dpo_error err;

	assert(dpo_files_add(&files, name, size > 0 ? (const void *)data : "", size, &err) == DPO_OK);
	if (dpo_tokenizer_open(&tokenizer, &files, &err) == DPO_OK) {
		use(tokenizer);
		dpo_tokenizer_free(tokenizer);
	}
	dpo_files_free(&files);
	return 0;
}
