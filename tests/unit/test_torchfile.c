/* pickle, zip and torchfile: hostile files are refused in one line, whatever was done to them, and cost little memory. */
#include "base/bytes.h"
#include "base/random.h"
#include "fixture.h"
#include "model/pickle.h"
#include "model/torchfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { MEMORY = 1 << 20 };	/* what a file that is refused may have cost */

static char *const directory = fixture_here;

/* ------------------------------------------------------------------ writing pickles by hand */

#define PUT(buffer, literal) dpo_buffer_append(buffer, literal, sizeof(literal) - 1)

static void
put_string(struct dpo_buffer *out, const char *text)
{
	uint8_t raw[4];

	dpo_bytes_store32(raw, (uint32_t)strlen(text));
	dpo_buffer_byte(out, 'X');
	dpo_buffer_append(out, raw, 4);
	dpo_buffer_string(out, text);
}

/* name: a tensor of 2 x 3 floats, the storage of `key` from 0 on. */
static void
put_tensor(struct dpo_buffer *out, const char *name, const char *key, bool old)
{
	put_string(out, name);
	PUT(out, "ctorch._utils\n_rebuild_tensor_v2\n((");
	put_string(out, "storage");
	PUT(out, "ctorch\nFloatStorage\n");
	put_string(out, key);
	put_string(out, "cpu");
	PUT(out, "K\6");
	if (old)
		PUT(out, "N");
	PUT(out, "tQK\0K\2K\3\x86K\3K\1\x86\x89" "ccollections\nOrderedDict\n)RtR");
}

static void
put_dict(struct dpo_buffer *out, bool old)
{
	PUT(out, "\x80\2ccollections\nOrderedDict\n)Rq\0(");
	put_tensor(out, "a", "0", old);
	put_tensor(out, "b", "1", old);
	PUT(out, "u}");
	put_string(out, "_metadata");
	PUT(out, "ccollections\nOrderedDict\n)Rsb.");
}

static void
put_storage(struct dpo_buffer *out, bool count)
{
	uint8_t raw[8];

	dpo_bytes_store64(raw, 6);
	if (count)
		dpo_buffer_append(out, raw, 8);
	for (uint32_t i = 0; i < 6; i++) {
		dpo_bytes_store32(raw, dpo_bytes_from_float((float)i));
		dpo_buffer_append(out, raw, 4);
	}
}

static void
make_sequence(struct dpo_buffer *out)
{
	PUT(out, "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}(");
	put_string(out, "little_endian");
	PUT(out, "\x88u.");
	put_dict(out, true);
	PUT(out, "\x80\2](");
	put_string(out, "0");
	put_string(out, "1");
	PUT(out, "e.");
	put_storage(out, true);
	put_storage(out, true);
}

static void
put16(struct dpo_buffer *out, size_t value)
{
	dpo_buffer_byte(out, (uint8_t)value);
	dpo_buffer_byte(out, (uint8_t)(value >> 8));
}

static void
put32(struct dpo_buffer *out, size_t value)
{
	put16(out, value);
	put16(out, value >> 16);
}

/* The common part of a local header and a directory entry. */
static void
put_member_fields(struct dpo_buffer *out, size_t name, size_t bytes)
{
	put16(out, 0);		/* flags; then method, time and date, checksum */
	put16(out, 0);
	put32(out, 0);
	put32(out, 0);
	put32(out, bytes);
	put32(out, bytes);
	put16(out, name);
	put16(out, 0);
}

static void
put_member(struct dpo_buffer *out, struct dpo_buffer *index, const char *name, const struct dpo_buffer *data)
{
	size_t at = out->len;

	PUT(out, "PK\3\4\x14\0");
	put_member_fields(out, strlen(name), data->len);
	dpo_buffer_string(out, name);
	dpo_buffer_append(out, data->data, data->len);
	PUT(index, "PK\1\2\x14\0\x14\0");
	put_member_fields(index, strlen(name), data->len);
	PUT(index, "\0\0\0\0\0\0\0\0\0\0");
	put32(index, at);
	dpo_buffer_string(index, name);
}

