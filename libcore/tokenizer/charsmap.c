#include "tokenizer/charsmap.h"

#include "base/bytes.h"
#include "base/size.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static const char escaped_space[] = "\xe2\x96\x81";	/* U+2581 */

/* ------------------------------------------------------------------ the trie
 * A unit: bits 0 to 7 and 31 its label; bit 8 whether a value hangs below; bits 10 to 30 the offset of its children,
 * shifted by 8 more where bit 9 is set. A unit with bit 31 is a value, bits 0 to 30.
 */

static size_t
children(uint32_t unit, size_t at)
{
	return at ^ (size_t)(unit >> 10 << ((unit & 0x200) >> 6));
}

static bool
inside_character(char byte)
{
	return ((uint8_t)byte & 0xc0) == 0x80;
}

/* The longest key that text[0..n) begins with and that ends with a character: its bytes, 0 if none, and its value. */
static size_t
longest(const struct dpo_charsmap *map, const char *text, size_t n, uint32_t *value)
{
	size_t at, found = 0;

	if (map->n_units == 0)
		return 0;
	at = children(map->units[0], 0);
	for (size_t i = 0; i < n; i++) {
		uint32_t unit;

		at ^= (uint8_t)text[i];
		if (at >= map->n_units || ((unit = map->units[at]) & 0x800000ff) != (uint8_t)text[i])
			break;
		at = children(unit, at);
		if (unit >> 8 & 1 && at < map->n_units && (i + 1 == n || !inside_character(text[i + 1]))) {
			*value = map->units[at] & 0x7fffffff;
			found = i + 1;
		}
	}
	return found;
}

enum dpo_status
dpo_charsmap_read(struct dpo_charsmap *map, const uint8_t *bytes, size_t n, struct dpo_error *err)
{
	size_t trie;
	uint32_t *units;
	char *replacements;

	if (n == 0)
		return DPO_OK;
	if (n < 4 || (trie = dpo_bytes_load32(bytes)) > n - 4 || trie < 4 || trie % 4 != 0 || trie == n - 4 || bytes[n - 1])
		return dpo_fail(err, DPO_FORMAT, "a precompiled charsmap of %zu bytes is damaged", n);
	if (dpo_utf8_check(bytes + 4 + trie, n - 4 - trie) != n - 4 - trie)
		return dpo_fail(err, DPO_FORMAT, "a precompiled charsmap with a replacement that is not UTF-8");
	units = dpo_alloc(trie / 4, sizeof *units);
	replacements = dpo_size_copy(bytes + 4 + trie, n - 4 - trie);
	if (!units || !replacements) {
		free(units);
		free(replacements);
		return dpo_fail_memory(err);
	}
	for (size_t i = 0; i < trie / 4; i++)
		units[i] = dpo_bytes_load32(bytes + 4 + 4 * i);
	map->units = units;
	map->n_units = trie / 4;
	map->replacements = replacements;
	map->replacement_bytes = n - 4 - trie;
	return DPO_OK;
}

void
dpo_charsmap_free(struct dpo_charsmap *map)
{
	free(map->units);
	free(map->replacements);
	*map = (struct dpo_charsmap){ 0 };
}

/* ------------------------------------------------------------------ normalizing */

/* What the beginning of text[0..n), n > 0, becomes; the bytes used up. */
static size_t
next_piece(const struct dpo_charsmap *map, const char *text, size_t n, const char **piece, size_t *length)
{
	size_t used = map->symbols ? dpo_added_match(map->symbols, text, n) : 0;
	uint32_t code, value = 0;

	*piece = text;
	*length = used;
	if (used)
		return used;
	used = longest(map, text, n, &value);
	if (used && value < map->replacement_bytes && !inside_character(map->replacements[value])) {
		*piece = map->replacements + value;
		*length = strlen(*piece);
		return used;
	}
	return *length = dpo_utf8_next((const uint8_t *)text, n, &code);
}

static void
put(const struct dpo_charsmap *map, const char *piece, size_t n, struct dpo_buffer *out)
{
	for (size_t i = 0; i < n; i++) {
		if (piece[i] == ' ' && map->escape)
			dpo_buffer_string(out, escaped_space);
		else
			dpo_buffer_byte(out, (uint8_t)piece[i]);
	}
}

static void
trim_end(const struct dpo_charsmap *map, size_t low, struct dpo_buffer *out)
{
	const char *space = map->escape ? escaped_space : " ";
	size_t n = strlen(space);

	while (!out->failed && out->len >= low + n && memcmp(out->data + out->len - n, space, n) == 0)
		out->len -= n;
}

/* Normalizer::Normalize of SentencePiece 0.2, piece by piece. */
void
dpo_charsmap_apply(const struct dpo_charsmap *map, const char *text, size_t n, struct dpo_buffer *out)
{
	bool after_space = map->remove_extra;
	size_t at = 0, used, length, low = out->len;
	const char *piece;

	while (map->remove_extra && at < n) {
		used = next_piece(map, text + at, n - at, &piece, &length);
		if (length != 1 || *piece != ' ')
			break;
		at += used;
	}
	if (at < n && map->dummy_prefix)
		put(map, " ", 1, out);
	for (; at < n; at += used) {
		used = next_piece(map, text + at, n - at, &piece, &length);
		for (; after_space && length > 0 && *piece == ' '; length--)
			piece++;
		put(map, piece, length, out);
		if (length > 0)
			after_space = map->remove_extra && piece[length - 1] == ' ';
	}
	if (map->remove_extra)
		trim_end(map, low, out);
}
