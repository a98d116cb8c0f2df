/* tokenizer: ids and texts of small tokenizers written here, every component, and what a bad tokenizer is told. */
#include "base/buffer.h"
#include "base/json.h"
#include "tokenizer/normalform.h"
#include "tokenizer/tokenizer.h"
#include "tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* SentencePiece's way: U+2581 for spaces, bytes for what is not in the vocabulary. */
#define SPM_MODEL "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2," \
	"\"\\u2581\":3,\"a\":4,\"b\":5," \
	"\"c\":6,\"\\u2581a\":7,\"ab\":8,\"bc\":9,\"abc\":10,\"<0xC3>\":11,\"<0xA9>\":12,\"\\u2581\\u2581\":13,\"aa\":14}," \
	"\"merges\":[\"a b\",[\"b\",\"c\"],\"\\u2581 a\",\"ab c\",\"\\u2581 \\u2581\",\"a a\"]}"
#define SPM_ADDED "\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true,\"normalized\":false}," \
	"{\"id\":2,\"content\":\"</s>\",\"special\":true,\"normalized\":false}]"
#define METASPACE(scheme, split) "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\"," \
	"\"prepend_scheme\":\"" scheme \
	"\",\"split\":" split "}"
#define SPM_DECODER "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"}," \
	"\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1," \
	"\"stop\":0}]}"
#define BOS "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}}," \
	"{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1]," \
	"\"tokens\":[\"<s>\"]}}}"

static enum dpo_status
open_files(struct dpo_tokenizer **tokenizer, const char *const *names, const char *const *texts, size_t n,
    struct dpo_error *err)
{
	struct dpo_files files = { 0 };
	enum dpo_status status;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(dpo_files_add(&files, names[i], texts[i], strlen(texts[i]), err), DPO_OK);
	status = dpo_tokenizer_open(tokenizer, &files, err);
	assert_true((status == DPO_OK) == (*tokenizer != NULL));
	dpo_files_free(&files);
	return status;
}

static enum dpo_status
open_json(struct dpo_tokenizer **tokenizer, const char *text, struct dpo_error *err)
{
	static const char *const names[] = { "tokenizer.json" };

	return open_files(tokenizer, names, &text, 1, err);
}

static struct dpo_tokenizer *
must_open(const char *text)
{
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;

	if (open_json(&tokenizer, text, &err) != DPO_OK)
		fail_msg("%s", err.text);
	return tokenizer;
}

static void
assert_decodes(const struct dpo_tokenizer *tokenizer, const int32_t *ids, size_t n, const char *wanted)
{
	struct dpo_buffer got = { 0 };
	struct dpo_error err;

	assert_int_equal(dpo_tokenizer_decode(tokenizer, ids, n, &got, &err), DPO_OK);
	assert_string_equal(dpo_buffer_text(&got), wanted);
	dpo_buffer_free(&got);
}

/* Ranks decide, then the leftmost: "abc" is ab+c by rank 0; "bbc" b+bc. */
static void
merges_by_rank(void **state)
{
	struct dpo_tokenizer *tokenizer = must_open("{" SPM_MODEL "," SPM_ADDED "," METASPACE("never", "false") "}");

	(void)state;
	assert_ids(tokenizer, "", false, "");
	assert_ids(tokenizer, "abc", false, "10");
	assert_ids(tokenizer, "bbc", false, "5 9");
	assert_ids(tokenizer, "aaa", false, "14 4");
	assert_ids(tokenizer, "aaaa", false, "14 14");
	assert_ids(tokenizer, "aab", false, "4 8");
	assert_ids(tokenizer, "   ", false, "13 3");
	assert_ids(tokenizer, "a\xc3\xa9" "b", false, "4 11 12 5");
	assert_ids(tokenizer, "a</s>b<s>", false, "4 2 5 1");
	assert_int_equal(dpo_tokenizer_size(tokenizer), 15);
	assert_int_equal(dpo_tokenizer_eos(tokenizer), -1);
	assert_null(dpo_tokenizer_eos_text(tokenizer));
	dpo_tokenizer_free(tokenizer);
}

