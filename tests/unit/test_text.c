/* text and source: JSON Lines give the same bits back, and say which key is wrong. */
#include "streams.h"

#include "base/bytes.h"
#include "stream/record.h"
#include "stream/source.h"
#include "stream/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
assert_same(const struct dpo_header *header, const struct dpo_value *a, const struct dpo_value *b)
{
	struct dpo_buffer one = { 0 }, two = { 0 };
	struct dpo_error err;

	assert_int_equal(dpo_record_put(header, a, &one, &err), DPO_OK);
	assert_int_equal(dpo_record_put(header, b, &two, &err), DPO_OK);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.data, two.data, one.len);
	dpo_buffer_free(&one);
	dpo_buffer_free(&two);
}

/* To text and back. */
static void
round_trip(const struct dpo_header *header, const struct dpo_value *values)
{
	struct dpo_text_record record = { 0 };
	struct dpo_value back[DPO_TYPES];
	struct dpo_buffer line = { 0 };
	struct dpo_error err;

	assert_int_equal(dpo_text_put_record(&line, header, values, true, &err), DPO_OK);
	assert_int_equal(line.data[line.len - 1], '\n');
	if (dpo_text_get_record(&record, header, (const char *)line.data, line.len - 1, back, &err) != DPO_OK)
		fail_msg("%s: %s", err.text, dpo_buffer_text(&line));
	assert_same(header, values, back);
	dpo_text_free(&record);
	dpo_buffer_free(&line);
}

static void
records_come_back(void **state)
{
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;

	(void)state;
	streams_header(&header, "pairs");
	for (size_t i = 0; i < 100; i++) {
		streams_values(i, values);
		round_trip(&header, values);
	}
	dpo_header_free(&header);
}

/* Every exponent of float, with fractions at both ends and between, in both signs. */
static void
floats_come_back_bit_for_bit(void **state)
{
	static const uint32_t fractions[] = { 0, 1, 2, 0x2aaaaa, 0x555555, 0x7ffffe, 0x7fffff };
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;
	float *floats = malloc(2 * 255 * 7 * sizeof *floats);
	size_t n = 0;

	(void)state;
	for (uint32_t sign = 0; sign < 2; sign++)
		for (uint32_t exponent = 0; exponent < 255; exponent++)
			for (size_t f = 0; f < 7; f++)
				floats[n++] = dpo_bytes_to_float(sign << 31 | exponent << 23 | fractions[f]);
	streams_header(&header, "pairs");
	streams_values(1, values);
	values[DPO_F32S] = (struct dpo_value){ .data = floats, .count = n };
	round_trip(&header, values);
	dpo_header_free(&header);
	free(floats);
}

static void
long_runs_are_base64(void **state)
{
	size_t n = DPO_TEXT_LONG + 1;
	int32_t *ids = malloc(n * sizeof *ids);
	struct dpo_value values[DPO_TYPES];
	struct dpo_buffer line = { 0 };
	struct dpo_header header;
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)(i * 2654435761u);
	streams_header(&header, "pairs");
	streams_values(1, values);
	for (size_t less = 0; less < 2; less++) {
		values[DPO_I32S] = (struct dpo_value){ .data = ids, .count = n - less };
		round_trip(&header, values);
		dpo_buffer_clear(&line);
		assert_int_equal(dpo_text_put_record(&line, &header, values, true, &err), DPO_OK);
		assert_int_equal(strstr(dpo_buffer_text(&line), "\"e\":{\"base64\":") != NULL, less == 0);
	}
	dpo_header_free(&header);
	dpo_buffer_free(&line);
	free(ids);
}

static void
wrong_records_are_named(void **state)
{
	static const struct { const char *line, *words; } cases[] = {
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1}", NULL },
		{ " {\"f\":1e0 , \"v\":{\"type\":\"i32[]\",\"base64\":\"AQAAAA==\"},\"n\":-0,\"s\":\"\\u0061\"} ", NULL },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1]}", "\"f\" is missing" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1,\"g\":1}", "\"g\" is not a column" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1,\"f\":1}", "\"f\" appears twice" },
		{ "{\"s\":1,\"n\":1,\"v\":[1],\"f\":1}", "\"s\" is not of type str" },
		{ "{\"s\":null,\"n\":1,\"v\":[1],\"f\":1}", "\"s\" is not of type str" },
		{ "{\"s\":\"a\",\"n\":1.0,\"v\":[1],\"f\":1}", "\"n\" is not of type i64" },
		{ "{\"s\":\"a\",\"n\":1e3,\"v\":[1],\"f\":1}", "\"n\" is not of type i64" },
		{ "{\"s\":\"a\",\"n\":9223372036854775808,\"v\":[1],\"f\":1}", "\"n\" is not of type i64" },
		{ "{\"s\":\"a\",\"n\":true,\"v\":[1],\"f\":1}", "\"n\" is not of type i64" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1,2147483648],\"f\":1}", "\"v\": element 2 does not fit i32[]" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1,],\"f\":1}", "\"v\": element 2" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1 2],\"f\":1}", "\"v\" is not" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[[1]],\"f\":1}", "\"v\": element 1" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":1,\"f\":1}", "\"v\" is not of type i32[]" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":{\"base64\":\"AQAAAA==\"},\"f\":1}", "\"v\" is not of type" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":{\"base64\":\"AQAAAA==\",\"type\":\"f32[]\"},\"f\":1}", "\"v\" is not of type" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":{\"base64\":\"AQAA\",\"type\":\"i32[]\"},\"f\":1}", "\"v\": not base64" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":{\"base64\":\"AQ*AAA==\",\"type\":\"i32[]\"},\"f\":1}", "\"v\": not base64" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":{\"elements\":3},\"f\":1}", "--data" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1e39}", "\"f\" is not of type f32" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":NaN}", "\"f\": JSON" },
		{ "{\"s\":\"\\u0000\",\"n\":1,\"v\":[1],\"f\":1}", "\\u0000" },
		{ "{\"s\":\"\xff\",\"n\":1,\"v\":[1],\"f\":1}", "invalid UTF-8" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1} x", "unexpected" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1}{}", "text after" },
		{ "{\"s\":\"a\",\"n\":1,\"v\":[1],\"f\":1", "not a JSON object" },
		{ "{}", "not a JSON object of columns" }, { "[]", "not a JSON object" }, { "", "not a JSON object" },
	};
	struct dpo_text_record record = { 0 };
	struct dpo_value values[4];
	struct dpo_header header;
	struct dpo_error err;

	(void)state;
	assert_int_equal(dpo_header_init(&header, "k", &err), DPO_OK);
	assert_int_equal(dpo_header_add(&header, "s", DPO_STR, &err), DPO_OK);
	assert_int_equal(dpo_header_add(&header, "n", DPO_I64, &err), DPO_OK);
	assert_int_equal(dpo_header_add(&header, "v", DPO_I32S, &err), DPO_OK);
	assert_int_equal(dpo_header_add(&header, "f", DPO_F32, &err), DPO_OK);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum dpo_status status = dpo_text_get_record(&record, &header, cases[i].line, strlen(cases[i].line), values, &err);

		if (!cases[i].words)
			assert_int_equal(status, DPO_OK);
		else if (status != DPO_FORMAT || !strstr(err.text, cases[i].words))
			fail_msg("%s: status %d \"%s\", wanted \"%s\"", cases[i].line, (int)status, err.text, cases[i].words);
	}
	dpo_text_free(&record);
	dpo_header_free(&header);
}

