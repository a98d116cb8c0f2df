/*
 * tokenparts - the parts that a tokenizer is made of. Layer 5; uses error, buffer, table, ids, vocab, added, normalize,
 * pretokenize, bpe, unigram, detokenize.
 *
 * Text passes through: added tokens (literal), normalizer, added tokens (normalized), pre-tokenizer, model, post-processor;
 * ids through the detokenizer. The readers of layer 6 fill the parts: tokenjson (tokenizer.json), tokenclass (vocab.json
 * and merges.txt), sentencepiece (tokenizer.model), and then specials.
 */
#ifndef DPO_TOKENPARTS_H
#define DPO_TOKENPARTS_H

#include "base/error.h"
#include "base/ids.h"
#include "base/table.h"
#include "tokenizer/added.h"
#include "tokenizer/bpe.h"
#include "tokenizer/detokenize.h"
#include "tokenizer/normalize.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/unigram.h"
#include "tokenizer/vocab.h"

enum dpo_token_model { DPO_TOKEN_BPE, DPO_TOKEN_UNIGRAM };

struct dpo_tokenparts {
	struct dpo_vocab vocab;			/* added tokens included */
	enum dpo_token_model model;		/* which of the next two */
	struct dpo_bpe bpe;
	struct dpo_unigram unigram;
	struct dpo_normalizer normalizer;
	struct dpo_pretokenizer pretokenizer;
	struct dpo_detokenizer detokenizer;
	struct dpo_added literal;		/* added tokens found in the raw text */
	struct dpo_added normalized;		/* added tokens found in normalized text */
	struct dpo_table texts;			/* of added tokens, to their ids */
	struct dpo_added symbols;		/* what a SentencePiece normalizer leaves alone */
	struct dpo_ids before, after;		/* what the post-processor puts around a text */
	bool adds_bos;				/* a SentencePiece model: BOS goes first unless configured otherwise */
	int32_t bos, eos;			/* -1: the files name none */
};

/* An added token as files describe it. */
struct dpo_added_spec {
	const char *text;
	int64_t id;
	bool normalized;		/* its normalized form is found in normalized text */
	struct dpo_added_rules rules;
};

/*
 * Add a token; its id must be the vocabulary's, or new there. Empty texts and ids that contradict the vocabulary are
 * DPO_FORMAT. Read the normalizer before adding a normalized token.
 */
enum dpo_status dpo_tokenparts_add(struct dpo_tokenparts *parts, const struct dpo_added_spec *spec,
	struct dpo_error *err) DPO_MUST_CHECK;
/* Whether a token of this text was added. */
bool dpo_tokenparts_has(const struct dpo_tokenparts *parts, const char *text);
/* After the last token: sort them for the search. */
void dpo_tokenparts_index(struct dpo_tokenparts *parts);
void dpo_tokenparts_free(struct dpo_tokenparts *parts);

#endif
