#include "tokenizer/tokenclass.h"

#include "base/error.h"
#include "base/json.h"
#include "tokenizer/tokenjson.h"

#include <string.h>

static const struct class {
	const char *name, *fast, *model_type;
	bool nfc;
	const char *pattern;	/* NULL: GPT-2's */
} classes[] = {
	{ "GPT2Tokenizer", "GPT2TokenizerFast", "gpt2", false, NULL },
	{ "Qwen2Tokenizer", "Qwen2TokenizerFast", "qwen2", true,
	    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
	    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" },
};

static enum dpo_status
find_class(const struct class **found, const cJSON *tokenizer_config, const cJSON *config, struct dpo_error *err)
{
	const char *name, *type;
	enum dpo_status status;

	if ((status = dpo_json_string_or(&name, tokenizer_config, "tokenizer_class", "", err)) != DPO_OK ||
	    (status = dpo_json_string_or(&type, config, "model_type", *name ? "" : "gpt2", err)) != DPO_OK)
		return status;
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
		*found = &classes[i];
		if (*name ? strcmp(name, (*found)->name) == 0 || strcmp(name, (*found)->fast) == 0 :
		    strcmp(type, (*found)->model_type) == 0)
			return DPO_OK;
	}
	return dpo_fail(err, DPO_UNSUPPORTED, "vocab.json and merges.txt of %s \"%.60s\" without tokenizer.json",
	    *name ? "tokenizer_class" : "model_type", *name ? name : type);
}

static enum dpo_status
read_vocab(struct dpo_tokenparts *parts, const struct dpo_named_file *file, struct dpo_error *err)
{
	struct dpo_json_lexer lexer = { .text = (const char *)file->bytes, .len = file->n };
	enum dpo_json_token token;
	enum dpo_status status;

	if ((status = dpo_json_skip(&lexer, err)) != DPO_OK)
		return status;
	if ((token = dpo_json_next(&lexer, err)) != DPO_JSON_END)
		return token == DPO_JSON_ERROR ? DPO_FORMAT : dpo_fail(err, DPO_FORMAT, "JSON, byte %zu: text after the value",
		    lexer.start);
	return dpo_tokenjson_vocab(&parts->vocab, lexer.text, lexer.len, err);
}

enum dpo_status
dpo_tokenclass_read(struct dpo_tokenparts *parts, const struct dpo_files *files, const cJSON *tokenizer_config,
    const cJSON *config, struct dpo_error *err)
{
	const struct dpo_named_file *vocab = dpo_files_find(files, "vocab.json"), *merges = dpo_files_find(files, "merges.txt");
	const struct class *class;
	enum dpo_status status;

	if (!merges)
		return dpo_fail(err, DPO_FORMAT, "merges.txt is missing beside vocab.json");
	if ((status = find_class(&class, tokenizer_config, config, err)) != DPO_OK)
		return status;
	if (read_vocab(parts, vocab, err) != DPO_OK)
		return dpo_error_prefix(err, "vocab.json");
	if (dpo_bpe_read_text(&parts->bpe, (const char *)merges->bytes, merges->n, &parts->vocab, err) != DPO_OK)
		return dpo_error_prefix(err, "merges.txt");
	if ((status = dpo_pretokenizer_byte_level(&parts->pretokenizer, class->pattern, err)) != DPO_OK ||
	    (status = dpo_detokenizer_byte_level(&parts->detokenizer, err)) != DPO_OK)
		return status;
	return class->nfc ? dpo_normalizer_nfc(&parts->normalizer, err) : DPO_OK;
}
