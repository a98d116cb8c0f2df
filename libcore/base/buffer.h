/*
 * buffer - a growing run of bytes. Layer 1; uses size, bytes, utf8.
 *
 * {0} is a valid empty buffer. Appending never fails half-way: if memory runs out, `failed` is set, later
 * appends do nothing, and the owner checks once at the end (as with ferror). data is not NUL-terminated unless
 * dpo_buffer_text() made it so.
 */
#ifndef DPO_BUFFER_H
#define DPO_BUFFER_H

#include "base/size.h"

#include <stdint.h>

struct dpo_buffer {
	uint8_t *data;		/* owned; capacity bytes, the first len in use */
	size_t len;
	size_t capacity;
	bool failed;
};

void dpo_buffer_append(struct dpo_buffer *buffer, const void *bytes, size_t n);
void dpo_buffer_byte(struct dpo_buffer *buffer, uint8_t byte);
/* Little-endian. */
void dpo_buffer_put32(struct dpo_buffer *buffer, uint32_t value);
void dpo_buffer_put64(struct dpo_buffer *buffer, uint64_t value);
void dpo_buffer_string(struct dpo_buffer *buffer, const char *string);
void dpo_buffer_printf(struct dpo_buffer *buffer, const char *format, ...) __attribute__((format(__printf__, 2, 3)));

/*
 * Text for a reader's eyes, within a line and harmless to a terminal: control characters, those of C1 too, and bytes that are no
 * UTF-8 are escaped (\n, else \xNN), and an ASCII character of `marked` gets a backslash before it.
 */
void dpo_buffer_visible(struct dpo_buffer *buffer, const char *text, size_t n, const char *marked);

/* Room for n more bytes, uninitialised, counted in len; NULL (and failed) if out of memory. Valid until the next append. */
uint8_t *dpo_buffer_room(struct dpo_buffer *buffer, size_t n);

/* The bytes followed by a NUL (not counted in len); "" if failed. Valid until the next append. */
const char *dpo_buffer_text(struct dpo_buffer *buffer);

/* Empty it, keeping the memory. */
void dpo_buffer_clear(struct dpo_buffer *buffer);

/* Release; the buffer is {0} again. */
void dpo_buffer_free(struct dpo_buffer *buffer);

#endif
