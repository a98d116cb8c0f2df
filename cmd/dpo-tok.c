/* dpo-tok - preference rows in JSON Lines to token ids. */
/*
 * Reads rows ({"prompt","chosen","rejected"}, or {"chosen","rejected"} with a shared beginning, or the supervised
 * {"prompt","completion"}), tokenizes each by TRL's rules (libcore/rows/pairs.h) with the tokenizer of a model, and writes a
 * stream of kind "pairs" or "sft". The first row decides which; a row of the other kind is an error. Rows are read and written
 * one by one, and tokenized in batches of those available, so that threads share them: memory does not grow with the input,
 * and the first record is visible downstream at once. What was dropped, cut or moved is counted and reported at the end.
 */
#include "base/parallel.h"
#include "cli.h"
#include "model/modelfiles.h"
#include "base/lines.h"
#include "rows/pairs.h"
#include "rows/rows.h"
#include "stream/stream.h"
#include "tokenizer/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
	struct cli_common common;
	const char *model;
	int64_t max_length;
	const char *truncation_mode;
	struct cli_list keep;
};

static const char *const truncation_modes[] = { "keep_start", "keep_end", NULL };

static const struct cli_option table[] = {
	CLI_COMMON(struct options),
	{ "model", 'm', CLI_TEXT, offsetof(struct options, model), "MODEL",
	    "directory or model stream whose tokenizer is used; required", 0, 0, NULL },
	{ "max-length", 0, CLI_INTEGER, offsetof(struct options, max_length), "N",
	    "tokens of prompt and answer together; 0: no limit", 0, 1 << 24, NULL },
	{ "truncation-mode", 0, CLI_CHOICE, offsetof(struct options, truncation_mode), "MODE",
	    "which end of a long row stays (keep_end is refused)", 0, 0, truncation_modes },
	{ "keep", 0, CLI_LIST, offsetof(struct options, keep), "NAME:TYPE",
	    "keep this key of the rows as a column; may be repeated", 0, 0, NULL },
};

static const struct cli_program program = { "dpo-tok", "preference rows in JSON Lines to token ids", "[FILE...]", 4096,
	table, sizeof table / sizeof *table, "dpo-tok -m gpt2 prefs.jsonl > pairs.dpo" };

/* A batch ends at BATCH_ROWS rows or BATCH_BYTES of lines; memory that a row needed beyond KEPT_BYTES is not kept. */
enum { BATCH_ROWS = 1024, BATCH_BYTES = 4 << 20, KEPT_BYTES = 1 << 16 };

/* A row on its way from line to record. */
struct job {
	struct dpo_text_row row;
	struct dpo_pair pair;
	uint64_t line;
	enum dpo_status status;
	struct dpo_error err;
};

/* A run of the program. */
struct run {
	struct options options;
	struct dpo_files files;
	struct dpo_tokenizer *tokenizer;
	struct dpo_rows rows;
	struct job *batch;		/* BATCH_ROWS of them */
	size_t n_batch, batch_limit, batch_bytes;
	struct dpo_pair_counts counts;
	struct dpo_out out;
	struct dpo_writer *writer;	/* NULL before the first row */
	bool supervised;		/* what the stream holds */
	uint64_t blank, promptless;
	struct cli_progress progress;
};

/* ------------------------------------------------------------------ the output */

static enum dpo_status
add_columns(const struct run *run, struct dpo_header *header, struct dpo_error *err)
{
	static const struct { const char *name; enum dpo_type type; bool supervised; } columns[] = {
		{ "id", DPO_STR, true }, { "prompt", DPO_I32S, true }, { "chosen", DPO_I32S, true },
		{ "rejected", DPO_I32S, false }, { "weight", DPO_F32, false }, { "margin", DPO_F32, false },
		{ "label_prob", DPO_F32, false },
	};
	enum dpo_status status = DPO_OK;

	for (size_t i = 0; i < sizeof columns / sizeof *columns && status == DPO_OK; i++)
		if (!run->supervised || columns[i].supervised)
			status = dpo_header_add(header, columns[i].name, columns[i].type, err);
	for (size_t i = 0; i < run->rows.n_kept && status == DPO_OK; i++)
		status = dpo_header_add(header, run->rows.kept[i].name, run->rows.kept[i].type, err);
	return status;
}

static enum dpo_status
add_stage(const struct run *run, struct dpo_header *header, struct dpo_error *err)
{
	char tokenizer_id[DPO_HEX_BYTES];
	cJSON *settings = cJSON_CreateObject();
	enum dpo_status status;

	if (!settings || !cJSON_AddNumberToObject(settings, "max_length", (double)run->options.max_length)) {
		cJSON_Delete(settings);
		return dpo_fail_memory(err);
	}
	if ((status = dpo_files_tokenizer_id(&run->files, tokenizer_id, err)) != DPO_OK) {
		cJSON_Delete(settings);
		return dpo_error_prefix(err, "%s", run->options.model);
	}
	return dpo_header_stage(header, "dpo-tok", settings, tokenizer_id, NULL, err);
}

