/*
 * utf8 - strict UTF-8 (RFC 3629). Layer 0; uses nothing.
 */
#ifndef DPO_UTF8_H
#define DPO_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decode the code point at text[0..n), n > 0, into *code. Returns its length in bytes, or 0 if the bytes there are
 * not UTF-8 (overlong, surrogate, above U+10FFFF, cut short).
 */
size_t dpo_utf8_next(const uint8_t *text, size_t n, uint32_t *code);

/* The offset of the first byte that is not UTF-8, or n if all are. */
size_t dpo_utf8_check(const uint8_t *text, size_t n);

/* Encode code (below 0x110000, no surrogate) into out[4]; returns the length. */
size_t dpo_utf8_put(uint8_t out[4], uint32_t code);

/* Whether code is Unicode's White_Space. */
bool dpo_utf8_space(uint32_t code);

#endif
