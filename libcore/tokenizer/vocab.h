/*
 * vocab - maps a token's text to its id and back. Layer 2; uses error, size, buffer.
 *
 * {0} is a valid empty vocabulary. Ids are at least 0 and below DPO_VOCAB_MAX; they need not be contiguous, and memory
 * depends on the number of tokens, not on the largest id. A duplicate text or id is refused.
 */
#ifndef DPO_VOCAB_H
#define DPO_VOCAB_H

#include "base/buffer.h"
#include "base/error.h"

#define DPO_VOCAB_MAX ((int64_t)1 << 24)	/* ids are below this */

struct dpo_vocab {
	struct dpo_buffer texts;		/* all texts, each followed by a NUL */
	struct dpo_vocab_token *tokens;		/* owned, in the order added */
	size_t count, capacity;
	struct dpo_vocab_slot *by_text;		/* owned; a hash table of `slots` */
	uint32_t *by_id;			/* owned; another: 1 + index into tokens, 0 where free */
	size_t slots;				/* a power of two, more than twice count */
	size_t size;				/* one more than the largest id */
};

/* Add text[0..n) -> id. DPO_FORMAT for an id out of range, or a duplicate id or text. */
enum dpo_status dpo_vocab_add(struct dpo_vocab *vocab, const char *text, size_t n, int64_t id, struct dpo_error *err)
	DPO_MUST_CHECK;

/* The id of text[0..n), or -1. */
int32_t dpo_vocab_id(const struct dpo_vocab *vocab, const char *text, size_t n);
/* The same among the `first` tokens that were added first. */
int32_t dpo_vocab_id_of_first(const struct dpo_vocab *vocab, size_t first, const char *text, size_t n);

/* The text of id, NUL-terminated, its length in *n; NULL if there is no such id. Valid until the next add. */
const char *dpo_vocab_text(const struct dpo_vocab *vocab, int64_t id, size_t *n);

void dpo_vocab_free(struct dpo_vocab *vocab);

#endif