static void
prepends_by_scheme(void **state)
{
	static const struct { const char *json, *ids; } cases[] = {
		{ "{" SPM_MODEL "," SPM_ADDED "," METASPACE("always", "false") "}", "7 3 7 2 7" },
		{ "{" SPM_MODEL "," SPM_ADDED "," METASPACE("first", "false") "}", "7 3 7 2 4" },
		{ "{" SPM_MODEL "," SPM_ADDED "," METASPACE("never", "false") "}", "4 3 7 2 4" },
		{ "{" SPM_MODEL "," SPM_ADDED "," METASPACE("always", "true") "}", "7 3 7 2 7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_tokenizer *tokenizer = must_open(cases[i].json);

		assert_ids(tokenizer, "a  a</s>a", false, cases[i].ids);
		dpo_tokenizer_free(tokenizer);
	}
}

static void
adds_and_decodes_specials(void **state)
{
	static const int32_t ids[] = { 1, 7, 3, 10, 11, 12, 2 }, half[] = { 7, 11, 4 };
	struct dpo_tokenizer *tokenizer =
	    must_open("{" SPM_MODEL "," SPM_ADDED "," METASPACE("always", "false") "," BOS "," SPM_DECODER "}");
	struct dpo_buffer out = { 0 };
	struct dpo_error err;
	int32_t outside = 15;

	(void)state;
	assert_ids(tokenizer, "a", true, "1 7");
	assert_ids(tokenizer, "", true, "1");
	assert_ids(tokenizer, "a", false, "7");
	assert_decodes(tokenizer, ids, sizeof ids / sizeof *ids, "<s> a abc\xc3\xa9</s>");
	assert_decodes(tokenizer, half, 3, "a\xef\xbf\xbd" "a");
	assert_decodes(tokenizer, half, 0, "");
	assert_int_equal(dpo_tokenizer_decode(tokenizer, &outside, 1, &out, &err), DPO_FORMAT);
	assert_string_equal(err.text, "token 15 is not in the vocabulary");
	dpo_buffer_free(&out);
	dpo_tokenizer_free(tokenizer);
}

static void
normalizes(void **state)
{
	struct dpo_tokenizer *tokenizer = must_open("{" SPM_MODEL "," SPM_ADDED ",\"pre_tokenizer\":null,\"normalizer\":"
	    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},"
	    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]}}");

	(void)state;
	assert_ids(tokenizer, "a a", false, "7 7");
	assert_ids(tokenizer, "a</s>", false, "7 2");
	assert_ids(tokenizer, "e\xcc\x81", false, "3 11 12");	/* e and an accent become U+00E9 */
	assert_ids(tokenizer, "", false, "");
	dpo_tokenizer_free(tokenizer);
}

/* The byte alphabet as vocabulary, ids in the order of the bytes, then more tokens. */
static void
byte_level_vocab(struct dpo_buffer *json, const char *more)
{
	dpo_buffer_string(json, "{");
	for (unsigned byte = 0, extra = 0x100; byte < 256; byte++) {
		bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);

		dpo_buffer_printf(json, "%s\"\\u%04x\":%u", byte ? "," : "", printable ? byte : extra, byte);
		extra += !printable;
	}
	dpo_buffer_printf(json, "%s}", more);
}