static void
put_end(struct dpo_buffer *out, const struct dpo_buffer *index)
{
	size_t at = out->len;

	dpo_buffer_append(out, index->data, index->len);
	PUT(out, "PK\5\6\0\0\0\0\3\0\3\0");
	put32(out, index->len);
	put32(out, at);
	put16(out, 0);
}

static void
make_zip(struct dpo_buffer *out)
{
	static const char *const names[] = { "m/data.pkl", "m/data/0", "m/data/1" };
	struct dpo_buffer index = { 0 }, data = { 0 };

	for (size_t i = 0; i < 3; i++) {
		dpo_buffer_clear(&data);
		if (i == 0)
			put_dict(&data, false);
		else
			put_storage(&data, false);
		put_member(out, &index, names[i], &data);
	}
	put_end(out, &index);
	dpo_buffer_free(&index);
	dpo_buffer_free(&data);
}

/* ------------------------------------------------------------------ files */

static enum dpo_status
open_file(struct dpo_safetensors *set, const struct dpo_buffer *bytes, size_t n, struct dpo_error *err)
{
	char path[512];
	enum dpo_status status;

	fixture_write(directory, "f", bytes->data, n);
	*set = (struct dpo_safetensors){ 0 };
	*err = (struct dpo_error){ 0 };
	status = dpo_torchfile_add(set, fixture_path(path, directory, "f"), err);
	if (status != DPO_OK && (strncmp(err->text, path, strlen(path)) != 0 || strchr(err->text, '\n')))
		fail_msg("\"%s\" is not one line that begins with the path", err->text);
	return status;
}

typedef void make_file(struct dpo_buffer *out);

static make_file *const makers[] = { make_sequence, make_zip };

static void
good_files_are_read(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 2; i++) {
		struct dpo_buffer bytes = { 0 };
		struct dpo_safetensors set;
		struct dpo_error err;
		uint8_t stored[24];
		float numbers[6];

		makers[i](&bytes);
		assert_int_equal(open_file(&set, &bytes, bytes.len, &err), DPO_OK);
		assert_int_equal(set.n_entries, 2);
		assert_int_equal(set.entries[1].rank, 2);
		assert_int_equal(set.entries[1].shape[1], 3);
		assert_string_equal(set.entries[1].dtype_name, "F32");
		assert_int_equal(dpo_safetensors_read(&set, dpo_safetensors_find(&set, "b"), 0, stored, sizeof stored, &err),
		    DPO_OK);
		dpo_dtype_to_float(numbers, stored, 6, DPO_DTYPE_F32);
		for (size_t k = 0; k < 6; k++)
			assert_true(numbers[k] == (float)k);
		dpo_safetensors_close(&set);
		dpo_buffer_free(&bytes);
	}
}

static void
truncated_files_are_refused(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 2; i++) {
		struct dpo_buffer bytes = { 0 };
		struct dpo_safetensors set;
		struct dpo_error err;

		makers[i](&bytes);
		for (size_t n = 0; n < bytes.len; n++) {
			if (open_file(&set, &bytes, n, &err) == DPO_OK)
				fail_msg("form %zu cut to %zu bytes passes", i, n);
			dpo_safetensors_close(&set);
		}
		dpo_buffer_free(&bytes);
	}
}

/* Whatever passes leaves every byte of its tensors within the file. */
static void
changed_files_are_refused_or_read(void **unused)
{
	(void)unused;
	for (uint64_t round = 0; round < 4000; round++) {
		struct dpo_buffer bytes = { 0 };
		struct dpo_safetensors set;
		uint64_t random[4];
		struct dpo_error err;
		uint8_t stored[24];

		makers[round % 2](&bytes);
		dpo_random_bytes(random, sizeof random, "torchfile", 1, round);
		for (size_t i = 0; i < 1 + round % 3; i++)
			bytes.data[random[i] % bytes.len] = (uint8_t)(random[i] >> 56);
		if (open_file(&set, &bytes, bytes.len, &err) == DPO_OK)
			for (size_t i = 0; i < set.n_entries; i++)
				if (set.entries[i].bytes <= sizeof stored)
					assert_int_equal(dpo_safetensors_read(&set, &set.entries[i], 0, stored,
					    set.entries[i].bytes, &err), DPO_OK);
		dpo_safetensors_close(&set);
		dpo_buffer_free(&bytes);
	}
}

