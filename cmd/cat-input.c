/* dpo-cat: its input, all files as one table. */
#include "base/size.h"
#include "cat.h"
#include "stream/record.h"

#include <stdlib.h>
#include <string.h>

static void
out_of_memory(void)
{
	struct dpo_error err;

	dpo_fail_memory(&err);
	cli_fail(&err);
}

static void
begin_file(struct input *input)
{
	const char *path = input->paths[input->at];
	struct dpo_error err;

	cli_check(dpo_source_open(input->source, cli_input(path), cli_input_name(path), &err), &err);
}

void
cat_open(struct input *input, char **paths, size_t n, bool waive)
{
	*input = (struct input){ .paths = paths, .n = n, .source = dpo_source_new(waive) };
	if (!input->source)
		out_of_memory();
	begin_file(input);
	input->values = dpo_alloc(dpo_source_header(input->source)->n_columns, sizeof *input->values);
	if (!input->values)
		out_of_memory();
}

enum dpo_status
cat_check_values(const struct input *input, struct dpo_error *err)
{
	if (dpo_record_check(dpo_source_header(input->source), input->values, err) == DPO_OK)
		return DPO_OK;
	err->status = DPO_FORMAT;
	return dpo_error_prefix(err, "%.200s: record %llu", cli_input_name(input->paths[input->at]),
	    (unsigned long long)dpo_source_records(input->source));
}

bool
cat_next(struct input *input)
{
	enum dpo_status status;
	struct dpo_error err;

	while ((status = dpo_source_next(input->source, input->values, &err)) == DPO_END) {
		if (++input->at == input->n)
			return false;
		begin_file(input);
	}
	cli_check(status, &err);
	cli_check(cat_check_values(input, &err), &err);
	return true;
}

void
cat_close(struct input *input)
{
	dpo_source_free(input->source);
	free(input->values);
}

void
cat_drain(struct dpo_out *out, struct dpo_buffer *text)
{
	struct dpo_error err;

	if (text->failed)
		out_of_memory();
	cli_check(dpo_out_write(out, text->data, text->len, &err), &err);
	dpo_buffer_clear(text);
}
