/* tokens - what the tests of tokenizers share. */
#ifndef TOKENS_H
#define TOKENS_H

#include "tokenizer/tokenizer.h"

/* Fails the test unless the ids of text are those wanted, as "1 2 3". */
void assert_ids(const struct dpo_tokenizer *tokenizer, const char *text, bool special, const char *wanted);

#endif
