/* stream, block and record: whole streams are read, everything else is refused. */
#include "streams.h"

#include "block.h"
#include "bytes.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

static const uint8_t parent[DPO_HASH_BYTES] = { 1, 2, 3 };

/* The small streams that are damaged in every way: no record, one block, three blocks, weights, two members. */
static void
fixture(struct dpo_buffer *out, int number)
{
	switch (number) {
	case 0:
		streams_make(out, "pairs", 0, DPO_LEVEL_TABLE, NULL);
		break;
	case 1:
		streams_make(out, "pairs", 1, DPO_LEVEL_TABLE, parent);
		break;
	case 2:
		streams_make(out, "pairs", 5, DPO_LEVEL_TABLE, NULL);
		break;
	case 3:
		streams_make(out, "model", 3, DPO_LEVEL_WEIGHTS, parent);
		break;
	default:
		streams_make(out, "pairs", 1, DPO_LEVEL_TABLE, NULL);
		streams_make(out, "pairs", 2, DPO_LEVEL_TABLE, parent);
	}
}

enum { FIXTURES = 5 };

static enum dpo_status
read_bytes(const void *bytes, size_t n, uint8_t *hash, struct dpo_error *err)
{
	size_t records;

	return streams_read(streams_fd(bytes, n), hash, &records, err);
}

/* Refused as bad input, not as a failure of the machine. */
static void
assert_refused(const void *bytes, size_t n, const char *what, size_t where)
{
	struct dpo_error err = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	enum dpo_status status = read_bytes(bytes, n, hash, &err);

	if (status / 10 != 3 || !err.text[0] || err.status != status)
		fail_msg("%s at %zu gives status %d \"%s\"", what, where, (int)status, err.text);
}

static void
every_truncation_is_refused(void **state)
{
	(void)state;
	for (int f = 0; f < FIXTURES; f++) {
		struct dpo_buffer whole = { 0 };
		struct dpo_error err;
		uint8_t hash[DPO_HASH_BYTES];
		size_t whole_prefixes = 0;

		fixture(&whole, f);
		for (size_t n = 0; n < whole.len; n++)
			if (read_bytes(whole.data, n, hash, &err) == DPO_OK)
				whole_prefixes++;
			else
				assert_true(err.status == DPO_TRUNCATED);
		/* The first of two members is a whole stream; nothing else is. */
		assert_int_equal(whole_prefixes, f == 4);
		assert_int_equal(read_bytes(whole.data, whole.len, hash, &err), DPO_OK);
		dpo_buffer_free(&whole);
	}
}

static void
every_bit_flip_is_refused_or_harmless(void **state)
{
	(void)state;
	for (int f = 0; f < FIXTURES; f++) {
		struct dpo_buffer bytes = { 0 };
		uint8_t expected[DPO_HASH_BYTES], hash[DPO_HASH_BYTES];
		struct dpo_error err;
		size_t harmless = 0;

		fixture(&bytes, f);
		assert_int_equal(read_bytes(bytes.data, bytes.len, expected, &err), DPO_OK);
		for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
			bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (read_bytes(bytes.data, bytes.len, hash, &err) == DPO_OK) {
				harmless++;
				assert_memory_equal(hash, expected, sizeof hash);
			} else {
				assert_int_equal(err.status / 10, 3);
			}
			bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		/* zstd has a few bits that mean nothing; were there many, nothing would have been tested. */
		assert_true(harmless < bytes.len / 20);
		dpo_buffer_free(&bytes);
	}
}

