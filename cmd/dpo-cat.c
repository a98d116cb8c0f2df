/*
 * dpo-cat - show, check, seal and share out streams
 *
 * Reads streams, or the JSON Lines that show them, several with equal headers as one, and writes the same table as JSON
 * Lines (the default) or as a stream (-z). An end is written only after the end of the last input was verified: what
 * dpo-cat writes is whole, or visibly not. --check, --header, --shard and --explain look at a stream in other ways.
 */
#include "cat.h"
#include "base/bytes.h"
#include "stream/header.h"
#include "base/size.h"
#include "stream/stream.h"
#include "stream/text.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OPERANDS_MAX = 4096, SHARDS_MAX = 1 << 20, TEXT_BYTES = 1 << 16 };

static const struct cli_option table[] = {
	CLI_COMMON(struct options),
	{ "compress", 'z', CLI_FLAG, offsetof(struct options, compress), NULL, "write a stream instead of JSON Lines", 0, 0, NULL },
	{ "seal", 0, CLI_FLAG, offsetof(struct options, seal), NULL,
		"with -z: take JSON Lines without {\"end\":true} as whole", 0, 0, NULL },
	{ "stage", 0, CLI_TEXT, offsetof(struct options, stage), "NAME",
		"with -z: add the stage NAME to the header's chain", 0, 0, NULL },
	{ "check", 0, CLI_FLAG, offsetof(struct options, check), NULL,
		"verify each file and print one line about it", 0, 0, NULL },
	{ "header", 0, CLI_FLAG, offsetof(struct options, header), NULL, "print the header of each file", 0, 0, NULL },
	{ "shard", 0, CLI_TEXT, offsetof(struct options, shard), "I/N",
		"write part I of N, contiguous records, as a stream", 0, 0, NULL },
	{ "explain", 0, CLI_FLAG, offsetof(struct options, explain), NULL,
	    "print pairs as text, token by token (needs -m)", 0, 0, NULL },
	{ "model", 'm', CLI_TEXT, offsetof(struct options, model), "MODEL",
		"with --explain: directory or model stream with the tokenizer", 0, 0, NULL },
	{ "data", 0, CLI_FLAG, offsetof(struct options, data), NULL,
		"show the numbers of models and adapters too, not only how many", 0, 0, NULL },
	{ "limit", 0, CLI_INTEGER, offsetof(struct options, limit), "N",
		"write at most N records; 0: all", .low = 0, .high = 9e15 },
};

static const struct cli_program program = {
	.name = "dpo-cat", .summary = "show, check, seal and share out streams", .operands = "[FILE...]",
	.max_operands = OPERANDS_MAX, .options = table, .n_options = sizeof table / sizeof *table,
	.example = "dpo-cat pairs.dpo | head -n 3",
};

/* ------------------------------------------------------------------ JSON Lines */

/* Lines go out after 1, 2, 4, ... records, as blocks do: the first is there at once. */
static int
show(struct input *input, const struct options *options)
{
	const struct dpo_header *header = dpo_source_header(input->source);
	bool data = options->data || dpo_stream_level(header->kind) == DPO_LEVEL_TABLE;
	struct dpo_buffer text = { 0 };
	const uint8_t *tip, *parent;
	uint64_t count = 0, due = 1;
	struct dpo_error err;
	struct dpo_out out;

	cli_output(&out, options->common.output, false);
	cli_check(dpo_text_put_header(&text, header, &err), &err);
	cat_drain(&out, &text);
	while (cat_next(input)) {
		if (options->limit && count == (uint64_t)options->limit)
			continue;
		cli_check(dpo_text_put_record(&text, header, input->values, data, &err), &err);
		if (++count == due || text.len > TEXT_BYTES) {
			cat_drain(&out, &text);
			due = count * 2;
		}
	}
	tip = dpo_source_tip(input->source);
	parent = count < dpo_source_records(input->source) ? tip : dpo_source_parent(input->source);
	dpo_text_put_end(&text, parent, tip);
	cat_drain(&out, &text);
	cli_commit(&out);
	dpo_buffer_free(&text);
	return 0;
}

/* ------------------------------------------------------------------ streams */