/* The data of one storage are the header of the next: each is whole, but they overlap. */
static void
members_that_overlap_are_refused(void **unused)
{
	struct dpo_buffer out = { 0 }, index = { 0 }, data = { 0 };
	struct dpo_safetensors set;
	struct dpo_error err;

	(void)unused;
	put_dict(&data, false);
	put_member(&out, &index, "m/data.pkl", &data);
	dpo_buffer_clear(&data);
	put_storage(&data, false);
	put_member(&out, &index, "m/data/0", &data);
	out.len -= data.len;
	put_member(&out, &index, "m/data/1", &data);
	put_end(&out, &index);
	assert_int_equal(open_file(&set, &out, out.len, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "members overlap"));
	dpo_safetensors_close(&set);
	dpo_buffer_free(&out);
	dpo_buffer_free(&index);
	dpo_buffer_free(&data);
}

/* ------------------------------------------------------------------ pickles alone */

static const struct dpo_pickle_global globals[] = { { "collections OrderedDict", true }, { "torch f", false }, { NULL, false } };

/* The pickle is refused with this status and these words, and what it cost is little. */
static void
refused(const void *bytes, size_t n, enum dpo_status wanted, const char *words)
{
	struct dpo_pickle pickle = { .globals = globals, .end = n };
	struct dpo_error err = { 0 };
	enum dpo_status status;
	uint32_t root;
	char path[512];
	size_t cost;

	fixture_write(directory, "f", bytes, n);
	assert_true((pickle.fd = open(fixture_path(path, directory, "f"), O_RDONLY | O_CLOEXEC)) >= 0);
	status = dpo_pickle_read(&pickle, &root, &err);
	cost = pickle.values_capacity * sizeof *pickle.values + pickle.cells_capacity * sizeof *pickle.cells +
	    pickle.stack_capacity * sizeof *pickle.stack + pickle.memo_capacity * sizeof *pickle.memo + pickle.text.capacity +
	    sizeof pickle;
	close(pickle.fd);
	dpo_pickle_free(&pickle);
	if (status != wanted || !strstr(err.text, words))
		fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", status, err.text, wanted, words);
	assert_true(cost <= MEMORY);
}

#define REFUSED(literal, status, words) refused(literal, sizeof(literal) - 1, status, words)

/* `unit` a million times after `start`. */
static void
refused_run(const char *start, const char *unit, size_t n, enum dpo_status status, const char *words)
{
	struct dpo_buffer bytes = { 0 };

	dpo_buffer_string(&bytes, start);
	for (size_t i = 0; i < 1000000; i++)
		dpo_buffer_append(&bytes, unit, n);
	refused(bytes.data, bytes.len, status, words);
	dpo_buffer_free(&bytes);
}

static void
opcodes_outside_the_set_are_named(void **unused)
{
	static const char known[] = "(NKMJX)]}tasueucRQbqrhj.\x80\x85\x86\x87\x88\x89\x8a";

	(void)unused;
	for (int code = 0; code < 256; code++) {
		uint8_t raw[] = { 'N', (uint8_t)code, '1', '\n', '.' };
		char words[64];

		if (code && strchr(known, code))
			continue;
		snprintf(words, sizeof words, "byte 1: the opcode 0x%02x, which no state dict needs", (unsigned)code);
		refused(raw, sizeof raw, DPO_UNSUPPORTED, words);
	}
}