/* Without zstd's checksum our own hashes stand alone: they cover every bit. */
static void
every_bit_of_the_content_counts(void **state)
{
	(void)state;
	for (int f = 0; f < FIXTURES; f++) {
		struct dpo_buffer packed = { 0 }, plain = { 0 }, again = { 0 };
		uint8_t expected[DPO_HASH_BYTES], hash[DPO_HASH_BYTES];
		struct dpo_error err;

		fixture(&packed, f);
		assert_int_equal(read_bytes(packed.data, packed.len, expected, &err), DPO_OK);
		streams_decompress(&plain, packed.data, packed.len);
		streams_compress(&again, plain.data, plain.len, 19);
		assert_int_equal(read_bytes(again.data, again.len, hash, &err), DPO_OK);
		assert_memory_equal(hash, expected, sizeof hash);
		for (size_t bit = 0; bit < 8 * plain.len; bit++) {
			plain.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			dpo_buffer_clear(&again);
			streams_compress(&again, plain.data, plain.len, -5);
			assert_refused(again.data, again.len, "bit flip", bit);
			plain.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		dpo_buffer_free(&packed);
		dpo_buffer_free(&plain);
		dpo_buffer_free(&again);
	}
}

/* A damaged block gives no record at all, and those before it are handed on. */
static void
only_whole_blocks_are_handed_on(void **state)
{
	static const size_t before[] = { 0, 1, 3 };	/* records before each block of 1, 2 and 2 */
	struct dpo_buffer packed = { 0 }, plain = { 0 }, again = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	struct dpo_error err;
	size_t at, records;

	(void)state;
	streams_make(&packed, "pairs", 5, DPO_LEVEL_TABLE, NULL);
	streams_decompress(&plain, packed.data, packed.len);
	at = 12 + dpo_bytes_load32(plain.data + 8) + 32;
	for (size_t block = 0; block < 3; block++) {
		size_t len = dpo_bytes_load32(plain.data + at + 1);

		for (size_t i = at + 5; i < at + 5 + len + 32; i++) {
			plain.data[i] ^= 1;
			dpo_buffer_clear(&again);
			streams_compress(&again, plain.data, plain.len, -5);
			assert_int_equal(streams_read(streams_fd(again.data, again.len), hash, &records, &err), DPO_CORRUPT);
			assert_int_equal(records, before[block]);
			plain.data[i] ^= 1;
		}
		at += 5 + len + 32;
	}
	assert_int_equal(plain.data[at], 'E');
	dpo_buffer_free(&packed);
	dpo_buffer_free(&plain);
	dpo_buffer_free(&again);
}

static void
every_lost_or_added_byte_is_refused(void **state)
{
	(void)state;
	for (int f = 0; f < FIXTURES; f++) {
		struct dpo_buffer whole = { 0 };
		uint8_t *changed;

		fixture(&whole, f);
		changed = malloc(whole.len + 1);
		for (size_t at = 0; at < whole.len; at++) {
			memcpy(changed, whole.data, at);
			memcpy(changed + at, whole.data + at + 1, whole.len - at - 1);
			assert_refused(changed, whole.len - 1, "lost byte", at);
			changed[at] = whole.data[at];
			memcpy(changed + at + 1, whole.data + at, whole.len - at);
			assert_refused(changed, whole.len + 1, "doubled byte", at);
		}
		free(changed);
		dpo_buffer_free(&whole);
	}
}

/* ------------------------------------------------------------------ frames: header, blocks, END */

struct frames {
	const uint8_t *at[16];
	size_t n[16], count;
};

static void
split(struct frames *frames, const struct dpo_buffer *stream)
{
	const uint8_t *at = stream->data;
	size_t left = stream->len;

	for (frames->count = 0; left > 0; frames->count++) {
		size_t n = ZSTD_findFrameCompressedSize(at, left);

		assert_false(ZSTD_isError(n));
		frames->at[frames->count] = at;
		frames->n[frames->count] = n;
		at += n;
		left -= n;
	}
}

static void
join(struct dpo_buffer *out, const struct frames *frames, const size_t *order, size_t n)
{
	dpo_buffer_clear(out);
	for (size_t i = 0; i < n; i++)
		dpo_buffer_append(out, frames->at[order[i]], frames->n[order[i]]);
}

static void
blocks_out_of_place_are_refused(void **state)
{
	struct dpo_buffer a = { 0 }, b = { 0 }, mixed = { 0 };
	struct frames fa, fb;
	size_t order[16];

	(void)state;
	streams_make(&a, "pairs", 7, DPO_LEVEL_TABLE, NULL);	/* header, 3 blocks, END */
	streams_make(&b, "pairs", 15, DPO_LEVEL_TABLE, NULL);	/* header, 4 blocks, END */
	split(&fa, &a);
	split(&fb, &b);
	assert_int_equal(fa.count, 5);
	assert_int_equal(fb.count, 6);
	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < 5; j++) {
			if (i == j)
				continue;
			for (size_t k = 0; k < 5; k++)		/* swap i and j */
				order[k] = k == i ? j : k == j ? i : k;
			join(&mixed, &fa, order, 5);
			assert_refused(mixed.data, mixed.len, "swap", i * 5 + j);
			for (size_t k = 0; k < 6; k++)		/* frame j again before frame i */
				order[k] = k < i ? k : k == i ? j : k - 1;
			join(&mixed, &fa, order, 6);
			assert_refused(mixed.data, mixed.len, "repeat", i * 5 + j);
		}
	for (size_t i = 0; i < 5; i++) {
		for (size_t k = 0; k < 4; k++)			/* without frame i */
			order[k] = k < i ? k : k + 1;
		join(&mixed, &fa, order, 4);
		assert_refused(mixed.data, mixed.len, "drop", i);
	}
	/* The same records to begin with: END of one does not fit the other, nor does a block further on. */
	for (size_t i = 0; i < 5; i++)
		order[i] = i;
	join(&mixed, &fa, order, 4);
	dpo_buffer_append(&mixed, fb.at[5], fb.n[5]);
	assert_refused(mixed.data, mixed.len, "END of another stream", 0);
	join(&mixed, &fa, order, 3);
	dpo_buffer_append(&mixed, fb.at[4], fb.n[4]);
	dpo_buffer_append(&mixed, fa.at[4], fa.n[4]);
	assert_refused(mixed.data, mixed.len, "block of another stream", 0);
	dpo_buffer_free(&a);
	dpo_buffer_free(&b);
	dpo_buffer_free(&mixed);
}

