/* header: written and read back the same, and refused where it must be. */
#include "stream/header.h"

#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char full[] = "{\"format\":1,\"kind\":\"pairs\",\"columns\":[[\"id\",\"str\"],[\"x\\\"y\",\"i32[]\"],[\"m\",\"f32\"]],"
	"\"stages\":[{\"stage\":\"dpo-tok\",\"version\":1,\"settings\":{\"max_length\":1024,\"a\":0.1},\"tokenizer\":\"t1\"},"
	"{\"stage\":\"dpo-reflogp\",\"version\":1,\"settings\":{},\"tokenizer\":\"t2\",\"model\":\"m1\"}],"
	"\"future\":[1,{\"k\":null}],\"note\":\"\xc3\xa4\"}";

static void
text_comes_back(void **state)
{
	struct dpo_header header, copy;
	struct dpo_buffer out = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_header_read(&header, full, sizeof full - 1, &err), DPO_OK);
	assert_int_equal(dpo_header_write(&header, &out, &err), DPO_OK);
	assert_string_equal(dpo_buffer_text(&out), full);
	assert_int_equal(dpo_header_copy(&copy, &header, &err), DPO_OK);
	dpo_header_free(&header);
	assert_int_equal(dpo_header_write(&copy, &out, &err), DPO_OK);
	assert_string_equal(dpo_buffer_text(&out), full);
	dpo_header_free(&copy);
	dpo_buffer_free(&out);
}

static void
keys_in_another_order_are_the_same_header(void **state)
{
	static const char text[] = " {\"z\":1, \"columns\":[[\"id\",\"str\"]] ,\"kind\":\"k\",\"format\":1}";
	struct dpo_header header;
	struct dpo_buffer out = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_header_read(&header, text, sizeof text - 1, &err), DPO_OK);
	assert_int_equal(dpo_header_write(&header, &out, &err), DPO_OK);
	assert_string_equal(dpo_buffer_text(&out),
	    "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"id\",\"str\"]],\"stages\":[],\"z\":1}");
	dpo_header_free(&header);
	dpo_buffer_free(&out);
}

static void
bad_headers_are_named(void **state)
{
#define TABLE ",\"kind\":\"k\",\"columns\":[[\"a\",\"str\"]]"
	static const struct { const char *text; enum dpo_status status; const char *words; } cases[] = {
		{ "{\"format\":2" TABLE "}", DPO_VERSION, "format 2; this program knows format 1" },
		{ "{\"format\":0" TABLE "}", DPO_VERSION, "format 0" },
		{ "{\"format\":1.5" TABLE "}", DPO_FORMAT, "\"format\"" },
		{ "{\"format\":\"1\"" TABLE "}", DPO_FORMAT, "\"format\"" },
		{ "{\"kind\":\"k\"}", DPO_FORMAT, "\"format\" is missing" },
		{ "{\"format\":1,\"columns\":[[\"a\",\"str\"]]}", DPO_FORMAT, "\"kind\" is missing" },
		{ "{\"format\":1,\"kind\":\"k\"}", DPO_FORMAT, "\"columns\"" },
		{ "{\"format\":1,\"kind\":\"k\",\"columns\":[]}", DPO_FORMAT, "\"columns\"" },
		{ "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"a\"]]}", DPO_FORMAT, "column 1" },
		{ "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"\",\"str\"]]}", DPO_FORMAT, "column 1" },
		{ "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"a\",\"str\"],[\"a\",\"i64\"]]}", DPO_FORMAT,
		    "\"a\" appears twice" },
		{ "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"a\",\"f64\"]]}", DPO_UNSUPPORTED, "unknown type \"f64\"" },
		{ "{\"format\":1" TABLE ",\"stages\":{}}", DPO_FORMAT, "\"stages\"" },
		{ "{\"format\":1" TABLE ",\"stages\":[1]}", DPO_FORMAT, "a stage" },
		{ "{\"format\":1" TABLE ",\"n\":9007199254740993}", DPO_LIMIT, "9007199254740993" },
		{ "{\"format\":1" TABLE ",\"kind\":\"k\"}", DPO_FORMAT, "duplicate" },
		{ "[]", DPO_FORMAT, "not an object" },
		{ "{", DPO_FORMAT, "header: JSON" },
		{ "", DPO_FORMAT, "header: JSON" },
	};
	struct dpo_header header;
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(dpo_header_read(&header, cases[i].text, strlen(cases[i].text), &err), cases[i].status);
		if (!strstr(err.text, cases[i].words))
			fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i].words);
		assert_null(header.kind);
	}
}

