#include "tokenizer/added.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct dpo_added_token {
	char *text;		/* owned */
	size_t n;
	int32_t id;
	struct dpo_added_rules rules;
};

bool
dpo_added_add(struct dpo_added *added, const char *text, size_t n, int32_t id, struct dpo_added_rules rules)
{
	void *list = added->list;
	char *copy;

	if (!dpo_size_grow(&list, &added->capacity, added->count + 1, sizeof *added->list))
		return false;
	added->list = list;
	if (!(copy = dpo_size_copy(text, n)))
		return false;
	added->list[added->count++] = (struct dpo_added_token){ copy, n, id, rules };
	return true;
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

/* The first byte of the character that ends at `end`, not before `low`, which is less. */
static size_t
character_before(const char *text, size_t low, size_t end)
{
	size_t at = end - 1;

	while (at > low && ((uint8_t)text[at] & 0xc0) == 0x80)
		at--;
	return at;
}

/* Where the white space that ends at `end` begins, not before `low`. */
static size_t
space_before(const char *text, size_t low, size_t end)
{
	uint32_t code;

	while (end > low) {
		size_t at = character_before(text, low, end);

		if (dpo_utf8_next((const uint8_t *)text + at, end - at, &code) == 0 || !dpo_utf8_space(code))
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

	while (at < n && (length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) > 0 && dpo_utf8_space(code))
		at += length;
	return at;
}

/* A character of a word (UTS #18, annex C): alphabetic, mark, decimal number, connector or join control. */
static bool
is_word(const char *text, size_t n)
{
	uint32_t code;

	if (n == 0 || dpo_utf8_next((const uint8_t *)text, n, &code) == 0)
		return false;
	switch (utf8proc_category((utf8proc_int32_t)code)) {
	case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_PC:
		return true;
	default:	/* circled and squared letters are alphabetic, too */
		return code == 0x200c || code == 0x200d || (code >= 0x24b6 && code <= 0x24e9) ||
		    (code >= 0x1f130 && code <= 0x1f149) || (code >= 0x1f150 && code <= 0x1f169) ||
		    (code >= 0x1f170 && code <= 0x1f189);
	}
}

static bool
stands_alone(const char *text, size_t n, size_t start, size_t end)
{
	size_t before = start > 0 ? character_before(text, 0, start) : 0;

	return !is_word(text + before, start - before) && !is_word(text + end, n - end);
}

/* The longest token that text[0..n) begins with; NULL if there is none. */
static const struct dpo_added_token *
match(const struct dpo_added *added, const char *text, size_t n)
{
	size_t byte = (uint8_t)text[0];

	for (size_t k = added->starts[byte]; k < added->starts[byte + 1]; k++) {
		const struct dpo_added_token *token = &added->list[k];

		if (token->n <= n && memcmp(text, token->text, token->n) == 0)
			return token;
	}
	return NULL;
}

size_t
dpo_added_match(const struct dpo_added *added, const char *text, size_t n)
{
	const struct dpo_added_token *token = added->count && n ? match(added, text, n) : NULL;

	return token ? token->n : 0;
}

/*
 * The leftmost-longest token at or after `from`, its place in *at; NULL if there is none. One that may not stand there hides
 * others.
 */
static const struct dpo_added_token *
find(const struct dpo_added *added, const char *text, size_t n, size_t from, size_t *at)
{
	const struct dpo_added_token *token;

	for (size_t i = from; i < n; i++) {
		if (!(token = match(added, text + i, n - i)))
			continue;
		if (!token->rules.single_word || stands_alone(text, n, i, i + token->n)) {
			*at = i;
			return token;
		}
		i += token->n - 1;
	}
	return NULL;
}

/*
 * The search continues after the token itself, even where rstrip took the white space that the next token begins with: that
 * token is found, and what follows it is text again, as in Hugging Face's library.
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
	first = token->rules.lstrip ? space_before(walk->text, walk->done, first) : first;
	if (first > walk->done) {
		*end = walk->done = first;
		return true;
	}
	last = at + token->n;
	walk->from = last;
	last = token->rules.rstrip ? space_behind(walk->text, walk->n, last) : last;
	*end = walk->done = last;
	*start = first < last ? first : last;
	*id = token->id;
	return true;
}