/* Write records [from, to) of the input, read to its verified end, as a stream; its tip must be `tip` unless that is NULL. */
static void
write_stream(struct input *input, const struct dpo_header *header, const struct options *options, uint64_t from,
    uint64_t to, const uint8_t *tip)
{
	struct dpo_writer *writer;
	uint64_t count = 0;
	bool whole;
	struct dpo_error err;
	struct dpo_out out;

	cli_output(&out, options->common.output, true);
	cli_check(dpo_writer_open(&writer, &out, header, dpo_stream_level(header->kind), &err), &err);
	if (dpo_stream_level(header->kind) == DPO_LEVEL_WEIGHTS)
		dpo_writer_hold(writer, (int)options->common.threads);
	while (cat_next(input)) {
		if (count >= from && count < to)
			cli_check(dpo_writer_put(writer, input->values, &err), &err);
		count++;
	}
	if (tip && memcmp(tip, dpo_source_tip(input->source), DPO_HASH_BYTES) != 0) {
		dpo_fail(&err, DPO_FORMAT, "%s: changed while it was read", input->paths[0]);
		cli_fail(&err);
	}
	/* The same table again keeps its parent; anything else is a child of what was read. */
	whole = from == 0 && to >= count && !options->stage && !options->shard;
	cli_check(dpo_writer_end(writer, whole ? dpo_source_parent(input->source) : dpo_source_tip(input->source), &err), &err);
	cli_commit(&out);
	dpo_writer_close(writer);
}

static int
compress(struct input *input, const struct options *options)
{
	struct dpo_header header;
	struct dpo_error err;

	cli_check(dpo_header_copy(&header, dpo_source_header(input->source), &err), &err);
	if (options->stage)
		cli_check(dpo_header_stage(&header, options->stage, NULL, NULL, NULL, &err), &err);
	write_stream(input, &header, options, 0, options->limit ? (uint64_t)options->limit : UINT64_MAX, NULL);
	dpo_header_free(&header);
	return 0;
}

/* "I/N" with 1 <= I <= N. */
static void
parse_shard(const char *text, uint64_t *part, uint64_t *parts)
{
	unsigned long i, n;
	int used = 0;

	if (sscanf(text, "%7lu/%7lu%n", &i, &n, &used) != 2 || text[used] || i < 1 || i > n || n > SHARDS_MAX)
		cli_usage("--shard: \"%s\" is not I/N with I from 1 to N", text);
	*part = i;
	*parts = n;
}

/* Two passes, so the input must stay: how many records there are is known only at the end. */
static int
shard(char **paths, size_t n, const struct options *options)
{
	uint64_t part, parts, total, first, next;
	uint8_t tip[DPO_HASH_BYTES];
	struct input input;
	struct stat about;

	parse_shard(options->shard, &part, &parts);
	for (size_t i = 0; i < n; i++)
		if (strcmp(paths[i], "-") == 0 || (stat(paths[i], &about) == 0 && !S_ISREG(about.st_mode)))
			cli_usage("--shard reads its input twice: %s is no regular file", cli_input_name(paths[i]));
	cat_open(&input, paths, n, false);
	while (cat_next(&input))
		;
	total = dpo_source_records(input.source);
	memcpy(tip, dpo_source_tip(input.source), sizeof tip);
	cat_close(&input);
	/* Part i is [floor((i-1) total / N), floor(i total / N)): sizes differ by at most one. */
	first = total / parts * (part - 1) + total % parts * (part - 1) / parts;
	next = total / parts * part + total % parts * part / parts;
	cat_open(&input, paths, n, false);
	write_stream(&input, dpo_source_header(input.source), options, first, next, tip);
	cat_close(&input);
	return 0;
}

/* ------------------------------------------------------------------ --check and --header */

static void
put_summary(const struct input *input, struct dpo_buffer *text)
{
	char hex[DPO_HEX_BYTES];

	dpo_buffer_printf(text, "%s: ok, kind %s, %llu records", cli_input_name(input->paths[0]),
	    dpo_source_header(input->source)->kind, (unsigned long long)dpo_source_records(input->source));
	if (dpo_source_lines(input->source)) {
		dpo_buffer_string(text, " as JSON Lines\n");
		return;
	}
	dpo_bytes_hex(hex, dpo_source_tip(input->source), DPO_HASH_BYTES);
	dpo_buffer_printf(text, " in %llu blocks, tip %s\n", (unsigned long long)dpo_source_blocks(input->source), hex);
}

