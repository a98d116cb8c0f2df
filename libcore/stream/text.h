/*
 * text - a stream as JSON Lines, line by line. Layer 5; uses error, size, buffer, bytes, json, header, random, sodium.
 *
 *	{"header":{"format":1,"kind":"pairs","columns":[["id","str"],["prompt","i32[]"]],"stages":[]}}
 *	{"id":"1","prompt":[464,3290]}
 *	{"end":true,"parent":"HEX","tip":"HEX"}
 *
 * A str is a JSON string, i64 and the elements of i32[] and i64[] are digits and never pass through a double, f32 and the
 * elements of f32[] are written with %.9g, which reads back as the same bits. bytes, bf16[], f16[] and every run of more
 * than DPO_TEXT_LONG elements are objects, {"base64":"...","type":"f32[]"}, of the little-endian bytes (RFC 4648 section 4,
 * with padding). The last line has the stream's parent and tip; absent means zeros.
 */
#ifndef DPO_TEXT_H
#define DPO_TEXT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/random.h"
#include "stream/header.h"

enum { DPO_TEXT_LONG = 65536 };

/* ------------------------------------------------------------------ writing: each appends one line to out */

enum dpo_status dpo_text_put_header(struct dpo_buffer *out, const struct dpo_header *header, struct dpo_error *err)
	DPO_MUST_CHECK;
/*
 * Without `data`, runs of bytes, f32[], bf16[] and f16[] are shown as {"elements":N}: to look at, not to read back.
 * NaN and infinity are DPO_NONFINITE.
 */
enum dpo_status dpo_text_put_record(struct dpo_buffer *out, const struct dpo_header *header,
	const struct dpo_value *values, bool data, struct dpo_error *err) DPO_MUST_CHECK;
/* Hashes that are all zeros are left out. */
void dpo_text_put_end(struct dpo_buffer *out, const uint8_t parent[DPO_HASH_BYTES], const uint8_t tip[DPO_HASH_BYTES]);

/* ------------------------------------------------------------------ reading: each takes one line, without its newline */

/* On error *header is {0}. */
enum dpo_status dpo_text_get_header(struct dpo_header *header, const char *line, size_t len, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Is this the last line? Then its hashes (zeros where absent) are filled in. */
enum dpo_status dpo_text_get_end(bool *is_end, const char *line, size_t len, uint8_t parent[DPO_HASH_BYTES],
	uint8_t tip[DPO_HASH_BYTES], struct dpo_error *err) DPO_MUST_CHECK;

/* Holds the elements of the record read last. {0} is valid; use it with one header only. */
struct dpo_text_record {
	struct dpo_buffer *runs;	/* owned; n of them */
	bool *seen;			/* owned */
	size_t n;
	struct dpo_buffer scratch;
};

/*
 * A record into values[n_columns], pointing into record until its next use. Each column must be there exactly once, in any
 * order, with a value of its type, and nothing else: otherwise DPO_FORMAT naming the key. A str is followed by a NUL.
 */
enum dpo_status dpo_text_get_record(struct dpo_text_record *record, const struct dpo_header *header, const char *line,
	size_t len, struct dpo_value *values, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_text_free(struct dpo_text_record *record);

#endif
