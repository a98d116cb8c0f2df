/* Writing streams: which blocks, when, the same bytes, one by one or held back and read ahead; what is refused. */
#include "streams.h"

#include "fixture.h"
#include "stream/block.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

/* The reader hands on the first record while the writer has not yet written the second. */
static void
first_record_is_there_at_once(void **state)
{
	struct dpo_value values[DPO_TYPES], got[DPO_TYPES];
	struct dpo_header header;
	struct dpo_writer *writer;
	struct dpo_reader *reader;
	struct dpo_error err;
	struct dpo_out out = { .path = NULL };
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	out.fd = ends[1];
	streams_header(&header, "pairs");
	streams_values(1, values);
	alarm(20);	/* a reader that waits for more would wait for ever */
	assert_int_equal(dpo_writer_open(&writer, &out, &header, DPO_LEVEL_TABLE, &err), DPO_OK);
	assert_int_equal(dpo_reader_open(&reader, ends[0], "pipe", &err), DPO_OK);
	assert_int_equal(dpo_writer_put(writer, values, &err), DPO_OK);
	assert_int_equal(dpo_reader_next(reader, got, &err), DPO_OK);
	assert_memory_equal(got[0].data, values[0].data, values[0].count);
	dpo_writer_close(writer);
	close(ends[1]);
	assert_int_equal(dpo_reader_next(reader, got, &err), DPO_TRUNCATED);
	assert_int_equal(dpo_reader_next(reader, got, &err), DPO_TRUNCATED);
	alarm(0);
	dpo_reader_close(reader);
	dpo_header_free(&header);
}

static void
blocks_end_by_their_records(void **state)
{
	struct dpo_buffer bytes = { 0 }, again = { 0 };
	struct dpo_block_reader *reader;
	const uint8_t *content;
	size_t len, count, block = 0, total = 0;
	struct dpo_error err;

	(void)state;
	streams_make(&bytes, "pairs", 10000, DPO_LEVEL_TABLE, NULL);
	streams_make(&again, "pairs", 10000, DPO_LEVEL_TABLE, NULL);
	assert_int_equal(bytes.len, again.len);
	assert_memory_equal(bytes.data, again.data, bytes.len);
	assert_int_equal(dpo_block_open(&reader, streams_fd(bytes.data, bytes.len), NULL, 0, "test", &err), DPO_OK);
	while (dpo_block_next(reader, &content, &len, &count, &err) == DPO_OK) {
		total += count;
		assert_true(len <= DPO_BLOCK_BYTES);
		if (len < DPO_BLOCK_BYTES / 2 && total < 10000)
			assert_int_equal(count, (size_t)1 << block);
		block++;
	}
	assert_int_equal(total, 10000);
	assert_true(block > 10);
	dpo_block_close(reader);
	dpo_buffer_free(&bytes);
	dpo_buffer_free(&again);
}

/* ------------------------------------------------------------------ blocks held back */

/* Numbers for records of many sizes, of which LARGE are one. */
enum { LARGE = 9 << 20 };

static float *
numbers(void)
{
	float *x = malloc(LARGE * sizeof *x);
	uint32_t state = 1;

	assert_non_null(x);
	for (size_t i = 0; i < LARGE; i++) {
		state = state * 1664525 + 1013904223;
		x[i] = (float)(state >> 8);
	}
	return x;
}

/*
 * Put records until one fails: small ones, which share blocks, and ones of blocks of their own; two of `large` numbers. On no
 * threads each block is written as it ends.
 */
static enum dpo_status
put_weights(struct dpo_out *out, const float *x, size_t large, int threads, struct dpo_error *err)
{
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;
	struct dpo_writer *writer;
	enum dpo_status status;

	streams_header(&header, "model");
	if ((status = dpo_writer_open(&writer, out, &header, DPO_LEVEL_WEIGHTS, err)) == DPO_OK && threads > 0)
		dpo_writer_hold(writer, threads);
	for (size_t i = 0; i < 90 && status == DPO_OK; i++) {
		size_t n = i == 50 || i == 52 ? large : i % 3 ? i * i % 50000 : i * 1021 * 101 % 200000;

		streams_values(i, values);
		values[DPO_F32S] = (struct dpo_value){ .data = x, .count = n };
		status = dpo_writer_put(writer, values, err);
	}
	if (status == DPO_OK)
		status = dpo_writer_end(writer, NULL, err);
	dpo_writer_close(writer);
	dpo_header_free(&header);
	return status;
}

