/* regex: what patterns mean to Oniguruma, what is refused, and the bounds of a search. */
#include "base/buffer.h"
#include "tokenizer/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* All matches in the text, with bars between. */
static void
assert_matches(const char *pattern, const char *text, const char *wanted)
{
	struct dpo_regex_scratch *scratch = dpo_regex_scratch_new();
	struct dpo_regex_walk walk = { .text = text, .n = strlen(text) };
	struct dpo_buffer got = { 0 };
	struct dpo_regex *regex;
	struct dpo_error err;
	size_t start, end;

	if (dpo_regex_new(&regex, pattern, strlen(pattern), &err) != DPO_OK)
		fail_msg("%s: %s", pattern, err.text);
	while (dpo_regex_next(regex, scratch, &walk, &start, &end, &err) == DPO_OK)
		if (start < end) {
			dpo_buffer_string(&got, got.len ? "|" : "");
			dpo_buffer_append(&got, text + start, end - start);
		}
	if (strcmp(dpo_buffer_text(&got), wanted) != 0)
		fail_msg("%s in %s: %s, wanted %s", pattern, text, dpo_buffer_text(&got), wanted);
	dpo_buffer_free(&got);
	dpo_regex_free(regex);
	dpo_regex_scratch_free(scratch);
}

/* Where PCRE2 reads the same signs in another way; the matches are those that Hugging Face's tokenizers find. */
static void
regex_quantifiers_and_options(void **state)
{
	static const struct { const char *pattern, *text, *matches; } cases[] = {
		{ "\\p{N}{1,3}+", "12345a67", "12345|67" }, { "\\p{N}{1,3}+1", "123411", "123411" },
		{ "(?:ab|c){2}+", "ababcabx", "ababcab" }, { "((a)|[b)]){2}+", "ab)aba", "ab)aba" },
		{ "[ab]{2}+", "ababa", "abab" }, { "[^]{1}+x]{2}+", "abcx", "ab" }, { "\\x{61}{2}+b", "aaaab", "aaaab" },
		{ "\\x61{2}+b", "aaaab", "aaaab" }, { "x{2}?x", "xxx xx x", "xxx|x|x|x" },
		{ "x\xc3\xa9" "{1,2}+", "x\xc3\xa9" "\xc3\xa9" "\xc3\xa9" "x", "x\xc3\xa9" "\xc3\xa9" "\xc3\xa9" "" },
		{ "\\s{1,2}+x", "   x", "   x" }, { "\\){2}+", "()))))", "))))" }, { "2{,1}3", "22233", "23|3" },
		{ "a{,3}?b", "aaaab", "aaab" }, { "a{,3}+b", "aaaaab", "aaaaab" }, { "1{2}?2", "1112 2", "112|2" },
		{ "a{2,2}?b", "aab", "aab" }, { "a{2,2}?", "aaaa", "aa|aa" }, { "a{2}??b", "aab b", "aab|b" },
		{ "a{2}*b", "aaaaab", "aaaab" }, { "a{1,2}++a", "aaa", "" }, { "a{1,2}+?", "aaaa", "aa|aa" },
		{ "a{2}{3}", "aaaaaaa", "aaaaaa" },
		{ "a{2}{x}", "aa{x}", "aa{x}" }, { "(a{2}+b){2}+c", "aabaaaabc", "aabaaaabc" },
		{ "(?m:a.b)", "xa\nb", "a\nb" }, { "a.b", "xa\nb", "" }, { "(?m)a.b", "xa\nb", "a\nb" },
		{ "(?i)a|b", "AB", "A|B" }, { "(?-m:a.b)", "xa\nb", "" }, { "(?i-m:a.b)", "xA\nb", "" },
		{ "(?mi:a.b)", "xA\nb", "A\nb" }, { "(?m-i:a.b)", "xa\nb", "a\nb" },
		{ "(?i:a(?-i:b)){2}+", "ABAbabx", "Abab" }, { "a{", "a{a", "a{" }, { "a{,}", "a{,}a", "a{,}" },
		{ "a{x}", "a{x}a", "a{x}" }, { "a{ 1}", "a{ 1}a", "a{ 1}" }, { "a{1", "a{1a", "a{1" },
		{ "\\{1}+", "{1}}", "{1}}" }, { "[{1}+]", "1{", "1|{" }, { "a*+a", "aaa", "" },
		{ "a{2,}+b", "aaab", "aaab" }, { "(?<!a)b{1,2}+", "abbbb", "bbb" }, { "(?<q>a){2}+", "aaa", "aa" },
	};
	static const char *const refused[] = { "(?s:a)", "(?x: a)", "a(?i)b|c", "(?mx)a", "(?^:a)", "(?#c)a", "\\ca", "\\1{2}+" };
	struct dpo_regex *regex;
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_matches(cases[i].pattern, cases[i].text, cases[i].matches);
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		assert_int_equal(dpo_regex_new(&regex, refused[i], strlen(refused[i]), &err), DPO_UNSUPPORTED);
	/* Two quantifiers in a row that PCRE2 does not have. */
	assert_int_equal(dpo_regex_new(&regex, "a+*", 3, &err), DPO_FORMAT);
}

static void
regex_limits(void **state)
{
	static const char hard[] = "(?:a+)+$", text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
	struct dpo_regex_scratch *scratch = dpo_regex_scratch_new();
	struct dpo_regex *regex;
	struct dpo_error err;
	size_t start, end;

	(void)state;
	assert_non_null(scratch);
	assert_int_equal(dpo_regex_new(&regex, hard, sizeof hard - 1, &err), DPO_OK);
	assert_int_equal(dpo_regex_find(regex, scratch, text, sizeof text - 1, 0, &start, &end, &err), DPO_LIMIT);
	dpo_regex_free(regex);
	/* U+180E is no white space since Unicode 6.3, U+0085 is. */
	assert_int_equal(dpo_regex_new(&regex, "[x\\s]", 5, &err), DPO_OK);
	assert_int_equal(dpo_regex_find(regex, scratch, "\xe1\xa0\x8e\xc2\x85", 5, 0, &start, &end, &err), DPO_OK);
	assert_true(start == 3 && end == 5);
	assert_int_equal(dpo_regex_find(regex, scratch, "\xe1\xa0\x8e", 3, 0, &start, &end, &err), DPO_END);
	dpo_regex_free(regex);
	assert_int_equal(dpo_regex_new(&regex, "a\xff", 2, &err), DPO_FORMAT);
	assert_int_equal(dpo_regex_new(&regex, "[a&&b]", 6, &err), DPO_UNSUPPORTED);
	dpo_regex_scratch_free(scratch);
}

/* Runs of white space are long before they are wild. */
static void
regex_limits_grow_with_the_text(void **state)
{
	enum { N = 12000000 };
	static const char spaces[] = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
	struct dpo_regex_scratch *scratch = dpo_regex_scratch_new();
	struct dpo_regex *regex;
	struct dpo_error err;
	size_t start, end;
	char *text = malloc(N);

	(void)state;
	assert_non_null(text);
	memset(text, ' ', N);
	text[N - 1] = 'a';
	assert_int_equal(dpo_regex_new(&regex, spaces, sizeof spaces - 1, &err), DPO_OK);
	assert_int_equal(dpo_regex_find(regex, scratch, text, N, 0, &start, &end, &err), DPO_OK);
	assert_true(start == 0 && end == N - 2);
	dpo_regex_free(regex);
	dpo_regex_scratch_free(scratch);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regex_limits),
		cmocka_unit_test(regex_limits_grow_with_the_text),
		cmocka_unit_test(regex_quantifiers_and_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
