/* rows and lines: what a line of JSON is taken for, and what each bad line is told. */
#include "fixture.h"
#include "base/file.h"
#include "base/lines.h"
#include "rows/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static size_t most = SIZE_MAX;	/* bytes an array may grow to */

bool __real_dpo_size_grow(void **array, size_t *capacity, size_t need, size_t each);
bool __wrap_dpo_size_grow(void **array, size_t *capacity, size_t need, size_t each);

bool
__wrap_dpo_size_grow(void **array, size_t *capacity, size_t need, size_t each)
{
	return need <= most / each && __real_dpo_size_grow(array, capacity, need, each);
}

static enum dpo_status
read_row(struct dpo_rows *rows, struct dpo_text_row *row, const char *line, struct dpo_error *err)
{
	return dpo_rows_read(rows, row, line, strlen(line), err);
}

static void
assert_text(struct dpo_row_text text, const char *wanted)
{
	assert_int_equal(text.n, strlen(wanted));
	assert_memory_equal(text.bytes, wanted, text.n);
}

static void
reads_a_pair(void **state)
{
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(read_row(&rows, &row, "{\"rejected\":\"c\\u00e9\",\"prompt\":\"a\\n\",\"chosen\":\"\"}", &err), DPO_OK);
	assert_false(row.supervised || row.has_id || row.implicit);
	assert_text(row.prompt, "a\n");
	assert_text(row.chosen, "");
	assert_text(row.rejected, "c\xc3\xa9");
	assert_true(row.weight == 1 && row.margin == 0 && row.label_prob == 1);
	assert_int_equal(read_row(&rows, &row, "{\"id\":-7,\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\",\"weight\":0,"
	    "\"margin\":-1.5,\"label_prob\":0.25}", &err), DPO_OK);
	assert_text(row.id, "-7");
	assert_text(row.prompt, "a");
	assert_true(row.has_id && row.weight == 0 && row.margin == -1.5f && row.label_prob == 0.25f);
	assert_int_equal(read_row(&rows, &row, "{\"id\":null,\"weight\":null,\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}",
	    &err), DPO_OK);
	assert_true(!row.has_id && row.weight == 1);
	dpo_row_free(&row);
	dpo_rows_free(&rows);
}

static void
reads_a_supervised_row(void **state)
{
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	(void)state;
	assert_int_equal(read_row(&rows, &row, "{\"prompt\":\"p\",\"completion\":\"c\",\"id\":\"x\"}", &err), DPO_OK);
	assert_true(row.supervised);
	assert_text(row.prompt, "p");
	assert_text(row.chosen, "c");
	assert_text(row.id, "x");
	dpo_row_free(&row);
	dpo_rows_free(&rows);
}

/* "rendered", and the "eos" that only a rendered prompt has a use for. */
static void
reads_rendered_rows(void **state)
{
	static const struct { const char *more; enum dpo_rendered rendered; const char *eos; uint64_t dropped; } cases[] = {
		{ "", DPO_RENDERED_NOT, "", 0 }, { ",\"rendered\":null", DPO_RENDERED_NOT, "", 0 },
		{ ",\"rendered\":false,\"eos\":\"e\"", DPO_RENDERED_NOT, "", 1 }, { ",\"eos\":7", DPO_RENDERED_NOT, "", 1 },
		{ ",\"rendered\":true,\"eos\":\"e\"", DPO_RENDERED_WHOLE, "", 1 },
		{ ",\"eos\":\"e\\n\",\"rendered\":\"prompt\"", DPO_RENDERED_PROMPT, "e\n", 0 },
		{ ",\"rendered\":\"prompt\"", DPO_RENDERED_PROMPT, "", 0 },
		{ ",\"rendered\":\"prompt\",\"eos\":null", DPO_RENDERED_PROMPT, "", 0 },
	};
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_buffer line = { 0 };
		struct dpo_rows rows = { 0 };

		dpo_buffer_printf(&line, "{\"prompt\":\"p\",\"completion\":\"c\"%s}", cases[i].more);
		assert_int_equal(read_row(&rows, &row, dpo_buffer_text(&line), &err), DPO_OK);
		assert_int_equal(row.rendered, cases[i].rendered);
		assert_text(row.prompt, "p");
		assert_text(row.chosen, "c");
		assert_text(row.eos, cases[i].eos);
		assert_int_equal(rows.n_dropped, cases[i].dropped);
		dpo_buffer_free(&line);
		dpo_rows_free(&rows);
	}
	dpo_row_free(&row);
}