/* ------------------------------------------------------------------ files of lines */

#define HEAD "{\"header\":{\"format\":1,\"kind\":\"k\",\"columns\":[[\"end\",\"i64\"]]}}\n"

static enum dpo_status
read_lines(const char *text, bool waive, uint64_t *records, struct dpo_error *err)
{
	struct dpo_source *source = dpo_source_new(waive);
	enum dpo_status status = dpo_source_open(source, streams_fd(text, strlen(text)), "lines", err);
	struct dpo_value values[DPO_TYPES];

	while (status == DPO_OK)
		status = dpo_source_next(source, values, err);
	*records = dpo_source_records(source);
	dpo_source_free(source);
	return status;
}

static void
lines_need_their_last(void **state)
{
	static const struct { const char *text; enum dpo_status status; uint64_t records; const char *words; } cases[] = {
		{ HEAD "{\"end\":1}\n{\"end\":2}\n{\"end\":true}\n", DPO_END, 2, NULL },
		{ HEAD "{\"end\":true}", DPO_END, 0, NULL },
		{ "\n\r\n" HEAD "\n{\"end\":1}\r\n\n{ \"end\" : true }\n\n", DPO_END, 1, NULL },
		{ HEAD "{\"end\":1}\n", DPO_TRUNCATED, 1, "after line 2" },
		{ HEAD "{\"end\":1}\n{\"end\":tr", DPO_FORMAT, 1, "lines:3: " },
		{ HEAD, DPO_TRUNCATED, 0, "after line 1" },
		{ HEAD "{\"end\":true}\n{\"end\":3}\n", DPO_FORMAT, 0, "lines:3: a line after" },
		{ HEAD "{\"end\":true,\"parent\":\"12\"}\n", DPO_FORMAT, 0, "lines:2: \"parent\"" },
		{ HEAD "{\"end\":false}\n{\"end\":true}\n", DPO_FORMAT, 0, "lines:2: \"end\" is not of type i64" },
		{ "{\"prompt\":\"a\"}\n", DPO_FORMAT, 0, "lines:1: the first line" },
		{ "{\"header\":{\"format\":7}}\n", DPO_VERSION, 0, "lines:1: header: stream format 7" },
		{ "", DPO_TRUNCATED, 0, "empty" },
	};
	struct dpo_error err;
	uint64_t records;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_lines(cases[i].text, false, &records, &err), cases[i].status);
		assert_int_equal(records, cases[i].records);
		if (cases[i].words && !strstr(err.text, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
	}
	assert_int_equal(read_lines(HEAD "{\"end\":1}\n", true, &records, &err), DPO_END);
	assert_int_equal(records, 1);
}

static void
end_carries_hashes(void **state)
{
	uint8_t parent[DPO_HASH_BYTES] = { 0 }, tip[DPO_HASH_BYTES] = { 9, 8, 7 }, p[DPO_HASH_BYTES], t[DPO_HASH_BYTES];
	struct dpo_buffer line = { 0 };
	struct dpo_error err;
	bool is_end;

	(void)state;
	dpo_text_put_end(&line, parent, tip);
	assert_non_null(strstr(dpo_buffer_text(&line), "{\"end\":true,\"tip\":\"09080700"));
	assert_int_equal(dpo_text_get_end(&is_end, (const char *)line.data, line.len, p, t, &err), DPO_OK);
	assert_true(is_end);
	assert_memory_equal(p, parent, sizeof p);
	assert_memory_equal(t, tip, sizeof t);
	assert_int_equal(dpo_text_get_end(&is_end, "{\"end\":5}", 9, p, t, &err), DPO_OK);
	assert_false(is_end);
	dpo_buffer_free(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_back),
		cmocka_unit_test(floats_come_back_bit_for_bit),
		cmocka_unit_test(long_runs_are_base64),
		cmocka_unit_test(wrong_records_are_named),
		cmocka_unit_test(lines_need_their_last),
		cmocka_unit_test(end_carries_hashes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
