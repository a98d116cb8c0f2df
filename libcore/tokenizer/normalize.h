/*
 * normalize - the normalizer of a tokenizer.json: changes text before anything is split. Layer 4; uses error, size, buffer,
 * utf8, json, regex, normalform, charsmap, utf8proc.
 *
 * Known: Prepend, Replace (of a string or a regular expression), Strip, StripAccents, Lowercase, NFC, NFD, NFKC, NFKD (utf8proc's
 * Unicode version), Sequence. Any other type is DPO_UNSUPPORTED naming it. A SentencePiece model brings a charsmap.
 */
#ifndef DPO_NORMALIZE_H
#define DPO_NORMALIZE_H

#include "base/buffer.h"
#include "base/error.h"
#include "tokenizer/charsmap.h"

#include <cjson/cJSON.h>

#define DPO_NORMALIZE_MAX ((size_t)512 << 20)	/* bytes of normalized text */

struct dpo_normalizer {
	struct dpo_normalizer_step *steps;	/* owned */
	size_t count;
	size_t capacity;
};

/* Read the "normalizer" object; NULL or null is no step. On error the normalizer is {0}. */
enum dpo_status dpo_normalizer_read(struct dpo_normalizer *normalizer, const cJSON *spec, struct dpo_error *err)
	DPO_MUST_CHECK;
/* Add the step NFC (a tokenizer without tokenizer.json). */
enum dpo_status dpo_normalizer_nfc(struct dpo_normalizer *normalizer, struct dpo_error *err) DPO_MUST_CHECK;
/* Add the step of a SentencePiece model; the normalizer takes ownership of the map, even on error. */
enum dpo_status dpo_normalizer_charsmap(struct dpo_normalizer *normalizer, struct dpo_charsmap *map, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_normalizer_free(struct dpo_normalizer *normalizer);

/*
 * The normalized form of text[0..n), valid UTF-8, into out (cleared first). More than DPO_NORMALIZE_MAX bytes is DPO_LIMIT,
 * and so is a regular expression that passes its limits. *cut: the beginning of the text was removed, so that what is left
 * is not the beginning of the input.
 */
enum dpo_status dpo_normalize(const struct dpo_normalizer *normalizer, const char *text, size_t n,
	struct dpo_buffer *out, bool *cut, struct dpo_error *err) DPO_MUST_CHECK;

#endif
