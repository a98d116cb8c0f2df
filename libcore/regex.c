#define PCRE2_CODE_UNIT_WIDTH 8

#include "regex.h"

#include "buffer.h"
#include "size.h"
#include "utf8.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct dpo_regex {
	pcre2_code *code;
	pcre2_match_context *limits;
};

struct dpo_regex_scratch {
	pcre2_match_data *match;
};

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

/* The escape \c. */
static enum dpo_status
put_escape(struct dpo_buffer *out, char c, bool in_class, struct dpo_error *err)
{
	if (c && (strchr("bBhHRXKGZQENog", c) || (in_class && strchr("SW", c))))
		return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with \\%c%s", c, in_class ? " in a class" : "");
	if (c == 's' || c == 'S') {
		put_class(out, white_space, c == 'S', in_class);
	} else if (c == 'w' || c == 'W') {
		put_class(out, word_characters, c == 'W', in_class);
	} else {
		dpo_buffer_byte(out, '\\');
		dpo_buffer_byte(out, (uint8_t)c);
	}
	return DPO_OK;
}

/* A group that only PCRE2 has: a verb, a callout, recursion, a condition, a reset of numbers. */
static enum dpo_status
check_group(const char *group, size_t n, struct dpo_error *err)
{
	bool foreign = n > 1 && group[1] == '*';

	if (n > 2 && group[1] == '?')
		foreign = strchr("CRP&|(+0123456789", group[2]) || (n > 3 && group[2] == '-' && group[3] >= '0' && group[3] <= '9');
	return foreign ? dpo_fail(err, DPO_UNSUPPORTED, "regular expression with %.*s", n < 3 ? (int)n : 3, group) : DPO_OK;
}

static enum dpo_status
translate(struct dpo_buffer *out, const char *pattern, size_t n, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	bool in_class = false;
	size_t opened = 0;

	for (size_t i = 0; i < n && status == DPO_OK; i++) {
		char c = pattern[i];
		bool first = in_class && i == opened;

		if (c == '\\' && i + 1 < n) {
			status = put_escape(out, pattern[++i], in_class, err);
			continue;
		}
		if (in_class && c == '[')
			return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with a class in a class");
		if (in_class && c == '&' && i + 1 < n && pattern[i + 1] == '&')
			return dpo_fail(err, DPO_UNSUPPORTED, "regular expression with a class intersection");
		if (!in_class && c == '(' && (status = check_group(pattern + i, n - i, err)) != DPO_OK)
			return status;
		dpo_buffer_byte(out, (uint8_t)c);
		if (!in_class && c == '[') {
			in_class = true;
			opened = i + 1;
			if (opened < n && pattern[opened] == '^')
				dpo_buffer_byte(out, (uint8_t)pattern[i = opened++]);
		} else if (c == ']' && !first) {
			in_class = false;
		}
	}
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
	if (!(regex->limits = pcre2_match_context_create(NULL)))
		return dpo_fail_memory(err);
	pcre2_set_match_limit(regex->limits, DPO_REGEX_MATCH_LIMIT);
	pcre2_set_heap_limit(regex->limits, DPO_REGEX_HEAP_LIMIT);
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
	pcre2_match_context_free(regex->limits);
	free(regex);
}

/* ------------------------------------------------------------------ matching */

struct dpo_regex_scratch *
dpo_regex_scratch_new(void)
{
	struct dpo_regex_scratch *scratch = dpo_alloc(1, sizeof *scratch);

	if (scratch && !(scratch->match = pcre2_match_data_create(1, NULL))) {
		free(scratch);
		return NULL;
	}
	return scratch;
}

void
dpo_regex_scratch_free(struct dpo_regex_scratch *scratch)
{
	if (!scratch)
		return;
	pcre2_match_data_free(scratch->match);
	free(scratch);
}

enum dpo_status
dpo_regex_find(const struct dpo_regex *regex, struct dpo_regex_scratch *scratch, const char *text, size_t n,
    size_t from, size_t *start, size_t *end, struct dpo_error *err)
{
	const PCRE2_SIZE *bounds;
	PCRE2_UCHAR message[200];
	int rc = pcre2_match(regex->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, scratch->match, regex->limits);

	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(regex->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch->match,
		    regex->limits);
	if (rc == PCRE2_ERROR_NOMATCH)
		return DPO_END;
	if (rc == PCRE2_ERROR_NOMEMORY)
		return dpo_fail_memory(err);
	if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
		return dpo_fail(err, DPO_LIMIT, "the tokenizer's regular expression takes more than %u steps at byte %zu",
		    DPO_REGEX_MATCH_LIMIT, from);
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
