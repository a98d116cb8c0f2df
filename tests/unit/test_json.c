/* json: the gate lets RFC 8259 through and nothing else. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A text with its length, so that it may hold a NUL. */
#define TEXT(literal) { literal, sizeof literal - 1 }

struct text {
	const char *text;
	size_t n;
};

static enum dpo_status
parse(const char *text, size_t n, struct dpo_error *err)
{
	/* An exact copy on the heap, so that the sanitizers see a read behind the end. */
	char *copy = malloc(n ? n : 1);
	enum dpo_status status;
	cJSON *tree;

	assert_non_null(copy);
	memcpy(copy, text, n);
	status = dpo_json_parse(&tree, copy, n, err);
	assert_true((status == DPO_OK) == (tree != NULL));
	cJSON_Delete(tree);
	free(copy);
	return status;
}

static void
refuses(void **state)
{
	static const struct text bad[] = {
		TEXT(""), TEXT(" "), TEXT("{"), TEXT("["), TEXT("\""), TEXT("{\"a\""), TEXT("{\"a\":"), TEXT("{\"a\":1"),
		TEXT("[1,"),
		TEXT("[1"), TEXT("{\"a\":1,}"), TEXT("[1,]"), TEXT("[,1]"), TEXT("{,}"), TEXT("{1:2}"), TEXT("{\"a\" 1}"),
		TEXT("[1 2]"), TEXT("]"), TEXT("}"), TEXT(":"), TEXT("{]"), TEXT("[}"), TEXT("{\"a\":1]"),
		/* duplicate keys, also escaped and nested */
		TEXT("{\"a\":1,\"a\":1}"), TEXT("{\"a\":1,\"\\u0061\":2}"), TEXT("[{\"b\":{\"c\":0,\"c\":0}}]"),
		/* UTF-8: stray, cut short, overlong, surrogate, too large */
		TEXT("\"\x80\""), TEXT("\"\xc3\""), TEXT("\"\xc0\xaf\""), TEXT("\"\xe0\x80\xaf\""), TEXT("\"\xf0\x80\x80\xaf\""),
		TEXT("\"\xed\xa0\x80\""), TEXT("\"\xed\xbf\xbf\""), TEXT("\"\xf4\x90\x80\x80\""), TEXT("\"\xff\""),
		TEXT("\"\xe2\x82\""),
		TEXT("\"\xfe\xff\""), TEXT("{\"\xff\":1}"),
		/* NUL and control bytes */
		TEXT("\"\\u0000\""), TEXT("{\"a\\u0000b\":1}"), TEXT("\"a\0b\""), TEXT("\"a\nb\""), TEXT("\"a\tb\""),
		TEXT("\"\x01\""),
		TEXT("\"\x1f\""), TEXT("1\0"), TEXT("\0" "1"), TEXT("\x01" "1"), TEXT("\f1"), TEXT("\v1"), TEXT("1\x0b"),
		TEXT("\xc2\xa0" "1"),
		/* escapes and surrogates */
		TEXT("\"\\ud800\""), TEXT("\"\\udc00\""), TEXT("\"\\ud800\\ud800\""), TEXT("\"\\ud800x\""), TEXT("\"\\ud800\\n\""),
		TEXT("\"\\ud83d\\u0041\""), TEXT("\"\\u12\""), TEXT("\"\\u12g4\""), TEXT("\"\\u\""), TEXT("\"\\x41\""),
		TEXT("\"\\'\""),
		TEXT("\"\\"), TEXT("\"\\\""), TEXT("\"\\u00"), TEXT("\"\\ud83d\\ude0"), TEXT("\"\\U0041\""),
		/* numbers */
		TEXT("1e999"), TEXT("-1e999"), TEXT("01"), TEXT("-01"), TEXT("00"), TEXT("1."), TEXT(".5"), TEXT("+1"), TEXT("-"),
		TEXT("1e"),
		TEXT("1e+"), TEXT("1.e1"), TEXT("0x10"), TEXT("1_000"), TEXT("NaN"), TEXT("Infinity"), TEXT("-Infinity"),
		TEXT("1.5.5"), TEXT("--1"),
		TEXT("1234567890123456789012345678901234567890123456789012345678901234"),
		/* other */
		TEXT("true1"), TEXT("tru"), TEXT("True"), TEXT("nul"), TEXT("undefined"), TEXT("'a'"), TEXT("{a:1}"), TEXT("1 2"),
		TEXT("{}{}"),
		TEXT("{} x"), TEXT("\xef\xbb\xbf{}"), TEXT("// c\n1"), TEXT("/**/1"), TEXT("[1]#"),
	};
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		err.text[0] = '\0';
		if (parse(bad[i].text, bad[i].n, &err) != DPO_FORMAT || !err.text[0])
			fail_msg("accepted, or without a message: %s", bad[i].text);
	}
}

