/*
 * bpe - byte-pair encoding of one word (Sennrich et al. 2016). Layer 3; uses error, size, buffer, utf8, json, ids, vocab.
 *
 * A word starts as its characters; the adjacent pair of lowest rank, the leftmost of equals, is merged until no pair left
 * has a rank. Work is O(n log n) in the characters of the word.
 *
 * A character that the vocabulary lacks becomes its bytes' tokens <0xHH> (byte_fallback, if all are there), else the
 * unknown token (fuse_unk: one for a run of them), else it is an error: text is never lost silently.
 */
#ifndef DPO_BPE_H
#define DPO_BPE_H

#include "base/error.h"
#include "base/ids.h"
#include "tokenizer/vocab.h"

#include <cjson/cJSON.h>

#define DPO_BPE_LOW 0x400	/* characters below have their own table */

struct dpo_bpe {
	struct dpo_merge *merges;	/* owned; hash table by (left id, right id); capacity is a power of two */
	size_t capacity, used;		/* slots, and how many are taken */
	size_t count;			/* merges read */
	size_t n_own;			/* tokens of the model itself; added tokens come later and are no words of it */
	int32_t low[DPO_BPE_LOW];	/* ids of the first characters, -1 where there is none */
	int32_t bytes[256];		/* ids of <0xHH>, -1 where there is none */
	int32_t unk;			/* -1: none */
	bool fuse_unk, byte_fallback, ignore_merges;
};

/* Symbols and queue of one word; {0} is empty; one a thread. */
struct dpo_bpe_scratch {
	struct dpo_bpe_symbol *symbols;	/* owned */
	size_t symbols_capacity;
	struct dpo_bpe_candidate *queue;	/* owned; a heap */
	size_t queue_capacity;
};

/*
 * Read the options of the "model" object of a tokenizer.json, and its merges, the JSON text list[0..n) (a list of "left
 * right", skipping "#version" lines, or [left, right]; NULL for none), over a vocabulary that is already filled. A merge
 * that names a token outside the vocabulary, or another shape, is DPO_FORMAT; dropout and affixes are DPO_UNSUPPORTED. On
 * error bpe is {0}.
 */
enum dpo_status dpo_bpe_read(struct dpo_bpe *bpe, const cJSON *model, const char *list, size_t n,
	const struct dpo_vocab *vocab, struct dpo_error *err) DPO_MUST_CHECK;
/* The same from merges.txt: one "left right" a line in order of rank; lines may end in CR LF; "#version" lines are skipped. */
enum dpo_status dpo_bpe_read_text(struct dpo_bpe *bpe, const char *text, size_t n, const struct dpo_vocab *vocab,
	struct dpo_error *err) DPO_MUST_CHECK;
/* By hand: begin without merges or options, over a vocabulary that is already filled; then add merges. */
struct dpo_merge_ids { int32_t left, right, merged; };
void dpo_bpe_init(struct dpo_bpe *bpe, const struct dpo_vocab *vocab);
enum dpo_status dpo_bpe_add(struct dpo_bpe *bpe, struct dpo_merge_ids ids, uint32_t rank, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_bpe_free(struct dpo_bpe *bpe);

/* Append the ids of word[0..n), valid UTF-8, to ids. */
enum dpo_status dpo_bpe_encode(const struct dpo_bpe *bpe, const struct dpo_vocab *vocab,
	struct dpo_bpe_scratch *scratch, const char *word, size_t n, struct dpo_ids *ids, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_bpe_scratch_free(struct dpo_bpe_scratch *scratch);

#endif
