/*
 * added - added tokens: texts that are one token wherever they stand, found before anything else is split. Layer 2; uses
 * size, utf8, utf8proc.
 *
 * Of the tokens that match at the leftmost place the longest wins.
 */
#ifndef DPO_ADDED_H
#define DPO_ADDED_H

#include "base/size.h"

#include <stdint.h>

/* {0} is an empty set. */
struct dpo_added {
	struct dpo_added_token *list;	/* owned */
	size_t count, capacity;
	size_t starts[257];		/* tokens that begin with byte b are list[starts[b] .. starts[b + 1]) once indexed */
};

/* How a token interacts with the text around it. */
struct dpo_added_rules {
	bool lstrip, rstrip;	/* white space before, after it belongs to the token */
	bool single_word;	/* not where a letter, digit, mark or connector touches it */
};

/* Add text[0..n), n > 0. Call dpo_added_index after the last. false if out of memory. */
bool dpo_added_add(struct dpo_added *added, const char *text, size_t n, int32_t id, struct dpo_added_rules rules);
void dpo_added_index(struct dpo_added *added);
void dpo_added_free(struct dpo_added *added);

/* Bytes of the longest token that text[0..n) begins with, 0 if there is none. The set must be indexed. */
size_t dpo_added_match(const struct dpo_added *added, const char *text, size_t n);

/* A walk over a text, valid UTF-8: set text and n, the rest 0. */
struct dpo_added_walk {
	const char *text;
	size_t n;
	size_t from;		/* where the search goes on */
	size_t done;		/* text before this was returned */
};

/*
 * The next piece of the text: its bounds, and the token's id, or -1 for a piece (not empty) with no added token in it.
 * false at the end.
 */
bool dpo_added_next(const struct dpo_added *added, struct dpo_added_walk *walk, size_t *start, size_t *end,
	int32_t *id);

#endif
