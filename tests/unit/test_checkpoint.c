/* Checkpoints: what goes in comes out, another run is refused by name, damage and left-over files. */
#include "train/checkpoint.h"

#include "base/json.h"
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct dpo_tensor tensors[] = {
	{ .name = "wte", .shape = { 3, 2 }, .rank = 2, .count = 6, .offset = 0 },
	{ .name = "norm", .shape = { 2 }, .rank = 1, .count = 2, .offset = 16 },
};
static const struct dpo_params params = { .list = tensors, .count = 2, .total = 32, .parameters = 8 };
static char *const directory = fixture_here;

static cJSON *
json(const char *text)
{
	cJSON *tree;

	assert_int_equal(dpo_json_parse(&tree, text, strlen(text), NULL), DPO_OK);
	return tree;
}

enum { BLOCKS = 4 };

/* The blocks as AdamW has them, and that of a reference. */
static void
name_blocks(struct dpo_params_block named[BLOCKS], float blocks[][32])
{
	static const char *const prefixes[BLOCKS] = { "params/", "adam_m/", "adam_v/", "reference/" };

	for (size_t b = 0; b < BLOCKS; b++)
		named[b] = (struct dpo_params_block){ prefixes[b], &params, blocks[b] };
}

static void
fill(float *block, float start)
{
	for (size_t i = 0; i < 8; i++)
		block[i < 6 ? i : 10 + i] = start + (float)i;
}

/* A checkpoint at path with a log of n bytes, and a block for the reference or none. */
static void
write_one(const char *path, size_t n, bool reference)
{
	float blocks[BLOCKS][32] = { { 0 } };
	struct dpo_params_block all[BLOCKS];
	struct dpo_buffer state = { 0 }, log = { 0 };
	cJSON *run = json("{\"beta\":0.1,\"model\":\"ab\",\"nested\":{\"x\":1},\"seed\":9007199254740991,\"kernel\":\"K\"}");
	struct dpo_error err;
	struct dpo_out out;

	name_blocks(all, blocks);
	for (size_t b = 0; b < BLOCKS; b++)
		fill(blocks[b], 100 * (float)b);
	dpo_buffer_string(&state, "{\"step\":3}");
	for (size_t i = 0; i < n; i++)
		dpo_buffer_byte(&log, (uint8_t)('a' + i % 26));
	assert_int_equal(dpo_out_open(&out, path, &err), DPO_OK);
	assert_int_equal(dpo_checkpoint_write(&out, run, &state, &log, all, reference ? 4 : 3, 1, &err), DPO_OK);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
	dpo_buffer_free(&state);
	dpo_buffer_free(&log);
	cJSON_Delete(run);
}

static enum dpo_status
read_back(const char *path, float blocks[][32], bool reference, struct dpo_buffer *state, struct dpo_buffer *log)
{
	struct dpo_params_block all[BLOCKS];
	struct dpo_checkpoint *checkpoint;
	struct dpo_error err;
	enum dpo_status status = dpo_checkpoint_open(&checkpoint, path, &err);

	name_blocks(all, blocks);
	if (status == DPO_OK)
		status = dpo_checkpoint_read(checkpoint, state, log, all, reference ? 4 : 3, 2, &err);
	dpo_checkpoint_close(checkpoint);
	return status;
}

static void
what_goes_in_comes_out(void **unused)
{
	static const size_t lengths[] = { 0, 1, 5000, (4 << 20) + 17 };
	float blocks[BLOCKS][32] = { { 0 } }, want[32] = { 0 };
	char path[512];

	(void)unused;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct dpo_buffer state = { 0 }, log = { 0 };
		bool reference = i % 2;

		write_one(fixture_path(path, directory, "c"), lengths[i], reference);
		assert_int_equal(read_back(path, blocks, reference, &state, &log), DPO_OK);
		assert_string_equal(dpo_buffer_text(&state), "{\"step\":3}");
		assert_int_equal(log.len, lengths[i]);
		assert_true(lengths[i] == 0 || log.data[lengths[i] - 1] == 'a' + (lengths[i] - 1) % 26);
		for (size_t b = 0; b < 3 + (size_t)reference; b++) {
			fill(want, 100 * (float)b);
			assert_memory_equal(blocks[b], want, sizeof want);
		}
		dpo_buffer_free(&state);
		dpo_buffer_free(&log);
	}
}

static void
a_block_too_few_or_too_many_is_refused(void **unused)
{
	float blocks[BLOCKS][32];
	struct dpo_buffer state = { 0 }, log = { 0 };
	char path[512];

	(void)unused;
	for (int written = 0; written < 2; written++) {
		write_one(fixture_path(path, directory, "c"), 3, written);
		assert_int_equal(read_back(path, blocks, !written, &state, &log), DPO_FORMAT);
	}
	dpo_buffer_free(&state);
	dpo_buffer_free(&log);
}

