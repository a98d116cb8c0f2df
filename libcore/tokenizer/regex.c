#define PCRE2_CODE_UNIT_WIDTH 8

#include "tokenizer/regex.h"

#include "base/buffer.h"
#include "base/size.h"
#include "base/utf8.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct dpo_regex {
	pcre2_code *code;
};

struct dpo_regex_scratch {
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

enum { GROUPS = 250 };	/* one in another; PCRE2 has no more */

#define UNKNOWN SIZE_MAX

/* Unicode White_Space and Oniguruma's word characters, as the inside of a class. */
static const char white_space[] = "\\x{9}-\\x{d}\\x{85}\\p{Z}";
static const char word_characters[] = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";

/* ------------------------------------------------------------------ translation */

static void
put_class(struct dpo_buffer *out, const char *content, bool negated, bool in_class)
{
	if (!in_class)
		dpo_buffer_string(out, negated ? "[^" : "[");
	dpo_buffer_string(out, content);
	if (!in_class)
		dpo_buffer_byte(out, ']');
}

/* A pattern on its way. */
struct translation {
	struct dpo_buffer *out;
	const char *pattern;
	size_t n, at;
	size_t atom;				/* in out: where that begins which a quantifier repeats; UNKNOWN */
	size_t groups[GROUPS], depth;		/* in out: where the open groups begin */
};

static char
peek(const struct translation *t, size_t ahead)
{
	return t->n - t->at > ahead ? t->pattern[t->at + ahead] : '\0';
}

static void
copy(struct translation *t, size_t n)
{
	dpo_buffer_append(t->out, t->pattern + t->at, n);
	t->at += n;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t
digits(const struct translation *t, size_t ahead)
{
	size_t n = 0;

	while (is_digit(peek(t, ahead + n)))
		n++;
	return n;
}

/* Bytes of the current escape: a property's name and a character's number are part of it. */
static size_t
escape_length(const struct translation *t)
{
	char c = peek(t, 1);
	const char *end;
	size_t n = 2;

	if (c && strchr("pPxk", c) && peek(t, 2) == '{') {
		end = memchr(t->pattern + t->at, '}', t->n - t->at);
		return end ? (size_t)(end - t->pattern) + 1 - t->at : t->n - t->at;
	}
	if (c == 'x')
		while (n < 4 && peek(t, n) && strchr("0123456789abcdefABCDEF", peek(t, n)))
			n++;
	return is_digit(c) ? 1 + digits(t, 1) : n;
}

static enum dpo_status
put_escape(struct translation *t, bool in_class, struct dpo_error *err)
{
	char c = peek(t, 1);

	if (c && (strchr("bBhHRXKGZQENogc", c) || (in_class && strchr("SW", c))))
		return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with \\%c%s", c, in_class ? " in a class" : "");
	/* Of a number only some digits may be the escape's. */
	t->atom = is_digit(c) ? UNKNOWN : t->out->len;
	if (c == 's' || c == 'S')
		put_class(t->out, white_space, c == 'S', in_class);
	else if (c == 'w' || c == 'W')
		put_class(t->out, word_characters, c == 'W', in_class);
	else {
		copy(t, t->n - t->at > 1 ? escape_length(t) : 1);
		return DPO_OK;
	}
	t->at += 2;
	return DPO_OK;
}

static enum dpo_status
put_whole_class(struct translation *t, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	size_t start = t->out->len, opened;

	copy(t, peek(t, 1) == '^' ? 2 : 1);
	for (opened = t->at; t->at < t->n && status == DPO_OK && (peek(t, 0) != ']' || t->at == opened);) {
		if (peek(t, 0) == '[')
			return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with a class in a class");
		if (peek(t, 0) == '&' && peek(t, 1) == '&')
			return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with a class intersection");
		if (peek(t, 0) == '\\')
			status = put_escape(t, true, err);
		else
			copy(t, 1);
	}
	if (t->at < t->n)
		copy(t, 1);
	t->atom = start;
	return status;
}

/*
 * Options: what Oniguruma calls m is PCRE2's s. One without a colon takes the rest of its group with it there, alternatives
 * included: only at the beginning it is the same here. x differs in where a quantifier ends.
 */
static enum dpo_status
put_options(struct translation *t, struct dpo_error *err)
{
	size_t n = 2;

	while (peek(t, n) == 'i' || peek(t, n) == 'm' || peek(t, n) == '-')
		n++;
	if (peek(t, n) != ':' && (peek(t, n) != ')' || t->at > 0))
		return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with %.*s", (int)dpo_size_least(n + 1, t->n - t->at),
		    t->pattern + t->at);
	if (peek(t, n) == ':')
		t->groups[t->depth++] = t->out->len;
	for (size_t end = t->at + n + 1; t->at < end; t->at++)
		dpo_buffer_byte(t->out, t->pattern[t->at] == 'm' ? 's' : (uint8_t)t->pattern[t->at]);
	return DPO_OK;
}

/* A group, but none that only PCRE2 has: a verb, a callout, recursion, a condition, a reset of numbers; and no comment. */
static enum dpo_status
put_group(struct translation *t, struct dpo_error *err)
{
	char kind = peek(t, 1) == '?' ? peek(t, 2) : '\0';

	if (peek(t, 1) == '*' || (kind && strchr("CRP&|(+#0123456789", kind)) || (kind == '-' && is_digit(peek(t, 3))))
		return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with %.*s", t->n - t->at < 3 ? 2 : 3, t->pattern + t->at);
	if (t->depth == GROUPS)
		return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with groups %d deep", GROUPS + 1);
	if (kind == '-' || kind == '^' || (kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z'))
		return put_options(t, err);
	t->groups[t->depth++] = t->out->len;
	copy(t, kind ? 3 : 1);
	return DPO_OK;
}

/* Bytes of the interval {n}, {n,}, {,m} or {n,m} at this point; 0: it is none, but a literal {. */
static size_t
interval_length(const struct translation *t, bool *exact)
{
	size_t low = digits(t, 1), high = 0, n = 1 + low;

	*exact = peek(t, n) == '}';
	if (peek(t, n) == ',') {
		high = digits(t, n + 1);
		n += 1 + high;
	}
	return low + high > 0 && peek(t, n) == '}' ? n + 1 : 0;
}

/* Put (?: before what the last quantifier repeats, and ) after it: the next one repeats all of that. */
static enum dpo_status
enclose(struct translation *t, struct dpo_error *err)
{
	size_t n = t->out->len - t->atom;

	if (t->atom == UNKNOWN)
		return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with a quantifier after an interval");
	if (dpo_buffer_room(t->out, 3)) {
		memmove(t->out->data + t->atom + 3, t->out->data + t->atom, n);
		memcpy(t->out->data + t->atom, "(?:", 3);
	}
	dpo_buffer_byte(t->out, ')');
	return DPO_OK;
}

/*
 * An interval. In Oniguruma a + after it is a quantifier of its own, as is a ? after {n}; in PCRE2 they make it possessive
 * or lazy.
 */
static enum dpo_status
put_brace(struct translation *t, struct dpo_error *err)
{
	bool exact;
	size_t n = interval_length(t, &exact);

	if (n == 0) {
		t->atom = t->out->len;
		dpo_buffer_byte(t->out, '\\');
		copy(t, 1);
		return DPO_OK;
	}
	if (peek(t, 1) == ',') {
		dpo_buffer_string(t->out, "{0");
		t->at++;
		n--;
	}
	copy(t, n);
	if (peek(t, 0) && (strchr("+*{", peek(t, 0)) || (exact && peek(t, 0) == '?')))
		return enclose(t, err);
	return DPO_OK;
}

static enum dpo_status
put_next(struct translation *t, struct dpo_error *err)
{
	char c = peek(t, 0);

	if (c == '\\')
		return put_escape(t, false, err);
	if (c == '[')
		return put_whole_class(t, err);
	if (c == '(')
		return put_group(t, err);
	if (c == '{')
		return put_brace(t, err);
	if (c == ')' && t->depth > 0)
		t->atom = t->groups[--t->depth];
	else if (c != '*' && c != '+' && c != '?' && ((uint8_t)c & 0xc0) != 0x80)
		t->atom = t->out->len;
	copy(t, 1);
	return DPO_OK;
}

static enum dpo_status
translate(struct dpo_buffer *out, const char *pattern, size_t n, struct dpo_error *err)
{
	struct translation t = { .out = out, .pattern = pattern, .n = n };
	enum dpo_status status = DPO_OK;

	while (t.at < t.n && status == DPO_OK)
		status = put_next(&t, err);
	return status;
}

/* ------------------------------------------------------------------ compiling */

static enum dpo_status
compile(struct dpo_regex *regex, const struct dpo_buffer *pattern, struct dpo_error *err)
{
	PCRE2_UCHAR text[200];
	PCRE2_SIZE offset;
	int code;

	regex->code = pcre2_compile(pattern->data ? pattern->data : (const uint8_t *)"", pattern->len,
	    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
	if (!regex->code) {
		pcre2_get_error_message(code, text, sizeof text);
		return dpo_fail(err, DPO_FORMAT, "regular expression, byte %zu: %s", (size_t)offset, (const char *)text);
	}
	/* Without JIT (not built in, or forbidden by the system) matching is slower, not different. */
	(void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
	return DPO_OK;
}

enum dpo_status
dpo_regex_new(struct dpo_regex **regex, const char *pattern, size_t n, struct dpo_error *err)
{
	struct dpo_buffer translated = { 0 };
	enum dpo_status status;

	*regex = NULL;
	if (n > DPO_REGEX_PATTERN_MAX)
		return dpo_fail(err, DPO_LIMIT, "regular expression of %zu bytes", n);
	if (dpo_utf8_check((const uint8_t *)pattern, n) != n)
		return dpo_fail(err, DPO_FORMAT, "regular expression that is not UTF-8");
	if (!(*regex = dpo_alloc(1, sizeof **regex)))
		return dpo_fail_memory(err);
	status = translate(&translated, pattern, n, err);
	if (status == DPO_OK && translated.failed)
		status = dpo_fail_memory(err);
	if (status == DPO_OK)
		status = compile(*regex, &translated, err);
	dpo_buffer_free(&translated);
	if (status != DPO_OK) {
		dpo_regex_free(*regex);
		*regex = NULL;
	}
	return status;
}

void
dpo_regex_free(struct dpo_regex *regex)
{
	if (!regex)
		return;
	pcre2_code_free(regex->code);
	free(regex);
}

/* ------------------------------------------------------------------ matching */

struct dpo_regex_scratch *
dpo_regex_scratch_new(void)
{
	struct dpo_regex_scratch *scratch = dpo_alloc(1, sizeof *scratch);

	if (!scratch)
		return NULL;
	scratch->match = pcre2_match_data_create(1, NULL);
	scratch->limits = pcre2_match_context_create(NULL);
	if (!scratch->match || !scratch->limits) {
		dpo_regex_scratch_free(scratch);
		return NULL;
	}
	pcre2_set_heap_limit(scratch->limits, DPO_REGEX_HEAP_LIMIT);
	return scratch;
}

void
dpo_regex_scratch_free(struct dpo_regex_scratch *scratch)
{
	if (!scratch)
		return;
	pcre2_match_data_free(scratch->match);
	pcre2_match_context_free(scratch->limits);
	free(scratch);
}

/* A long text is no wild pattern: a few steps for each byte are everybody's. */
static uint32_t
match_limit(size_t n)
{
	if (n <= DPO_REGEX_MATCH_LIMIT / DPO_REGEX_BYTE_LIMIT)
		return DPO_REGEX_MATCH_LIMIT;
	return n < UINT32_MAX / DPO_REGEX_BYTE_LIMIT ? (uint32_t)n * DPO_REGEX_BYTE_LIMIT : UINT32_MAX;
}

enum dpo_status
dpo_regex_find(const struct dpo_regex *regex, struct dpo_regex_scratch *scratch, const char *text, size_t n,
    size_t from, size_t *start, size_t *end, struct dpo_error *err)
{
	const PCRE2_SIZE *bounds;
	PCRE2_UCHAR message[200];
	uint32_t limit = match_limit(n);
	int rc;

	pcre2_set_match_limit(scratch->limits, limit);
	rc = pcre2_match(regex->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, scratch->match, scratch->limits);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(regex->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch->match,
		    scratch->limits);
	if (rc == PCRE2_ERROR_NOMATCH)
		return DPO_END;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return dpo_fail_memory(err);
	if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
		return dpo_fail(err, DPO_LIMIT, "the tokenizer's regular expression takes more than %u steps at byte %zu",
		    (unsigned)limit, from);
	if (rc < 0) {
		pcre2_get_error_message(rc, message, sizeof message);
		return dpo_fail(err, DPO_FORMAT, "the tokenizer's regular expression: %s", (const char *)message);
	}
	bounds = pcre2_get_ovector_pointer(scratch->match);
	*start = bounds[0];
	*end = bounds[1];
	return DPO_OK;
}

enum dpo_status
dpo_regex_next(const struct dpo_regex *regex, struct dpo_regex_scratch *scratch, struct dpo_regex_walk *walk,
    size_t *start, size_t *end, struct dpo_error *err)
{
	enum dpo_status status = DPO_END;
	uint32_t code;

	while (walk->from <= walk->n && (status = dpo_regex_find(regex, scratch, walk->text, walk->n, walk->from, start, end,
	    err)) == DPO_OK && *start == *end && walk->last == *end + 1) {
		walk->from += walk->from < walk->n ?
		    dpo_utf8_next((const uint8_t *)walk->text + walk->from, walk->n - walk->from, &code) : 1;
		status = DPO_END;
	}
	if (status == DPO_OK) {
		walk->from = *end;
		walk->last = *end + 1;
	}
	return status;
}
