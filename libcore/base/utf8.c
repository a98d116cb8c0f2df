#include "base/utf8.h"

#include <utf8proc.h>

size_t
dpo_utf8_next(const uint8_t *text, size_t n, uint32_t *code)
{
	utf8proc_int32_t c;
	utf8proc_ssize_t len = utf8proc_iterate(text, n < 4 ? (utf8proc_ssize_t)n : 4, &c);

	if (len <= 0 || c < 0)
		return 0;
	*code = (uint32_t)c;
	return (size_t)len;
}

size_t
dpo_utf8_check(const uint8_t *text, size_t n)
{
	uint32_t code;
	size_t at = 0, len;

	while (at < n) {
		if (text[at] < 0x80)
			at++;
		else if ((len = dpo_utf8_next(text + at, n - at, &code)) != 0)
			at += len;
		else
			return at;
	}
	return n;
}

size_t
dpo_utf8_put(uint8_t out[4], uint32_t code)
{
	return (size_t)utf8proc_encode_char((utf8proc_int32_t)code, out);
}

bool
dpo_utf8_space(uint32_t c)
{
	return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	    c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}
