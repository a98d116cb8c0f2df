/* dpo-eval --data: what the pairs themselves are like. No model is needed. */
#include "base/size.h"
#include "evaluation.h"
#include "loss/columns.h"
#include "measure/datacheck.h"
#include "measure/eval.h"
#include "stream/stream.h"

#include <stdlib.h>
#include <string.h>

static struct dpo_reader *
open_rows(const char *path)
{
	struct dpo_reader *reader;
	struct dpo_error err;

	cli_check(dpo_reader_open(&reader, cli_input(path), cli_input_name(path), &err), &err);
	return reader;
}

/* Rows of two tokenizers have nothing in common, whatever their texts are. */
static void
same_tokenizer(const struct dpo_reader *ours, const struct dpo_reader *theirs)
{
	const char *our = dpo_header_last(dpo_reader_header(ours), NULL, "tokenizer");
	const char *their = dpo_header_last(dpo_reader_header(theirs), NULL, "tokenizer");
	struct dpo_error err;

	if (!our || !their || !*our || !*their) {
		cli_warn("%s: cannot tell whether its tokens are those of %s: no tokenizer id", dpo_reader_name(ours),
		    dpo_reader_name(theirs));
	} else if (strcmp(our, their) != 0) {
		(void)dpo_fail(&err, DPO_MISMATCH, "made with tokenizer %.16s..., %.200s with %.16s...", our,
		    dpo_reader_name(theirs), their);
		cli_fail_at(&err, dpo_reader_name(ours));
	}
}

static void
read_all(struct dpo_datacheck *check, const struct dpo_datacheck *earlier, struct dpo_reader *reader)
{
	const char *name = dpo_reader_name(reader);
	struct dpo_columns columns;
	struct dpo_value *values;
	struct dpo_row row;
	struct dpo_error err;
	enum dpo_status status;

	if (dpo_columns_find(&columns, dpo_reader_header(reader), &err) != DPO_OK)
		cli_fail_at(&err, name);
	if (!(values = dpo_alloc(columns.n_columns, sizeof *values)))
		cli_check(dpo_fail_memory(&err), &err);
	while ((status = dpo_reader_next(reader, values, &err)) == DPO_OK) {
		if (dpo_columns_row(&columns, values, &row, &err) != DPO_OK)
			cli_fail_at(&err, name);
		cli_check(dpo_datacheck_add(check, earlier, &(struct dpo_answers){ row.example.prompt, row.example.n_prompt,
		    { row.example.answer[0], row.example.answer[1] }, { row.example.n_answer[0], row.example.n_answer[1] },
		    row.example.n_answers }, &err), &err);
	}
	cli_check(status, &err);
	if (check->count == 0) {
		(void)dpo_fail(&err, DPO_FORMAT, "no rows");
		cli_fail_at(&err, name);
	}
	dpo_reader_close(reader);
	free(values);
}

static void
put_pairs(struct report *report, const struct dpo_datacheck *check)
{
	struct dpo_share longer = dpo_eval_share(check->longer, check->longer + check->shorter);
	double pairs = (double)check->pairs;

	report_put(report, "contradictions", (double)check->contradictions, true);
	report_put(report, "same_answers", (double)check->same, true);
	report_put(report, "length/chosen", (double)check->length[0] / pairs, false);
	report_put(report, "length/rejected", (double)check->length[1] / pairs, false);
	report_put(report, "longer_chosen", longer.share, false);
	report_put(report, "longer_chosen/low", longer.low, false);
	report_put(report, "longer_chosen/high", longer.high, false);
}

int
evaluate_data(const struct options *options, const char *path)
{
	struct report report = { 0 };
	struct dpo_datacheck check = { 0 }, earlier = { 0 };
	struct dpo_reader *rows, *against;

	report_begin(&report, options->format, &options->require);
	rows = open_rows(path);
	if (options->against) {
		against = open_rows(options->against);
		same_tokenizer(rows, against);
		read_all(&earlier, NULL, against);
	}
	read_all(&check, options->against ? &earlier : NULL, rows);
	report_put(&report, "rows", (double)check.count, true);
	report_put(&report, "prompts", (double)check.prompts.count, true);
	report_put(&report, "dominant_prompt", (double)dpo_datacheck_dominant(&check) / (double)check.count, false);
	report_put(&report, "duplicates", (double)check.duplicates, true);
	if (check.pairs == check.count)
		put_pairs(&report, &check);
	else
		report_put(&report, "length/chosen", (double)check.length[0] / (double)check.count, false);
	if (options->against) {
		report_put(&report, "against/rows", (double)earlier.count, true);
		report_put(&report, "against/shared_prompts", (double)check.shared_prompts, true);
		report_put(&report, "against/shared_rows", (double)check.shared_rows, true);
	}
	dpo_datacheck_free(&check);
	dpo_datacheck_free(&earlier);
	return report_write(&report, options->common.output);
}
