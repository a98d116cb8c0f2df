/*
 * sentencepiece - a lone tokenizer.model: SentencePiece's protocol buffer (Kudo and Richardson 2018, arXiv:1808.06226).
 * Layer 6; uses error, size, bytes, utf8, vocab, tokenparts.
 *
 * It reads the pieces, and of the two specs what shapes ids: model_type (unigram and bpe), byte_fallback, the names of BOS
 * and EOS; precompiled_charsmap (any, such as nmt_nfkc's), add_dummy_prefix, remove_extra_whitespaces. It refuses by name
 * other model types, treat_whitespace_as_suffix, spaces that are not escaped, a denormalizer, unused pieces of a bpe model.
 *
 * A bpe model merges the adjacent pair whose joined text is the piece of greatest score, the leftmost of equals.
 * User-defined pieces are cut out first; control pieces and the unknown piece are added tokens, found in the raw text (as
 * in transformers), and what lies between two of them is normalized and segmented on its own.
 */
#ifndef DPO_SENTENCEPIECE_H
#define DPO_SENTENCEPIECE_H

#include "tokenizer/tokenparts.h"

/* Fill parts, which are {0} but for bos and eos, from bytes[0..n). On error they hold what was read, for dpo_tokenparts_free. */
enum dpo_status dpo_sentencepiece_read(struct dpo_tokenparts *parts, const uint8_t *bytes, size_t n,
	struct dpo_error *err) DPO_MUST_CHECK;

/* The pieces alone, as in the file. */
struct dpo_sentencepiece {
	struct dpo_vocab vocab;
	struct dpo_piece {
		float score;
		uint8_t type;		/* 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte */
	} *list;			/* owned; count of them, by id */
	size_t count;
	bool unigram;			/* or bpe */
	bool byte_fallback, dummy_prefix, remove_extra;
	const uint8_t *charsmap;	/* borrowed from the file */
	size_t charsmap_bytes;
};

/* From bytes[0..n); refuses what dpo_sentencepiece_read does. Must be freed, even after an error. */
enum dpo_status dpo_sentencepiece_list(struct dpo_sentencepiece *pieces, const uint8_t *bytes, size_t n,
	struct dpo_error *err) DPO_MUST_CHECK;
const char *dpo_sentencepiece_text(const struct dpo_sentencepiece *pieces, size_t id);	/* NUL-terminated, borrowed */
void dpo_sentencepiece_free(struct dpo_sentencepiece *pieces);

#endif