static void
write_weights(struct dpo_buffer *bytes, const float *x, size_t large, int threads)
{
	char path[256];
	struct dpo_out out = { .fd = fixture_file(path) };
	struct dpo_error err;

	unlink(path);
	assert_int_equal(put_weights(&out, x, large, threads, &err), DPO_OK);
	dpo_buffer_clear(bytes);
	assert_non_null(dpo_buffer_room(bytes, (size_t)lseek(out.fd, 0, SEEK_END)));
	assert_int_equal(dpo_file_read_at(out.fd, 0, bytes->data, bytes->len, &err), DPO_OK);
	close(out.fd);
}

/* The bytes, by whatever threads, are those of blocks written one by one, and read. */
static void
held_blocks_change_nothing(void **state)
{
	static const int threads[] = { 1, 2, 4, 40 };
	struct dpo_buffer one_by_one = { 0 }, held = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	float *x = numbers();
	struct dpo_error err;

	(void)state;
	write_weights(&one_by_one, x, LARGE, 0);
	assert_int_equal(streams_read_bytes(one_by_one.data, one_by_one.len, hash, &err), DPO_OK);
	for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
		write_weights(&held, x, LARGE, threads[i]);
		assert_int_equal(held.len, one_by_one.len);
		assert_memory_equal(held.data, one_by_one.data, held.len);
	}
	dpo_buffer_free(&one_by_one);
	dpo_buffer_free(&held);
	free(x);
}

/* Of many blocks, wherever in what is read ahead it is: streams_refused compares with blocks read one by one. */
static void
damage_is_told_as_it_comes(void **state)
{
	struct dpo_buffer bytes = { 0 };
	float *x = numbers();

	(void)state;
	write_weights(&bytes, x, 300000, 2);
	for (size_t i = 1; i < 12; i++) {
		size_t at = bytes.len / 12 * i;

		bytes.data[at] ^= 16;
		streams_refused(bytes.data, bytes.len, "bit flip", at);
		bytes.data[at] ^= 16;
		streams_refused(bytes.data, at, "truncation", at);
	}
	dpo_buffer_free(&bytes);
	free(x);
}

/* That an output ends too early is told once, as it is, by the first call that hears of it. */
static void
assert_told(enum dpo_status status, const struct dpo_error *err, const char *text)
{
	assert_int_equal(status, DPO_IO);
	assert_string_equal(err->text, text);
}

static void
a_full_disk_or_a_closed_pipe_is_told_once(void **state)
{
	static const rlim_t limits[] = { 0, 100, 1 << 20, 3 << 20, 10 << 20 };
	char path[256], text[320];
	struct rlimit before, limit;
	float *x = numbers();
	struct dpo_error err;
	struct dpo_out out;
	int ends[2], fd = fixture_file(path);

	(void)state;
	close(fd);
	unlink(path);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	snprintf(text, sizeof text, "%s: write: File too large", path);
	for (int threads = 0; threads <= 4; threads += 2) {
		for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
			limit = (struct rlimit){ limits[i], before.rlim_max };
			assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
			assert_int_equal(dpo_out_open(&out, path, &err), DPO_OK);
			assert_told(put_weights(&out, x, 300000, threads, &err), &err, text);
			dpo_out_abort(&out);
			assert_int_not_equal(access(path, F_OK), 0);
		}
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		assert_int_equal(dpo_out_open(&out, "/dev/full", &err), DPO_OK);
		assert_told(put_weights(&out, x, 300000, threads, &err), &err, "/dev/full: write: No space left on device");
		dpo_out_abort(&out);
		assert_int_equal(pipe(ends), 0);
		close(ends[0]);
		out = (struct dpo_out){ .fd = ends[1], .path = dpo_size_copy("pipe", 4) };
		assert_told(put_weights(&out, x, 300000, threads, &err), &err, "pipe: write: Broken pipe");
		dpo_out_abort(&out);
	}
	free(x);
}

/* ------------------------------------------------------------------ what a writer refuses */

static enum dpo_status
try_put(enum dpo_type type, const struct dpo_value *value, struct dpo_error *err)
{
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;
	struct dpo_writer *writer;
	enum dpo_status status;
	struct dpo_out out;

	streams_header(&header, "pairs");
	streams_values(1, values);
	values[type] = *value;
	assert_int_equal(dpo_out_open(&out, "/dev/null", err), DPO_OK);
	assert_int_equal(dpo_writer_open(&writer, &out, &header, 1, err), DPO_OK);
	status = dpo_writer_put(writer, values, err);
	dpo_writer_close(writer);
	dpo_out_abort(&out);
	dpo_header_free(&header);
	return status;
}

