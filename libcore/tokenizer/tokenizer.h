/*
 * tokenizer - text to token ids and back, as the model's tokenizer files say. Layer 8; uses error, buffer, utf8, ids, files,
 * json, tokenparts, sentencepiece, tokenjson, specials, tokenclass.
 *
 * Reads tokenizer.json (tokenjson.h) or, without one, vocab.json with merges.txt (tokenclass.h) or tokenizer.model
 * (sentencepiece.h); in that case also added_tokens.json; then the special tokens (specials.h). A component it does not
 * know is DPO_UNSUPPORTED naming it, never skipped.
 */
#ifndef DPO_TOKENIZER_H
#define DPO_TOKENIZER_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/ids.h"
#include "model/files.h"

struct dpo_tokenizer;

/* Build a tokenizer from a model's files. On error *tokenizer is NULL. */
enum dpo_status dpo_tokenizer_open(struct dpo_tokenizer **tokenizer, const struct dpo_files *files,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_tokenizer_free(struct dpo_tokenizer *tokenizer);

/* One more than the largest id. */
size_t dpo_tokenizer_size(const struct dpo_tokenizer *tokenizer);
/* The id of the end-of-sequence token and its text (NUL-terminated, borrowed); -1 and NULL if the files name none. */
int32_t dpo_tokenizer_eos(const struct dpo_tokenizer *tokenizer);
const char *dpo_tokenizer_eos_text(const struct dpo_tokenizer *tokenizer);
int32_t dpo_tokenizer_bos(const struct dpo_tokenizer *tokenizer);

/*
 * Append the ids of text[0..n) (valid UTF-8) to ids; with `special` the post-processor adds its tokens
 * (add_special_tokens=True). Special tokens written in the text are recognised as such. A regex that exceeds its match
 * limit is DPO_LIMIT.
 */
enum dpo_status dpo_tokenizer_encode(const struct dpo_tokenizer *tokenizer, const char *text, size_t n, bool special,
	struct dpo_ids *ids, struct dpo_error *err) DPO_MUST_CHECK;

/* Append the text of ids[0..n) to out; bytes that are not UTF-8 become U+FFFD; special tokens are shown as their text. */
enum dpo_status dpo_tokenizer_decode(const struct dpo_tokenizer *tokenizer, const int32_t *ids, size_t n,
	struct dpo_buffer *out, struct dpo_error *err) DPO_MUST_CHECK;

#endif
