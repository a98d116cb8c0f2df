/* pairs: boundary, EOS, dropping and cutting, on a tokenizer whose ids can be told by hand. */
#include "base/buffer.h"
#include "rows/pairs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* <s> 0, </s> 1, a 2, b 3, c 4, ab 5; <s> in front of every text. */
static const char tokenizer_json[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<s>\":0,\"</s>\":1,\"a\":2,\"b\":3,\"c\":4,"
    "\"ab\":5},"
    "\"merges\":[\"a b\"]},\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},{\"id\":1,\"content\":\"</s>\","
    "\"special\":true}],\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
    "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[0]}}}}";

static struct dpo_tokenizer *
make_tokenizer(const char *config)
{
	struct dpo_tokenizer *tokenizer;
	struct dpo_files files = { 0 };
	struct dpo_error err;

	assert_int_equal(dpo_files_add(&files, "tokenizer.json", tokenizer_json, sizeof tokenizer_json - 1, &err), DPO_OK);
	assert_int_equal(dpo_files_add(&files, "tokenizer_config.json", config, strlen(config), &err), DPO_OK);
	assert_int_equal(dpo_tokenizer_open(&tokenizer, &files, &err), DPO_OK);
	dpo_files_free(&files);
	return tokenizer;
}

static int
setup(void **state)
{
	*state = make_tokenizer("{\"eos_token\":\"</s>\"}");
	return 0;
}

static int
teardown(void **state)
{
	dpo_tokenizer_free(*state);
	return 0;
}

/* "0 2|4 1|3 1": prompt, chosen and, of a pair, rejected. */
static const char *
show(const struct dpo_pair *pair, struct dpo_buffer *out)
{
	const struct dpo_ids *runs[] = { &pair->prompt, &pair->answers[0], &pair->answers[1] };

	dpo_buffer_clear(out);
	for (size_t i = 0; i <= pair->n_answers; i++)
		for (size_t k = 0; k <= runs[i]->count; k++)
			if (k < runs[i]->count)
				dpo_buffer_printf(out, "%s%d", k ? " " : i ? "|" : "", (int)runs[i]->ids[k]);
	return dpo_buffer_text(out);
}

static struct dpo_row_text
text(const char *string)
{
	return (struct dpo_row_text){ string, strlen(string) };
}

static void
follows_the_rules(void **state)
{
	static const struct {
		const char *prompt, *chosen, *rejected;		/* rejected NULL: a supervised row */
		size_t max_length;
		enum dpo_pair_fate fate;
		const char *ids;
		bool moved;
		size_t cut, open;
		bool same;
	} cases[] = {
		{ "a", "c", "a", 0, DPO_PAIR_WHOLE, "0 2|4 1|2 1", false, 0, 0, false },
		{ "a", "c</s>", "", 0, DPO_PAIR_WHOLE, "0 2|4 1|1", false, 0, 0, false },	/* no second EOS; EOS alone */
		{ "a", "</s>c", "c", 0, DPO_PAIR_WHOLE, "0 2|1 4 1|4 1", false, 0, 0, false },
		{ "a", "b", "c", 0, DPO_PAIR_WHOLE, "0|5 1|2 4 1", true, 0, 0, false },	/* ab is one token */
		{ "ca", "c", "b", 0, DPO_PAIR_WHOLE, "0 4|2 4 1|5 1", true, 0, 0, false },
		{ "", "c", "a", 0, DPO_PAIR_WHOLE, "0|4 1|2 1", false, 0, 0, false },
		{ "a", "c", "c", 0, DPO_PAIR_WHOLE, "0 2|4 1|4 1", false, 0, 0, true },
		{ "a", "cc", "a", 4, DPO_PAIR_WHOLE, "0 2|4 4|2 1", false, 1, 1, false },
		{ "a", "cc", "aa", 3, DPO_PAIR_WHOLE, "0 2|4|2", false, 2, 2, false },
		{ "a", "cc", "ca", 3, DPO_PAIR_WHOLE, "0 2|4|4", false, 2, 2, true },		/* alike once cut */
		{ "a", "c", "a", 4, DPO_PAIR_WHOLE, "0 2|4 1|2 1", false, 0, 0, false },
		{ "a", "c", "a", 2, DPO_PAIR_PROMPT_TOO_LONG, NULL, false, 0, 0, false },
		{ "a", "b", "b", 2, DPO_PAIR_WHOLE, "0|5|5", true, 2, 2, true },		/* the moved prompt counts */
		{ "a", "c", NULL, 0, DPO_PAIR_WHOLE, "0 2|4 1", false, 0, 0, false },
		{ "a", "bc", NULL, 2, DPO_PAIR_WHOLE, "0|5", true, 1, 1, false },
		{ "a", "c", NULL, 1, DPO_PAIR_PROMPT_TOO_LONG, NULL, false, 0, 0, false },
	};
	struct dpo_buffer out = { 0 };
	struct dpo_pair pair = { 0 };
	struct dpo_error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_text_row row = { .supervised = !cases[i].rejected, .prompt = text(cases[i].prompt),
			.chosen = text(cases[i].chosen), .rejected = text(cases[i].rejected ? cases[i].rejected : "") };

		assert_int_equal(dpo_pair_make(&pair, *state, &row, cases[i].max_length, &err), DPO_OK);
		assert_int_equal(pair.fate, cases[i].fate);
		if (cases[i].fate != DPO_PAIR_WHOLE)
			continue;
		assert_string_equal(show(&pair, &out), cases[i].ids);
		assert_int_equal(pair.moved, cases[i].moved);
		assert_int_equal(pair.cut, cases[i].cut);
		assert_int_equal(pair.open, cases[i].open);
		assert_int_equal(pair.same, cases[i].same);
	}
	dpo_buffer_free(&out);
	dpo_pair_free(&pair);
}

