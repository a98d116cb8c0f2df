#include "tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void
assert_ids(const struct dpo_tokenizer *tokenizer, const char *text, bool special, const char *wanted)
{
	struct dpo_buffer got = { 0 };
	struct dpo_ids ids = { 0 };
	struct dpo_error err;

	if (dpo_tokenizer_encode(tokenizer, text, strlen(text), special, &ids, &err) != DPO_OK)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < ids.count; i++)
		dpo_buffer_printf(&got, "%s%d", i ? " " : "", (int)ids.ids[i]);
	assert_string_equal(dpo_buffer_text(&got), wanted);
	dpo_buffer_free(&got);
	free(ids.ids);
}
