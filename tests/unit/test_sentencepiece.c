/* sentencepiece: tokenizer.model files written here; what is read of them, and what a bad one is told. */
#include "base/buffer.h"
#include "tokenizer/tokenizer.h"
#include "tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { VARINT = 0, BYTES = 2, FLOAT = 5 };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED };

/* ------------------------------------------------------------------ writing protocol buffers */

static void
put_varint(struct dpo_buffer *out, uint64_t value)
{
	for (; value > 127; value >>= 7)
		dpo_buffer_byte(out, (uint8_t)(value | 128));
	dpo_buffer_byte(out, (uint8_t)value);
}

static void
put_integer(struct dpo_buffer *out, unsigned field, uint64_t value)
{
	put_varint(out, field << 3 | VARINT);
	put_varint(out, value);
}

static void
put_bytes(struct dpo_buffer *out, unsigned field, const void *bytes, size_t n)
{
	put_varint(out, field << 3 | BYTES);
	put_varint(out, n);
	dpo_buffer_append(out, bytes, n);
}

/* Put the message in a field of out; it is used up. */
static void
put_message(struct dpo_buffer *out, unsigned field, struct dpo_buffer *message)
{
	put_bytes(out, field, message->data, message->len);
	dpo_buffer_free(message);
}

static void
put_piece(struct dpo_buffer *out, const char *text, float score, unsigned type)
{
	struct dpo_buffer piece = { 0 };

	put_bytes(&piece, 1, text, strlen(text));
	put_varint(&piece, 2 << 3 | FLOAT);
	dpo_buffer_append(&piece, &score, sizeof score);
	put_integer(&piece, 3, type);
	put_message(out, 1, &piece);
}

/* Both specs; remove_extra as given, the dummy prefix there. */
static void
put_specs(struct dpo_buffer *out, unsigned model_type, bool remove_extra)
{
	struct dpo_buffer trainer = { 0 }, normalizer = { 0 };

	put_integer(&trainer, 3, model_type);
	put_message(out, 2, &trainer);
	put_integer(&normalizer, 4, remove_extra);
	put_message(out, 3, &normalizer);
}

/* U+2581 is _ here: <unk> 0, <s> 1, </s> 2, <x> 3 (user-defined), _ 4, a 5, b 6, ab 7, _a 8. */
static void
put_pieces(struct dpo_buffer *out)
{
	put_piece(out, "<unk>", 0, UNKNOWN);
	put_piece(out, "<s>", 0, CONTROL);
	put_piece(out, "</s>", 0, CONTROL);
	put_piece(out, "<x>", 0, USER_DEFINED);
	put_piece(out, "\xe2\x96\x81", -3, NORMAL);
	put_piece(out, "a", -3, NORMAL);
	put_piece(out, "b", -3, NORMAL);
	put_piece(out, "ab", -1, NORMAL);
	put_piece(out, "\xe2\x96\x81" "a", -2, NORMAL);
}

static enum dpo_status
open_model(struct dpo_tokenizer **tokenizer, const void *bytes, size_t n, struct dpo_error *err)
{
	struct dpo_files files = { 0 };
	enum dpo_status status;

	assert_int_equal(dpo_files_add(&files, "tokenizer.model", bytes, n, err), DPO_OK);
	status = dpo_tokenizer_open(tokenizer, &files, err);
	assert_true((status == DPO_OK) == (*tokenizer != NULL));
	dpo_files_free(&files);
	return status;
}