/* END with a seal that is right for what it says, but said of other blocks. */
static void
end_must_be_of_these_blocks(void **state)
{
	struct dpo_buffer packed = { 0 }, plain = { 0 }, again = { 0 };
	uint8_t *end, sealed[8 + DPO_HASH_BYTES];

	(void)state;
	streams_make(&packed, "pairs", 3, DPO_LEVEL_TABLE, parent);
	streams_decompress(&plain, packed.data, packed.len);
	end = plain.data + plain.len - 104;
	for (size_t at = 0; at < 72; at++) {
		end[at] ^= 1;
		memcpy(sealed, end, 8);
		memcpy(sealed + 8, end + 40, DPO_HASH_BYTES);
		dpo_hash_two(end + 72, end + 8, DPO_HASH_BYTES, sealed, sizeof sealed);
		dpo_buffer_clear(&again);
		streams_compress(&again, plain.data, plain.len, 1);
		if (at < 40) {
			assert_refused(again.data, again.len, "END", at);
		} else {	/* the parent is for the writer to say */
			uint8_t hash[DPO_HASH_BYTES];
			struct dpo_error err;

			assert_int_equal(read_bytes(again.data, again.len, hash, &err), DPO_OK);
		}
		end[at] ^= 1;
	}
	dpo_buffer_free(&packed);
	dpo_buffer_free(&plain);
	dpo_buffer_free(&again);
}

static void
members_read_as_one(void **state)
{
	struct dpo_buffer a = { 0 }, other = { 0 }, both = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	struct dpo_error err;
	size_t records;

	(void)state;
	streams_make(&a, "pairs", 5, DPO_LEVEL_TABLE, NULL);
	streams_make(&other, "sft", 1, DPO_LEVEL_TABLE, NULL);
	dpo_buffer_append(&both, a.data, a.len);
	dpo_buffer_append(&both, a.data, a.len);
	assert_int_equal(streams_read(streams_fd(both.data, both.len), hash, &records, &err), DPO_OK);
	assert_int_equal(records, 10);
	for (size_t cut = a.len + 1; cut < both.len; cut++)
		assert_refused(both.data, cut, "second member cut", cut);
	both.len = a.len;
	dpo_buffer_append(&both, other.data, other.len);
	assert_refused(both.data, both.len, "other header", 0);
	both.len = a.len;
	dpo_buffer_string(&both, "garbage");
	assert_refused(both.data, both.len, "garbage", 0);
	both.len = a.len;
	dpo_buffer_append(&both, (const char[64]){ 0 }, 64);
	assert_refused(both.data, both.len, "zeros", 0);
	both.len = a.len;
	streams_compress(&both, "d", 1, 1);
	assert_refused(both.data, both.len, "zstd of something else", 0);
	dpo_buffer_free(&a);
	dpo_buffer_free(&other);
	dpo_buffer_free(&both);
}

