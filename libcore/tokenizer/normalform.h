/*
 * normalform - Unicode's four normalization forms (UAX #15). Layer 2; uses error, size, buffer, utf8, utf8proc.
 *
 * Characters are those of utf8proc's Unicode version. Work is linear in the text, even for long runs of marks, where
 * utf8proc's own ordering is quadratic.
 */
#ifndef DPO_NORMALFORM_H
#define DPO_NORMALFORM_H

#include "base/buffer.h"
#include "base/error.h"

enum dpo_normal_form { DPO_NFD, DPO_NFC, DPO_NFKD, DPO_NFKC };

/*
 * Append the form of text[0..n), valid UTF-8, to out. More than `limit` characters after decomposition is DPO_LIMIT. On
 * error out may hold part of it.
 */
enum dpo_status dpo_normal_form(enum dpo_normal_form form, const char *text, size_t n, size_t limit,
	struct dpo_buffer *out, struct dpo_error *err) DPO_MUST_CHECK;

#endif
