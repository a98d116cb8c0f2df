/* stream and block: whole streams are read, damaged ones refused. */
#include "streams.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
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
			if (streams_read_bytes(whole.data, n, hash, &err) == DPO_OK)
				whole_prefixes++;
			else
				assert_true(err.status == DPO_TRUNCATED);
		/* The first of two members is a whole stream; nothing else is. */
		assert_int_equal(whole_prefixes, f == 4);
		assert_int_equal(streams_read_bytes(whole.data, whole.len, hash, &err), DPO_OK);
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
		assert_int_equal(streams_read_bytes(bytes.data, bytes.len, expected, &err), DPO_OK);
		for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
			bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (streams_read_bytes(bytes.data, bytes.len, hash, &err) == DPO_OK) {
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
		assert_int_equal(streams_read_bytes(packed.data, packed.len, expected, &err), DPO_OK);
		streams_decompress(&plain, packed.data, packed.len);
		streams_compress(&again, plain.data, plain.len, 19);
		assert_int_equal(streams_read_bytes(again.data, again.len, hash, &err), DPO_OK);
		assert_memory_equal(hash, expected, sizeof hash);
		for (size_t bit = 0; bit < 8 * plain.len; bit++) {
			plain.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			dpo_buffer_clear(&again);
			streams_compress(&again, plain.data, plain.len, -5);
			streams_refused(again.data, again.len, "bit flip", bit);
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
			streams_refused(changed, whole.len - 1, "lost byte", at);
			changed[at] = whole.data[at];
			memcpy(changed + at + 1, whole.data + at, whole.len - at);
			streams_refused(changed, whole.len + 1, "doubled byte", at);
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
			streams_refused(mixed.data, mixed.len, "swap", i * 5 + j);
			for (size_t k = 0; k < 6; k++)		/* frame j again before frame i */
				order[k] = k < i ? k : k == i ? j : k - 1;
			join(&mixed, &fa, order, 6);
			streams_refused(mixed.data, mixed.len, "repeat", i * 5 + j);
		}
	for (size_t i = 0; i < 5; i++) {
		for (size_t k = 0; k < 4; k++)			/* without frame i */
			order[k] = k < i ? k : k + 1;
		join(&mixed, &fa, order, 4);
		streams_refused(mixed.data, mixed.len, "drop", i);
	}
	/* The same records to begin with: END of one does not fit the other, nor does a block further on. */
	for (size_t i = 0; i < 5; i++)
		order[i] = i;
	join(&mixed, &fa, order, 4);
	dpo_buffer_append(&mixed, fb.at[5], fb.n[5]);
	streams_refused(mixed.data, mixed.len, "END of another stream", 0);
	join(&mixed, &fa, order, 3);
	dpo_buffer_append(&mixed, fb.at[4], fb.n[4]);
	dpo_buffer_append(&mixed, fa.at[4], fa.n[4]);
	streams_refused(mixed.data, mixed.len, "block of another stream", 0);
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
			streams_refused(again.data, again.len, "END", at);
		} else {	/* the parent is for the writer to say */
			uint8_t hash[DPO_HASH_BYTES];
			struct dpo_error err;

			assert_int_equal(streams_read_bytes(again.data, again.len, hash, &err), DPO_OK);
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
		streams_refused(both.data, cut, "second member cut", cut);
	both.len = a.len;
	dpo_buffer_append(&both, other.data, other.len);
	streams_refused(both.data, both.len, "other header", 0);
	both.len = a.len;
	dpo_buffer_string(&both, "garbage");
	streams_refused(both.data, both.len, "garbage", 0);
	both.len = a.len;
	dpo_buffer_append(&both, (const char[64]){ 0 }, 64);
	streams_refused(both.data, both.len, "zeros", 0);
	both.len = a.len;
	streams_compress(&both, "d", 1, 1);
	streams_refused(both.data, both.len, "zstd of something else", 0);
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
		assert_int_equal(streams_read_bytes(cases[i].bytes, strlen(cases[i].bytes), hash, &err) / 10, 3);
		if (!strstr(err.text, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
	}
	streams_compress(&zst, "some other file", 15, 1);
	assert_int_equal(streams_read_bytes(zst.data, zst.len, hash, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "zstd, but not"));
	dpo_buffer_free(&zst);
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
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
