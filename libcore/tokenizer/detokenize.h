/*
 * detokenize - the decoder of a tokenizer.json: turns the texts of tokens into one text. Layer 4; uses error, size, buffer,
 * utf8, json, pretokenize (the byte alphabet).
 *
 * Known: ByteLevel, Metaspace, Replace (of a string), ByteFallback, Fuse, Strip, Sequence. Any other type is
 * DPO_UNSUPPORTED naming it.
 */
#ifndef DPO_DETOKENIZE_H
#define DPO_DETOKENIZE_H

#include "base/buffer.h"
#include "base/error.h"

#include <cjson/cJSON.h>

struct dpo_detokenizer {
	struct dpo_detokenizer_step *steps;	/* owned */
	size_t count;
	size_t capacity;
};

/* Texts one after the other in `bytes`; text i ends at ends[i]. {0} is empty. */
struct dpo_texts {
	struct dpo_buffer bytes;
	size_t *ends;		/* owned */
	size_t count, capacity;
};

/* Append text[0..n); bytes.failed if out of memory. */
void dpo_texts_add(struct dpo_texts *texts, const char *text, size_t n);
void dpo_texts_free(struct dpo_texts *texts);

/* Read the "decoder" object; NULL or null: tokens are joined by spaces, as Hugging Face's library does. On error it is {0}. */
enum dpo_status dpo_detokenizer_read(struct dpo_detokenizer *detokenizer, const cJSON *spec, struct dpo_error *err)
	DPO_MUST_CHECK;
/* Add the step ByteLevel (a tokenizer without tokenizer.json). */
enum dpo_status dpo_detokenizer_byte_level(struct dpo_detokenizer *detokenizer, struct dpo_error *err) DPO_MUST_CHECK;
/* Add SentencePiece's steps: U+2581 to space, byte tokens to bytes, and with `strip` the leading space removed. */
enum dpo_status dpo_detokenizer_sentencepiece(struct dpo_detokenizer *detokenizer, bool strip, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_detokenizer_free(struct dpo_detokenizer *detokenizer);

/* Append the text of the tokens (left empty afterwards) to out, each byte that is not valid UTF-8 as U+FFFD. DPO_NOMEM only. */
enum dpo_status dpo_detokenize(const struct dpo_detokenizer *detokenizer, struct dpo_texts *tokens,
	struct dpo_buffer *out, struct dpo_error *err) DPO_MUST_CHECK;

#endif