static void
byte_level(void **state)
{
	static const int32_t bad[] = { 0xe2, 0x82, 'a', 0xff, 0xc3, 0xa9 };
	struct dpo_buffer json = { 0 };
	struct dpo_tokenizer *tokenizer;
	struct dpo_ids ids = { 0 };
	struct dpo_buffer out = { 0 };
	struct dpo_error err;
	char every[255];

	(void)state;
	dpo_buffer_string(&json, "{\"model\":{\"vocab\":");
	byte_level_vocab(&json, ",\"\\u0120a\":256,\"<|endoftext|>\":257,\"'s\":258,\"\\u0120\\u0120\":259");
	dpo_buffer_string(&json,
	    ",\"merges\":[\"\\u0120 a\",\"' s\",\"\\u0120 \\u0120\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
	    "\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"}}");
	tokenizer = must_open(dpo_buffer_text(&json));
	assert_ids(tokenizer, "a a's", false, "97 256 258");
	assert_ids(tokenizer, "a   a", false, "97 259 256");	/* the last space goes with the word */
	assert_ids(tokenizer, "\xe2\x82\xac", false, "226 130 172");
	/* No file names an EOS, the vocabulary has GPT-2's: it is special without being listed as added. */
	assert_int_equal(dpo_tokenizer_eos(tokenizer), 257);
	assert_string_equal(dpo_tokenizer_eos_text(tokenizer), "<|endoftext|>");
	assert_ids(tokenizer, "a<|endoftext|>a", false, "97 257 97");
	assert_decodes(tokenizer, bad, sizeof bad / sizeof *bad, "\xef\xbf\xbd" "a\xef\xbf\xbd\xc3\xa9");
	for (size_t i = 0; i < sizeof every; i++)
		every[i] = (char)(i < 0x7f ? i + 1 : 'x');
	assert_int_equal(dpo_tokenizer_encode(tokenizer, every, sizeof every, false, &ids, &err), DPO_OK);
	assert_int_equal(dpo_tokenizer_decode(tokenizer, ids.ids, ids.count, &out, &err), DPO_OK);
	assert_int_equal(out.len, sizeof every);
	assert_memory_equal(out.data, every, sizeof every);
	assert_int_equal(dpo_tokenizer_encode(tokenizer, "a\xff", 2, false, &ids, &err), DPO_FORMAT);
	free(ids.ids);
	dpo_buffer_free(&out);
	dpo_buffer_free(&json);
	dpo_tokenizer_free(tokenizer);
}

static void
vocab_and_merges(void **state)
{
	static const char *const names[] = { "vocab.json", "merges.txt", "tokenizer_config.json", "config.json" };
	struct dpo_buffer vocab = { 0 };
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;
	const char *texts[] = { NULL, "#version: 0.2\r\n\xc4\xa0 a\r\n' s\r\n", NULL, "{\"model_type\":\"gpt2\"}" };

	(void)state;
	byte_level_vocab(&vocab, ",\"\\u0120a\":256,\"'s\":257");
	texts[0] = dpo_buffer_text(&vocab);
	texts[2] = "{\"tokenizer_class\":\"GPT2Tokenizer\",\"eos_token\":{\"content\":\"<e>\"},\"added_tokens_decoder\":"
	    "{\"300\":{\"content\":\"<e>\",\"special\":true,\"rstrip\":true}}}";
	assert_int_equal(open_files(&tokenizer, names, texts, 4, &err), DPO_OK);
	assert_ids(tokenizer, "a a's<e>  a", false, "97 256 257 300 97");
	assert_int_equal(dpo_tokenizer_eos(tokenizer), 300);
	assert_int_equal(dpo_tokenizer_size(tokenizer), 301);
	dpo_tokenizer_free(tokenizer);
	texts[2] = "{\"tokenizer_class\":\"Qwen2Tokenizer\"}";
	assert_int_equal(open_files(&tokenizer, names, texts, 4, &err), DPO_OK);
	assert_ids(tokenizer, "12", false, "49 50");
	dpo_tokenizer_free(tokenizer);
	texts[2] = "{\"tokenizer_class\":\"RobertaTokenizer\"}";
	assert_int_equal(open_files(&tokenizer, names, texts, 4, &err), DPO_UNSUPPORTED);
	assert_string_equal(err.text, "vocab.json and merges.txt of tokenizer_class \"RobertaTokenizer\" without tokenizer.json");
	texts[1] = "a  b\n";
	texts[2] = "{}";
	assert_int_equal(open_files(&tokenizer, names, texts, 4, &err), DPO_FORMAT);
	assert_string_equal(err.text, "merges.txt: merge 0, \"a  b\", is not two tokens");
	texts[1] = "";
	texts[2] = "{\"eos_token\":\"<none>\"}";
	assert_int_equal(open_files(&tokenizer, names, texts, 4, &err), DPO_FORMAT);
	assert_string_equal(err.text, "eos_token \"<none>\" is not in the vocabulary");
	assert_int_equal(open_files(&tokenizer, names, texts, 1, &err), DPO_FORMAT);
	assert_string_equal(err.text, "merges.txt is missing beside vocab.json");
	dpo_buffer_free(&vocab);
}

