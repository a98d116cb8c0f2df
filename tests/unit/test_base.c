/* The lowest layers: sizes, buffers, tables, bytes, random numbers, hashes, UTF-8, files, the parallel loop. */
#define _GNU_SOURCE	/* sched_setaffinity */
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/table.h"
#include "base/utf8.h"
#include "fixture.h"
#include "hash/hashes.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void
sizes_refuse_overflow(void **unused)
{
	size_t out;

	(void)unused;
	assert_true(dpo_size_mul(1u << 20, 1u << 20, &out));
	assert_int_equal(out, (size_t)1 << 40);
	assert_false(dpo_size_mul(SIZE_MAX / 2, 3, &out));
	assert_false(dpo_size_add(SIZE_MAX, 1, &out));
	assert_null(dpo_alloc(SIZE_MAX / 4, 8));
	assert_null(dpo_alloc_aligned(SIZE_MAX / 4, 8));
}

/* Also where the memory was in use before: a large block's pages are zeroed only as they are touched. */
static void
aligned_blocks_are_zero(void **unused)
{
	static const size_t sizes[] = { 1, 100, ((size_t)2 << 20) - 64, (size_t)2 << 20, ((size_t)5 << 20) + 12, (size_t)9 << 20 };

	(void)unused;
	for (size_t i = 0; i < 6 * (sizeof sizes / sizeof *sizes); i++) {
		size_t n = sizes[i * 5 % 6], set = 0;
		uint8_t *block = dpo_alloc_aligned(n, 1);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % 64, 0);
		for (size_t k = 0; k < n; k++)
			set += block[k] != 0;
		assert_int_equal(set, 0);
		memset(block, 0xff, n);
		free(block);
	}
}

static void
buffers_keep_what_was_appended(void **unused)
{
	struct dpo_buffer buffer = { 0 };

	(void)unused;
	for (int i = 0; i < 1000; i++)
		dpo_buffer_printf(&buffer, "%d,", i);
	assert_false(buffer.failed);
	assert_memory_equal(dpo_buffer_text(&buffer), "0,1,2,3,", 8);
	assert_string_equal(dpo_buffer_text(&buffer) + buffer.len - 8, "998,999,");
	assert_null(dpo_buffer_room(&buffer, SIZE_MAX));
	assert_true(buffer.failed);
	assert_string_equal(dpo_buffer_text(&buffer), "");
	dpo_buffer_free(&buffer);
}

static void
visible_text_keeps_its_line(void **unused)
{
	static const char text[] = "a|b\\c\n\t\x7f\xc3\xa9\xc2\x9b\xc2\xa0\x9b\xc3";
	struct dpo_buffer buffer = { 0 };

	(void)unused;
	dpo_buffer_visible(&buffer, text, sizeof text - 1, "|\\");
	assert_string_equal(dpo_buffer_text(&buffer), "a\\|b\\\\c\\n\\x09\\x7f\xc3\xa9\\x9b\xc2\xa0\\x9b\\xc3");
	dpo_buffer_clear(&buffer);
	dpo_buffer_visible(&buffer, text, 3, "\\");
	assert_string_equal(dpo_buffer_text(&buffer), "a|b");
	dpo_buffer_free(&buffer);
}

static void
tables_find_every_key_and_no_other(void **unused)
{
	struct dpo_table table = { 0 };
	char key[16];

	(void)unused;
	assert_int_equal(dpo_table_get(&table, "a", 1, -7), -7);
	for (int i = 0; i < 20000; i++) {
		int n = snprintf(key, sizeof key, "k%d", i);

		assert_int_equal(dpo_table_add(&table, key, (size_t)n, i), 1);
	}
	assert_int_equal(dpo_table_add(&table, "k17", 3, 99), 0);
	assert_int_equal(dpo_table_add(&table, "k\0x", 3, 5), 1);
	for (int i = 0; i < 20000; i++) {
		int n = snprintf(key, sizeof key, "k%d", i);

		assert_int_equal(dpo_table_get(&table, key, (size_t)n, -1), i);
	}
	assert_int_equal(dpo_table_get(&table, "k\0x", 3, -1), 5);
	assert_int_equal(dpo_table_get(&table, "k\0y", 3, -1), -1);
	assert_int_equal(dpo_table_get(&table, "", 0, -1), -1);
	dpo_table_free(&table);
}

