/* Any bytes as lines of preferences: each is refused or a row, whose texts are UTF-8. */
#include "base/utf8.h"
#include "rows/rows.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct dpo_text_row *row)
{
	const struct dpo_row_text *const texts[] = { &row->id, &row->prompt, &row->chosen, &row->rejected, &row->eos };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert(!texts[i]->bytes || dpo_utf8_check((const uint8_t *)texts[i]->bytes, texts[i]->n) == texts[i]->n);
	assert(row->weight >= 0 && isfinite(row->margin) && row->label_prob >= 0 && row->label_prob <= 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *end = line + size, *newline;
	struct dpo_rows rows = { 0 };
	struct dpo_text_row row = { 0 };
	struct dpo_error err;

	assert(dpo_rows_keep(&rows, "score:f32", &err) == DPO_OK && dpo_rows_keep(&rows, "list:i64[]", &err) == DPO_OK);
	for (; line < end; line = newline + 1) {
		if (!(newline = memchr(line, '\n', (size_t)(end - line))))
			newline = end;
		if (dpo_rows_read(&rows, &row, line, (size_t)(newline - line), &err) == DPO_OK)
			check(&row);
	}
	dpo_row_free(&row);
	dpo_rows_free(&rows);
	return 0;
}
