/*
 * token_ids - the ids of a text that no row of JSON can hold, such as one with U+0000, and the text of ids.
 *
 *	token_ids MODEL [KIB] < TEXT	# the ids of standard input as one text, as with add_special_tokens; then, on a second
 *					# line, their text. With no more memory than the process has at its start, and KIB.
 */
#include "model/modelfiles.h"
#include "tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* Let the address space grow by so many bytes at most. */
static bool
limit_memory(size_t more)
{
	size_t pages = 0, bytes;
	FILE *file = fopen("/proc/self/statm", "re");
	bool ok = file && fscanf(file, "%zu", &pages) == 1;
	struct rlimit limit;

	if (file)
		fclose(file);
	if (!ok || !dpo_size_mul(pages, (size_t)sysconf(_SC_PAGESIZE), &bytes))
		return false;
	limit = (struct rlimit){ bytes + more, bytes + more };
	return setrlimit(RLIMIT_AS, &limit) == 0;
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

	if (argc < 2 || argc > 3 || (argc == 3 && !limit_memory((size_t)strtoul(argv[2], NULL, 10) << 10))) {
		fprintf(stderr, "usage: token_ids MODEL [KIB] < TEXT\n");
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
