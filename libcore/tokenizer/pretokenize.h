/*
 * pretokenize - the pre_tokenizer of a tokenizer.json: splits normalized text into the words that the model then merges.
 * Layer 3; uses error, size, buffer, utf8, json, regex.
 *
 * Known: ByteLevel, Metaspace, Split (of a string or a regular expression), Digits, Punctuation, Whitespace,
 * WhitespaceSplit, CharDelimiterSplit, Sequence. Any other type is DPO_UNSUPPORTED naming it. ByteLevel writes each byte as
 * one character of GPT-2's byte alphabet (Radford et al. 2019).
 */
#ifndef DPO_PRETOKENIZE_H
#define DPO_PRETOKENIZE_H

#include "base/buffer.h"
#include "base/error.h"

#include <cjson/cJSON.h>

#define DPO_PRETOKENIZE_STEPS 8

struct dpo_pretokenizer {
	struct dpo_pretokenizer_step *steps;	/* owned, DPO_PRETOKENIZE_STEPS of them */
	size_t count;
};

/* Read the "pre_tokenizer" object; NULL or null means no step: the whole text is one word. On error it is {0}. */
enum dpo_status dpo_pretokenizer_read(struct dpo_pretokenizer *pretokenizer, const cJSON *spec,
	struct dpo_error *err) DPO_MUST_CHECK;
/* ByteLevel without a prefix space, split by pattern (NULL: GPT-2's own). For tokenizers that come as vocab.json. */
enum dpo_status dpo_pretokenizer_byte_level(struct dpo_pretokenizer *pretokenizer, const char *pattern,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_pretokenizer_free(struct dpo_pretokenizer *pretokenizer);

/* The memory that one call works in; one per thread. NULL if out of memory. */
struct dpo_pretokenize_scratch *dpo_pretokenize_scratch_new(void);
void dpo_pretokenize_scratch_free(struct dpo_pretokenize_scratch *scratch);

/* Receives one word, not empty, valid during the call. */
typedef enum dpo_status dpo_pretokenize_word(void *context, const char *word, size_t n, struct dpo_error *err);

/*
 * Call word(context, ...) for each word of text[0..n) in order. first: the text is the very beginning of the input (for
 * Metaspace's prepend_scheme "first"). An error of word ends the walk and is returned. DPO_LIMIT as in regex.h.
 */
enum dpo_status dpo_pretokenize(const struct dpo_pretokenizer *pretokenizer, struct dpo_pretokenize_scratch *scratch,
	const char *text, size_t n, bool first, dpo_pretokenize_word *word, void *context, struct dpo_error *err)
	DPO_MUST_CHECK;

/* The byte that a character of GPT-2's byte alphabet stands for; -1 if it stands for none. */
int dpo_pretokenize_char_byte(uint32_t code);

#endif
