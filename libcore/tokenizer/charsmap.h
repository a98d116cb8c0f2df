/*
 * charsmap - SentencePiece's normalization: a map of character sequences and rules for white space. Layer 3; uses error,
 * size, buffer, bytes, utf8, added.
 *
 * A precompiled charsmap is (little-endian) u32 n, n bytes of a double-array trie (darts-clone: 4-byte units) and the
 * replacements, each ended by NUL; a key's value is its replacement's offset. At each place the longest key wins; a
 * character that begins none stays. User-defined symbols are left as they are.
 */
#ifndef DPO_CHARSMAP_H
#define DPO_CHARSMAP_H

#include "base/buffer.h"
#include "base/error.h"
#include "tokenizer/added.h"

struct dpo_charsmap {
	uint32_t *units;		/* owned; NULL: every character stays */
	size_t n_units;
	char *replacements;		/* owned; ends in NUL */
	size_t replacement_bytes;
	const struct dpo_added *symbols;	/* borrowed; NULL or indexed */
	bool dummy_prefix;		/* put a space before a text that is not empty */
	bool remove_extra;		/* spaces at the ends are dropped, runs of them become one */
	bool escape;			/* a space becomes U+2581 */
};

/*
 * Read the map; n 0 is none. Parts that do not fit its bytes and replacements that are not UTF-8 are DPO_FORMAT. The trie
 * is not walked; later, a key whose units or replacement lead outside, or that ends inside a character, does not match. On
 * error the map is as it was.
 */
enum dpo_status dpo_charsmap_read(struct dpo_charsmap *map, const uint8_t *bytes, size_t n, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Append the normalized form of text[0..n), valid UTF-8, to out. */
void dpo_charsmap_apply(const struct dpo_charsmap *map, const char *text, size_t n, struct dpo_buffer *out);

void dpo_charsmap_free(struct dpo_charsmap *map);

#endif