static void
special_tokens_in_order_of_files(void **state)
{
	static const char *const names[] = { "tokenizer.json", "config.json", "special_tokens_map.json",
		"tokenizer_config.json" };
	static const char *const texts[] = { "{" SPM_MODEL "}", "{\"eos_token_id\":[4,5],\"bos_token_id\":1}",
		"{\"eos_token\":\"b\"}", "{\"eos_token\":\"c\",\"bos_token\":null}" };
	static const int32_t eos[] = { -1, 4, 5, 6 };

	(void)state;
	for (size_t n = 1; n <= 4; n++) {
		struct dpo_tokenizer *tokenizer;
		struct dpo_error err;

		assert_int_equal(open_files(&tokenizer, names, texts, n, &err), DPO_OK);
		assert_int_equal(dpo_tokenizer_eos(tokenizer), eos[n - 1]);
		assert_int_equal(dpo_tokenizer_bos(tokenizer), n > 1 ? 1 : -1);
		dpo_tokenizer_free(tokenizer);
	}
}

/* A token that a configuration names is found in the text, also where the normalized form of another has its text. */
static void
special_tokens_by_any_name(void **state)
{
	static const char *const names[] = { "tokenizer.json", "tokenizer_config.json" };
	static const char json[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"f\":1,\"o\":2,\"foo\":3,\"Foo\":4},"
	    "\"merges\":[\"#version: 0.2\"]},"
	    "\"normalizer\":{\"type\":\"Lowercase\"},\"added_tokens\":[{\"id\":4,\"content\":\"Foo\",\"normalized\":true}]}";
	static const struct { const char *config, *ids; } cases[] = {
		{ "{}", "0 4 4" },
		{ "{\"unk_token\":\"foo\"}", "0 3 4" }, { "{\"sep_token\":{\"content\":\"foo\"}}", "0 3 4" },
		{ "{\"pad_token\":\"foo\"}", "0 3 4" }, { "{\"cls_token\":\"foo\"}", "0 3 4" },
		{ "{\"mask_token\":\"foo\"}", "0 3 4" },
		{ "{\"additional_special_tokens\":[\"x\",\"foo\"]}", "0 3 4" },
		{ "{\"additional_special_tokens\":[{\"content\":\"foo\"}]}", "0 3 4" },
		{ "{\"extra_special_tokens\":[\"foo\"]}", "0 3 4" }, { "{\"extra_special_tokens\":{\"image_token\":\"foo\"}}",
		    "0 3 4" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const texts[] = { json, cases[i].config };
		struct dpo_tokenizer *tokenizer;
		struct dpo_error err;

		assert_int_equal(open_files(&tokenizer, names, texts, 2, &err), DPO_OK);
		assert_ids(tokenizer, "afooFOO", false, cases[i].ids);
		dpo_tokenizer_free(tokenizer);
	}
}

/* A word of a million characters, also as one piece. */
static void
long_words(void **state)
{
	enum { N = 1000000 };
	struct dpo_tokenizer *tokenizer = must_open("{" SPM_MODEL "," METASPACE("always", "false") "}");
	struct dpo_ids ids = { 0 };
	struct dpo_error err;
	char *text = malloc(N);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', N);
	assert_int_equal(dpo_tokenizer_encode(tokenizer, text, N, false, &ids, &err), DPO_OK);
	assert_int_equal(ids.count, 1 + (N - 1) / 2 + 1);	/* U+2581 a, pairs, and a last one */
	assert_int_equal(ids.ids[0], 7);
	assert_int_equal(ids.ids[1], 14);
	assert_int_equal(ids.ids[ids.count - 1], 4);
	free(ids.ids);
	free(text);
	dpo_tokenizer_free(tokenizer);
}

#define VOCAB(vocab, rest) "{\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "}" rest "}}"
#define UNIGRAM(pieces, rest) "{\"model\":{\"type\":\"Unigram\",\"vocab\":[" pieces "]" rest "}}"
#define WITH(part) "{" SPM_MODEL "," part "}"

static void
names_what_is_wrong(void **state)
{
	static const struct { const char *json; enum dpo_status status; const char *text; } cases[] = {
		{ "[]", DPO_FORMAT, "tokenizer.json: not an object" },
		{ "{", DPO_FORMAT, "tokenizer.json: JSON, byte 1: unexpected end" },
		{ "{} x", DPO_FORMAT, "tokenizer.json: JSON, byte 3: unexpected character" },
		{ "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},}", DPO_FORMAT,
		    "tokenizer.json: JSON, byte 39: unexpected character" },
		{ "{\"model\":{\"vocab\":{\"a\":0},\"vocab\":{\"b\":0},\"merges\":[]}}", DPO_FORMAT,
		    "tokenizer.json: JSON: duplicate key \"vocab\"" },
		{ "{\"model\":{\"type\":\"WordPiece\"}}", DPO_UNSUPPORTED, "tokenizer.json: tokenizer model \"WordPiece\"" },
		{ "{\"model\":{\"type\":\"Unigram\"}}", DPO_FORMAT, "tokenizer.json: the vocabulary is not a list" },
		{ UNIGRAM("", ""), DPO_FORMAT, "tokenizer.json: the vocabulary is empty" },
		{ UNIGRAM("[\"a\",0],[\"a\",1]", ""), DPO_FORMAT, "tokenizer.json: token \"a\" appears twice" },
		{ UNIGRAM("[\"\",0]", ""), DPO_FORMAT, "tokenizer.json: piece 0 is empty" },
		{ UNIGRAM("[\"a\"]", ""), DPO_FORMAT, "tokenizer.json: piece 0 is not a string with a score" },
		{ UNIGRAM("[\"a\",\"b\"]", ""), DPO_FORMAT, "tokenizer.json: piece 0 is not a string with a score" },
		{ UNIGRAM("[\"a\",0],3", ""), DPO_FORMAT, "tokenizer.json: piece 1 is not a list" },
		{ UNIGRAM("[\"a\",0]", ",\"unk_id\":1"), DPO_FORMAT, "tokenizer.json: \"unk_id\" is 1, not within 0 and 0" },
		{ VOCAB("\"a\":1000000000000000000000", ",\"merges\":[]"), DPO_FORMAT,
		    "tokenizer.json: the id of token \"a\" is not an integer" },
		{ VOCAB("\"a\":10000000,\"b\":16777216", ",\"merges\":[]"), DPO_FORMAT,
		    "tokenizer.json: token \"b\": id 16777216 is not within 0 and 16777215" },
		{ VOCAB("\"a\":0,\"a\":1", ",\"merges\":[]"), DPO_FORMAT, "tokenizer.json: token \"a\" appears twice" },
		{ VOCAB("\"a\":0,\"aa\":1", ",\"merges\":[\"a a\",3]"), DPO_FORMAT,
		    "tokenizer.json: merge 1 is neither a string nor a pair of strings" },
		{ VOCAB("\"a\":0", ",\"merges\":null"), DPO_FORMAT, "tokenizer.json: \"merges\" is not a list" },
		{ VOCAB("", ",\"merges\":[]"), DPO_FORMAT, "tokenizer.json: the vocabulary is empty" },
		{ VOCAB("\"a\":0", ""), DPO_FORMAT, "tokenizer.json: \"merges\" is missing" },
		{ VOCAB("\"a\":0", ",\"merges\":{}"), DPO_FORMAT, "tokenizer.json: \"merges\" is not a list" },
		{ VOCAB("\"a\":-1", ",\"merges\":[]"), DPO_FORMAT,
		    "tokenizer.json: token \"a\": id -1 is not within 0 and 16777215" },
		{ VOCAB("\"a\":2147483648", ",\"merges\":[]"), DPO_FORMAT,
		    "tokenizer.json: token \"a\": id 2147483648 is not within 0 and 16777215" },
		{ VOCAB("\"a\":0.5", ",\"merges\":[]"), DPO_FORMAT, "tokenizer.json: the id of token \"a\" is not an integer" },
		{ VOCAB("\"a\":1e300", ",\"merges\":[]"), DPO_FORMAT, "tokenizer.json: the id of token \"a\" is not an integer" },
		{ VOCAB("\"a\":\"0\"", ",\"merges\":[]"), DPO_FORMAT, "tokenizer.json: the id of token \"a\" is not an integer" },
		{ VOCAB("\"a\":0,\"b\":0", ",\"merges\":[]"), DPO_FORMAT,
		    "tokenizer.json: tokens \"a\" and \"b\" have the same id 0" },
		{ VOCAB("\"a\":0,\"b\":1", ",\"merges\":[\"a b\"]"), DPO_FORMAT,
		    "tokenizer.json: merge 0, \"a b\": a token that is not in the vocabulary" },
		{ VOCAB("\"a\":0,\"aa\":1", ",\"merges\":[\"aa\"]"), DPO_FORMAT,
		    "tokenizer.json: merge 0, \"aa\", is not two tokens" },
		{ VOCAB("\"a\":0,\"aa\":1", ",\"merges\":[[\"a\",\"a\",\"a\"]]"), DPO_FORMAT,
		    "tokenizer.json: merge 0 is neither a string nor a pair of strings" },
		{ VOCAB("\"a\":0,\"aa\":1", ",\"merges\":[[\"\",\"a\"]]"), DPO_FORMAT,
		    "tokenizer.json: merge 0, \" a\": a token that is not in the vocabulary" },
		{ VOCAB("\"a\":0", ",\"merges\":[],\"dropout\":0.1"), DPO_UNSUPPORTED, "tokenizer.json: BPE with dropout" },
		{ VOCAB("\"a\":0", ",\"merges\":[],\"end_of_word_suffix\":\"</w>\""), DPO_UNSUPPORTED,
		    "tokenizer.json: BPE with end_of_word_suffix" },
		{ VOCAB("\"a\":0", ",\"merges\":[],\"unk_token\":\"u\""), DPO_FORMAT,
		    "tokenizer.json: unk_token \"u\" is not in the vocabulary" },
		{ WITH("\"normalizer\":{\"type\":\"Precompiled\"}"), DPO_UNSUPPORTED, "tokenizer.json: normalizer Precompiled" },
		{ WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\"},\"content\":\"\"}"), DPO_FORMAT,
		    "tokenizer.json: normalizer Replace of an empty string" },
		{ WITH("\"normalizer\":{}"), DPO_FORMAT, "tokenizer.json: \"type\" is missing" },
		{ WITH("\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"), DPO_UNSUPPORTED,
		    "tokenizer.json: pre-tokenizer BertPreTokenizer" },
		{ WITH("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"UnicodeScripts\"}]}"),
		    DPO_UNSUPPORTED,
		    "tokenizer.json: pre-tokenizer UnicodeScripts" },
		{ WITH("\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Gone\"}"), DPO_UNSUPPORTED,
		    "tokenizer.json: Split with behavior \"Gone\"" },
		{ WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}"),
		    DPO_FORMAT,
		    "tokenizer.json: regular expression, byte 1: missing closing parenthesis" },
		{ WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\bx\"},\"behavior\":\"Isolated\"}"),
		    DPO_UNSUPPORTED, "tokenizer.json: regular expression with \\b" },
		{ WITH("\"post_processor\":{\"type\":\"BertProcessing\"}"), DPO_UNSUPPORTED,
		    "tokenizer.json: post-processor BertProcessing" },
		{ WITH("\"decoder\":{\"type\":\"WordPiece\"}"), DPO_UNSUPPORTED, "tokenizer.json: decoder WordPiece" },
		{ WITH("\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]"), DPO_FORMAT,
		    "tokenizer.json: added token \"a\" has id 9, in the vocabulary 4" },
		{ WITH("\"added_tokens\":[{\"id\":4,\"content\":\"x\"}]"), DPO_FORMAT,
		    "tokenizer.json: tokens \"a\" and \"x\" have the same id 4" },
		{ WITH("\"added_tokens\":[{\"id\":20,\"content\":\"\"}]"), DPO_FORMAT, "tokenizer.json: added token 20 is empty" },
		{ WITH("\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}]"), DPO_FORMAT,
		    "tokenizer.json: \"id\" is -1, not within 0 and 16777215" },
	};
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(open_json(&tokenizer, cases[i].json, &err), cases[i].status);
		assert_string_equal(err.text, cases[i].text);
	}
}

