#include "model/ggufsplit.h"

#include "base/buffer.h"

#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define END "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" END
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define LLAMA3 "Split(" CONTRACTIONS "|" BEFORE "\\p{L}+|\\p{N}{1,3}" REST ") Bytes"
#define QWEN2 "Split(" CONTRACTIONS "|" BEFORE "\\p{L}+|\\p{N}" REST ") Bytes"
#define TEKKEN "Split(" BEFORE UPPER "*" LOWER "+|" BEFORE UPPER "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" END ") Bytes"
#define GPT4O "Split(" BEFORE UPPER "*" LOWER "+" CONTRACTIONS "?|" BEFORE UPPER "+" LOWER "*" CONTRACTIONS \
	"?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" END ") Bytes"

/*
 * What describe() says, and llama.cpp's names for it: the patterns of its llama-vocab.cpp, which normalizes nothing (NFC is
 * taken as done). "Whole": a word that is a token is not merged.
 */
static const struct dpo_ggufsplit splits[] = {
	{ "ByteLevel", "gpt2", "gpt-2", false },
	{ "NFC ByteLevel", "gpt2", "gpt-2", false },
	{ "Whole " LLAMA3, "gpt2", "llama-bpe", false },
	{ LLAMA3, "gpt2", "dbrx", false },
	{ "NFC " QWEN2, "gpt2", "qwen2", false },
	{ QWEN2, "gpt2", "qwen2", false },
	{ "Whole " TEKKEN, "gpt2", "tekken", false },
	{ GPT4O, "gpt2", "gpt-4o", false },
	{ "Digits ByteLevel", "gpt2", "smollm", false },
	{ "Prepend(\u2581) Replace(\u2581)", "llama", "default", true },
	{ "Replace(\u2581)", "llama", "default", false },
	{ "Replace(\u2581) Spaces", "llama", "default", false },
	{ "Metaspace(always)", "llama", "default", true },
	{ "Metaspace(first)", "llama", "default", true },
	{ "Metaspace(never)", "llama", "default", false },
	{ "Unigram Metaspace(always)", "t5", "default", true },
	{ "Unigram Metaspace(first)", "t5", "default", true },
	{ "Unigram Metaspace(never)", "t5", "default", false },
};
static const char gpt2[] = "ByteLevel", qwen2[] = QWEN2;

const char *
dpo_ggufsplit_text(const cJSON *object, const char *key)
{
	const cJSON *value = dpo_json_get(object, key);

	return cJSON_IsString(value) ? value->valuestring : "";
}

bool
dpo_ggufsplit_true(const cJSON *object, const char *key, bool absent)
{
	const cJSON *value = dpo_json_get(object, key);

	return value ? cJSON_IsTrue(value) : absent;
}

/* One normalizer or pre-tokenizer in a word; in a Sequence its parts, one after the other. */
static void
describe(struct dpo_buffer *out, const cJSON *part)
{
	const char *type = dpo_ggufsplit_text(part, "type"), *sequences[] = { "normalizers", "pretokenizers" };
	const cJSON *pattern = dpo_json_get(part, "pattern"), *item;

	if (!cJSON_IsObject(part))
		return;
	if (strcmp(type, "Sequence") == 0) {
		for (size_t i = 0; i < 2; i++)
			cJSON_ArrayForEach(item, dpo_json_get(part, sequences[i]))
				describe(out, item);
		return;
	}
	if (out->len > 0)
		dpo_buffer_byte(out, ' ');
	if (strcmp(type, "ByteLevel") == 0)
		dpo_buffer_printf(out, "%s%s", dpo_ggufsplit_true(part, "use_regex", true) ? "ByteLevel" : "Bytes",
		    dpo_ggufsplit_true(part, "add_prefix_space", true) ? "(prefix)" : "");
	else if (strcmp(type, "Split") == 0 && strcmp(dpo_ggufsplit_text(part, "behavior"), "Isolated") == 0 &&
	    !dpo_ggufsplit_true(part, "invert", false))
		dpo_buffer_printf(out, "Split(%s)", dpo_ggufsplit_text(pattern, "Regex"));
	else if (strcmp(type, "Split") == 0 && strcmp(dpo_ggufsplit_text(pattern, "String"), " ") == 0)
		dpo_buffer_string(out, "Spaces");
	else if (strcmp(type, "Digits") == 0 && dpo_ggufsplit_true(part, "individual_digits", false))
		dpo_buffer_string(out, "Digits");
	else if (strcmp(type, "NFC") == 0)
		dpo_buffer_string(out, type);
	else if (strcmp(type, "Prepend") == 0)
		dpo_buffer_printf(out, "Prepend(%s)", dpo_ggufsplit_text(part, "prepend"));
	else if (strcmp(type, "Replace") == 0 && strcmp(dpo_ggufsplit_text(pattern, "String"), " ") == 0)
		dpo_buffer_printf(out, "Replace(%s)", dpo_ggufsplit_text(part, "content"));
	else if (strcmp(type, "Metaspace") == 0)
		dpo_buffer_printf(out, "Metaspace(%s)", *dpo_ggufsplit_text(part, "prepend_scheme") ?
		    dpo_ggufsplit_text(part, "prepend_scheme") :
		    dpo_ggufsplit_true(part, "add_prefix_space", true) ? "always" : "never");
	else
		dpo_buffer_printf(out, "%s(?)", type);
}

/* The model, where it is not plain BPE, and what comes before it. */
static void
describe_all(struct dpo_buffer *out, const cJSON *json)
{
	const cJSON *model = dpo_json_get(json, "model");

	if (strcmp(dpo_ggufsplit_text(model, "type"), "Unigram") == 0)
		dpo_buffer_string(out, dpo_ggufsplit_true(model, "byte_fallback", false) ? "Unigram(bytes)" : "Unigram");
	if (dpo_ggufsplit_true(model, "ignore_merges", false))
		dpo_buffer_string(out, "Whole");
	describe(out, dpo_json_get(json, "normalizer"));
	describe(out, dpo_json_get(json, "pre_tokenizer"));
}

enum dpo_status
dpo_ggufsplit_find(const struct dpo_ggufsplit **split, const cJSON *json, const cJSON *config, struct dpo_error *err)
{
	static const char qwen2_class[] = "Qwen2Tokenizer";	/* or its Fast form; else GPT-2's */
	bool is_qwen2 = strncmp(dpo_ggufsplit_text(config, "tokenizer_class"), qwen2_class, sizeof qwen2_class - 1) == 0;
	struct dpo_buffer said = { 0 };
	enum dpo_status status;

	*split = NULL;
	if (json)
		describe_all(&said, json);
	else
		dpo_buffer_string(&said, is_qwen2 ? qwen2 : gpt2);
	for (size_t i = 0; i < sizeof splits / sizeof *splits && !said.failed; i++)
		if (strcmp(splits[i].said, dpo_buffer_text(&said)) == 0)
			*split = &splits[i];
	if (said.failed)
		status = dpo_fail_memory(err);
	else
		status = *split ? DPO_OK : dpo_fail(err, DPO_UNSUPPORTED, "llama.cpp has no pre-tokenizer that is known to do what "
		    "this tokenizer does: \"%.300s\"", dpo_buffer_text(&said));
	dpo_buffer_free(&said);
	return status;
}