/* The three strings a pair without a prompt is cut into. */
static void
finds_the_shared_prompt(void **state)
{
	static const struct { const char *chosen, *rejected, *prompt, *c, *r; } cases[] = {
		{ "Q: a", "Q: b", "Q:", " a", " b" },		/* the space goes to the answers */
		{ "Q:  a", "Q:  b", "Q: ", " a", " b" },	/* one space only */
		{ "Q:\\na", "Q:\\nb", "Q:\n", "a", "b" },
		{ "abc", "abcdef", "ab", "c", "cdef" },		/* one is the other's beginning */
		{ "abcdef", "abc", "ab", "cdef", "c" },
		{ "ab c", "ab cd", "ab ", "c", "cd" },		/* no difference, so no space is moved */
		{ "same", "same", "sam", "e", "e" },
		{ "Yes ", "No", "", "Yes ", "No" },		/* TRL cuts both wrongly here */
		{ " a", " b", "", " a", " b" },
		{ "", "x", "", "", "x" },
		{ "", "", "", "", "" },
		{ "x", "", "", "x", "" },
		{ "a\\u00e9", "a\\u00e8", "a", "\xc3\xa9", "\xc3\xa8" },	/* c3 a9 and c3 a8: characters, not bytes */
		{ "a\\u00e9", "a\\u00e9z", "a", "\xc3\xa9", "\xc3\xa9z" },
		{ "\\ud83d\\ude00", "\\ud83d\\ude01", "", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x81" },
	};
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_buffer text = { 0 };

		dpo_buffer_printf(&text, "{\"chosen\":\"%s\",\"rejected\":\"%s\"}", cases[i].chosen, cases[i].rejected);
		assert_true(text.len < sizeof line);
		memcpy(line, dpo_buffer_text(&text), text.len + 1);
		dpo_buffer_free(&text);
		assert_int_equal(read_row(&rows, &row, line, &err), DPO_OK);
		assert_true(row.implicit);
		assert_text(row.prompt, cases[i].prompt);
		assert_text(row.chosen, cases[i].c);
		assert_text(row.rejected, cases[i].r);
	}
	dpo_row_free(&row);
	dpo_rows_free(&rows);
}

static void
names_what_is_wrong(void **state)
{
	static const struct { const char *line, *text; } cases[] = {
		{ "[]", "a list, not an object; each line is one object (jq -c '.[]')" },
		{ "3", "JSON, byte 0: an object is expected" },
		{ "{", "JSON, byte 1: a key is expected" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\"} x", "JSON, byte 30: unexpected character" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\"}{}", "JSON, byte 29: the end of the line is expected" },
		{ "{\"chosen\":\"a\",}", "JSON, byte 14: a key is expected" },
		{ "{}", "\"chosen\" is missing" },
		{ "{\"chosen\":\"a\"}", "\"rejected\" is missing" },
		{ "{\"rejected\":\"a\",\"prompt\":\"p\"}", "\"chosen\" is missing" },
		{ "{\"completion\":\"a\"}", "\"prompt\" is missing" },
		{ "{\"chosen\":1,\"rejected\":\"b\"}", "\"chosen\" is not a string" },
		{ "{\"chosen\":null,\"rejected\":\"b\"}", "\"chosen\" is not a string" },
		{ "{\"prompt\":null,\"chosen\":\"a\",\"rejected\":\"b\"}", "\"prompt\" is not a string" },
		{ "{\"prompt\":\"p\",\"chosen\":[{\"role\":\"user\",\"content\":\"x\"}],\"rejected\":[]}",
		    "\"chosen\" is a list, not a string; chat messages go first through pipelines/dpo-chat" },
		{ "{\"prompt\":\"p\",\"chosen\":\"a\",\"prompt\":\"q\",\"rejected\":\"b\"}", "\"prompt\" appears twice" },
		{ "{\"x\":1,\"\\u0078\":2,\"chosen\":\"a\",\"rejected\":\"b\"}", "\"x\" appears twice" },
		{ "{\"chosen\":\"a\xff\",\"rejected\":\"b\"}", "JSON, byte 12: invalid UTF-8" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\",\"weight\":-1}", "\"weight\" is -1, not within 0 and 3.40282e+38" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\",\"weight\":\"1\"}", "\"weight\" is not a number" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\",\"margin\":1e39}", "\"margin\" is 1e39, too large for a float" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\",\"label_prob\":1.5}", "\"label_prob\" is 1.5, not within 0 and 1" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\",\"id\":1.5}", "\"id\" is 1.5, not an integer" },
		{ "{\"prompt\":\"p\",\"completion\":\"c\",\"label\":false}",
		    "\"label\" beside \"completion\": an unpaired preference; make "
		    "pairs of the good and the bad completions of a prompt, or take the good ones alone, without \"label\","
		    " as supervised "
		    "rows" },
		{ "{\"image\":\"a.png\",\"chosen\":\"a\",\"rejected\":\"b\"}", "\"image\": models of text alone are trained here" },
		{ "{\"images\":[\"a.png\"],\"prompt\":\"p\",\"completion\":\"c\"}",
		    "\"images\": models of text alone are trained here" },
		{ "{\"prompt\":\"p\",\"completion\":\"c\",\"rendered\":\"yes\"}",
		    "\"rendered\" is none of true, false and \"prompt\"" },
		{ "{\"completion\":\"c\",\"rendered\":true}", "\"prompt\" is missing; a rendered row has one" },
		{ "{\"prompt\":\"p\",\"completion\":\"c\",\"rendered\":\"prompt\",\"eos\":1}", "\"eos\" is not a string" },
		{ "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\",\"rendered\":\"prompt\"}",
		    "\"rendered\" is \"prompt\" in a "
		    "pair; its answers are to be whole texts, prompt and EOS included, and \"rendered\" true" },
		{ "{\"chosen\":\"a\",\"rejected\":\"b\",\"id\":true}", "\"id\" is neither a string nor an integer" },
	};
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(read_row(&rows, &row, cases[i].line, &err), DPO_FORMAT);
		assert_string_equal(err.text, cases[i].text);
	}
	dpo_row_free(&row);
	dpo_rows_free(&rows);
}