/* BOS and EOS around a text: as the post-processor of tokenizer.json says, and without that file as tokenizer_config.json does. */
static void
bos_and_eos_by_configuration(void **state)
{
	static const char *const names[] = { "tokenizer.json", "tokenizer_config.json" };
	static const char *const classic[] = { "vocab.json", "tokenizer_config.json", "merges.txt" };
	static const char vocab[] = "{\"<unk>\":0,\"<s>\":1,\"</s>\":2,\"b\":3,\"a\":4}";
	static const char both[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_bos_token\":true,\"add_eos_token\":true}";
	static const struct { const char *json, *config, *ids; } cases[] = {
		{ "{" SPM_MODEL "," BOS "}", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", "1 4" },
		{ "{" SPM_MODEL "," BOS "}", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_bos_token\":false}", "1 4" },
		{ "{" SPM_MODEL "," BOS "}", "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_eos_token\":true}", "1 4" },
		{ "{" SPM_MODEL "}", both, "4" },
		{ "{" SPM_MODEL ",\"post_processor\":{\"type\":\"ByteLevel\"}}", both, "4" },
		{ NULL, "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", "4" },
		{ NULL, both, "1 4 2" },
		{ NULL, "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_eos_token\":true}", "4 2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *texts[] = { cases[i].json ? cases[i].json : vocab, cases[i].config, "" };
		struct dpo_tokenizer *tokenizer;
		struct dpo_error err;

		assert_int_equal(open_files(&tokenizer, cases[i].json ? names : classic, texts, cases[i].json ? 2 : 3, &err),
		    DPO_OK);
		assert_ids(tokenizer, "a", true, cases[i].ids);
		assert_ids(tokenizer, "a", false, "4");
		dpo_tokenizer_free(tokenizer);
	}
}

/* A file of vocab.json and merges.txt that is wrong, and added_tokens.json, which only such a tokenizer has. */
static void
classic_files(void **state)
{
	static const char *const names[] = { "vocab.json", "merges.txt", "added_tokens.json" };
	static const struct { const char *texts[3], *message; } cases[] = {
		{ { "{\"a\":0}", "", "{\"<x>\":9}" }, NULL },
		{ { "{\"a\":0}", "#version: 0.2\r\n", "{\"<x>\":9}" }, NULL },
		{ { "{\"a\":0}", "a\n", "{}" }, "merges.txt: merge 0, \"a\", is not two tokens" },
		{ { "{\"a\":0}", "#version: 0.2\r\na b\r\n", "{}" },
		    "merges.txt: merge 0, \"a b\": a token that is not in the vocabulary" },
		{ { "{\"a\":0} 1", "", "{}" }, "vocab.json: JSON, byte 8: text after the value" },
		{ { "[\"a\"]", "", "{}" }, "vocab.json: the vocabulary is not an object" },
		{ { "{\"a\":0,\"b\":-1}", "", "{}" }, "vocab.json: token \"b\": id -1 is not within 0 and 16777215" },
		{ { "{\"a\":0", "", "{}" }, "vocab.json: JSON, byte 6: unexpected end" },
		{ { "{\"a\":0}", "", "{\"b\":\"c\"}" }, "added_tokens.json: \"b\" is not an integer" },
		{ { "{\"a\":0}", "", "{\"\":3}" }, "added_tokens.json: added token 3 is empty" },
	};
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (cases[i].message) {
			assert_int_equal(open_files(&tokenizer, names, cases[i].texts, 3, &err), DPO_FORMAT);
			assert_string_equal(err.text, cases[i].message);
			continue;
		}
		assert_int_equal(open_files(&tokenizer, names, cases[i].texts, 3, &err), DPO_OK);
		assert_ids(tokenizer, "a<x>a", false, "0 9 0");
		dpo_tokenizer_free(tokenizer);
	}
}

/* Ids far apart cost nothing: the vocabulary is as large as its tokens. */
static void
sparse_ids(void **state)
{
	struct dpo_tokenizer *tokenizer = must_open(VOCAB("\"a\":16777215,\"b\":3", ",\"merges\":[]"));
	static const int32_t ids[] = { 3, 16777215 };

	(void)state;
	assert_ids(tokenizer, "ab", false, "16777215 3");
	assert_int_equal(dpo_tokenizer_size(tokenizer), 16777216);
	assert_decodes(tokenizer, ids, 2, "b a");
	dpo_tokenizer_free(tokenizer);
}

/* Marks in the wrong order, a hundred thousand of them: linear work, and the order of UAX #15. */
static void
long_runs_of_marks(void **state)
{
	enum { N = 50000 };
	struct dpo_buffer text = { 0 }, got = { 0 }, wanted = { 0 };
	struct dpo_error err;

	(void)state;
	dpo_buffer_string(&text, "a q");
	dpo_buffer_string(&wanted, "a q");
	for (int i = 0; i < N; i++)
		dpo_buffer_string(&text, "\xcc\x87\xcc\xa3");	/* U+0307 of class 230, U+0323 of class 220 */
	for (int i = 0; i < 2 * N; i++)
		dpo_buffer_string(&wanted, i < N ? "\xcc\xa3" : "\xcc\x87");
	assert_int_equal(dpo_normal_form(DPO_NFD, (const char *)text.data, text.len, 4 * N, &got, &err), DPO_OK);
	assert_int_equal(got.len, wanted.len);
	assert_memory_equal(got.data, wanted.data, wanted.len);
	dpo_buffer_clear(&got);
	assert_int_equal(dpo_normal_form(DPO_NFKC, (const char *)text.data, text.len, N, &got, &err), DPO_LIMIT);
	assert_string_equal(err.text, "text normalizes to more than 50000 characters");
	dpo_buffer_free(&text);
	dpo_buffer_free(&got);
	dpo_buffer_free(&wanted);
}

static void
refuses_unknown_characters(void **state)
{
	struct dpo_tokenizer *tokenizer = must_open(VOCAB("\"a\":0", ",\"merges\":[]"));
	struct dpo_ids ids = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_tokenizer_encode(tokenizer, "ab", 2, false, &ids, &err), DPO_FORMAT);
	assert_string_equal(err.text, "the tokenizer has neither U+0062 nor an unknown token");
	free(ids.ids);
	dpo_tokenizer_free(tokenizer);
	tokenizer = must_open(VOCAB("\"a\":0,\"u\":1", ",\"merges\":[],\"unk_token\":\"u\",\"fuse_unk\":true"));
	assert_ids(tokenizer, "axyaz", false, "0 1 0 1");
	dpo_tokenizer_free(tokenizer);
	tokenizer = must_open(VOCAB("\"a\":0,\"u\":1", ",\"merges\":[],\"unk_token\":\"u\""));
	assert_ids(tokenizer, "axyaz", false, "0 1 1 0 1");
	dpo_tokenizer_free(tokenizer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merges_by_rank), cmocka_unit_test(prepends_by_scheme),
		cmocka_unit_test(adds_and_decodes_specials), cmocka_unit_test(normalizes), cmocka_unit_test(byte_level),
		cmocka_unit_test(vocab_and_merges), cmocka_unit_test(special_tokens_in_order_of_files),
		cmocka_unit_test(special_tokens_by_any_name), cmocka_unit_test(long_words), cmocka_unit_test(names_what_is_wrong),
		cmocka_unit_test(refuses_unknown_characters),
		cmocka_unit_test(bos_and_eos_by_configuration), cmocka_unit_test(classic_files), cmocka_unit_test(sparse_ids),
		cmocka_unit_test(long_runs_of_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
