/* spool: records by number are the records of the stream, in any order. */
#include "streams.h"

#include "stream/record.h"
#include "stream/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDS = 5000 };

static struct dpo_spool *
load(const struct dpo_buffer *bytes, size_t n, enum dpo_status wanted)
{
	struct dpo_reader *reader;
	struct dpo_spool *spool;
	struct dpo_error err;

	assert_int_equal(dpo_reader_open(&reader, streams_fd(bytes->data, n), "test", &err), DPO_OK);
	assert_int_equal(dpo_spool_load(&spool, reader, &err), wanted);
	dpo_reader_close(reader);
	return spool;
}

static void
assert_record(struct dpo_spool *spool, const struct dpo_header *header, size_t number)
{
	struct dpo_value got[DPO_TYPES], expected[DPO_TYPES];
	struct dpo_buffer a = { 0 }, b = { 0 };
	struct dpo_error err;

	assert_int_equal(dpo_spool_get(spool, number, got, &err), DPO_OK);
	streams_values(number, expected);
	assert_int_equal(dpo_record_put(header, got, &a, &err), DPO_OK);
	assert_int_equal(dpo_record_put(header, expected, &b, &err), DPO_OK);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	dpo_buffer_free(&a);
	dpo_buffer_free(&b);
}

static void
records_by_number(void **state)
{
	struct dpo_buffer bytes = { 0 };
	struct dpo_header header;
	struct dpo_spool *spool;
	uint32_t *order = malloc(RECORDS * sizeof *order);

	(void)state;
	streams_header(&header, "pairs");
	streams_make(&bytes, "pairs", RECORDS, DPO_LEVEL_TABLE, NULL);
	spool = load(&bytes, bytes.len, DPO_OK);
	assert_int_equal(dpo_spool_count(spool), RECORDS);
	for (size_t i = 0; i < RECORDS; i++)
		assert_record(spool, &header, i);
	assert_true(dpo_random_order(order, RECORDS, 1, 1));
	for (size_t i = 0; i < 200; i++)
		assert_record(spool, &header, order[i]);
	assert_record(spool, &header, RECORDS - 1);
	assert_record(spool, &header, 0);
	dpo_spool_free(spool);
	dpo_header_free(&header);
	dpo_buffer_free(&bytes);
	free(order);
}

static void
an_empty_stream_is_an_empty_spool(void **state)
{
	struct dpo_buffer bytes = { 0 };
	struct dpo_spool *spool;

	(void)state;
	streams_make(&bytes, "pairs", 0, DPO_LEVEL_TABLE, NULL);
	spool = load(&bytes, bytes.len, DPO_OK);
	assert_int_equal(dpo_spool_count(spool), 0);
	dpo_spool_free(spool);
	dpo_buffer_free(&bytes);
}

static void
a_cut_stream_is_no_spool(void **state)
{
	struct dpo_buffer bytes = { 0 };

	(void)state;
	streams_make(&bytes, "pairs", 40, DPO_LEVEL_TABLE, NULL);
	for (size_t n = bytes.len - 120; n < bytes.len; n++)
		assert_null(load(&bytes, n, DPO_TRUNCATED));
	dpo_buffer_free(&bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_by_number),
		cmocka_unit_test(an_empty_stream_is_an_empty_spool),
		cmocka_unit_test(a_cut_stream_is_no_spool),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