/* BPE by score: "ab" (-1) before "_a" (-2); unigram by sums: _ab is "_a"+"b" = -5 or "_"+"ab" = -4. */
static void
both_models(void **state)
{
	static const struct { unsigned model; bool remove; const char *text, *ids; } cases[] = {
		{ 2, true, "ab", "1 4 7" }, { 1, true, "ab", "1 4 7" }, { 2, true, "", "1" }, { 2, true, "   ", "1" },
		{ 2, true, "  a   a ", "1 8 8" }, { 1, true, "  a   a ", "1 8 8" }, { 2, false, " a  ", "1 4 8 4 4" },
		{ 2, true, "a<x>b", "1 8 3 6" }, { 1, true, "a<x>b", "1 8 3 6" },
		{ 2, true, "a</s>b", "1 8 2 4 6" }, { 1, true, "zzb", "1 4 0 6" }, { 2, true, "zzb", "1 4 0 6" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_buffer model = { 0 };
		struct dpo_tokenizer *tokenizer;
		struct dpo_error err;

		put_pieces(&model);
		put_specs(&model, cases[i].model, cases[i].remove);
		if (open_model(&tokenizer, model.data, model.len, &err) != DPO_OK)
			fail_msg("%s", err.text);
		assert_int_equal(dpo_tokenizer_bos(tokenizer), 1);
		assert_int_equal(dpo_tokenizer_eos(tokenizer), 2);
		assert_ids(tokenizer, cases[i].text, true, cases[i].ids);
		dpo_tokenizer_free(tokenizer);
		dpo_buffer_free(&model);
	}
}

/* A model cut short anywhere is refused; one with a flipped bit is refused or read, without harm. */
static void
damage(void **state)
{
	struct dpo_buffer model = { 0 };
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;

	(void)state;
	put_pieces(&model);
	put_specs(&model, 2, true);
	for (size_t n = 0; n < model.len; n++)
		assert_int_equal(open_model(&tokenizer, model.data, n, &err), DPO_FORMAT);
	for (size_t bit = 0; bit < 8 * model.len; bit++) {
		model.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (open_model(&tokenizer, model.data, model.len, &err) == DPO_OK)
			dpo_tokenizer_free(tokenizer);
		else
			assert_true(err.status == DPO_FORMAT || err.status == DPO_UNSUPPORTED);
		model.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	dpo_buffer_free(&model);
}

static void
assert_refused(struct dpo_buffer *model, enum dpo_status status, const char *text)
{
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;

	assert_int_equal(open_model(&tokenizer, model->data ? model->data : (const uint8_t *)"", model->len, &err), status);
	assert_string_equal(err.text, text);
	dpo_buffer_free(model);
}

static void
names_what_is_wrong(void **state)
{
	struct dpo_buffer model = { 0 }, spec = { 0 };

	(void)state;
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: there are no pieces, or the file is cut short");
	dpo_buffer_string(&model, "{\"version\": 1}");
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: the file is not a protocol buffer, or damaged");
	put_piece(&model, "", 0, NORMAL);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: the text of piece 0 is empty or not UTF-8");
	put_piece(&model, "a\xff", 0, NORMAL);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: the text of piece 0 is empty or not UTF-8");
	put_piece(&model, "a", 0, 9);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: piece 0 is of an unknown type");
	put_piece(&model, "a", 1 / 0.0f, NORMAL);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: the score of piece 0 is not finite");
	put_piece(&model, "a", 0, NORMAL);
	put_piece(&model, "a", 0, NORMAL);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: token \"a\" appears twice");
	put_piece(&model, "xy", 0, NORMAL);
	put_specs(&model, 2, true);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: piece \"xy\", whose character U+0078 is no piece");
	put_piece(&model, "<s>", 0, CONTROL);
	put_specs(&model, 1, true);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: there are no normal pieces");
	put_piece(&model, "a", 0, UNUSED);
	put_specs(&model, 2, true);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: an unused piece, \"a\"");
	put_pieces(&model);
	put_specs(&model, 4, true);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: model_type 4, neither unigram nor bpe");
	put_pieces(&model);
	put_specs(&model, 2, true);
	put_integer(&spec, 24, 1);
	put_message(&model, 2, &spec);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: treat_whitespace_as_suffix");
	put_pieces(&model);
	put_specs(&model, 2, true);
	put_integer(&spec, 5, 0);
	put_message(&model, 3, &spec);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: escape_whitespaces false");
	put_pieces(&model);
	put_specs(&model, 2, true);
	put_bytes(&spec, 2, "xx", 2);
	put_message(&model, 5, &spec);
	assert_refused(&model, DPO_UNSUPPORTED, "tokenizer.model: a denormalizer");
	put_pieces(&model);
	put_specs(&model, 2, true);
	put_bytes(&spec, 2, "\xff\xff\xff\xff\0\0\0\0", 8);
	put_message(&model, 3, &spec);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: a precompiled charsmap of 8 bytes is damaged");
}