/* Every half against its definition by value: sign * fraction * 2^exponent. */
static void
halves_convert_exactly(void **unused)
{
	(void)unused;
	for (uint32_t h = 0; h < 65536; h++) {
		int exponent = (int)(h >> 10 & 31);
		double fraction = h & 1023, sign = h & 0x8000 ? -1 : 1, value;
		float got = dpo_bytes_from_f16((uint16_t)h);

		if (exponent == 31) {
			assert_true((h & 1023) ? isnan(got) : isinf(got));
			continue;
		}
		value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
		assert_true((double)got == sign * value);
		assert_int_equal(signbit(got) != 0, (h & 0x8000) != 0);
	}
	assert_true(dpo_bytes_from_bf16(0x3f80) == 1.0f);
}

/* Wherever it stands, in runs of every length around that in which they are looked at; the largest finite ones are. */
static void
numbers_that_are_not_finite_are_found(void **unused)
{
	static const uint32_t words[] = { 0x7f800000, 0xff800000, 0x7f800001, 0xffffffff };
	static const size_t lengths[] = { 0, 1, 2, 255, 256, 257, 511, 512, 700 };
	uint32_t floats[700];
	uint16_t halves[700];

	(void)unused;
	for (size_t i = 0; i < 700; i++) {
		floats[i] = i % 2 ? 0xff7fffff : 0x7f7fffff;
		halves[i] = i % 2 ? 0xfbff : 0x7bff;
	}
	for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
		size_t n = lengths[k];

		assert_true(dpo_bytes_finite(floats, n, 4, 0x7f800000) && dpo_bytes_finite(halves, n, 2, 0x7c00));
		for (size_t i = 0; i < n; i++) {
			uint32_t word = floats[i];
			uint16_t half = halves[i];

			floats[i] = words[i % 4];
			halves[i] = i % 2 ? 0xfc00 : 0x7e00;
			assert_false(dpo_bytes_finite(floats, n, 4, 0x7f800000));
			assert_false(dpo_bytes_finite(halves, n, 2, 0x7c00));
			assert_true(dpo_bytes_finite(floats, i, 4, 0x7f800000) && dpo_bytes_finite(halves, i, 2, 0x7c00));
			floats[i] = word;
			halves[i] = half;
		}
	}
}

static void
numbers_are_little_endian(void **unused)
{
	uint8_t raw[8];

	(void)unused;
	dpo_bytes_store64(raw, 0x0807060504030201u);
	for (uint8_t i = 0; i < 8; i++)
		assert_int_equal(raw[i], i + 1);
	assert_true(dpo_bytes_load64(raw) == 0x0807060504030201u);
}

static void
orders_are_permutations_of_their_key(void **unused)
{
	enum { N = 1000 };
	uint32_t a[N], b[N];
	char seen[N] = { 0 };

	(void)unused;
	assert_true(dpo_random_order(a, N, 42, 0));
	assert_true(dpo_random_order(b, N, 42, 0));
	assert_memory_equal(a, b, sizeof a);
	for (size_t i = 0; i < N; i++)
		seen[a[i]]++;
	for (size_t i = 0; i < N; i++)
		assert_int_equal(seen[i], 1);
	assert_true(dpo_random_order(b, N, 42, 1));
	assert_memory_not_equal(a, b, sizeof a);
	assert_true(dpo_random_order(b, N, 43, 0));
	assert_memory_not_equal(a, b, sizeof a);
}