static void
accepts(void **state)
{
	static const struct text good[] = {
		TEXT("{}"), TEXT("[]"), TEXT("0"), TEXT("-0"), TEXT("-0.0e-0"), TEXT("1e308"), TEXT("1E+2"), TEXT("0.1"),
		TEXT("true"), TEXT("false"),
		TEXT("null"), TEXT("\"\""), TEXT(" \t\r\n1 \t\r\n"), TEXT("[[],{},\"\"]"), TEXT("{\"\":1}"),
		TEXT("{\"a\":1,\"A\":2}"),
		TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), TEXT("\"\\u0001\""), TEXT("\"\\ud83d\\ude00\""), TEXT("\"\\uFFFF\""),
		TEXT("\"\x7f\""),
		TEXT("\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\""), TEXT("1e-999"), TEXT("9007199254740993"),
	};
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (parse(good[i].text, good[i].n, &err) != DPO_OK)
			fail_msg("refused: %s: %s", good[i].text, err.text);
}

/* Every beginning of a good document is refused, and so is the document with any byte behind it. */
static void
refuses_every_part(void **state)
{
	static const char whole[] = "{\"a\":[1,-2.5e3,true,null,{\"b\":\"x\\u00e9\\ud83d\\ude00\xc3\xa9\"}],\"c\":{}}";
	size_t n = sizeof whole - 1;
	struct dpo_error err;
	char more[sizeof whole];

	(void)state;
	assert_int_equal(parse(whole, n, &err), DPO_OK);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(parse(whole, i, &err), DPO_FORMAT);
	memcpy(more, whole, n);
	for (int byte = 0; byte < 256; byte++) {
		more[n] = (char)byte;
		assert_int_equal(parse(more, n + 1, &err), byte && strchr(" \t\r\n", byte) ? DPO_OK : DPO_FORMAT);
	}
}

/* Any byte changed to any other: no crash, and what is accepted has the depth and keys of JSON. */
static void
survives_every_byte(void **state)
{
	static const char whole[] = "{\"a\":[1,-2e3,\"\\u00e9\xc3\xa9\"]}";
	char text[sizeof whole];
	struct dpo_error err;
	size_t accepted = 0;

	(void)state;
	for (size_t i = 0; i + 1 < sizeof whole; i++)
		for (int byte = 0; byte < 256; byte++) {
			memcpy(text, whole, sizeof whole);
			text[i] = (char)byte;
			accepted += parse(text, sizeof whole - 1, &err) == DPO_OK;
		}
	assert_true(accepted > 0 && accepted < (sizeof whole - 1) * 256 / 2);
}

static void
limits_depth(void **state)
{
	char text[2 * (DPO_JSON_DEPTH + 1)];
	struct dpo_error err;

	(void)state;
	for (size_t depth = DPO_JSON_DEPTH; depth <= DPO_JSON_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(parse(text, 2 * depth, &err), depth > DPO_JSON_DEPTH ? DPO_LIMIT : DPO_OK);
	}
}