/* No special tokens but those written there, and no EOS but the row's own. */
static void
takes_rendered_texts_as_they_are(void **state)
{
	static const struct {
		enum dpo_rendered rendered;
		const char *prompt, *chosen, *rejected, *eos;	/* rejected NULL: a supervised row */
		const char *ids, *error;
	} cases[] = {
		{ DPO_RENDERED_WHOLE, "<s>a", "<s>ac</s>", "<s>aa", "", "0 2|4 1|2", NULL },
		{ DPO_RENDERED_WHOLE, "<s>a", "<s>ab", "<s>a", "", "0|5|2", NULL },
		{ DPO_RENDERED_WHOLE, "", "c", "a", "", "|4|2", NULL },
		{ DPO_RENDERED_WHOLE, "a", "ab", NULL, "", "|5", NULL },	/* nothing in common, and yet it is all there */
		{ DPO_RENDERED_WHOLE, "<s>a", "c", NULL, "", NULL, "completion" },
		{ DPO_RENDERED_WHOLE, "<s>a", "c", "<s>ac", "", NULL, "chosen" },
		{ DPO_RENDERED_WHOLE, "<s>a", "<s>ac", "", "", NULL, "rejected" },
		{ DPO_RENDERED_PROMPT, "<s>a", "c", NULL, "</s>", "0 2|4 1", NULL },
		{ DPO_RENDERED_PROMPT, "<s>a", "c", NULL, "", "0 2|4", NULL },
		{ DPO_RENDERED_PROMPT, "<s>a", "c</s>", NULL, "</s>", "0 2|4 1", NULL },
		{ DPO_RENDERED_PROMPT, "<s>a", "bc", NULL, "b", "0|5 4 3", NULL },	/* another EOS; the boundary moved */
	};
	struct dpo_buffer out = { 0 }, error = { 0 };
	struct dpo_pair pair = { 0 };
	struct dpo_error err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_text_row row = { .supervised = !cases[i].rejected, .rendered = cases[i].rendered,
			.prompt = text(cases[i].prompt), .chosen = text(cases[i].chosen),
			.rejected = text(cases[i].rejected ? cases[i].rejected : ""), .eos = text(cases[i].eos) };

		assert_int_equal(dpo_pair_make(&pair, *state, &row, 0, &err), cases[i].error ? DPO_FORMAT : DPO_OK);
		if (!cases[i].error) {
			assert_string_equal(show(&pair, &out), cases[i].ids);
			continue;
		}
		dpo_buffer_clear(&error);
		dpo_buffer_printf(&error,
		    "\"%s\" does not begin as \"prompt\" does; a rendered row's answers are whole texts, prompt "
		    "included", cases[i].error);
		assert_string_equal(err.text, dpo_buffer_text(&error));
	}
	dpo_buffer_free(&out);
	dpo_buffer_free(&error);
	dpo_pair_free(&pair);
}

static void
counts_by_reason(void **state)
{
	struct dpo_pair_counts counts = { 0 };
	struct dpo_pair pair = { 0 };
	struct dpo_error err;
	struct dpo_text_row row = { .prompt = text("a"), .chosen = text("bc"), .rejected = text("bc") };

	assert_int_equal(dpo_pair_make(&pair, *state, &row, 2, &err), DPO_OK);
	dpo_pair_count(&counts, &pair);
	assert_int_equal(dpo_pair_make(&pair, *state, &row, 1, &err), DPO_OK);
	dpo_pair_count(&counts, &pair);
	assert_true(counts.rows == 2 && counts.written == 1 && counts.dropped[DPO_PAIR_PROMPT_TOO_LONG] == 1);
	assert_true(counts.cut == 1 && counts.open == 1 && counts.moved == 1 && counts.same == 1);
	dpo_pair_free(&pair);
}

static void
needs_an_eos(void **state)
{
	struct dpo_tokenizer *tokenizer = make_tokenizer("{}");
	struct dpo_text_row row = { .prompt = text("a"), .chosen = text("b"), .rejected = text("c") };
	struct dpo_pair pair = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_pair_make(&pair, tokenizer, &row, 0, &err), DPO_FORMAT);
	assert_string_equal(err.text, "the tokenizer names no EOS token, which ends every answer");
	dpo_pair_free(&pair);
	dpo_tokenizer_free(tokenizer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_rules), cmocka_unit_test(takes_rendered_texts_as_they_are),
		cmocka_unit_test(counts_by_reason), cmocka_unit_test(needs_an_eos),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