static void
another_run_is_refused_by_name(void **unused)
{
	static const struct { const char *run; const char *says; } cases[] = {
		{ "{\"beta\":0.1,\"model\":\"ab\",\"nested\":{\"x\":1},\"seed\":9007199254740991,\"kernel\":\"other\"}", NULL },
		{ "{\"beta\":0.2,\"model\":\"ab\",\"nested\":{\"x\":1},\"seed\":9007199254740991}",
		    "\"beta\" is 0.2 here, 0.1 there" },
		{ "{\"beta\":0.1,\"model\":\"ac\",\"nested\":{\"x\":1},\"seed\":9007199254740991}",
		    "\"model\" is \"ac\" here, \"ab\" there" },
		{ "{\"beta\":0.1,\"model\":\"ab\",\"nested\":{\"x\":2},\"seed\":9007199254740991}", "\"x\" is 2 here, 1 there" },
		{ "{\"beta\":0.1,\"model\":\"ab\",\"nested\":{\"x\":1},\"seed\":9007199254740990}",
		    "\"seed\" is 9.00719925474099e+15 here, 9007199254740991 there" },
		{ "{\"beta\":0.1,\"model\":\"ab\"}", "\"nested\" is absent here" },
		{ "{\"beta\":0.1,\"model\":\"ab\",\"nested\":{\"x\":1},\"seed\":9007199254740991,\"new\":true}",
		    "\"new\" is true here, absent there" },
	};
	struct dpo_checkpoint *checkpoint;
	struct dpo_error err;
	char path[512];

	(void)unused;
	write_one(fixture_path(path, directory, "c"), 3, false);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		cJSON *run = json(cases[i].run);

		assert_int_equal(dpo_checkpoint_open(&checkpoint, path, &err), DPO_OK);
		assert_int_equal(dpo_checkpoint_same(checkpoint, run, &err), cases[i].says ? DPO_MISMATCH : DPO_OK);
		assert_true(!cases[i].says || strstr(err.text, cases[i].says));
		dpo_checkpoint_close(checkpoint);
		cJSON_Delete(run);
	}
}

static void
absent_damaged_and_short_files(void **unused)
{
	float blocks[BLOCKS][32];
	struct dpo_buffer state = { 0 }, log = { 0 };
	struct dpo_checkpoint *checkpoint;
	char path[512];
	size_t n, same = 0;
	char *bytes;

	(void)unused;
	assert_int_equal(dpo_checkpoint_open(&checkpoint, fixture_path(path, directory, "none"), NULL), DPO_OK);
	assert_null(checkpoint);
	write_one(fixture_path(path, directory, "c"), 3, false);
	bytes = fixture_read(directory, "c", &n);
	for (size_t cut = 0; cut < n; cut += 7) {
		fixture_write(directory, "c", bytes, cut);
		assert_true(read_back(path, blocks, false, &state, &log) >= DPO_CORRUPT);
	}
	/* A flipped bit is refused, or the compression has no use for it and the content is the same. */
	for (size_t at = 0; at < n; at++) {
		float want[32] = { 0 };

		memset(blocks, 0, sizeof blocks);
		dpo_buffer_clear(&state);
		bytes[at] = (char)(bytes[at] ^ 16);
		fixture_write(directory, "c", bytes, n);
		if (read_back(path, blocks, false, &state, &log) < DPO_CORRUPT) {
			assert_string_equal(dpo_buffer_text(&state), "{\"step\":3}");
			fill(want, 200);
			assert_memory_equal(blocks[2], want, sizeof want);
			same++;
		}
		bytes[at] = (char)(bytes[at] ^ 16);
	}
	assert_true(same < n / 20);
	dpo_buffer_free(&state);
	dpo_buffer_free(&log);
	free(bytes);
}

static void
left_over_files_are_swept(void **unused)
{
	static const char *const gone[] = { ".c.0123456789abcdef.tmp" };
	static const char *const kept[] = { ".c.0123456789abcde.tmp", ".cc.0123456789abcdef.tmp", ".c.0123456789abcdeg.tmp", "c" };
	char path[512], other[512];

	(void)unused;
	fixture_text(directory, gone[0], "x");
	for (size_t i = 0; i < 4; i++)
		fixture_text(directory, kept[i], "x");
	dpo_checkpoint_sweep(fixture_path(path, directory, "c"));
	assert_int_equal(access(fixture_path(other, directory, gone[0]), F_OK), -1);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(access(fixture_path(other, directory, kept[i]), F_OK), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out),
		cmocka_unit_test(a_block_too_few_or_too_many_is_refused),
		cmocka_unit_test(another_run_is_refused_by_name),
		cmocka_unit_test(absent_damaged_and_short_files),
		cmocka_unit_test(left_over_files_are_swept),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
