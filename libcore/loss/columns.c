#include "loss/columns.h"

#include "base/file.h"
#include "base/size.h"
#include "stream/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const dpo_columns_ref_names[DPO_ANSWERS] = { "ref_chosen_logps", "ref_rejected_logps" };

static const char *const answer_names[DPO_ANSWERS] = { "chosen", "rejected" };

/* An optional column of one float: its index, or n_columns. */
static enum dpo_status
find_number(size_t *index, const struct dpo_header *header, const char *name, struct dpo_error *err)
{
	*index = dpo_header_find(header, name);
	return *index == header->n_columns ? DPO_OK : dpo_header_need(header, name, DPO_F32, index, err);
}

static enum dpo_status
find_answers(struct dpo_columns *columns, const struct dpo_header *header, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	columns->reference = dpo_header_find(header, dpo_columns_ref_names[0]) < header->n_columns;
	for (size_t a = 0; status == DPO_OK && a < columns->answers; a++) {
		status = dpo_header_need(header, answer_names[a], DPO_I32S, &columns->answer[a], err);
		if (status == DPO_OK && columns->reference)
			status = dpo_header_need(header, dpo_columns_ref_names[a], DPO_F32S, &columns->ref[a], err);
	}
	return status;
}

enum dpo_status
dpo_columns_find(struct dpo_columns *columns, const struct dpo_header *header, struct dpo_error *err)
{
	enum dpo_status status;

	*columns = (struct dpo_columns){ .n_columns = header->n_columns };
	if (strcmp(header->kind, "pairs") == 0)
		columns->answers = 2;
	else if (strcmp(header->kind, "sft") == 0)
		columns->answers = 1;
	else
		return dpo_fail(err, DPO_FORMAT, "a stream of kind \"%s\", not \"pairs\" or \"sft\"", header->kind);
	if ((status = dpo_header_need(header, "id", DPO_STR, &columns->id, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "prompt", DPO_I32S, &columns->prompt, err)) != DPO_OK ||
	    (status = find_answers(columns, header, err)) != DPO_OK ||
	    (status = find_number(&columns->weight, header, "weight", err)) != DPO_OK ||
	    (status = find_number(&columns->margin, header, "margin", err)) != DPO_OK)
		return status;
	return find_number(&columns->label_prob, header, "label_prob", err);
}

enum dpo_status
dpo_columns_objectives(struct dpo_columns *columns, const struct dpo_header *header, const char *const *names, size_t n,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t k = 0; k < n && status == DPO_OK; k++)
		if ((status = dpo_header_need(header, names[k], DPO_F32, &columns->objectives[k], err)) != DPO_OK)
			(void)dpo_error_prefix(err, "--objective %s (dpo-tok keeps it with --keep %s:f32)", names[k], names[k]);
	columns->n_objectives = n;
	return status;
}

enum dpo_status
dpo_columns_blame(const struct dpo_row *row, struct dpo_error *err)
{
	int shown = row->id_bytes < 80 ? (int)row->id_bytes : 80;

	return dpo_error_prefix(err, "record \"%.*s\"", shown, row->id);
}

size_t
dpo_columns_scored(const struct dpo_example *example, size_t answer)
{
	return example->n_answer[answer] - (example->n_prompt == 0 ? 1 : 0);
}

static enum dpo_status
read_answer(const struct dpo_columns *columns, const struct dpo_value *values, size_t a, struct dpo_row *row,
    struct dpo_error *err)
{
	const struct dpo_value *answer = &values[columns->answer[a]], *ref;

	row->example.answer[a] = answer->data;
	row->example.n_answer[a] = answer->count;
	if (answer->count == 0)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is empty", answer_names[a]);
	if (!columns->reference)
		return DPO_OK;
	ref = &values[columns->ref[a]];
	if (ref->count != answer->count)
		return dpo_fail(err, DPO_FORMAT, "\"%s\" has %zu numbers for %zu tokens", dpo_columns_ref_names[a],
		    ref->count, answer->count);
	row->ref[a] = ref->data;
	for (size_t t = 0; t < ref->count; t++)
		if (!isfinite(row->ref[a][t]))
			return dpo_fail(err, DPO_FORMAT, "\"%s\": number %zu is not finite", dpo_columns_ref_names[a], t);
	return DPO_OK;
}

static double
number_or(const struct dpo_columns *columns, const struct dpo_value *values, size_t index, double fallback)
{
	return index < columns->n_columns ? (double)values[index].f32 : fallback;
}

static enum dpo_status
read_numbers(const struct dpo_columns *columns, const struct dpo_value *values, struct dpo_row *row,
    struct dpo_error *err)
{
	row->weight = number_or(columns, values, columns->weight, 1.0);
	row->margin = number_or(columns, values, columns->margin, 0.0);
	row->label_prob = number_or(columns, values, columns->label_prob, 1.0);
	if (!(row->weight >= 0) || !isfinite(row->weight))
		return dpo_fail(err, DPO_FORMAT, "\"weight\" is %g", row->weight);
	if (!isfinite(row->margin))
		return dpo_fail(err, DPO_FORMAT, "\"margin\" is %g", row->margin);
	if (!(row->label_prob >= 0 && row->label_prob <= 1))
		return dpo_fail(err, DPO_FORMAT, "\"label_prob\" is %g", row->label_prob);
	for (size_t k = 0; k < columns->n_objectives; k++) {
		row->objectives[k] = (double)values[columns->objectives[k]].f32;
		if (!isfinite(row->objectives[k]))
			return dpo_fail(err, DPO_FORMAT, "objective %zu is %g", k + 1, row->objectives[k]);
	}
	return DPO_OK;
}

enum dpo_status
dpo_columns_row(const struct dpo_columns *columns, const struct dpo_value *values, struct dpo_row *row,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	*row = (struct dpo_row){ .id = values[columns->id].data, .id_bytes = values[columns->id].count };
	row->example.prompt = values[columns->prompt].data;
	row->example.n_prompt = values[columns->prompt].count;
	row->example.n_answers = columns->answers;
	for (size_t a = 0; status == DPO_OK && a < columns->answers; a++)
		status = read_answer(columns, values, a, row, err);
	if (status == DPO_OK)
		status = read_numbers(columns, values, row, err);
	return status == DPO_OK ? DPO_OK : dpo_columns_blame(row, err);
}

static enum dpo_status
count_records(uint64_t *count, struct dpo_reader *reader, struct dpo_error *err)
{
	struct dpo_value *values = dpo_alloc(dpo_reader_header(reader)->n_columns, sizeof *values);
	enum dpo_status status;

	if (!values)
		return dpo_fail_memory(err);
	while ((status = dpo_reader_next(reader, values, err)) == DPO_OK)
		;
	free(values);
	*count = dpo_reader_records(reader);
	return status == DPO_END ? DPO_OK : status;
}

enum dpo_status
dpo_columns_count(uint64_t *count, const char *path, struct dpo_error *err)
{
	struct dpo_reader *reader;
	struct stat about;
	enum dpo_status status;

	*count = 0;
	if (strcmp(path, "-") == 0 || stat(path, &about) != 0 || !S_ISREG(about.st_mode))
		return DPO_OK;
	if ((status = dpo_reader_open_path(&reader, path, err)) != DPO_OK)
		return status;
	status = count_records(count, reader, err);
	dpo_reader_close(reader);
	return status;
}