static void
globals_outside_the_set_are_named(void **unused)
{
	(void)unused;
	REFUSED("cos\nsystem\n", DPO_UNSUPPORTED, "byte 0: the global \"os system\", which no state dict needs");
	REFUSED("cbuiltins\neval\n(X\1\0\0\0""1tR.", DPO_UNSUPPORTED, "builtins eval");
	REFUSED("ccollections\nOrderedDict.x\n", DPO_UNSUPPORTED, "OrderedDict.x");
	REFUSED("c\1\nx\n", DPO_FORMAT, "proper name");
	refused_run("c", "x", 1, DPO_FORMAT, "proper name");
}

static void
stacks_that_do_not_fit_are_refused(void **unused)
{
	(void)unused;
	REFUSED(".", DPO_FORMAT, "leaves 0 values");
	REFUSED("NN.", DPO_FORMAT, "leaves 2 values");
	REFUSED("(N.", DPO_FORMAT, "leaves 1 values");
	REFUSED("\x85", DPO_FORMAT, "takes more");
	REFUSED("N(\x85", DPO_FORMAT, "takes more");
	REFUSED("t", DPO_FORMAT, "without the mark");
	REFUSED("N(Ne.", DPO_FORMAT, "no list");
	REFUSED("}(Nu.", DPO_FORMAT, "no dict");
	REFUSED("]NNs.", DPO_FORMAT, "no dict");
	REFUSED("N)R.", DPO_FORMAT, "no global");
	REFUSED("ctorch\nf\nNR.", DPO_FORMAT, "no global");
	REFUSED("NQ.", DPO_FORMAT, "no tuple");
	REFUSED("ctorch\nf\n)R}b.", DPO_UNSUPPORTED, "attributes");
	REFUSED("q\0", DPO_FORMAT, "takes more");
	REFUSED("h\0", DPO_FORMAT, "memo 0 of 0");
	REFUSED("\x80\4.", DPO_UNSUPPORTED, "protocol 4");
	REFUSED("X\2\0\0\0\xff\xff.", DPO_FORMAT, "no text");
	REFUSED("X\2\0\0\0a\0.", DPO_FORMAT, "no text");
	REFUSED("\x8a\xff", DPO_LIMIT, "255 bytes");
}

static void
bombs_cost_little(void **unused)
{
	(void)unused;
	REFUSED("Nr\xff\xff\xff\x7f", DPO_LIMIT, "memo 2147483647 where 0 is next");
	REFUSED("X\xff\xff\xff\xff", DPO_LIMIT, "a string of 4294967295 bytes");
	REFUSED("X\0\1\0\0", DPO_LIMIT, "a string of 256 bytes");
	refused_run("", "(", 1, DPO_LIMIT, "nested more than 64 deep");
	refused_run("", "N", 1, DPO_LIMIT, "more values");
	refused_run("", "]", 1, DPO_LIMIT, "more values");
	refused_run("N", "\x85", 1, DPO_LIMIT, "more values");
	refused_run("", "X\x05\0\0\0hello", 10, DPO_LIMIT, "more values");
	refused_run("]q", "", 0, DPO_TRUNCATED, "ends within");
	{
		/* Each list holds the one before it twice: 2^1000000 values for one that walks them all. */
		struct dpo_buffer bytes = { 0 };

		PUT(&bytes, "]q\0");
		for (size_t i = 0; i < 100000; i++)
			PUT(&bytes, "h\0h\0\x86");
		refused(bytes.data, bytes.len, DPO_LIMIT, "more values");
		dpo_buffer_clear(&bytes);
		PUT(&bytes, "]q\0");
		for (size_t i = 0; i < 1000000; i++)
			PUT(&bytes, "h\0");
		refused(bytes.data, bytes.len, DPO_LIMIT, "on the stack");
		dpo_buffer_clear(&bytes);
		PUT(&bytes, "]q\0");
		for (size_t i = 0; i < 1000000; i++)
			PUT(&bytes, "h\0a");
		refused(bytes.data, bytes.len, DPO_LIMIT, "more values");
		dpo_buffer_free(&bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(good_files_are_read, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(truncated_files_are_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(changed_files_are_refused_or_read, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(members_that_overlap_are_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(opcodes_outside_the_set_are_named, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(globals_outside_the_set_are_named, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(stacks_that_do_not_fit_are_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(bombs_cost_little, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
