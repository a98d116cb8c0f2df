/*
 * token_ids - the ids of a text that no row of JSON can hold, such as one with U+0000, and the text of ids.
 *
 *	token_ids MODEL < TEXT		# the ids of standard input as one text, as with add_special_tokens; then, on a second
 *					# line, their text
 */
#include "modelfiles.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

static enum dpo_status
show(const struct dpo_tokenizer *tokenizer, struct dpo_buffer *text, struct dpo_error *err)
{
	struct dpo_buffer decoded = { 0 };
	struct dpo_ids ids = { 0 };
	enum dpo_status status;

	status = dpo_tokenizer_encode(tokenizer, dpo_buffer_text(text), text->len, true, &ids, err);
	for (size_t i = 0; i < ids.count && status == DPO_OK; i++)
		printf("%s%d", i ? " " : "", (int)ids.ids[i]);
	if (status == DPO_OK && (status = dpo_tokenizer_decode(tokenizer, ids.ids, ids.count, &decoded, err)) == DPO_OK) {
		putchar('\n');
		fwrite(decoded.data, 1, decoded.len, stdout);
		putchar('\n');
	}
	dpo_buffer_free(&decoded);
	free(ids.ids);
	return status;
}

int
main(int argc, char **argv)
{
	struct dpo_tokenizer *tokenizer = NULL;
	struct dpo_files files = { 0 };
	struct dpo_buffer text = { 0 };
	struct dpo_error err = { 0 };
	enum dpo_status status;
	int c;

	if (argc != 2) {
		fprintf(stderr, "usage: token_ids MODEL < TEXT\n");
		return 2;
	}
	while ((c = getchar()) != EOF)
		dpo_buffer_byte(&text, (uint8_t)c);
	if ((status = dpo_modelfiles_open(&files, argv[1], &err)) == DPO_OK &&
	    (status = dpo_tokenizer_open(&tokenizer, &files, &err)) == DPO_OK)
		status = show(tokenizer, &text, &err);
	if (status != DPO_OK)
		fprintf(stderr, "token_ids: %s\n", err.text);
	dpo_tokenizer_free(tokenizer);
	dpo_files_free(&files);
	dpo_buffer_free(&text);
	return status == DPO_OK ? 0 : 1;
}
