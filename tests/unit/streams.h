/* streams - small streams in memory for the tests of streams, spool and text. */
#ifndef STREAMS_H
#define STREAMS_H

#include "base/buffer.h"
#include "stream/stream.h"

/* A header of kind "pairs" with one column of each type, named a ... i in the order of enum dpo_type. */
void streams_header(struct dpo_header *header, const char *kind);

/* The values of record `number` of that table, always the same; pointers into static memory until the next call. */
void streams_values(size_t number, struct dpo_value values[DPO_TYPES]);

/* A stream of that table with `records` records, the bytes appended to out. */
void streams_make(struct dpo_buffer *out, const char *kind, size_t records, int level, const uint8_t *parent);

/* A descriptor that reads these bytes, until the next call. */
int streams_fd(const void *bytes, size_t n);

/*
 * Read to the end; DPO_OK if the stream is whole, then hash is over header, every value, tip and parent. Tells the number
 * of records handed on.
 */
enum dpo_status streams_read(int fd, uint8_t hash[DPO_HASH_BYTES], size_t *records, struct dpo_error *err);

/*
 * The same of bytes in memory, which must not be another when blocks are read ahead; and fail the test unless they are refused
 * as bad input, not as a failure of the machine.
 */
enum dpo_status streams_read_bytes(const void *bytes, size_t n, uint8_t *hash, struct dpo_error *err);
void streams_refused(const void *bytes, size_t n, const char *what, size_t where);

/* All of a .zst in one piece, and one frame of it again, without a checksum. */
void streams_decompress(struct dpo_buffer *out, const void *bytes, size_t n);
void streams_compress(struct dpo_buffer *out, const void *bytes, size_t n, int level);

#endif
