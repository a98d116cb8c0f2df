/* Any bytes as a stream's text: a header, and lines that are refused or records that are the same when written and read again. */
#include "stream/record.h"
#include "stream/text.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS_MAX = 8 };

static void
put_bytes(const struct dpo_header *header, const struct dpo_value *values, struct dpo_buffer *out)
{
	struct dpo_error err;

	assert(dpo_record_put(header, values, out, &err) == DPO_OK);
}

/* The record's bytes, and those of what its text and its bytes say. */
static void
go_round(const struct dpo_header *header, const struct dpo_value *values)
{
	struct dpo_buffer text = { 0 }, first = { 0 }, second = { 0 }, third = { 0 }, scratch = { 0 };
	struct dpo_text_record record = { 0 };
	struct dpo_value again[COLUMNS_MAX];
	struct dpo_error err;
	size_t at = 0;

	put_bytes(header, values, &first);
	assert(dpo_text_put_record(&text, header, values, true, &err) == DPO_OK);
	assert(dpo_text_get_record(&record, header, (const char *)text.data, text.len - 1, again, &err) == DPO_OK);
	put_bytes(header, again, &second);
	assert(dpo_record_get(header, first.data, first.len, &at, &scratch, again, &err) == DPO_OK && at == first.len);
	put_bytes(header, again, &third);
	assert(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	assert(first.len == third.len && memcmp(first.data, third.data, first.len) == 0);
	dpo_text_free(&record);
	dpo_buffer_free(&text);
	dpo_buffer_free(&first);
	dpo_buffer_free(&second);
	dpo_buffer_free(&third);
	dpo_buffer_free(&scratch);
}

static void
read_line(const struct dpo_header *header, struct dpo_text_record *record, const char *line, size_t n)
{
	uint8_t parent[DPO_HASH_BYTES], tip[DPO_HASH_BYTES];
	struct dpo_value values[COLUMNS_MAX];
	struct dpo_error err;
	bool is_end;

	if (dpo_text_get_end(&is_end, line, n, parent, tip, &err) != DPO_OK || is_end)
		return;
	if (dpo_text_get_record(record, header, line, n, values, &err) == DPO_OK &&
	    dpo_record_check(header, values, &err) == DPO_OK)
		go_round(header, values);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *end = line + size, *newline = memchr(line ? line : "", '\n', size);
	struct dpo_text_record record = { 0 };
	struct dpo_header header;
	struct dpo_error err;

	if (!newline || dpo_text_get_header(&header, line, (size_t)(newline - line), &err) != DPO_OK)
		return 0;
	while (header.n_columns <= COLUMNS_MAX && newline < end && (line = newline + 1) < end) {
		if (!(newline = memchr(line, '\n', (size_t)(end - line))))
			newline = end;
		read_line(&header, &record, line, (size_t)(newline - line));
	}
	dpo_text_free(&record);
	dpo_header_free(&header);
	return 0;
}