/* The same keys where they lose nothing. */
static void
lets_harmless_keys_pass(void **state)
{
	static const struct { const char *line; uint64_t dropped; } cases[] = {
		{ "{\"prompt\":\"p\",\"completion\":\"c\",\"label\":\"news\",\"images\":[ ],\"image\":null}", 2 },
		{ "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\",\"label\":true}", 1 },
		{ "{\"prompt\":\"p\",\"completion\":\"c\",\"label\":1,\"images\":[1]}", 1 },
	};
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_rows rows = { 0 };

		if (i == 2)
			assert_int_equal(dpo_rows_keep(&rows, "images:i32[]", &err), DPO_OK);
		assert_int_equal(read_row(&rows, &row, cases[i].line, &err), DPO_OK);
		assert_int_equal(rows.n_dropped, cases[i].dropped);
		dpo_rows_free(&rows);
	}
	dpo_row_free(&row);
}

#define ROW "{\"chosen\":\"a b\",\"rejected\":\"a c\""

static void
keeps_columns(void **state)
{
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;
	const int64_t *wide;

	(void)state;
	assert_int_equal(dpo_rows_keep(&rows, "src:str", &err), DPO_OK);
	assert_int_equal(dpo_rows_keep(&rows, "n:i64", &err), DPO_OK);
	assert_int_equal(dpo_rows_keep(&rows, "a:b:f32", &err), DPO_OK);
	assert_int_equal(dpo_rows_keep(&rows, "v:i32[]", &err), DPO_OK);
	assert_int_equal(dpo_rows_keep(&rows, "w:i64[]", &err), DPO_OK);
	assert_int_equal(dpo_rows_keep(&rows, "completion:str", &err), DPO_OK);
	assert_int_equal(read_row(&rows, &row, ROW ",\"w\":[-9223372036854775808,9007199254740993],\"v\":[7],\"a:b\":0.5,"
	    "\"n\":9223372036854775807,\"src\":\"s\\n\",\"completion\":\"c\",\"zz\":1,\"id\":\"i\"}", &err), DPO_OK);
	assert_text(row.rejected, " c");
	assert_text(row.id, "i");
	assert_int_equal(row.kept[0].count, 2);
	assert_memory_equal(row.kept[0].data, "s\n", 2);
	assert_true(row.kept[1].i64 == INT64_MAX && row.kept[2].f32 == 0.5f);
	assert_int_equal(row.kept[3].count, 1);
	assert_int_equal(*(const int32_t *)row.kept[3].data, 7);
	wide = row.kept[4].data;
	assert_int_equal((uintptr_t)wide % 8, 0);
	assert_true(row.kept[4].count == 2 && wide[0] == INT64_MIN && wide[1] == 9007199254740993);
	assert_memory_equal(row.kept[5].data, "c", 1);
	assert_int_equal(rows.n_dropped, 1);
	assert_string_equal(rows.dropped[0].name, "zz");
	assert_int_equal(read_row(&rows, &row, ROW ",\"w\":[],\"v\":[],\"a:b\":1,\"n\":1,\"src\":\"\",\"completion\":\"\"}", &err),
	    DPO_OK);
	assert_true(row.kept[0].count == 0 && row.kept[3].count == 0 && row.kept[4].count == 0);
	assert_int_equal(read_row(&rows, &row, ROW "}", &err), DPO_FORMAT);
	assert_string_equal(err.text, "\"src\" is missing, to be kept as str");
	dpo_row_free(&row);
	dpo_rows_free(&rows);
}