/* One file to its end. */
static enum dpo_status
check_file(const char *path, struct dpo_buffer *text, struct dpo_error *err)
{
	struct input input = { .paths = (char *[]){ (char *)(uintptr_t)path }, .n = 1, .source = dpo_source_new(false) };
	enum dpo_status status;
	uint64_t good = 0;
	int fd;

	status = input.source ? cli_try_input(&fd, path, err) : dpo_fail_memory(err);
	if (status == DPO_OK)
		status = dpo_source_open(input.source, fd, cli_input_name(path), err);
	if (status == DPO_OK && !(input.values = dpo_alloc(dpo_source_header(input.source)->n_columns, sizeof *input.values)))
		status = dpo_fail_memory(err);
	while (status == DPO_OK && (status = dpo_source_next(input.source, input.values, err)) == DPO_OK)
		if ((status = cat_check_values(&input, err)) == DPO_OK)
			good++;
	if (status == DPO_END) {
		put_summary(&input, text);
		status = DPO_OK;
	} else if (status != DPO_TRUNCATED && input.values) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof err->text - used, " (the %llu records before it are whole)",
		    (unsigned long long)good);
	}
	cat_close(&input);
	return status;
}

/* All files are looked at, also after a bad one, each with its line at once; the first bad one gives the exit code. */
static int
check(char **paths, size_t n, const struct options *options)
{
	enum dpo_status first = DPO_OK, status;
	struct dpo_buffer text = { 0 };
	struct dpo_error err;
	struct dpo_out out;

	cli_output(&out, options->common.output, false);
	for (size_t i = 0; i < n; i++) {
		if ((status = check_file(paths[i], &text, &err)) != DPO_OK)
			cli_complain(&err);
		if (first == DPO_OK)
			first = status;
		cat_drain(&out, &text);
	}
	dpo_buffer_free(&text);
	if (first == DPO_OK)
		cli_commit(&out);
	else
		dpo_out_abort(&out);
	return cli_code(first);
}

static int
print_headers(char **paths, size_t n, const struct options *options)
{
	struct dpo_buffer text = { 0 }, all = { 0 };
	struct input input;
	struct dpo_error err;
	struct dpo_out out;

	for (size_t i = 0; i < n; i++) {
		cat_open(&input, paths + i, 1, false);
		cli_check(dpo_header_write(dpo_source_header(input.source), &text, &err), &err);
		dpo_buffer_append(&all, text.data, text.len);
		dpo_buffer_byte(&all, '\n');
		cat_close(&input);
	}
	cli_output(&out, options->common.output, false);
	cat_drain(&out, &all);
	cli_commit(&out);
	dpo_buffer_free(&text);
	dpo_buffer_free(&all);
	return 0;
}

/* ------------------------------------------------------------------ main */

/* What acts only in some of the ways to look at a stream. Without any of these it is shown, and everything acts. */
enum { COMPRESS = 1, CHECK = 2, HEADER = 4, SHARD = 8, EXPLAIN = 16 };

static const struct cli_use of_modes[] = { { "data", 0 }, { "limit", COMPRESS | EXPLAIN }, { NULL, 0 } };

static void
check_mode(const struct options *o)
{
	const struct cli_mode modes[] = { { "compress", o->compress, COMPRESS }, { "check", o->check, CHECK },
		{ "header", o->header, HEADER }, { "shard", o->shard, SHARD }, { "explain", o->explain, EXPLAIN },
		{ NULL, false, 0 } };

	cli_one_mode(modes, "-z, --check, --header, --shard and --explain", of_modes);
}

static void
check_options(const struct options *o)
{
	check_mode(o);
	if ((o->seal || o->stage) && !o->compress)
		cli_usage("--seal and --stage need -z");
	if (o->stage && !*o->stage)
		cli_usage("--stage: the name is empty");
	if (o->stage && dpo_utf8_check((const uint8_t *)o->stage, strlen(o->stage)) < strlen(o->stage))
		cli_usage("--stage: the name is not UTF-8");
	if (o->explain != (o->model != NULL))
		cli_usage("--explain and -m go together");
}

int
main(int argc, char **argv)
{
	struct options options = { .common = { .threads = 1 } };
	char *standard[] = { (char[]){ "-" } }, **paths;
	size_t n = cli_parse(&program, &options, argc, argv, &paths);
	struct input input;
	int code;

	check_options(&options);
	if (n == 0) {
		paths = standard;
		n = 1;
	}
	cli_one_stdin_of(options.model, paths, n);
	for (size_t i = 0; i < n; i++)
		cli_reads(paths[i]);
	if (options.model)
		options.model = cli_model(options.model);
	if (options.check)
		return cli_finish(check(paths, n, &options));
	if (options.header)
		return cli_finish(print_headers(paths, n, &options));
	if (options.shard)
		return cli_finish(shard(paths, n, &options));
	cat_open(&input, paths, n, options.seal);
	code = options.compress ? compress(&input, &options) : options.explain ? cat_explain(&input, &options) :
	    show(&input, &options);
	cat_close(&input);
	return cli_finish(code);
}