static void
writers_refuse_what_readers_would(void **state)
{
	const float floats[] = { 0, NAN, 0 };
	const uint16_t halves[] = { 0, 0x7c00, 0xff80,
	    0x7fc0 };	/* infinite, NaN, NaN as f16; as bf16 finite, infinite, NaN */
	struct dpo_error err;
	uint8_t *large = calloc(1, DPO_RECORD_MAX);

	(void)state;
	assert_int_equal(try_put(DPO_F32, &(struct dpo_value){ .f32 = INFINITY }, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "record 1: column \"c\""));
	assert_int_equal(try_put(DPO_F32S, &(struct dpo_value){ .data = floats, .count = 3 }, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "element 2 of 3 is NaN"));
	assert_int_equal(try_put(DPO_F16S, &(struct dpo_value){ .data = halves, .count = 4 }, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "element 2 of 4 is infinite"));
	assert_int_equal(try_put(DPO_BF16S, &(struct dpo_value){ .data = halves, .count = 4 }, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "element 3 of 4 is infinite"));
	assert_int_equal(try_put(DPO_BF16S, &(struct dpo_value){ .data = halves, .count = 2 }, &err), DPO_OK);
	assert_int_equal(try_put(DPO_STR, &(struct dpo_value){ .data = "a\xff", .count = 2 }, &err), DPO_FORMAT);
	assert_int_equal(try_put(DPO_STR, &(struct dpo_value){ .data = "a\0b", .count = 3 }, &err), DPO_FORMAT);
	assert_int_equal(try_put(DPO_BYTES, &(struct dpo_value){ .data = large, .count = DPO_RECORD_MAX }, &err), DPO_LIMIT);
	assert_int_equal(try_put(DPO_BYTES, &(struct dpo_value){ .data = large, .count = DPO_RECORD_MAX - 200 }, &err), DPO_OK);
	free(large);
}

/* A record of its own block, as large as allowed, comes back; the kind of small one before it as well. */
static void
large_records_come_back(void **state)
{
	char path[256];
	int fd = fixture_file(path);
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;
	struct dpo_writer *writer;
	struct dpo_reader *reader;
	struct dpo_error err;
	struct dpo_out out;
	size_t n = DPO_RECORD_MAX - 300;
	uint8_t *large = calloc(1, n);

	(void)state;
	streams_header(&header, "pairs");
	memset(large, 'x', n);
	assert_int_equal(dpo_out_open(&out, path, &err), DPO_OK);
	assert_int_equal(dpo_writer_open(&writer, &out, &header, 1, &err), DPO_OK);
	for (size_t i = 0; i < 4; i++) {
		streams_values(i, values);
		if (i == 2)
			values[DPO_BYTES] = (struct dpo_value){ .data = large, .count = n };
		assert_int_equal(dpo_writer_put(writer, values, &err), DPO_OK);
	}
	assert_int_equal(dpo_writer_end(writer, NULL, &err), DPO_OK);
	dpo_writer_close(writer);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
	close(fd);
	assert_int_equal(dpo_file_open(&fd, path, &err), DPO_OK);
	assert_int_equal(dpo_reader_open(&reader, fd, path, &err), DPO_OK);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(dpo_reader_next(reader, values, &err), DPO_OK);
		assert_int_equal((uintptr_t)values[DPO_I64S].data % 8, 0);
		assert_int_equal(values[DPO_BYTES].count, i == 2 ? n : i);
	}
	assert_int_equal(dpo_reader_next(reader, values, &err), DPO_END);
	assert_int_equal(dpo_reader_next(reader, values, &err), DPO_END);
	assert_int_equal(dpo_reader_blocks(reader), 4);
	dpo_reader_close(reader);
	dpo_header_free(&header);
	unlink(path);
	free(large);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_record_is_there_at_once),
		cmocka_unit_test(blocks_end_by_their_records),
		cmocka_unit_test(held_blocks_change_nothing),
		cmocka_unit_test(damage_is_told_as_it_comes),
		cmocka_unit_test(a_full_disk_or_a_closed_pipe_is_told_once),
		cmocka_unit_test(writers_refuse_what_readers_would),
		cmocka_unit_test(large_records_come_back),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