/* The kind of the first row decides the header. */
static void
start_stream(struct run *run, bool supervised)
{
	struct dpo_header header;
	enum dpo_status status;
	struct dpo_error err;

	run->supervised = supervised;
	cli_check(dpo_header_init(&header, supervised ? "sft" : "pairs", &err), &err);
	if ((status = add_columns(run, &header, &err)) == DPO_OK && (status = add_stage(run, &header, &err)) == DPO_OK)
		status = dpo_writer_open(&run->writer, &run->out, &header, DPO_LEVEL_TABLE, &err);
	dpo_header_free(&header);
	cli_check(status, &err);
}

static void
write_pair(struct run *run, const struct job *job)
{
	struct dpo_value values[7 + DPO_ROW_KEPT_MAX] = { 0 };
	const struct dpo_text_row *row = &job->row;
	const struct dpo_pair *pair = &job->pair;
	struct dpo_error err;
	char number[24];
	size_t n = 0;

	snprintf(number, sizeof number, "%" PRIu64, run->counts.rows);
	values[n++] = row->has_id ? (struct dpo_value){ .data = row->id.bytes, .count = row->id.n } :
	    (struct dpo_value){ .data = number, .count = strlen(number) };
	values[n++] = (struct dpo_value){ .data = pair->prompt.ids, .count = pair->prompt.count };
	for (size_t i = 0; i < pair->n_answers; i++)
		values[n++] = (struct dpo_value){ .data = pair->answers[i].ids, .count = pair->answers[i].count };
	if (!run->supervised) {
		values[n++].f32 = row->weight;
		values[n++].f32 = row->margin;
		values[n++].f32 = row->label_prob;
	}
	for (size_t i = 0; i < run->rows.n_kept; i++)
		values[n++] = row->kept[i];
	cli_check(dpo_writer_put(run->writer, values, &err), &err);
}

/* ------------------------------------------------------------------ the input */

static _Noreturn void
fail_at_line(const struct dpo_lines *lines, uint64_t number, struct dpo_error *err)
{
	dpo_error_prefix(err, "%s:%" PRIu64, dpo_lines_name(lines), number);
	cli_fail(err);
}

static void
tokenize(void *context, size_t i)
{
	const struct run *run = context;
	struct job *job = &run->batch[i];

	job->status = dpo_pair_make(&job->pair, run->tokenizer, &job->row, (size_t)run->options.max_length, &job->err);
}

/* The record of a row, or its error. */
static void
finish_row(struct run *run, const struct dpo_lines *lines, struct job *job)
{
	if (job->status != DPO_OK)
		fail_at_line(lines, job->line, &job->err);
	if (job->pair.fate == DPO_PAIR_WHOLE)
		write_pair(run, job);
	else if (cli_verbose())
		cli_note("%s:%" PRIu64 ": dropped: %s", dpo_lines_name(lines), job->line,
		    job->pair.fate == DPO_PAIR_EMPTY_ANSWER ? "an answer without a token" : "the prompt is too long");
	dpo_pair_count(&run->counts, &job->pair);
	cli_progress_show(&run->progress, run->counts.rows, NULL);
	if (job->row.text.capacity > KEPT_BYTES) {
		dpo_row_free(&job->row);
		dpo_pair_free(&job->pair);
	}
}

/* Tokenize the batch and write it. The first batch is one row, the next two, ... */
static void
finish_batch(struct run *run, const struct dpo_lines *lines)
{
	dpo_parallel_for((int)run->options.common.threads, run->n_batch, tokenize, run);
	for (size_t i = 0; i < run->n_batch; i++)
		finish_row(run, lines, &run->batch[i]);
	run->n_batch = run->batch_bytes = 0;
	if (run->batch_limit < BATCH_ROWS)
		run->batch_limit *= 2;
}

static void
take_line(struct run *run, const struct dpo_lines *lines, const char *line, size_t n)
{
	struct job *job = &run->batch[run->n_batch];
	enum dpo_status status;
	struct dpo_error err;

	job->line = dpo_lines_number(lines);
	status = dpo_rows_read(&run->rows, &job->row, line, n, &err);
	if (status == DPO_OK && !run->writer)
		start_stream(run, job->row.supervised);
	if (status == DPO_OK && job->row.supervised != run->supervised)
		status = dpo_fail(&err, DPO_FORMAT, "a %s row among %s rows", job->row.supervised ? "supervised" : "preference",
		    job->row.supervised ? "preference" : "supervised");
	if (status != DPO_OK) {
		finish_batch(run, lines);	/* a row before it may have an error of its own */
		fail_at_line(lines, job->line, &err);
	}
	run->promptless += job->row.implicit && job->row.prompt.n == 0;
	run->n_batch++;
	run->batch_bytes += n;
	if (run->n_batch == run->batch_limit || run->batch_bytes >= BATCH_BYTES || !dpo_lines_ready(lines))
		finish_batch(run, lines);
}