static void
refuses_wrong_columns(void **state)
{
	static const char *const bad[] = { "x", "x:", ":str", "x:string", "x:bytes", "x:bf16[]", "id:str", "chosen:str", "x:STR" };
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(dpo_rows_keep(&rows, bad[i], &err), DPO_USAGE);
		dpo_row_free(&row);
	dpo_rows_free(&rows);
	}
	assert_int_equal(dpo_rows_keep(&rows, "v:i32[]", &err), DPO_OK);
	assert_int_equal(read_row(&rows, &row, ROW ",\"v\":[2147483648]}", &err), DPO_FORMAT);
	assert_string_equal(err.text, "\"v\" is 2147483648, not within -2147483648 and 2147483647");
	assert_int_equal(read_row(&rows, &row, ROW ",\"v\":[1,[2]]}", &err), DPO_FORMAT);
	assert_int_equal(read_row(&rows, &row, ROW ",\"v\":[1.0]}", &err), DPO_FORMAT);
	assert_int_equal(read_row(&rows, &row, ROW ",\"v\":3}", &err), DPO_FORMAT);
	assert_string_equal(err.text, "\"v\" is not a list of numbers");
	assert_int_equal(dpo_rows_keep(&rows, "v:str", &err), DPO_USAGE);
	dpo_row_free(&row);
	dpo_rows_free(&rows);
}

/* ------------------------------------------------------------------ lines */

static struct dpo_lines *
open_text(const char *directory, const void *bytes, size_t n)
{
	char path[512];
	struct dpo_lines *lines;
	struct dpo_error err;
	int fd;

	fixture_write(directory, "rows", bytes, n);
	assert_int_equal(dpo_file_open(&fd, fixture_path(path, directory, "rows"), &err), DPO_OK);
	assert_int_equal(dpo_lines_open(&lines, fd, "rows", &err), DPO_OK);
	return lines;
}

static void
splits_lines(void **state)
{
	static const char text[] = "\xef\xbb\xbf{1}\r\n\n \t\r\n{2}\n{3}\r{4}";
	static const char *const wanted[] = { "{1}", "{2}", "{3}\r{4}" };
	static const uint64_t numbers[] = { 1, 4, 5 };
	struct dpo_lines *lines;
	struct dpo_error err;
	char directory[256];
	const char *line;
	size_t n;

	(void)state;
	fixture_directory(directory);
	lines = open_text(directory, text, sizeof text - 1);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_OK);
		assert_int_equal(n, strlen(wanted[i]));
		assert_memory_equal(line, wanted[i], n);
		assert_int_equal(dpo_lines_number(lines), numbers[i]);
	}
	assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_END);
	assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_END);
	assert_int_equal(dpo_lines_blank(lines), 2);
	dpo_lines_close(lines);
	fixture_remove(directory);
}

/* Lines of all lengths around the size of a read come back whole. */
static void
joins_reads(void **state)
{
	enum { LINES = 200 };
	struct dpo_buffer text = { 0 };
	struct dpo_lines *lines;
	struct dpo_error err;
	char directory[256];
	const char *line;
	size_t n;

	(void)state;
	for (size_t i = 0; i < LINES; i++) {
		for (size_t k = 0; k < 1 + i * 661; k++)
			dpo_buffer_byte(&text, (uint8_t)('a' + (i + k) % 26));
		dpo_buffer_byte(&text, '\n');
	}
	fixture_directory(directory);
	lines = open_text(directory, text.data, text.len);
	for (size_t i = 0, at = 0; i < LINES; i++, at += n + 1) {
		assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_OK);
		assert_int_equal(n, 1 + i * 661);
		assert_memory_equal(line, text.data + at, n);
	}
	assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_END);
	dpo_lines_close(lines);
	dpo_buffer_free(&text);
	fixture_remove(directory);
}

