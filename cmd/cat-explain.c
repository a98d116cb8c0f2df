/* dpo-cat --explain: pairs as text, token by token. */
#include "cat.h"
#include "model/files.h"
#include "model/modelfiles.h"
#include "stream/header.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

enum { LAST_IDS = 4 };

/* The tokenizer of MODEL, which must be the one that made the stream. */
static struct dpo_tokenizer *
open_tokenizer(const char *path, const struct dpo_header *header)
{
	const char *made_by = dpo_header_last(header, NULL, "tokenizer");
	struct dpo_tokenizer *tokenizer;
	struct dpo_files files = { 0 };
	char id[DPO_HEX_BYTES];
	struct dpo_error err;

	cli_check(dpo_modelfiles_open(&files, path, &err), &err);
	if (dpo_files_tokenizer_id(&files, id, &err) != DPO_OK)
		cli_fail_at(&err, path);
	if (*id && made_by && strcmp(id, made_by) != 0) {
		dpo_fail(&err, DPO_MISMATCH, "%s: tokenizer %.12s; the stream was made with %.12s", path, id, made_by);
		cli_fail(&err);
	}
	if (dpo_tokenizer_open(&tokenizer, &files, &err) != DPO_OK)
		cli_fail_at(&err, path);
	dpo_files_free(&files);
	return tokenizer;
}

/*
 * The text of one token as it stands within a text: that of the token twice, less that of the token once, since some
 * decoders treat the first token of a text differently.
 */
static void
put_token(const struct dpo_tokenizer *tokenizer, int32_t id, struct dpo_buffer *out)
{
	struct dpo_buffer once = { 0 }, twice = { 0 };
	int32_t both[2] = { id, id };
	struct dpo_error err;
	const char *text;
	size_t from;

	cli_check(dpo_tokenizer_decode(tokenizer, both, 1, &once, &err), &err);
	cli_check(dpo_tokenizer_decode(tokenizer, both, 2, &twice, &err), &err);
	text = dpo_buffer_text(&twice);
	from = twice.len >= once.len && once.len && memcmp(twice.data, once.data, once.len) == 0 ? once.len : 0;
	dpo_buffer_visible(out, text + from, twice.len - from, "|\\");
	dpo_buffer_free(&once);
	dpo_buffer_free(&twice);
}

static void
put_tokens(const struct dpo_tokenizer *tokenizer, const struct dpo_value *ids, struct dpo_buffer *out)
{
	dpo_buffer_string(out, "  |");
	for (size_t i = 0; i < ids->count; i++) {
		int32_t id = ((const int32_t *)ids->data)[i];

		if (id < 0 || (size_t)id >= dpo_tokenizer_size(tokenizer))
			dpo_buffer_printf(out, "<%ld: no such token>", (long)id);
		else
			put_token(tokenizer, id, out);
		dpo_buffer_byte(out, '|');
	}
	dpo_buffer_byte(out, '\n');
}

/* "chosen: 12 tokens, 12 scored, ends in EOS; last ids ... 13 2", and the tokens. */
static void
put_answer(const struct dpo_tokenizer *tokenizer, const char *name, const struct dpo_value *ids, bool prompted,
    const struct dpo_value *ref, struct dpo_buffer *out)
{
	const int32_t *id = ids->data;
	size_t n = ids->count, scored = prompted || n == 0 ? n : n - 1;
	bool ends = n && id[n - 1] == dpo_tokenizer_eos(tokenizer);
	double sum = 0;

	dpo_buffer_printf(out, "%s: %zu tokens, %zu scored, %s; last ids", name, n, scored,
	    ends ? "ends in EOS" : "does not end in EOS");
	for (size_t i = n > LAST_IDS ? n - LAST_IDS : 0; i < n; i++)
		dpo_buffer_printf(out, " %ld", (long)id[i]);
	if (ref) {
		for (size_t i = 0; i < ref->count; i++)
			sum += (double)((const float *)ref->data)[i];
		dpo_buffer_printf(out, "; reference log-prob %.6g nats", sum);
	}
	dpo_buffer_byte(out, '\n');
	put_tokens(tokenizer, ids, out);
}

/* The value of the column of that name and type, or NULL. */
static const struct dpo_value *
column(const struct input *input, const char *name, enum dpo_type type)
{
	const struct dpo_header *header = dpo_source_header(input->source);
	size_t i = dpo_header_find(header, name);

	return i < header->n_columns && header->columns[i].type == type ? &input->values[i] : NULL;
}

static void
explain_row(const struct dpo_tokenizer *tokenizer, const struct input *input, struct dpo_buffer *out)
{
	static const char *const answers[][2] = { { "chosen", "ref_chosen_logps" }, { "rejected", "ref_rejected_logps" } };
	const struct dpo_value *prompt = column(input, "prompt", DPO_I32S), *id = column(input, "id", DPO_STR);

	dpo_buffer_printf(out, "record %llu", (unsigned long long)dpo_source_records(input->source));
	if (id) {
		dpo_buffer_string(out, ", id ");
		dpo_buffer_visible(out, id->data, id->count, "\\");
	}
	dpo_buffer_printf(out, "\nprompt: %zu tokens, not scored\n", prompt->count);
	put_tokens(tokenizer, prompt, out);
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		const struct dpo_value *answer = column(input, answers[i][0], DPO_I32S);

		if (answer)
			put_answer(tokenizer, answers[i][0], answer, prompt->count > 0,
			    column(input, answers[i][1], DPO_F32S), out);
	}
	dpo_buffer_byte(out, '\n');
}

int
cat_explain(struct input *input, const struct options *options)
{
	const struct dpo_header *header = dpo_source_header(input->source);
	struct dpo_tokenizer *tokenizer;
	struct dpo_buffer text = { 0 };
	uint64_t count = 0;
	struct dpo_error err;
	struct dpo_out out;
	size_t index;

	if (dpo_header_need(header, "prompt", DPO_I32S, &index, &err) != DPO_OK ||
	    dpo_header_need(header, "chosen", DPO_I32S, &index, &err) != DPO_OK)
		cli_fail_at(&err, cli_input_name(input->paths[0]));
	tokenizer = open_tokenizer(options->model, header);
	cli_output(&out, options->common.output, false);
	while (cat_next(input)) {
		if (options->limit && count++ >= (uint64_t)options->limit)
			continue;
		explain_row(tokenizer, input, &text);
		cat_drain(&out, &text);
	}
	cli_commit(&out);
	dpo_buffer_free(&text);
	dpo_tokenizer_free(tokenizer);
	return 0;
}