static void
take_file(struct run *run, const char *path)
{
	const char *name = cli_input_name(path), *line;
	struct dpo_lines *lines;
	struct dpo_error err;
	enum dpo_status status;
	size_t n;

	cli_check(dpo_lines_open(&lines, cli_input(path), name, &err), &err);
	while ((status = dpo_lines_next(lines, &line, &n, &err)) == DPO_OK)
		take_line(run, lines, line, n);
	finish_batch(run, lines);
	cli_check(status, &err);
	run->blank += dpo_lines_blank(lines);
	dpo_lines_close(lines);
}

/* ------------------------------------------------------------------ the summary */

static void
tell(uint64_t count, const char *what)
{
	if (count)
		cli_note("%" PRIu64 " %s", count, what);
}

static void
summarize(const struct run *run)
{
	const struct dpo_pair_counts *counts = &run->counts;
	uint64_t dropped = counts->rows - counts->written;

	cli_note("%" PRIu64 " rows read, %" PRIu64 " written, %" PRIu64 " dropped", counts->rows, counts->written, dropped);
	tell(counts->dropped[DPO_PAIR_PROMPT_TOO_LONG], "dropped: the prompt alone fills --max-length");
	tell(counts->dropped[DPO_PAIR_EMPTY_ANSWER], "dropped: an answer without a token");
	tell(counts->cut, "cut to --max-length");
	tell(counts->open, "with an answer that does not end in the EOS token");
	tell(counts->moved, "with a token that reaches over the boundary from prompt to answer");
	tell(counts->same, "with two answers of the same tokens");
	tell(run->blank, "blank lines");
	for (size_t i = 0; i < run->rows.n_dropped; i++)
		cli_note("key \"%.100s\" not kept (%" PRIu64 " rows)", run->rows.dropped[i].name, run->rows.dropped[i].rows);
	tell(run->rows.dropped_more, "further keys not kept");
	/* More often a prompt under another key than none at all. */
	if (run->promptless)
		cli_warn("%" PRIu64 " rows without a prompt: no \"prompt\", and the answers share no beginning", run->promptless);
	if (counts->written == 0)
		cli_warn("no row was written");
}

/* ------------------------------------------------------------------ main */

static void
check_options(const struct options *options, size_t n_files, char **files)
{
	if (!options->model)
		cli_usage("-m MODEL is missing");
	if (strcmp(options->truncation_mode, "keep_end") == 0)
		cli_usage("--truncation-mode keep_end: it cuts the prompts of the two answers at different places, so they "
		    "share none; use keep_start");
	cli_one_stdin_of(options->model, files, n_files);
	if (n_files == 0)
		cli_one_stdin((const char *const []){ options->model, "-" }, 2);
}

static void
open_tokenizer(struct run *run)
{
	struct dpo_error err;

	if (!(run->batch = dpo_alloc(BATCH_ROWS, sizeof *run->batch)))
		cli_check(dpo_fail_memory(&err), &err);
	cli_check(dpo_modelfiles_open(&run->files, cli_model(run->options.model), &err), &err);
	if (dpo_tokenizer_open(&run->tokenizer, &run->files, &err) != DPO_OK)
		cli_fail_at(&err, run->options.model);
	for (size_t i = 0; i < run->options.keep.count; i++)
		if (dpo_rows_keep(&run->rows, run->options.keep.items[i], &err) != DPO_OK)
			cli_fail_at(&err, "--keep");
}

int
main(int argc, char **argv)
{
	struct run run = { .options = { .max_length = 1024, .truncation_mode = "keep_start" }, .batch_limit = 1 };
	struct dpo_error err;
	char **files;
	size_t n = cli_parse(&program, &run.options, argc, argv, &files);

	check_options(&run.options, n, files);
	open_tokenizer(&run);
	for (size_t i = 0; i < n; i++)
		if (strcmp(files[i], "-") != 0)
			cli_reads(files[i]);
	cli_output(&run.out, run.options.common.output, true);
	cli_progress_start(&run.progress, "rows", 0, 0);
	if (n == 0)
		take_file(&run, NULL);
	for (size_t i = 0; i < n; i++)
		take_file(&run, files[i]);
	cli_progress_end();
	if (!run.writer) {
		(void)dpo_fail(&err, DPO_FORMAT, "the input has no rows");
		cli_fail(&err);
	}
	cli_check(dpo_writer_end(run.writer, NULL, &err), &err);
	dpo_writer_close(run.writer);
	cli_commit(&run.out);
	summarize(&run);
	for (size_t i = 0; i < BATCH_ROWS; i++) {
		dpo_row_free(&run.batch[i].row);
		dpo_pair_free(&run.batch[i].pair);
	}
	free(run.batch);
	dpo_rows_free(&run.rows);
	dpo_tokenizer_free(run.tokenizer);
	dpo_files_free(&run.files);
	return cli_finish(0);
}
