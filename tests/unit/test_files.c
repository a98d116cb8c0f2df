/* files: the tokenizer id is over what decides ids, wherever the files say it, and over nothing else. */
#include "base/bytes.h"
#include "model/files.h"
#include "stream/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct fact { const char *name, *bytes; };

#define NAMED "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}}"
#define IDS "\"bos_token_id\":1,\"eos_token_id\":[50256,7]"
#define JSON { "tokenizer.json", "{}" }
#define CLASSIC { "vocab.json", "{}" }, { "merges.txt", "" }
#define CONFIG(text) { "config.json", "{" text "}" }

/* The files of a model, and what its id is over. */
static const struct { struct fact files[6], facts[6]; } cases[] = {
	/* The tokens are named: config.json has no part. */
	{ { JSON, { "tokenizer_config.json", NAMED }, CONFIG(IDS) }, { JSON, { "tokenizer_config.json", NAMED } } },
	{ { JSON, { "special_tokens_map.json", NAMED }, CONFIG(IDS) }, { JSON, { "special_tokens_map.json", NAMED } } },
	{ { JSON, CLASSIC, CONFIG("\"model_type\":\"gpt2\"") }, { JSON } },
	{ { CLASSIC, { "tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}" }, CONFIG("\"model_type\":\"qwen2\"") },
	    { CLASSIC, { "tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}" } } },
	{ { { "tokenizer.model", "x" }, CONFIG("\"model_type\":\"llama\"") }, { { "tokenizer.model", "x" } } },
	/* They are not. */
	{ { JSON, CONFIG(IDS) }, { JSON, { "config.json:bos_token_id", "1" }, { "config.json:eos_token_id", "50256" } } },
	{ { JSON, CONFIG("\"eos_token_id\":1000000") }, { JSON, { "config.json:eos_token_id", "1000000" } } },
	{ { JSON, { "tokenizer_config.json", "{\"eos_token\":null}" }, { "special_tokens_map.json", "{\"bos_token\":\"<s>\"}" },
	    CONFIG(IDS) },
	    { JSON, { "tokenizer_config.json", "{\"eos_token\":null}" }, { "special_tokens_map.json", "{\"bos_token\":\"<s>\"}" },
	    { "config.json:eos_token_id", "50256" } } },
	{ { CLASSIC, CONFIG("\"model_type\":\"qwen2\",\"eos_token_id\":3") },
	    { CLASSIC, { "config.json:eos_token_id", "3" }, { "config.json:model_type", "qwen2" } } },
	{ { { "tokenizer.model", "x" }, { "added_tokens.json", "{}" }, CONFIG("\"bos_token_id\":1") },
	    { { "tokenizer.model", "x" }, { "added_tokens.json", "{}" }, { "config.json:bos_token_id", "1" } } },
	{ { JSON, CONFIG("\"eos_token_id\":null,\"bos_token_id\":[]") }, { JSON } },
};

/* As files.h says it. */
static void
fold(uint8_t hash[DPO_HASH_BYTES], const struct fact *fact)
{
	uint8_t text[3 * DPO_HASH_BYTES + 8];

	memcpy(text, hash, DPO_HASH_BYTES);
	dpo_hash(text + DPO_HASH_BYTES, fact->name, strlen(fact->name));
	dpo_bytes_store64(text + 2 * DPO_HASH_BYTES, strlen(fact->bytes));
	dpo_hash(text + 2 * DPO_HASH_BYTES + 8, fact->bytes, strlen(fact->bytes));
	dpo_hash(hash, text, sizeof text);
}

static enum dpo_status
identify(char id[DPO_HEX_BYTES], const struct fact *list, size_t n, struct dpo_error *err)
{
	struct dpo_files files = { 0 };
	enum dpo_status status;

	for (size_t i = 0; i < n && list[i].name; i++)
		assert_int_equal(dpo_files_add(&files, list[i].name, list[i].bytes, strlen(list[i].bytes), err), DPO_OK);
	status = dpo_files_tokenizer_id(&files, id, err);
	dpo_files_free(&files);
	return status;
}

static void
the_id_is_over_what_decides_ids(void **unused)
{
	(void)unused;
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		uint8_t hash[DPO_HASH_BYTES] = { 0 };
		char id[DPO_HEX_BYTES], wanted[DPO_HEX_BYTES];
		struct dpo_error err;

		assert_int_equal(identify(id, cases[c].files, 6, &err), DPO_OK);
		for (size_t i = 0; i < 6 && cases[c].facts[i].name; i++)
			fold(hash, &cases[c].facts[i]);
		dpo_bytes_hex(wanted, hash, sizeof hash);
		assert_string_equal(id, wanted);
	}
}

static void
no_tokenizer_has_no_id_and_rubbish_neither(void **unused)
{
	static const struct fact none[] = { { "config.json", "{" IDS "}" } },
	    rubbish[] = { JSON, { "tokenizer_config.json", "{" } }, list[] = { JSON, { "special_tokens_map.json", "[]" } };
	char id[DPO_HEX_BYTES];
	struct dpo_error err;

	(void)unused;
	assert_int_equal(identify(id, none, 1, &err), DPO_OK);
	assert_string_equal(id, "");
	assert_int_equal(identify(id, rubbish, 2, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "tokenizer_config.json: JSON"));
	assert_int_equal(identify(id, list, 2, &err), DPO_FORMAT);
	assert_string_equal(err.text, "special_tokens_map.json: not an object");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_id_is_over_what_decides_ids),
		cmocka_unit_test(no_tokenizer_has_no_id_and_rubbish_neither),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