static void
getters_check_types(void **state)
{
	static const char text[] = "{\"s\":\"x\",\"i\":5,\"f\":1.5,\"b\":true,\"n\":null,\"big\":9007199254740993,\"S\":\"y\"}";
	struct dpo_error err;
	const char *string;
	double number;
	int64_t integer;
	cJSON *tree;
	bool flag;

	(void)state;
	assert_int_equal(dpo_json_parse(&tree, text, sizeof text - 1, &err), DPO_OK);
	assert_int_equal(dpo_json_string(&string, tree, "S", &err), DPO_OK);
	assert_string_equal(string, "y");
	assert_int_equal(dpo_json_string(&string, tree, "i", &err), DPO_FORMAT);
	assert_string_equal(err.text, "\"i\" is not a string");
	assert_int_equal(dpo_json_string(&string, tree, "absent", &err), DPO_FORMAT);
	assert_string_equal(err.text, "\"absent\" is missing");
	assert_int_equal(dpo_json_string_or(&string, tree, "n", "fallback", &err), DPO_OK);
	assert_string_equal(string, "fallback");
	assert_int_equal(dpo_json_integer(&integer, tree, "i", 0, 5, &err), DPO_OK);
	assert_int_equal(integer, 5);
	assert_int_equal(dpo_json_integer(&integer, tree, "i", 6, 9, &err), DPO_FORMAT);
	assert_string_equal(err.text, "\"i\" is 5, not within 6 and 9");
	assert_int_equal(dpo_json_integer(&integer, tree, "f", 0, 9, &err), DPO_FORMAT);
	assert_int_equal(dpo_json_integer(&integer, tree, "big", 0, INT64_MAX, &err), DPO_FORMAT);
	assert_int_equal(dpo_json_number_or(&number, tree, "f", 0, &err), DPO_OK);
	assert_true(number == 1.5);
	assert_int_equal(dpo_json_number_or(&number, tree, "s", 0, &err), DPO_FORMAT);
	assert_int_equal(dpo_json_bool_or(&flag, tree, "b", false, &err), DPO_OK);
	assert_true(flag);
	assert_int_equal(dpo_json_bool_or(&flag, tree, "i", false, &err), DPO_FORMAT);
	cJSON_Delete(tree);
}

static void
messages_name_the_byte(void **state)
{
	struct dpo_error err;

	(void)state;
	assert_int_equal(parse("{\"a\":\"\xff\"}", 8, &err), DPO_FORMAT);
	assert_string_equal(err.text, "JSON, byte 6: invalid UTF-8");
	assert_int_equal(parse("[1,2", 4, &err), DPO_FORMAT);
	assert_string_equal(err.text, "JSON, byte 4: unexpected end");
	assert_int_equal(parse("{\"k\":1,\"k\":2}", 13, &err), DPO_FORMAT);
	assert_string_equal(err.text, "JSON: duplicate key \"k\"");
}

static void
strings_come_back(void **state)
{
	struct dpo_buffer text = { 0 }, back = { 0 };
	struct dpo_json_lexer lexer;
	struct dpo_error err;
	char raw[0x7f];

	(void)state;
	for (size_t i = 0; i < sizeof raw; i++)
		raw[i] = (char)(i + 1);
	dpo_json_put_string(&text, raw, sizeof raw);
	lexer = (struct dpo_json_lexer){ .text = (const char *)text.data, .len = text.len };
	assert_int_equal(dpo_json_next(&lexer, &err), DPO_JSON_STRING);
	dpo_json_unescape(&lexer, &back);
	assert_int_equal(back.len, sizeof raw);
	assert_memory_equal(back.data, raw, sizeof raw);
	dpo_buffer_free(&text);
	dpo_buffer_free(&back);
}

static void
numbers_come_back(void **state)
{
	static const double numbers[] = { 0, 1, -1, 0.1, 1e-6, 1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789012345680 };
	struct dpo_buffer text = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		dpo_buffer_clear(&text);
		dpo_json_put_number(&text, numbers[i]);
		assert_true(strtod(dpo_buffer_text(&text), NULL) == numbers[i]);
	}
	dpo_buffer_clear(&text);
	dpo_json_put_number(&text, 0.1);
	assert_string_equal(dpo_buffer_text(&text), "0.1");
	dpo_buffer_free(&text);
}

static void
trees_come_back(void **state)
{
	static const char json[] = "{\"n\":[0.30000000000000004,-0.5,1e-06,200],\"s\":\"a\\\"\\u0001\",\"l\":[true,false,null,"
	    "{},[]]}";
	struct dpo_buffer text = { 0 };
	struct dpo_error err;
	cJSON *tree;

	(void)state;
	assert_int_equal(dpo_json_parse(&tree, json, strlen(json), &err), DPO_OK);
	dpo_json_put_tree(&text, tree);
	assert_string_equal(dpo_buffer_text(&text), json);
	cJSON_Delete(tree);
	dpo_buffer_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses), cmocka_unit_test(accepts), cmocka_unit_test(refuses_every_part),
		cmocka_unit_test(survives_every_byte), cmocka_unit_test(limits_depth), cmocka_unit_test(getters_check_types),
		cmocka_unit_test(messages_name_the_byte), cmocka_unit_test(strings_come_back),
		cmocka_unit_test(numbers_come_back), cmocka_unit_test(trees_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
