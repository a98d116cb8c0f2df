#include "added.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>

struct dpo_added_token {
	char *text;		/* owned */
	size_t n;
	int32_t id;
	bool lstrip, rstrip;
};

bool
dpo_added_add(struct dpo_added *added, const char *text, size_t n, int32_t id, bool lstrip, bool rstrip)
{
	void *list = added->list;
	char *copy;

	if (!dpo_size_grow(&list, &added->capacity, added->count + 1, sizeof *added->list))
		return false;
	added->list = list;
	if (!(copy = dpo_size_copy(text, n)))
		return false;
	added->list[added->count++] = (struct dpo_added_token){ copy, n, id, lstrip, rstrip };
	return true;
}

bool
dpo_added_has(const struct dpo_added *added, const char *text, size_t n)
{
	for (size_t i = 0; i < added->count; i++)
		if (added->list[i].n == n && memcmp(added->list[i].text, text, n) == 0)
			return true;
	return false;
}

/* By first byte, then the longest first. */
static int
compare(const void *left, const void *right)
{
	const struct dpo_added_token *a = left, *b = right;

	if (a->text[0] != b->text[0])
		return (uint8_t)a->text[0] < (uint8_t)b->text[0] ? -1 : 1;
	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

void
dpo_added_index(struct dpo_added *added)
{
	size_t i = 0;

	if (added->count)
		qsort(added->list, added->count, sizeof *added->list, compare);
	for (size_t byte = 0; byte <= 256; byte++) {
		while (i < added->count && (uint8_t)added->list[i].text[0] < byte)
			i++;
		added->starts[byte] = i;
	}
}

void
dpo_added_free(struct dpo_added *added)
{
	for (size_t i = 0; i < added->count; i++)
		free(added->list[i].text);
	free(added->list);
	*added = (struct dpo_added){ 0 };
}

/* Unicode's White_Space. */
static bool
is_space(uint32_t c)
{
	return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	    c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Where the white space that ends at `end` begins, not before `low`. */
static size_t
space_before(const char *text, size_t low, size_t end)
{
	uint32_t code;

	while (end > low) {
		size_t at = end - 1;

		while (at > low && ((uint8_t)text[at] & 0xc0) == 0x80)
			at--;
		if (dpo_utf8_next((const uint8_t *)text + at, end - at, &code) == 0 || !is_space(code))
			break;
		end = at;
	}
	return end;
}

static size_t
space_behind(const char *text, size_t n, size_t at)
{
	uint32_t code;
	size_t length;

	while (at < n && (length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) > 0 && is_space(code))
		at += length;
	return at;
}

/* The leftmost-longest token at or after `from`, its place in *at; NULL if there is none. */
static const struct dpo_added_token *
find(const struct dpo_added *added, const char *text, size_t n, size_t from, size_t *at)
{
	for (size_t i = from; i < n; i++) {
		size_t byte = (uint8_t)text[i];

		for (size_t k = added->starts[byte]; k < added->starts[byte + 1]; k++) {
			const struct dpo_added_token *token = &added->list[k];

			if (token->n <= n - i && memcmp(text + i, token->text, token->n) == 0) {
				*at = i;
				return token;
			}
		}
	}
	return NULL;
}

/*
 * The search goes on behind the token itself, also where rstrip took the white space that the next token begins with: then
 * the next token gets what is left.
 */
bool
dpo_added_next(const struct dpo_added *added, struct dpo_added_walk *walk, size_t *start, size_t *end, int32_t *id)
{
	const struct dpo_added_token *token;
	size_t at, first, last;

	*start = walk->done;
	*id = -1;
	token = added->count && walk->from < walk->n ? find(added, walk->text, walk->n, walk->from, &at) : NULL;
	if (!token) {
		*end = walk->done = walk->n;
		return *start < *end;
	}
	first = at < walk->done ? walk->done : at;
	first = token->lstrip ? space_before(walk->text, walk->done, first) : first;
	if (first > walk->done) {
		*end = walk->done = first;
		return true;
	}
	last = at + token->n;
	walk->from = last;
	last = token->rstrip ? space_behind(walk->text, walk->n, last) : last;
	*end = walk->done = last > walk->done ? last : walk->done;
	*id = token->id;
	return true;
}
