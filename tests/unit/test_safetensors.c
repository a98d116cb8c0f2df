/* safetensors and shards: what is refused and why, what is accepted, and the writer. */
#include "base/bytes.h"
#include "export/safewrite.h"
#include "fixture.h"
#include "model/safetensors.h"
#include "model/shards.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char *const directory = fixture_here;

/* A file with this length field, header and n bytes of data. */
static void
put(const char *name, uint64_t length, const char *header, size_t header_bytes, size_t n)
{
	uint8_t *bytes = calloc(8 + header_bytes + n, 1);

	assert_non_null(bytes);
	dpo_bytes_store64(bytes, length);
	memcpy(bytes + 8, header, header_bytes);
	for (size_t i = 0; i < n; i++)
		bytes[8 + header_bytes + i] = (uint8_t)i;
	fixture_write(directory, name, bytes, 8 + header_bytes + n);
	free(bytes);
}

static void
put_text(const char *name, const char *header, size_t n)
{
	put(name, strlen(header), header, strlen(header), n);
}

/* Opening the file fails with this status and these words, and with its path. */
static void
refused(const char *name, enum dpo_status status, const char *words)
{
	struct dpo_safetensors set = { 0 };
	struct dpo_error err = { 0 };
	char path[512];

	assert_int_equal(dpo_safetensors_add(&set, fixture_path(path, directory, name), &err),
	    status);
	dpo_safetensors_close(&set);
	if (!strstr(err.text, words) || strncmp(err.text, path, strlen(path)) != 0)
		fail_msg("\"%s\" lacks \"%s\" or its path", err.text, words);
}

static void
lengths_are_checked(void **unused)
{
	(void)unused;
	put("f", 0, "", 0, 0);
	refused("f", DPO_FORMAT, "does not begin with {");
	put("f", 1, "{", 1, 0);
	refused("f", DPO_FORMAT, "JSON");
	put("f", (uint64_t)1 << 63, "{}", 2, 0);
	refused("f", DPO_LIMIT, "9223372036854775808");
	put("f", UINT64_MAX, "{}", 2, 0);
	refused("f", DPO_LIMIT, "longer than");
	put("f", 3, "{}", 2, 0);
	refused("f", DPO_TRUNCATED, "within its header");
	put("f", 100000001, "{}", 2, 0);
	refused("f", DPO_LIMIT, "100000001");
	fixture_write(directory, "f", "1234567", 7);
	refused("f", DPO_TRUNCATED, "too few");
	fixture_write(directory, "f", "", 0);
	refused("f", DPO_TRUNCATED, "too few");
}

static void
malformed_headers_are_refused(void **unused)
{
	static const struct { const char *header; size_t data; enum dpo_status status; const char *words; } cases[] = {
		{ " {}", 0, DPO_FORMAT, "begin with {" },
		{ "[]", 0, DPO_FORMAT, "begin with {" },
		{ "{\"a\xff\":1}", 0, DPO_FORMAT, "UTF-8" },
		{ "{} x", 0, DPO_FORMAT, "JSON" },
		{ "{}{}", 0, DPO_FORMAT, "unexpected token" },
		{ "{,}", 0, DPO_FORMAT, "unexpected token" },
		{ "{\"a\"}", 0, DPO_FORMAT, "unexpected token" },
		{ "{\"a\":1}", 0, DPO_FORMAT, "\"a\": not an object" },
		{ "{\"a\":{}}", 0, DPO_FORMAT, "not an object of dtype" },
		{ "{\"a\\u0000b\":{}}", 0, DPO_FORMAT, "u0000" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4,
		    DPO_FORMAT, "not an object of" },
		{ "{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, DPO_FORMAT,
		    "\"dtype\"" },
		{ "{\"a\":{\"dtype\":\"Q7\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
		    DPO_UNSUPPORTED, "\"Q7\"" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, DPO_FORMAT,
		    "\"shape\"" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
		    DPO_FORMAT, "\"shape\"" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4,
		    DPO_FORMAT, "\"shape\"" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4,
		    DPO_FORMAT, "\"shape\"" },
		/* wraps to 4 elements in 64 bits */
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4194305,4194305,211106198978564],\"data_offsets\":[0,16]}}", 16, DPO_FORMAT,
		    "overflows" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4503599627370496,1024],\"data_offsets\":[0,16]}}", 16, DPO_FORMAT,
		    "do not fit" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, DPO_LIMIT, "dimensions" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4,
		    DPO_FORMAT, "list of two" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, DPO_FORMAT,
		    "backwards" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
		    DPO_FORMAT, "not a position" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1e300]}}", 4,
		    DPO_FORMAT, "not a position" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,3]}}", 4, DPO_FORMAT,
		    "do not fit" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, DPO_FORMAT,
		    "begins at byte 1" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7,
		    DPO_TRUNCATED, "beyond the end" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, DPO_FORMAT,
		    "1 bytes after" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
		    "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6,
		    DPO_FORMAT, "\"b\": begins at byte 2" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
		    "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}", 12,
		    DPO_FORMAT, "\"b\": begins at byte 8" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
		    "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
		    DPO_FORMAT, "begins at byte 0" },
		{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
		    "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
		    DPO_FORMAT, "occurs twice" },
		{ "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, DPO_FORMAT,
		    "duplicate" },
		{ "{\"__metadata__\":{\"x\":1}}", 0, DPO_FORMAT, "object of strings" },
		{ "{\"__metadata__\":3}", 0, DPO_FORMAT, "object of strings" },
		{ "{}", 1, DPO_FORMAT, "1 bytes after" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put_text("f", cases[i].header, cases[i].data);
		refused("f", cases[i].status, cases[i].words);
	}
}