/* 24 orders of 4, 4800 draws: each is expected 200 times; 6 standard deviations are 84. */
static void
orders_are_uniform(void **unused)
{
	int count[256] = { 0 };
	uint32_t order[4];

	(void)unused;
	for (uint64_t epoch = 0; epoch < 4800; epoch++) {
		assert_true(dpo_random_order(order, 4, 7, epoch));
		count[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
	}
	for (size_t i = 0; i < 256; i++)
		assert_true(count[i] == 0 || abs(count[i] - 200) < 84);
}

static void
normals_have_their_moments(void **unused)
{
	enum { N = 20001 };
	float *x = dpo_alloc(N, sizeof *x);
	double mean = 0, square = 0;

	(void)unused;
	assert_non_null(x);
	assert_true(dpo_random_normal(x, N, 0.02, 1, "weight"));
	for (size_t i = 0; i < N; i++) {
		mean += (double)x[i] / N;
		square += (double)x[i] * (double)x[i] / N;
	}
	assert_true(fabs(mean) < 6 * 0.02 / sqrt(N));
	assert_true(fabs(sqrt(square) / 0.02 - 1) < 0.03);
	free(x);
}

static void
utf8_is_strict(void **unused)
{
	static const char *const bad[] = { "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xff" };
	static const char good[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	uint32_t code;

	(void)unused;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(dpo_utf8_check((const uint8_t *)bad[i], strlen(bad[i])), 0);
	assert_int_equal(dpo_utf8_check((const uint8_t *)good, sizeof good - 1), sizeof good - 1);
	assert_int_equal(dpo_utf8_next((const uint8_t *)good + 6, 4, &code), 4);
	assert_int_equal(code, 0x1f600);
}

static void
names_too_long_fail_at_once(const char *directory)
{
	char name[257], *path;
	struct dpo_error err;
	struct dpo_out out;

	memset(name, 'n', sizeof name);
	name[256] = '\0';
	assert_non_null(path = dpo_file_join(directory, name));
	assert_int_equal(dpo_out_open(&out, path, &err), DPO_IO);
	assert_non_null(strstr(err.text, "name too long"));
	path[strlen(path) - 1] = '\0';
	assert_int_equal(dpo_file_write(path, "whole", 5, &err), DPO_OK);
	assert_int_equal(unlink(path), 0);
	free(path);
}

/* An atomic output is absent until the commit and complete after it; an abort leaves nothing. */
static void
outputs_are_complete_or_absent(void **unused)
{
	char directory[256], *path;
	struct dpo_buffer read = { 0 };
	struct dpo_error err;
	struct dpo_out out;

	(void)unused;
	fixture_directory(directory);
	assert_non_null(path = dpo_file_join(directory, "file"));
	assert_int_equal(dpo_out_open(&out, path, &err), DPO_OK);
	assert_int_equal(dpo_out_write(&out, "half", 4, &err), DPO_OK);
	assert_int_not_equal(access(path, F_OK), 0);
	dpo_out_abort(&out);
	dpo_out_abort(&out);
	assert_int_equal(rmdir(directory), 0);

	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(dpo_file_write(path, "whole", 5, &err), DPO_OK);
	assert_int_equal(dpo_file_read(&read, path, 5, &err), DPO_OK);
	assert_string_equal(dpo_buffer_text(&read), "whole");
	assert_int_equal(dpo_file_read(&read, path, 4, &err), DPO_LIMIT);
	dpo_buffer_free(&read);
	assert_int_equal(unlink(path), 0);
	names_too_long_fail_at_once(directory);
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(dpo_file_write(path, "x", 1, &err), DPO_IO);
	assert_non_null(strstr(err.text, path));
	free(path);
}

/* What has no place to be is found without opening anything. */
static void
places_of_outputs(void **unused)
{
	static const char *const good[] = { NULL, "-", "/dev/null", "file", "/dev/full" },
	    *bad[] = { "no/file", "inner", "there/file", NULL };
	char directory[256], too_long[257] = "";
	struct dpo_error err;

	(void)unused;
	fixture_directory(directory);
	assert_int_equal(chdir(directory), 0);
	bad[3] = memset(too_long, 'n', sizeof too_long - 1);
	assert_int_equal(mkdir("inner", 0700), 0);
	assert_int_equal(dpo_file_write("there", "x", 1, &err), DPO_OK);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(dpo_out_place(good[i], &err), DPO_OK);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(dpo_out_place(bad[i], &err), DPO_IO);
		assert_memory_equal(err.text, bad[i], strlen(bad[i]));
	}
	assert_int_equal(unlink("there"), 0);
	assert_int_equal(rmdir("inner"), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(directory), 0);
}

static void
square(void *context, size_t item)
{
	((size_t *)context)[item] = item * item;
}

static void
parallel_loops_do_each_item_once(void **unused)
{
	size_t result[100];

	(void)unused;
	for (int threads = 1; threads <= 4; threads++) {
		memset(result, 0xff, sizeof result);
		dpo_parallel_for(threads, 100, square, result);
		for (size_t i = 0; i < 100; i++)
			assert_int_equal(result[i], i * i);
	}
}

/* One processor is one thread, two are two, unless a quota says less. */
static void
threads_are_those_of_the_mask(void **unused)
{
	cpu_set_t all, some;
	int limit = dpo_parallel_quota("/proc/self/cgroup", "/sys/fs/cgroup"), n = 0;

	(void)unused;
	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	CPU_ZERO(&some);
	for (size_t processor = 0; processor < CPU_SETSIZE && n < 2; processor++)
		if (CPU_ISSET(processor, &all)) {
			CPU_SET(processor, &some);
			assert_int_equal(sched_setaffinity(0, sizeof some, &some), 0);
			n++;
			assert_int_equal(dpo_parallel_available(), limit > 0 && limit < n ? limit : n);
		}
	assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* The least on the way to the root, rounded up; other hierarchies, "max" and nonsense are no limit. */
static void
quotas_are_read_up_to_the_root(void **unused)
{
	static const struct {
		const char *group, *files[3];	/* of the root, of /a, of /a/b */
		int limit;
	} cases[] = {
		{ "0::/a/b\n", { NULL, NULL, NULL }, 0 },
		{ "0::/a/b\n", { NULL, "max 100000\n", "max 100000\n" }, 0 },
		{ "0::/a/b\n", { NULL, "max 100000\n", "200000 100000\n" }, 2 },
		{ "0::/a/b\n", { NULL, "150000 100000\n", "400000 100000\n" }, 2 },
		{ "0::/a/b\n", { "1000 100000\n", "300000 100000\n", "max 100000\n" }, 1 },
		{ "0::/a\n", { NULL, "300000 100000\n", "100000 100000\n" }, 3 },
		{ "0::/\n", { "500000 100000\n", "100000 100000\n", NULL }, 5 },
		{ "4:cpu:/a/b\n0::/a\n", { NULL, "700000 100000\n", "100000 100000\n" }, 7 },
		{ "4:cpu:/a/b\n", { NULL, NULL, "100000 100000\n" }, 0 },
		{ "0::/a/b\n", { NULL, "0 100000\n", "100000 0\n" }, 0 },
		{ "0::/a/b\n", { NULL, "-1 100000\n", "many\n" }, 0 },
	};
	static const char *const names[] = { "cpu.max", "a/cpu.max", "a/b/cpu.max" };
	char of[512];

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fixture_set_up(NULL);
		assert_int_equal(mkdir(fixture_path(of, fixture_here, "a"), 0700), 0);
		assert_int_equal(mkdir(fixture_path(of, fixture_here, "a/b"), 0700), 0);
		for (size_t k = 0; k < 3; k++)
			if (cases[i].files[k])
				fixture_text(fixture_here, names[k], cases[i].files[k]);
		fixture_text(fixture_here, "of", cases[i].group);
		if (dpo_parallel_quota(fixture_path(of, fixture_here, "of"), fixture_here) != cases[i].limit)
			fail_msg("case %zu", i);
		fixture_tear_down(NULL);
	}
	assert_int_equal(dpo_parallel_quota("/nowhere", "/nowhere"), 0);
}

static void
errors_are_one_line_with_their_place(void **unused)
{
	struct dpo_error err;

	(void)unused;
	assert_int_equal(dpo_fail(&err, DPO_FORMAT, "\"%s\" is not a string", "chosen"), DPO_FORMAT);
	assert_int_equal(dpo_error_prefix(&err, "%s:%d", "prefs.jsonl", 17), DPO_FORMAT);
	assert_string_equal(err.text, "prefs.jsonl:17: \"chosen\" is not a string");
	assert_int_equal(dpo_fail(NULL, DPO_IO, "no one listens"), DPO_IO);
}

/* Eight runs of these lengths, 256 bytes at a time, against libsodium's hash of each by itself. */
static void
check_hashes(const size_t bytes[DPO_HASHES_LANES])
{
	static uint8_t data[DPO_HASHES_LANES][1536];
	uint8_t hash[DPO_HASHES_LANES][DPO_HASH_BYTES], expected[DPO_HASH_BYTES], *hashes_at[DPO_HASHES_LANES];
	const uint8_t *runs[DPO_HASHES_LANES];
	struct dpo_hashes hashes;

	dpo_random_bytes(data, sizeof data, "test", 1, bytes[0]);
	for (size_t i = 0; i < DPO_HASHES_LANES; i++) {
		runs[i] = bytes[i] ? data[i] : NULL;
		hashes_at[i] = bytes[i] ? hash[i] : NULL;
	}
	dpo_hashes_begin(&hashes, bytes);
	for (size_t at = 0; at < sizeof data[0]; at += 256) {
		dpo_hashes_add(&hashes, runs, 256);
		for (size_t i = 0; i < DPO_HASHES_LANES; i++)
			runs[i] = bytes[i] > at + 256 ? runs[i] + 256 : NULL;
	}
	dpo_hashes_end(&hashes, hashes_at);
	for (size_t i = 0; i < DPO_HASHES_LANES; i++) {
		if (bytes[i] == 0)
			continue;
		dpo_hash(expected, data[i], bytes[i]);
		assert_memory_equal(hash[i], expected, sizeof expected);
	}
}

/* Up to two groups and some, on no thread but this or several. */
static void
any_number_of_hashes_is_those_of_each(void **unused)
{
	enum { MOST = 2 * DPO_HASHES_LANES + 3 };
	static uint8_t data[5000];
	uint8_t hash[MOST][DPO_HASH_BYTES], expected[DPO_HASH_BYTES];
	const uint8_t *runs[MOST];
	size_t bytes[MOST];

	(void)unused;
	dpo_random_bytes(data, sizeof data, "test", 2, 0);
	for (size_t i = 0; i < MOST; i++) {
		bytes[i] = 1 + i * i * 641 % 4900;
		runs[i] = data + i;
	}
	for (size_t n = 0; n <= MOST; n++) {
		memset(hash, 0, sizeof hash);
		dpo_hashes_all((int)(n % 4) + 1, n, runs, bytes, hash);
		for (size_t i = 0; i < n; i++) {
			dpo_hash(expected, runs[i], bytes[i]);
			assert_memory_equal(hash[i], expected, sizeof expected);
		}
	}
}

static enum dpo_cpu most = DPO_CPU_AVX512;

enum dpo_cpu __wrap_dpo_cpu(void);

enum dpo_cpu
__wrap_dpo_cpu(void)
{
	return dpo_cpu_has() < most ? dpo_cpu_has() : most;
}

static void
hashes_at_once_are_those_of_each(void **unused)
{
	static const size_t some[][DPO_HASHES_LANES] = {
		{ 1, 127, 128, 129, 255, 256, 257, 1536 }, { 1000, 0, 1, 0, 384, 511, 512, 513 }, { 0, 0, 0, 0, 0, 0, 0, 640 },
		{ 1280, 1280, 1280, 1280, 1280, 1280, 1280, 1280 },
	};

	(void)unused;
	for (most = DPO_CPU_BASE; most <= dpo_cpu_has(); most++)	/* with the first, one after the other */
		for (size_t i = 0; i < sizeof some / sizeof *some; i++)
			check_hashes(some[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_refuse_overflow),
		cmocka_unit_test(aligned_blocks_are_zero),
		cmocka_unit_test(buffers_keep_what_was_appended),
		cmocka_unit_test(visible_text_keeps_its_line),
		cmocka_unit_test(tables_find_every_key_and_no_other),
		cmocka_unit_test(halves_convert_exactly),
		cmocka_unit_test(numbers_are_little_endian),
		cmocka_unit_test(numbers_that_are_not_finite_are_found),
		cmocka_unit_test(orders_are_permutations_of_their_key),
		cmocka_unit_test(orders_are_uniform),
		cmocka_unit_test(normals_have_their_moments),
		cmocka_unit_test(hashes_at_once_are_those_of_each),
		cmocka_unit_test(any_number_of_hashes_is_those_of_each),
		cmocka_unit_test(utf8_is_strict),
		cmocka_unit_test(outputs_are_complete_or_absent),
		cmocka_unit_test(places_of_outputs),
		cmocka_unit_test(threads_are_those_of_the_mask),
		cmocka_unit_test(quotas_are_read_up_to_the_root),
		cmocka_unit_test(parallel_loops_do_each_item_once),
		cmocka_unit_test(errors_are_one_line_with_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
