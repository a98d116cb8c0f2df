/*
 * tokenjson - tokenizer.json, literally as the Hugging Face tokenizers library reads it. Layer 6; uses error, buffer, ids,
 * json, bulk, vocab, tokenparts.
 *
 * Models BPE and Unigram; post-processors TemplateProcessing, ByteLevel (which acts on offsets, not on ids) and Sequence.
 * Any other is DPO_UNSUPPORTED naming it. "truncation" and "padding" are ignored: lengths are the caller's business.
 */
#ifndef DPO_TOKENJSON_H
#define DPO_TOKENJSON_H

#include "tokenizer/tokenparts.h"

/* Fill parts, which are {0}, from text[0..n). On error they hold what was read, for dpo_tokenparts_free. */
enum dpo_status dpo_tokenjson_read(struct dpo_tokenparts *parts, const char *text, size_t n, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Fill the vocabulary from the JSON text[0..n), an object from texts to ids; NULL is DPO_FORMAT. */
enum dpo_status dpo_tokenjson_vocab(struct dpo_vocab *vocab, const char *text, size_t n, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Read an added token's object ("content", its rules), whose id is known. */
enum dpo_status dpo_tokenjson_added(struct dpo_tokenparts *parts, const cJSON *object, int64_t id, struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