static void
only_regular_files_are_opened(void **unused)
{
	char path[512];

	(void)unused;
	refused("absent", DPO_IO, "No such file");
	assert_int_equal(mkdir(fixture_path(path, directory, "dir"), 0700), 0);
	refused("dir", DPO_FORMAT, "not a regular file");
	assert_int_equal(mkfifo(fixture_path(path, directory, "fifo"), 0600), 0);
	refused("fifo", DPO_FORMAT, "not a regular file");
}

static void
odd_but_good_files_are_read(void **unused)
{
	static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
	    "\"b/c\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
	    "\"empty\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[4,4]},"
	    "\"nothing\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]},"
	    "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ";
	const struct dpo_safetensors_entry *entry;
	struct dpo_safetensors set = { 0 };
	struct dpo_error err;
	char path[512];
	uint8_t bytes[6];

	(void)unused;
	put_text("f", header, 16);
	assert_int_equal(dpo_safetensors_add(&set, fixture_path(path, directory, "f"), &err),
	    DPO_OK);
	assert_int_equal(set.n_entries, 4);
	assert_null(dpo_safetensors_find(&set, "__metadata__"));
	assert_non_null(entry = dpo_safetensors_find(&set, "scalar"));
	assert_int_equal(entry->rank, 0);
	assert_int_equal(entry->count, 1);
	assert_non_null(entry = dpo_safetensors_find(&set, "empty"));
	assert_int_equal(entry->dtype, DPO_DTYPE_OTHER);
	assert_non_null(entry = dpo_safetensors_find(&set, "b/c"));
	assert_int_equal(entry->dtype, DPO_DTYPE_F16);
	assert_int_equal(entry->count, 6);
	assert_int_equal(dpo_safetensors_read(&set, entry, 6, bytes, sizeof bytes, &err), DPO_OK);
	for (int i = 0; i < 6; i++)
		assert_int_equal(bytes[i], 10 + i);
	/* The same file once more would give every name twice. */
	assert_int_equal(dpo_safetensors_add(&set, path, &err), DPO_FORMAT);
	dpo_safetensors_close(&set);
}

static void
a_file_that_shrinks_is_an_error(void **unused)
{
	struct dpo_safetensors set = { 0 };
	struct dpo_error err;
	char path[512];
	uint8_t bytes[64];

	(void)unused;
	put_text("f", "{\"a\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,64]}}", 64);
	assert_int_equal(dpo_safetensors_add(&set, fixture_path(path, directory, "f"), &err),
	    DPO_OK);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(dpo_safetensors_read(&set, &set.entries[0], 0, bytes, 64, &err),
	    DPO_TRUNCATED);
	assert_non_null(strstr(err.text, "tensor \"a\""));
	assert_int_equal(dpo_safetensors_read(&set, &set.entries[0], 0, bytes, 64, NULL),
	    DPO_TRUNCATED);
	dpo_safetensors_close(&set);
}