/* A line is handed on while the writer of the pipe is still there. */
static void
does_not_wait(void **state)
{
	struct dpo_lines *lines;
	struct dpo_error err;
	const char *line;
	int ends[2];
	size_t n;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dpo_lines_open(&lines, ends[0], "pipe", &err), DPO_OK);
	assert_int_equal(write(ends[1], "{1}\n{2", 6), 6);
	assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_OK);
	assert_memory_equal(line, "{1}", 3);
	assert_int_equal(write(ends[1], "}", 1), 1);
	close(ends[1]);
	assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_OK);
	assert_int_equal(n, 3);
	assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_END);
	dpo_lines_close(lines);
}

static void
says_what_else_a_file_is(void **state)
{
	static const struct { const char *bytes; size_t n; const char *said; } cases[] = {
		{ "\x1f\x8b\x08\0", 4, "gzip" }, { "\x28\xb5\x2f\xfd\x04", 5, "zstd" }, { "PAR1xxxx", 8, "Parquet" },
		{ "\xff\xfe{\0", 4, "UTF-16" }, { "\xfe\xff\0{", 4, "UTF-16" }, { "{\0\"\0", 4, "UTF-16" },
		{ "\0{\0\"", 4, "UTF-16" },
		{ "\xfd" "7zXZ\0", 6, "xz" }, { "BZh91AY", 7, "bzip2" }, { "PK\x03\x04", 4, "zip" }, { "ARROW1\0\0", 8, "Arrow" },
	};
	struct dpo_lines *lines;
	struct dpo_error err;
	char directory[256];
	const char *line;
	size_t n;

	(void)state;
	fixture_directory(directory);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		lines = open_text(directory, cases[i].bytes, cases[i].n);
		assert_int_equal(dpo_lines_next(lines, &line, &n, &err), DPO_FORMAT);
		assert_non_null(strstr(err.text, cases[i].said));
		dpo_lines_close(lines);
	}
	fixture_remove(directory);
}

static void
limits_lines(void **state)
{
	size_t sizes[] = { DPO_LINE_MAX, DPO_LINE_MAX + 1 };
	struct dpo_lines *lines;
	struct dpo_error err;
	char directory[256], *text;
	const char *line;
	size_t n;

	(void)state;
	fixture_directory(directory);
	for (size_t i = 0; i < 2; i++) {
		text = malloc(sizes[i] + 1);
		assert_non_null(text);
		memset(text, 'x', sizes[i]);
		text[sizes[i]] = '\n';
		lines = open_text(directory, text, sizes[i] + 1);
		assert_int_equal(dpo_lines_next(lines, &line, &n, &err), i ? DPO_LIMIT : DPO_OK);
		dpo_lines_close(lines);
		free(text);
	}
	assert_string_equal(err.text, "rows:1: a line of more than 67108864 bytes");
	fixture_remove(directory);
}

/* Memory that ends with a text, before it or in it, is an error like any other, and the reader goes on. */
static void
runs_out_of_memory(void **state)
{
	enum { EACH = 3 << 20 };
	static const size_t limits[] = { 1 << 20, 4 << 20, 2 * EACH };
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_buffer line = { 0 };
	struct dpo_error err;

	(void)state;
	dpo_buffer_string(&line, "{\"chosen\":\"");
	memset(dpo_buffer_room(&line, EACH), 'x', EACH);
	dpo_buffer_string(&line, "\",\"rejected\":\"");
	memset(dpo_buffer_room(&line, EACH), 'x', EACH);
	dpo_buffer_string(&line, "\"}");
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		most = limits[i];
		assert_int_equal(dpo_rows_read(&rows, &row, (const char *)line.data, line.len, &err), DPO_NOMEM);
		most = SIZE_MAX;
		assert_int_equal(read_row(&rows, &row, "{\"chosen\":\"ab\",\"rejected\":\"ac\"}", &err), DPO_OK);
		assert_text(row.rejected, "c");
		dpo_row_free(&row);
		dpo_rows_free(&rows);
		rows = (struct dpo_rows){ 0 };
	}
	dpo_buffer_free(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_pair), cmocka_unit_test(reads_a_supervised_row), cmocka_unit_test(reads_rendered_rows),
		cmocka_unit_test(finds_the_shared_prompt), cmocka_unit_test(names_what_is_wrong),
		    cmocka_unit_test(lets_harmless_keys_pass),
		cmocka_unit_test(keeps_columns), cmocka_unit_test(refuses_wrong_columns), cmocka_unit_test(splits_lines),
		cmocka_unit_test(joins_reads), cmocka_unit_test(does_not_wait), cmocka_unit_test(says_what_else_a_file_is),
		cmocka_unit_test(limits_lines), cmocka_unit_test(runs_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