/* A charsmap of units that lead anywhere: nothing outside is touched, whatever the text. */
static void
wild_charsmap(void **state)
{
	static const char text[] = "a \xc3\xa9\xe2\x96\x81\xf0\x9f\x98\x80zz";
	struct dpo_buffer model = { 0 }, spec = { 0 };
	struct dpo_tokenizer *tokenizer;
	uint8_t map[4 + 64 + 4];
	struct dpo_ids ids = { 0 };
	struct dpo_error err;
	uint64_t random = 1;

	(void)state;
	for (int round = 0; round < 500; round++) {
		memcpy(map, "\x40\0\0\0", 4);
		for (size_t i = 4; i < sizeof map; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			map[i] = (uint8_t)(random >> 56);
		}
		memcpy(map + sizeof map - 4, "xyz", 4);
		put_pieces(&model);
		put_specs(&model, round % 2 ? 2 : 1, true);
		put_bytes(&spec, 2, map, sizeof map);
		put_message(&model, 3, &spec);
		assert_int_equal(open_model(&tokenizer, model.data, model.len, &err), DPO_OK);
		ids.count = 0;
		assert_int_equal(dpo_tokenizer_encode(tokenizer, text, sizeof text - 1, true, &ids, &err), DPO_OK);
		dpo_tokenizer_free(tokenizer);
		dpo_buffer_free(&model);
	}
	free(ids.ids);
}

/* A charsmap of one key, a byte, and its replacement. */
static void
put_charsmap(struct dpo_buffer *spec, uint8_t key, uint32_t value, const char *replacements, size_t n)
{
	enum { UNITS = 512, CHILDREN = 256 };
	struct dpo_buffer map = { 0 };

	dpo_buffer_put32(&map, 4 * UNITS);
	for (uint32_t i = 0; i < UNITS; i++)
		dpo_buffer_put32(&map, i == 0 ? CHILDREN << 10 : i == (CHILDREN ^ key) ? 1 << 10 | 1 << 8 | key :
		    i == (CHILDREN ^ key ^ 1) ? UINT32_C(1) << 31 | value : 0);
	dpo_buffer_append(&map, replacements, n);
	put_bytes(spec, 2, map.data, map.len);
	dpo_buffer_free(&map);
}

/* Keys and offsets that cut a character are none, replacements that are no text are an error; SIGALRM ends a walk without end. */
static void
charsmap_of_cut_characters(void **state)
{
	static const struct { uint8_t key; uint32_t value; const char *text, *ids; } cases[] = {
		{ 'b', 0, "b", "1 8" }, { 'b', 1, "ab", "1 8" }, { 'b', 3, "ab", "1 4 7" }, { 'b', 999, "ab", "1 4 7" },
		{ 0xc3, 0, "\xc3\xa9" "b", "1 4 0 6" },
	};
	struct dpo_buffer model = { 0 }, spec = { 0 };
	struct dpo_tokenizer *tokenizer;
	struct dpo_error err;

	(void)state;
	alarm(60);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put_pieces(&model);
		put_specs(&model, 2, true);
		put_charsmap(&spec, cases[i].key, cases[i].value, "a\0\xc3\xa9", 5);
		put_message(&model, 3, &spec);
		assert_int_equal(open_model(&tokenizer, model.data, model.len, &err), DPO_OK);
		assert_ids(tokenizer, cases[i].text, true, cases[i].ids);
		dpo_tokenizer_free(tokenizer);
		dpo_buffer_free(&model);
	}
	alarm(0);
	put_pieces(&model);
	put_specs(&model, 2, true);
	put_charsmap(&spec, 'b', 0, "\xa9", 2);
	put_message(&model, 3, &spec);
	assert_refused(&model, DPO_FORMAT, "tokenizer.model: a precompiled charsmap with a replacement that is not UTF-8");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_models), cmocka_unit_test(damage), cmocka_unit_test(names_what_is_wrong),
		cmocka_unit_test(wild_charsmap), cmocka_unit_test(charsmap_of_cut_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