/* What a command line brings has not been through the gate; a stream with it could not be read. */
static void
what_could_not_be_read_is_not_written(void **state)
{
	static const struct { const char *key, *text; double number; enum dpo_status status; } cases[] = {
		{ "a", "b", 0.5, DPO_OK }, { "x", "b", 0.5, DPO_FORMAT }, { "a", "\xff", 0.5, DPO_FORMAT },
		{ "\xc3", "b", 0.5, DPO_FORMAT }, { "a", "b", 12345678901234568.0, DPO_LIMIT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		cJSON *settings = cJSON_CreateObject();
		struct dpo_buffer out = { 0 };
		struct dpo_header header;
		struct dpo_error err;

		cJSON_AddNumberToObject(settings, "x", cases[i].number);
		cJSON_AddStringToObject(settings, cases[i].key, cases[i].text);
		assert_int_equal(dpo_header_read(&header, full, sizeof full - 1, &err), DPO_OK);
		assert_int_equal(dpo_header_stage(&header, "s", settings, NULL, NULL, &err), DPO_OK);
		assert_int_equal(dpo_header_write(&header, &out, &err), cases[i].status);
		dpo_buffer_free(&out);
		dpo_header_free(&header);
	}
}

static void
stages_and_columns_are_found(void **state)
{
	struct dpo_header header;
	struct dpo_error err;
	size_t index;

	(void)state;
	assert_int_equal(dpo_header_read(&header, full, sizeof full - 1, &err), DPO_OK);
	assert_string_equal(dpo_header_last(&header, NULL, "tokenizer"), "t2");
	assert_string_equal(dpo_header_last(&header, "dpo-tok", "tokenizer"), "t1");
	assert_null(dpo_header_last(&header, "dpo-tok", "model"));
	assert_int_equal(dpo_header_stage(&header, "x", cJSON_CreateObject(), NULL, "m2", &err), DPO_OK);
	assert_string_equal(dpo_header_last(&header, NULL, "model"), "m2");
	assert_string_equal(dpo_header_last(&header, "dpo-reflogp", "model"), "m1");
	assert_int_equal(dpo_header_need(&header, "m", DPO_F32, &index, &err), DPO_OK);
	assert_int_equal(index, 2);
	assert_int_equal(dpo_header_need(&header, "m", DPO_I64, &index, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "column \"m\" is f32, not i64"));
	assert_int_equal(dpo_header_need(&header, "q", DPO_I64, &index, &err), DPO_FORMAT);
	assert_int_equal(dpo_header_add(&header, "m", DPO_I64, &err), DPO_FORMAT);
	assert_int_equal(dpo_header_add(&header, "q", DPO_I64, &err), DPO_OK);
	assert_int_equal(dpo_header_find(&header, "q"), 3);
	dpo_header_free(&header);
}

static void
types_have_names_and_sizes(void **state)
{
	static const size_t sizes[DPO_TYPES] = { 1, 1, 4, 8, 4, 8, 4, 2, 2 };

	(void)state;
	for (size_t i = 0; i < DPO_TYPES; i++) {
		enum dpo_type type = (enum dpo_type)i;

		assert_int_equal(dpo_type_find(dpo_type_name(type)), type);
		assert_int_equal(dpo_type_size(type), sizes[i]);
		assert_int_equal(dpo_type_scalar(type), type == DPO_F32 || type == DPO_I64);
	}
	assert_int_equal(dpo_type_find("i32"), DPO_TYPES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_comes_back),
		cmocka_unit_test(keys_in_another_order_are_the_same_header),
		cmocka_unit_test(bad_headers_are_named),
		cmocka_unit_test(what_could_not_be_read_is_not_written),
		cmocka_unit_test(stages_and_columns_are_found),
		cmocka_unit_test(types_have_names_and_sizes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
