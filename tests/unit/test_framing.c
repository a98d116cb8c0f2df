/* stream, block and record: frames and pieces as they come; what is hashed and yet false. */
#include "streams.h"

#include "base/bytes.h"
#include "fixture.h"
#include "stream/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

static const uint8_t parent[DPO_HASH_BYTES] = { 1, 2, 3 };

static void
frames_may_be_cut_anywhere(void **state)
{
	struct dpo_buffer packed = { 0 }, plain = { 0 }, cut = { 0 };
	uint8_t expected[DPO_HASH_BYTES], hash[DPO_HASH_BYTES];
	const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
	struct dpo_error err;

	(void)state;
	streams_make(&packed, "pairs", 20, DPO_LEVEL_TABLE, parent);
	assert_int_equal(streams_read_bytes(packed.data, packed.len, expected, &err), DPO_OK);
	streams_decompress(&plain, packed.data, packed.len);
	for (size_t step = 1; step < plain.len; step = step * 3 / 2 + 1) {
		dpo_buffer_clear(&cut);
		dpo_buffer_append(&cut, skippable, sizeof skippable);
		for (size_t at = 0; at < plain.len; at += step) {
			streams_compress(&cut, plain.data + at, plain.len - at < step ? plain.len - at : step, 1);
			streams_compress(&cut, "", 0, 1);
			dpo_buffer_append(&cut, skippable, sizeof skippable);
		}
		assert_int_equal(streams_read_bytes(cut.data, cut.len, hash, &err), DPO_OK);
		assert_memory_equal(hash, expected, sizeof hash);
		streams_refused(cut.data, cut.len - 1, "cut skippable frame", step);
	}
	dpo_buffer_free(&packed);
	dpo_buffer_free(&plain);
	dpo_buffer_free(&cut);
}

static void
arrival_in_pieces_changes_nothing(void **state)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 509, 4095, 4097, 65537 };
	struct dpo_buffer bytes = { 0 };
	uint8_t expected[DPO_HASH_BYTES], hash[DPO_HASH_BYTES];
	struct dpo_error err;
	size_t records;

	(void)state;
	streams_make(&bytes, "pairs", 3000, DPO_LEVEL_TABLE, NULL);
	assert_int_equal(streams_read_bytes(bytes.data, bytes.len, expected, &err), DPO_OK);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		int ends[2], status;
		pid_t child;

		assert_int_equal(pipe(ends), 0);
		if ((child = fork()) == 0) {
			close(ends[0]);
			for (size_t at = 0, n; at < bytes.len; at += n) {
				n = bytes.len - at < pieces[i] ? bytes.len - at : pieces[i];
				if (write(ends[1], bytes.data + at, n) != (ssize_t)n)
					_exit(1);
			}
			_exit(0);
		}
		close(ends[1]);
		assert_int_equal(streams_read(ends[0], hash, &records, &err), DPO_OK);
		assert_int_equal(records, 3000);
		assert_memory_equal(hash, expected, sizeof hash);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	dpo_buffer_free(&bytes);
}

/* ------------------------------------------------------------------ hostile, but hashed */

/* A stream of one block with this content, its hashes right, whatever it says. Columns: s (str), v (i32[]). */
static void
forge(struct dpo_buffer *out, const void *content, size_t len, size_t count)
{
	static const char json[] = "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"s\",\"str\"],[\"v\",\"i32[]\"]]}";
	char path[256];
	int fd = fixture_file(path);
	struct dpo_block_writer *writer;
	struct dpo_error err;
	struct dpo_out file;

	close(fd);
	assert_int_equal(dpo_out_open(&file, path, &err), DPO_OK);
	assert_int_equal(dpo_block_create(&writer, &file, json, sizeof json - 1, 1, &err), DPO_OK);
	dpo_buffer_append(dpo_block_room(writer), content, len);
	assert_int_equal(dpo_block_put(writer, len, count, &err), DPO_OK);
	assert_int_equal(dpo_block_end(writer, NULL, &err), DPO_OK);
	dpo_block_free(writer);
	assert_int_equal(dpo_out_commit(&file, &err), DPO_OK);
	dpo_buffer_clear(out);
	assert_int_equal(dpo_file_read(out, path, SIZE_MAX, &err), DPO_OK);
	unlink(path);
}

