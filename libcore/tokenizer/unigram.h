/*
 * unigram - the most probable segmentation of a text (Kudo 2018, arXiv:1804.10959). Layer 3; uses error, size, ids, buffer,
 * json, utf8, vocab.
 *
 * Each piece has a log-probability; of all ways to cut a text into pieces the one with the greatest sum is taken (Viterbi),
 * of equals the one whose last piece begins first. A character that is not itself a piece costs 10 more than the worst
 * piece and is unknown; a run of unknown characters counts as one. What is unknown becomes its bytes' tokens <0xHH>
 * (byte_fallback, if all are there), else the unknown token, else it is an error.
 */
#ifndef DPO_UNIGRAM_H
#define DPO_UNIGRAM_H

#include "base/error.h"
#include "base/ids.h"
#include "tokenizer/vocab.h"

#include <cjson/cJSON.h>

struct dpo_unigram {
	struct dpo_unigram_node *nodes;	/* owned; the trie of the pieces, node 0 its root */
	size_t n_nodes, nodes_capacity;
	struct dpo_unigram_edge *edges;	/* owned; hash table by (node, byte); a power of two */
	size_t edges_capacity;
	double worst;			/* least score of a piece */
	int32_t bytes[256];		/* ids of <0xHH>, -1 where there is none */
	int32_t unk;			/* -1: none */
	bool byte_fallback;
	bool single;			/* sums are floats (SentencePiece), not doubles (tokenizers) */
};

/* Best ways to each place of one text; {0} is empty; one per thread. */
struct dpo_unigram_scratch {
	struct dpo_unigram_best *best;	/* owned */
	size_t capacity;
};

/*
 * Read the "model" object of a tokenizer.json, and its vocabulary, the JSON text list[0..n) (a list of [piece, score]; NULL
 * for none), into vocab, which is empty. On error unigram is {0}.
 */
enum dpo_status dpo_unigram_read(struct dpo_unigram *unigram, const cJSON *model, const char *list, size_t n,
	struct dpo_vocab *vocab, struct dpo_error *err) DPO_MUST_CHECK;

/* By hand: {0} first, then the pieces, then the byte tokens of the finished vocabulary, and the options. */
enum dpo_status dpo_unigram_add(struct dpo_unigram *unigram, const char *piece, size_t n, int32_t id, double score,
	struct dpo_error *err) DPO_MUST_CHECK;
void dpo_unigram_find_bytes(struct dpo_unigram *unigram, const struct dpo_vocab *vocab);
void dpo_unigram_free(struct dpo_unigram *unigram);

/* Append the ids of text[0..n), valid UTF-8, to ids. Work is O(n) times the longest piece. */
enum dpo_status dpo_unigram_encode(const struct dpo_unigram *unigram, struct dpo_unigram_scratch *scratch,
	const char *text, size_t n, struct dpo_ids *ids, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_unigram_scratch_free(struct dpo_unigram_scratch *scratch);

#endif