static void
foreign_input_is_named(void **state)
{
	static const struct { const char *bytes, *words; } cases[] = {
		{ "", "empty" }, { "{\"prompt\":", "JSON Lines" }, { " \n{\"a\"", "JSON Lines" },
		{ "PK\3\4xx", "not a stream" }, { "\x28", "without END" }, { "\x28\xb5\x2f", "without END" },
		{ "\x28\xb5\x2e", "not a stream" },
	};
	struct dpo_buffer zst = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_bytes(cases[i].bytes, strlen(cases[i].bytes), hash, &err) / 10, 3);
		if (!strstr(err.text, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
	}
	streams_compress(&zst, "some other file", 15, 1);
	assert_int_equal(read_bytes(zst.data, zst.len, hash, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "zstd, but not"));
	dpo_buffer_free(&zst);
}

/* ------------------------------------------------------------------ framing and arrival */

static void
frames_may_be_cut_anywhere(void **state)
{
	struct dpo_buffer packed = { 0 }, plain = { 0 }, cut = { 0 };
	uint8_t expected[DPO_HASH_BYTES], hash[DPO_HASH_BYTES];
	const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
	struct dpo_error err;

	(void)state;
	streams_make(&packed, "pairs", 20, DPO_LEVEL_TABLE, parent);
	assert_int_equal(read_bytes(packed.data, packed.len, expected, &err), DPO_OK);
	streams_decompress(&plain, packed.data, packed.len);
	for (size_t step = 1; step < plain.len; step = step * 3 / 2 + 1) {
		dpo_buffer_clear(&cut);
		dpo_buffer_append(&cut, skippable, sizeof skippable);
		for (size_t at = 0; at < plain.len; at += step) {
			streams_compress(&cut, plain.data + at, plain.len - at < step ? plain.len - at : step, 1);
			streams_compress(&cut, "", 0, 1);
			dpo_buffer_append(&cut, skippable, sizeof skippable);
		}
		assert_int_equal(read_bytes(cut.data, cut.len, hash, &err), DPO_OK);
		assert_memory_equal(hash, expected, sizeof hash);
		assert_refused(cut.data, cut.len - 1, "cut skippable frame", step);
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
	assert_int_equal(read_bytes(bytes.data, bytes.len, expected, &err), DPO_OK);
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

/* ------------------------------------------------------------------ hostile, but hashed */

/* A stream of one block with this content, its hashes right, whatever it says. Columns: s (str), v (i32[]). */
static void
forge(struct dpo_buffer *out, const void *content, size_t len, size_t count)
{
	static const char json[] = "{\"format\":1,\"kind\":\"k\",\"columns\":[[\"s\",\"str\"],[\"v\",\"i32[]\"]]}";
	char path[] = "/tmp/dpo-test-XXXXXX";
	int fd = mkstemp(path);
	struct dpo_block_writer *writer;
	struct dpo_error err;
	struct dpo_out file;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(dpo_out_open(&file, path, &err), DPO_OK);
	assert_int_equal(dpo_block_create(&writer, &file, json, sizeof json - 1, 1, &err), DPO_OK);
	assert_int_equal(dpo_block_put(writer, content, len, count, &err), DPO_OK);
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
	assert_int_equal(read_bytes(bytes.data, bytes.len, hash, &err), DPO_OK);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t at = 0; at <= 6; at += 6) {
			uint8_t bad[sizeof good];

			memcpy(bad, good, sizeof good);
			if (dpo_bytes_load32(bad + at) == sizes[i])
				continue;
			dpo_bytes_store32(bad + at, sizes[i]);
			forge(&bytes, bad, sizeof bad, 1);
			assert_refused(bytes.data, bytes.len, "length", i);
		}
	for (size_t count = 0; count < 4; count++)
		if (count != 1) {
			forge(&bytes, good, sizeof good, count);
			assert_refused(bytes.data, bytes.len, "count", count);
		}
	/* Bytes behind the last record; and a block that says it has none hands none on. */
	memcpy(longer, good, sizeof good);
	for (size_t extra = 1; extra <= 20; extra++) {
		forge(&bytes, longer, sizeof good + extra, 1);
		assert_refused(bytes.data, bytes.len, "bytes after the record", extra);
	}
	forge(&bytes, good, sizeof good, 0);
	assert_int_equal(streams_read(streams_fd(bytes.data, bytes.len), hash, &records, &err), DPO_FORMAT);
	assert_int_equal(records, 0);
	forge(&bytes, good, sizeof good, UINT32_MAX);
	assert_refused(bytes.data, bytes.len, "count", UINT32_MAX);
	for (size_t n = 0; n < sizeof good; n++) {
		forge(&bytes, good, n, 1);
		assert_refused(bytes.data, bytes.len, "record cut", n);
	}
	for (size_t i = 0; i < 4; i++) {
		memset(good + 4, 'x', 2);
		memcpy(good + 4, bad_strings[i], strlen(bad_strings[i]));
		forge(&bytes, good, sizeof good, 1);
		assert_refused(bytes.data, bytes.len, "UTF-8", i);
	}
	good[4] = 0;
	good[5] = 'x';
	forge(&bytes, good, sizeof good, 1);
	assert_refused(bytes.data, bytes.len, "U+0000", 0);
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
			assert_refused(again.data, again.len, which ? "block length" : "header length", sizes[i]);
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
		assert_int_equal(read_bytes(to, out.pos, hash, &err), log == 23 ? DPO_OK : DPO_LIMIT);
	}
	assert_non_null(strstr(err.text, "8 MiB"));
	ZSTD_freeCCtx(zstd);
	dpo_buffer_free(&packed);
	dpo_buffer_free(&plain);
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
	struct dpo_error err;
	uint8_t *large = calloc(1, DPO_RECORD_MAX);

	(void)state;
	assert_int_equal(try_put(DPO_F32, &(struct dpo_value){ .f32 = INFINITY }, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "record 1: column \"c\""));
	assert_int_equal(try_put(DPO_F32S, &(struct dpo_value){ .data = floats, .count = 3 }, &err), DPO_NONFINITE);
	assert_non_null(strstr(err.text, "element 2 of 3 is NaN"));
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
	char path[] = "/tmp/dpo-test-XXXXXX";
	int fd = mkstemp(path);
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;
	struct dpo_writer *writer;
	struct dpo_reader *reader;
	struct dpo_error err;
	struct dpo_out out;
	size_t n = DPO_RECORD_MAX - 300;
	uint8_t *large = calloc(1, n);

	(void)state;
	assert_true(fd >= 0);
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
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_bit_flip_is_refused_or_harmless),
		cmocka_unit_test(every_bit_of_the_content_counts),
		cmocka_unit_test(only_whole_blocks_are_handed_on),
		cmocka_unit_test(every_lost_or_added_byte_is_refused),
		cmocka_unit_test(blocks_out_of_place_are_refused),
		cmocka_unit_test(end_must_be_of_these_blocks),
		cmocka_unit_test(members_read_as_one),
		cmocka_unit_test(foreign_input_is_named),
		cmocka_unit_test(frames_may_be_cut_anywhere),
		cmocka_unit_test(arrival_in_pieces_changes_nothing),
		cmocka_unit_test(first_record_is_there_at_once),
		cmocka_unit_test(blocks_end_by_their_records),
		cmocka_unit_test(lengths_are_checked_against_the_block),
		cmocka_unit_test(announced_sizes_are_not_believed),
		cmocka_unit_test(large_windows_are_refused),
		cmocka_unit_test(writers_refuse_what_readers_would),
		cmocka_unit_test(large_records_come_back),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
