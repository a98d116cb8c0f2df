/* Any bytes as a header's text, a newline and records: refused, or the same bytes when written again. */
#include "stream/record.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS_MAX = 8 };

static void
read_records(const struct dpo_header *header, const uint8_t *bytes, size_t n)
{
	struct dpo_buffer scratch = { 0 }, again = { 0 };
	struct dpo_value values[COLUMNS_MAX];
	struct dpo_error err;
	size_t at = 0, start = 0;

	while (at < n && dpo_record_get(header, bytes, n, &at, &scratch, values, &err) == DPO_OK && at > start) {
		again.len = 0;
		assert(dpo_record_put(header, values, &again, &err) == DPO_OK);
		assert(again.len == at - start && memcmp(again.data, bytes + start, again.len) == 0);
		start = at;
	}
	dpo_buffer_free(&scratch);
	dpo_buffer_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t text = newline ? (size_t)(newline - data) : size;
	struct dpo_buffer written = { 0 };
	struct dpo_header header;
	struct dpo_error err;

	if (dpo_header_read(&header, (const char *)data, text, &err) != DPO_OK)
		return 0;
	assert(dpo_header_write(&header, &written, &err) == DPO_OK);
	if (header.n_columns <= COLUMNS_MAX && text < size)
		read_records(&header, newline + 1, size - text - 1);
	dpo_buffer_free(&written);
	dpo_header_free(&header);
	return 0;
}
