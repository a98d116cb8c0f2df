/*
 * regex - the regular expressions of tokenizer files, on PCRE2. Layer 2; uses error, size, buffer, utf8, PCRE2.
 *
 * Tokenizer files are written for Oniguruma (Ruby syntax, Unicode classes). Where the two differ the pattern is translated:
 * \s becomes Unicode's White_Space, \w what Oniguruma counts as a word, ^ and $ match at line ends, (?m:) lets . match a
 * newline, {,m} is {0,m}, and a quantifier after an interval repeats it ({n,m}+ is not possessive, {n}? not lazy). What
 * cannot be translated (\b, \h, \R, \X, \K, \G, \Z, \c, class intersection, nested and POSIX classes, \S and \W within a
 * class, options other than i and m, options without a colon except at the beginning, comments), and what only PCRE2 has
 * (\Q, \N, \g, \o, verbs, callouts, recursion, conditions), is DPO_UNSUPPORTED naming it. Unicode properties are those of
 * PCRE2's Unicode version.
 */
#ifndef DPO_REGEX_H
#define DPO_REGEX_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define DPO_REGEX_PATTERN_MAX ((size_t)1 << 16)	/* bytes of a pattern */
#define DPO_REGEX_MATCH_LIMIT 10000000u		/* steps of one match, */
#define DPO_REGEX_BYTE_LIMIT 4u			/* or so many for each byte of its text if that is more */
#define DPO_REGEX_HEAP_LIMIT 65536u		/* KiB that one match may take */

struct dpo_regex;

/* Compile pattern[0..n), UTF-8. A pattern that is no regular expression is DPO_FORMAT. On error *regex is NULL. */
enum dpo_status dpo_regex_new(struct dpo_regex **regex, const char *pattern, size_t n, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_regex_free(struct dpo_regex *regex);

/* The memory that one match works in; one per thread. NULL if out of memory. */
struct dpo_regex_scratch *dpo_regex_scratch_new(void);
void dpo_regex_scratch_free(struct dpo_regex_scratch *scratch);

/*
 * The first match in text[0..n), valid UTF-8, that begins at or after `from` (a character's first byte): DPO_OK with its
 * bounds in *start and *end, DPO_END if there is none, DPO_LIMIT if the search takes more than its steps or memory.
 */
enum dpo_status dpo_regex_find(const struct dpo_regex *regex, struct dpo_regex_scratch *scratch, const char *text,
	size_t n, size_t from, size_t *start, size_t *end, struct dpo_error *err) DPO_MUST_CHECK;

/* A walk over the matches of a text: set text and n, the rest 0. */
struct dpo_regex_walk {
	const char *text;
	size_t n;
	size_t from;		/* where the search goes on */
	size_t last;		/* 1 + the end of the match before, 0 before the first */
};

/* The next match, as dpo_regex_find; it may be empty, but not where the one before ended. */
enum dpo_status dpo_regex_next(const struct dpo_regex *regex, struct dpo_regex_scratch *scratch,
	struct dpo_regex_walk *walk, size_t *start, size_t *end, struct dpo_error *err) DPO_MUST_CHECK;

#endif
