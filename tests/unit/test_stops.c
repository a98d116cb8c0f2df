/* stops: where a stop string is seen is where the text ends, whatever the decoder does to the first token of all. */
#include "rows/stops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* SentencePiece's way: U+2581 for spaces, and one space less at the beginning of a text. */
static const char json[] = "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<s>\":1,\"\\u2581\":2,"
	"\"a\":3,\"b\":4,\"\\u2581a\":5,\"<0x00>\":6},\"merges\":[\"\\u2581 a\"]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
	"{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
	"{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}}";

static struct dpo_ids
as_ids(const char *digits)
{
	struct dpo_ids ids = { 0 };

	for (; *digits; digits++)
		assert_true(dpo_ids_add(&ids, *digits - '0'));
	return ids;
}

static void
assert_stops(struct dpo_stops *stops, const char *prompt_digits, const char *digits, const char *wanted, bool wanted_stop)
{
	struct dpo_ids prompt = as_ids(prompt_digits), completion = as_ids(digits);
	struct dpo_buffer text = { 0 };
	struct dpo_error err;
	bool stop;

	assert_int_equal(dpo_stops_seen(stops, &prompt, &completion, &stop, &err), DPO_OK);
	assert_true(stop == wanted_stop);
	assert_int_equal(dpo_stops_text(stops->tokenizer, stops, &prompt, completion.ids, completion.count, &text, &err), DPO_OK);
	assert_string_equal(dpo_buffer_text(&text), wanted);
	dpo_buffer_free(&text);
	free(prompt.ids);
	free(completion.ids);
}

static void
seen_where_the_text_ends(void **state)
{
	static const char *const strings[] = { " a" };
	struct dpo_stops stops = { .strings = strings, .count = 1 };
	struct dpo_tokenizer *tokenizer;
	struct dpo_files files = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_files_add(&files, "tokenizer.json", json, sizeof json - 1, &err), DPO_OK);
	assert_int_equal(dpo_tokenizer_open(&tokenizer, &files, &err), DPO_OK);
	stops.tokenizer = tokenizer;
	assert_stops(&stops, "4", "5", "", true);
	assert_stops(&stops, "444444444444", "5", "", true);
	assert_stops(&stops, "2", "5", "", true);
	assert_stops(&stops, "4", "23", "", true);
	assert_stops(&stops, "4", "45", "b", true);
	assert_stops(&stops, "4", "3", "a", false);
	assert_stops(&stops, "4", "4444444444445", "bbbbbbbbbbbb", true);
	assert_stops(&stops, "4", "44444444444423", "bbbbbbbbbbbb", true);
	assert_stops(&stops, "4", "4444444444443", "bbbbbbbbbbbba", false);
	assert_stops(&stops, "4", "65", "\xef\xbf\xbd", true);	/* what follows a NUL is looked at */
	dpo_tokenizer_free(tokenizer);
	dpo_files_free(&files);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(seen_where_the_text_ends) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