/*
 * Many tensors and a long name cost time in proportion: the bound is far above that and far below a
 * square.
 */
static void
large_headers_are_read_quickly(void **unused)
{
	enum { TENSORS = 100000, NAME = 1 << 20 };
	struct dpo_safetensors set = { 0 };
	struct dpo_buffer text = { 0 };
	struct dpo_error err;
	char path[512], *name = malloc(NAME + 1);
	clock_t start;

	(void)unused;
	assert_non_null(name);
	memset(name, 'n', NAME);
	name[NAME] = '\0';
	dpo_buffer_printf(&text, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
	    name);
	for (int i = TENSORS; i-- > 0;)
		dpo_buffer_printf(&text, ",\"t.%d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i, 4 * i,
		    4 * i + 4);
	dpo_buffer_byte(&text, '}');
	put("f", text.len, dpo_buffer_text(&text), text.len, 4 * TENSORS);
	start = clock();
	assert_int_equal(dpo_safetensors_add(&set, fixture_path(path, directory, "f"), &err),
	    DPO_OK);
	assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 10);
	assert_int_equal(set.n_entries, TENSORS + 1);
	assert_non_null(dpo_safetensors_find(&set, name));
	assert_int_equal(dpo_safetensors_find(&set, "t.99999")->begin, 4 * 99999);
	dpo_safetensors_close(&set);
	dpo_buffer_free(&text);
	free(name);
}

static void
what_is_written_reads_back(void **unused)
{
	static const size_t shape[] = { 2, 3 }, one[] = { 1 };
	static const float matrix[] = { 1, -2, 0.5f, -0.0f, 3e-45f, 3.4e38f }, scalar[] = { 7 };
	const struct dpo_safetensors_item items[] = { { "m", shape, 2, matrix }, { "a \"b\"", one,
	    1, scalar } };
	struct dpo_safetensors set = { 0 };
	struct dpo_error err;
	struct dpo_out out;
	uint8_t stored[24];
	float back[6];
	char path[512];

	(void)unused;
	assert_int_equal(dpo_out_open(&out, fixture_path(path, directory, "f"), &err), DPO_OK);
	assert_int_equal(dpo_safetensors_write(&out, items, 2, DPO_DTYPE_F32, &err), DPO_OK);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
	assert_int_equal(dpo_safetensors_add(&set, path, &err), DPO_OK);
	assert_int_equal(set.shards[0].data % 8, 0);
	assert_int_equal(set.n_entries, 2);
	assert_int_equal(dpo_safetensors_read(&set, dpo_safetensors_find(&set, "m"), 0, stored, 24,
	    &err), DPO_OK);
	dpo_dtype_to_float(back, stored, 6, DPO_DTYPE_F32);
	assert_memory_equal(back, matrix, sizeof matrix);
	assert_int_equal(dpo_safetensors_find(&set, "a \"b\"")->begin, 24);
	dpo_safetensors_close(&set);
}

static void
sixteen_bit_floats_widen_exactly(void **unused)
{
	/* 1, -2, largest, smallest normal, smallest subnormal, -0, inf */
	static const uint8_t half[] = { 0, 0x3c, 0, 0xc0, 0xff, 0x7b, 0, 4, 1, 0, 0, 0x80, 0,
	    0x7c };
	static const float half_is[] = { 1, -2, 65504, 0x1p-14f, 0x1p-24f, -0.0f, INFINITY };
	static const uint8_t brain[] = { 0x80, 0x3f, 0, 0xc0, 0x7f, 0x7f, 0x80, 0, 1, 0, 0, 0x80,
	    0x80, 0x7f };
	static const float brain_is[] = { 1, -2, 0x1.fep127f, 0x1p-126f, 0x1p-133f, -0.0f,
	    INFINITY };
	float out[7];

	(void)unused;
	dpo_dtype_to_float(out, half, 7, DPO_DTYPE_F16);
	assert_memory_equal(out, half_is, sizeof out);
	dpo_dtype_to_float(out, brain, 7, DPO_DTYPE_BF16);
	assert_memory_equal(out, brain_is, sizeof out);
}