static void
lengths_are_checked_against_the_block(void **state)
{
	static const uint32_t sizes[] = { 1, 3, 4, 5, 1000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x40000000 };
	uint8_t good[] = { 2, 0, 0, 0, 'o', 'k', 1, 0, 0, 0, 9, 9, 9, 9 };
	static const char *const bad_strings[] = { "\xff\xfe", "\xc3", "\xc0\x80", "\xed\xa0" };
	struct dpo_buffer bytes = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	struct dpo_error err;
	uint8_t longer[sizeof good + 20] = { 0 };
	size_t records;

	(void)state;
	forge(&bytes, good, sizeof good, 1);
	assert_int_equal(streams_read_bytes(bytes.data, bytes.len, hash, &err), DPO_OK);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t at = 0; at <= 6; at += 6) {
			uint8_t bad[sizeof good];

			memcpy(bad, good, sizeof good);
			if (dpo_bytes_load32(bad + at) == sizes[i])
				continue;
			dpo_bytes_store32(bad + at, sizes[i]);
			forge(&bytes, bad, sizeof bad, 1);
			streams_refused(bytes.data, bytes.len, "length", i);
		}
	for (size_t count = 0; count < 4; count++)
		if (count != 1) {
			forge(&bytes, good, sizeof good, count);
			streams_refused(bytes.data, bytes.len, "count", count);
		}
	/* Bytes behind the last record; and a block that says it has none hands none on. */
	memcpy(longer, good, sizeof good);
	for (size_t extra = 1; extra <= 20; extra++) {
		forge(&bytes, longer, sizeof good + extra, 1);
		streams_refused(bytes.data, bytes.len, "bytes after the record", extra);
	}
	forge(&bytes, good, sizeof good, 0);
	assert_int_equal(streams_read(streams_fd(bytes.data, bytes.len), hash, &records, &err), DPO_FORMAT);
	assert_int_equal(records, 0);
	forge(&bytes, good, sizeof good, UINT32_MAX);
	streams_refused(bytes.data, bytes.len, "count", UINT32_MAX);
	for (size_t n = 0; n < sizeof good; n++) {
		forge(&bytes, good, n, 1);
		streams_refused(bytes.data, bytes.len, "record cut", n);
	}
	for (size_t i = 0; i < 4; i++) {
		memset(good + 4, 'x', 2);
		memcpy(good + 4, bad_strings[i], strlen(bad_strings[i]));
		forge(&bytes, good, sizeof good, 1);
		streams_refused(bytes.data, bytes.len, "UTF-8", i);
	}
	good[4] = 0;
	good[5] = 'x';
	forge(&bytes, good, sizeof good, 1);
	streams_refused(bytes.data, bytes.len, "U+0000", 0);
	dpo_buffer_free(&bytes);
}

/* Lengths of units in {0, 1, limit, limit + 1, ...}: refused by the length, or truncated, never believed. */
static void
announced_sizes_are_not_believed(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 3, 1 << 20, (1 << 20) + 1, (64 << 20) + 4, (64 << 20) + 5, 0x7fffffff,
		0x80000000, 0xffffffff };
	struct dpo_buffer packed = { 0 }, plain = { 0 }, again = { 0 };
	size_t block;

	(void)state;
	streams_make(&packed, "pairs", 1, DPO_LEVEL_TABLE, NULL);
	streams_decompress(&plain, packed.data, packed.len);
	block = 12 + dpo_bytes_load32(plain.data + 8) + 32;
	assert_int_equal(plain.data[block], 'B');
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t which = 0; which < 2; which++) {
			size_t at = which ? block + 1 : 8;
			uint32_t kept = dpo_bytes_load32(plain.data + at);

			dpo_bytes_store32(plain.data + at, sizes[i]);
			dpo_buffer_clear(&again);
			streams_compress(&again, plain.data, plain.len, 1);
			streams_refused(again.data, again.len, which ? "block length" : "header length", sizes[i]);
			dpo_bytes_store32(plain.data + at, kept);
		}
	dpo_buffer_free(&packed);
	dpo_buffer_free(&plain);
	dpo_buffer_free(&again);
}

static void
large_windows_are_refused(void **state)
{
	struct dpo_buffer packed = { 0 }, plain = { 0 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	uint8_t to[1 << 16], hash[DPO_HASH_BYTES];
	struct dpo_error err;

	(void)state;
	streams_make(&packed, "pairs", 3, DPO_LEVEL_TABLE, NULL);
	streams_decompress(&plain, packed.data, packed.len);
	for (int log = 23; log <= 24; log++) {
		ZSTD_outBuffer out = { to, sizeof to, 0 };
		ZSTD_inBuffer in = { plain.data, plain.len, 0 }, none = { NULL, 0, 0 };

		ZSTD_CCtx_reset(zstd, ZSTD_reset_session_and_parameters);
		assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, log)));
		assert_false(ZSTD_isError(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_flush)));
		assert_int_equal(ZSTD_compressStream2(zstd, &out, &none, ZSTD_e_end), 0);
		assert_int_equal(streams_read_bytes(to, out.pos, hash, &err), log == 23 ? DPO_OK : DPO_LIMIT);
	}
	assert_non_null(strstr(err.text, "8 MiB"));
	ZSTD_freeCCtx(zstd);
	dpo_buffer_free(&packed);
	dpo_buffer_free(&plain);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_may_be_cut_anywhere),
		cmocka_unit_test(arrival_in_pieces_changes_nothing),
		cmocka_unit_test(lengths_are_checked_against_the_block),
		cmocka_unit_test(announced_sizes_are_not_believed),
		cmocka_unit_test(large_windows_are_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
