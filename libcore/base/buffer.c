#include "base/buffer.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint8_t *
dpo_buffer_room(struct dpo_buffer *buffer, size_t n)
{
	void *data = buffer->data;
	size_t need;

	if (buffer->failed || !dpo_size_add(buffer->len, n, &need) ||
	    !dpo_size_grow(&data, &buffer->capacity, need, 1)) {
		buffer->failed = true;
		return NULL;
	}
	buffer->data = data;
	buffer->len = need;
	return data ? buffer->data + need - n : NULL;
}

void
dpo_buffer_append(struct dpo_buffer *buffer, const void *bytes, size_t n)
{
	uint8_t *room = dpo_buffer_room(buffer, n);

	if (room && n)
		memcpy(room, bytes, n);
}

void
dpo_buffer_byte(struct dpo_buffer *buffer, uint8_t byte)
{
	dpo_buffer_append(buffer, &byte, 1);
}

void
dpo_buffer_put32(struct dpo_buffer *buffer, uint32_t value)
{
	uint8_t raw[4];

	dpo_bytes_store32(raw, value);
	dpo_buffer_append(buffer, raw, sizeof raw);
}

void
dpo_buffer_put64(struct dpo_buffer *buffer, uint64_t value)
{
	uint8_t raw[8];

	dpo_bytes_store64(raw, value);
	dpo_buffer_append(buffer, raw, sizeof raw);
}

void
dpo_buffer_string(struct dpo_buffer *buffer, const char *string)
{
	dpo_buffer_append(buffer, string, strlen(string));
}

void
dpo_buffer_printf(struct dpo_buffer *buffer, const char *format, ...)
{
	va_list args;
	uint8_t *room;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0 || !(room = dpo_buffer_room(buffer, (size_t)n + 1))) {
		buffer->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf((char *)room, (size_t)n + 1, format, args);
	va_end(args);
	buffer->len--;
}

void
dpo_buffer_visible(struct dpo_buffer *buffer, const char *text, size_t n, const char *marked)
{
	uint32_t code;

	for (size_t at = 0, length; at < n; at += length) {
		bool shown = (length = dpo_utf8_next((const uint8_t *)text + at, n - at, &code)) > 0;

		if (!shown) {
			length = 1;
			code = (uint8_t)text[at];
		}
		if (code == '\n') {
			dpo_buffer_string(buffer, "\\n");
		} else if (!shown || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			dpo_buffer_printf(buffer, "\\x%02x", (unsigned)code);
		} else {
			if (code < 0x80 && strchr(marked, (int)code))
				dpo_buffer_byte(buffer, '\\');
			dpo_buffer_append(buffer, text + at, length);
		}
	}
}

const char *
dpo_buffer_text(struct dpo_buffer *buffer)
{
	dpo_buffer_byte(buffer, 0);
	if (buffer->failed)
		return "";
	buffer->len--;
	return (const char *)buffer->data;
}

void
dpo_buffer_clear(struct dpo_buffer *buffer)
{
	buffer->len = 0;
	buffer->failed = false;
}

void
dpo_buffer_free(struct dpo_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct dpo_buffer){ 0 };
}