/* ------------------------------------------------------------------ shards */

#define ONE(name) "{\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"

/* Opening the directory with this index gives that status and those words. */
static void
index_gives(const char *text, enum dpo_status status, const char *words)
{
	struct dpo_safetensors set;
	struct dpo_error err = { 0 };

	fixture_text(directory, "model.safetensors.index.json", text);
	assert_int_equal(dpo_shards_open(&set, directory, &err), status);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	dpo_safetensors_close(&set);
}

static void
an_index_names_files_beside_it(void **unused)
{
	static const char *const names[] = { "../x", "/etc/passwd", "a/b", ".", "..", "" };
	char text[1024], long_name[301];

	(void)unused;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
		index_gives(text, DPO_FORMAT, "not the name of a file beside the index");
	}
	memset(long_name, 'x', 300);
	long_name[300] = '\0';
	snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", long_name);
	index_gives(text, DPO_FORMAT, "not the name of a file beside the index");
	index_gives("{\"weight_map\":{\"a\":\"x\\u0000y\"}}", DPO_FORMAT, "u0000");
	index_gives("{\"weight_map\":{\"a\":7}}", DPO_FORMAT, "not a file name");
	index_gives("{\"weight_map\":[]}", DPO_FORMAT, "not an object");
	index_gives("{}", DPO_FORMAT, "not an object");
	index_gives("{\"weight_map\":{\"a\":\"one\",\"a\":\"one\"}}", DPO_FORMAT, "duplicate");
}

static void
index_and_shards_must_agree(void **unused)
{
	char path[512];

	(void)unused;
	put_text("one", ONE("a"), 4);
	put_text("two", ONE("b"), 4);
	put_text("again", ONE("a"), 4);
	index_gives("{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"one\",\"b\":\"two\"}}", DPO_OK, "");
	assert_int_equal(symlink("two", fixture_path(path, directory, "link")), 0);
	index_gives("{\"weight_map\":{\"a\":\"one\",\"b\":\"link\"}}", DPO_OK, "");
	index_gives("{\"weight_map\":{\"a\":\"one\",\"b\":\"absent\"}}", DPO_IO, "No such file");
	index_gives("{\"weight_map\":{\"a\":\"one\",\"b\":\"one\"}}", DPO_FORMAT,
	    "\"b\" is not in \"one\"");
	index_gives("{\"weight_map\":{\"a\":\"two\",\"b\":\"two\"}}", DPO_FORMAT,
	    "\"a\" is not in \"two\"");
	index_gives("{\"weight_map\":{\"a\":\"one\",\"b\":\"two\",\"c\":\"again\"}}", DPO_FORMAT,
	    "occurs twice");
	put_text("two", "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
	    "\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8);
	index_gives("{\"weight_map\":{\"a\":\"one\",\"b\":\"two\"}}", DPO_FORMAT,
	    "the shards hold 3 tensors, the index names 2");
	assert_int_equal(mkfifo(fixture_path(path, directory, "fifo"), 0600), 0);
	index_gives("{\"weight_map\":{\"a\":\"fifo\"}}", DPO_FORMAT, "not a regular file");
}

static void
directories_without_safetensors_are_refused(void **unused)
{
	struct dpo_safetensors set;
	struct dpo_error err;

	(void)unused;
	assert_int_equal(dpo_shards_open(&set, directory, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "neither model.safetensors nor"));
	fixture_text(directory, "pytorch_model.bin", "\x80\x02");
	assert_int_equal(dpo_shards_open(&set, directory, &err), DPO_TRUNCATED);
	assert_non_null(strstr(err.text, "pytorch_model.bin: 2 bytes"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lengths_are_checked, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(malformed_headers_are_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(only_regular_files_are_opened, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(odd_but_good_files_are_read, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(a_file_that_shrinks_is_an_error, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(large_headers_are_read_quickly, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(what_is_written_reads_back, fixture_set_up, fixture_tear_down),
		cmocka_unit_test(sixteen_bit_floats_widen_exactly),
		cmocka_unit_test_setup_teardown(an_index_names_files_beside_it, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(index_and_shards_must_agree, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(directories_without_safetensors_are_refused, fixture_set_up,
		    fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
