#include "base/jsonedit.h"

#include <string.h>

/* The offset just after the string that begins at text[at], closing quote included. */
static size_t
skip_string(const char *text, size_t n, size_t at)
{
	for (at++; at < n && text[at] != '"'; at++)
		at += text[at] == '\\';
	return at < n ? at + 1 : n;
}

static size_t
skip_space(const char *text, size_t n, size_t at)
{
	while (at < n && strchr(" \t\r\n", text[at]))
		at++;
	return at;
}

/* Where the value of the member whose key is text[begin..end) begins, after the colon; 0 if that is no key. */
static size_t
value_of(const char *text, size_t n, size_t end)
{
	size_t colon = skip_space(text, n, end);

	return colon < n && text[colon] == ':' ? skip_space(text, n, colon + 1) : 0;
}

void
dpo_jsonedit_string(struct dpo_buffer *out, const char *text, size_t n, const char *key, const char *value)
{
	size_t depth = 0, copied = 0, at = 0, length = strlen(key);

	while (at < n) {
		size_t begin = at, place;

		if (text[at] != '"') {
			depth += text[at] == '{' || text[at] == '[';
			depth -= depth > 0 && (text[at] == '}' || text[at] == ']');
			at++;
			continue;
		}
		at = skip_string(text, n, at);
		if (depth != 1 || at - begin != length + 2 || memcmp(text + begin + 1, key, length) != 0 ||
		    !(place = value_of(text, n, at)) || place >= n || text[place] != '"')
			continue;
		at = skip_string(text, n, place);
		dpo_buffer_append(out, text + copied, place - copied);
		dpo_buffer_printf(out, "\"%s\"", value);
		copied = at;
	}
	dpo_buffer_append(out, text + copied, n - copied);
}
