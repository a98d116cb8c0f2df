/*
 * stream - reading and writing typed tables in a zstd stream. Layer 6; uses error, size, buffer, file, header,
 * block, record. The format is dpo-stream(5), dpo-stream.5 beside this file.
 *
 * Invariants:
 *  1. A reader returns a record only after the hash of its whole block agreed with the chain.
 *  2. A reader returns DPO_END only after a verified END and the end of the file (or, between members of a
 *     concatenation, a next header equal to the first).
 *  3. A writer's bytes depend on header, records, level and the zstd version alone: not on time, reads or threads.
 *  4. The first record is written at once (but see dpo_writer_hold); blocks then hold 1, 2, 4, ... records, up to 256 KiB.
 */
#ifndef DPO_STREAM_H
#define DPO_STREAM_H

#include "base/error.h"
#include "base/file.h"
#include "stream/header.h"
#include "stream/record.h"

#define DPO_BLOCK_BYTES ((size_t)256 << 10)	/* a block ends when it would pass this */

struct dpo_reader;
struct dpo_writer;

/* ------------------------------------------------------------------ reading
 * Errors begin with the name: "pairs.dpo: record 17: block 3: hash does not match". DPO_TRUNCATED for an end without END,
 * DPO_CORRUPT for a hash, DPO_FORMAT for the rest; all are exit 3.
 */

/* Read the header from fd; the reader takes ownership of fd, even on error. name is copied. On error *reader is NULL. */
enum dpo_status dpo_reader_open(struct dpo_reader **reader, int fd, const char *name, struct dpo_error *err)
	DPO_MUST_CHECK;

/* The same for the file at path, which is also the name; "-" is standard input and is named so. */
enum dpo_status dpo_reader_open_path(struct dpo_reader **reader, const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/* The same as dpo_reader_open, after n_head bytes that the caller has already read from fd, at head. */
enum dpo_status dpo_reader_open_after(struct dpo_reader **reader, int fd, const void *head, size_t n_head,
	const char *name, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * From now on read up to 16 blocks ahead, and verify them side by side on at most `threads` threads: for weights, whose
 * first record nobody waits for. Records and errors are the same.
 */
void dpo_reader_ahead(struct dpo_reader *reader, int threads);

/* Valid until dpo_reader_close. */
const struct dpo_header *dpo_reader_header(const struct dpo_reader *reader);
const char *dpo_reader_name(const struct dpo_reader *reader);

/*
 * The next record into values[n_columns], in the header's column order; pointers are valid until the next call, and a str
 * is followed by a NUL (and has none within). DPO_OK, DPO_END, or an error; after END or an error it returns the same
 * again. NaN and infinity are passed through.
 */
enum dpo_status dpo_reader_next(struct dpo_reader *reader, struct dpo_value *values, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Records returned so far; blocks begun so far in all members; members of a concatenation whose END was verified. */
uint64_t dpo_reader_records(const struct dpo_reader *reader);
uint64_t dpo_reader_blocks(const struct dpo_reader *reader);
uint64_t dpo_reader_members(const struct dpo_reader *reader);

/*
 * After DPO_END: what a stage downstream writes as its parent. The last h of the one member; of several members h_1 ... h_n,
 * H(... H(h_1 h_2) ... h_n).
 */
const uint8_t *dpo_reader_tip(const struct dpo_reader *reader);

/* Before the first record: fold on from `tip`, that of streams read before this one, as if they were one concatenation. */
void dpo_reader_fold_on(struct dpo_reader *reader, const uint8_t *tip);

/* After DPO_END: the parent that the last member's END carries, zeros for none. */
const uint8_t *dpo_reader_parent(const struct dpo_reader *reader);

/* Release; NULL is allowed. */
void dpo_reader_close(struct dpo_reader *reader);

/* ------------------------------------------------------------------ writing */

enum { DPO_LEVEL_TABLE = 3, DPO_LEVEL_WEIGHTS = -5 };	/* zstd levels: ids and log-probs; float tensors */

/* The level that the programs use for a kind of stream: weights for "model", "adapter" and "checkpoint", else table. */
int dpo_stream_level(const char *kind);

/*
 * Write the header to out (borrowed until dpo_writer_close; the caller commits or aborts it). header is copied.
 */
enum dpo_status dpo_writer_open(struct dpo_writer **writer, struct dpo_out *out, const struct dpo_header *header,
	int level, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * From now on up to 16 blocks are held back, and coded side by side on at most `threads` threads: for weights, whose first
 * record nobody waits for (invariant 4). The bytes are the same; an error may be that of an earlier record.
 */
void dpo_writer_hold(struct dpo_writer *writer, int threads);

/*
 * Append one record; values as in dpo_reader_next. str must be UTF-8. A record beyond DPO_RECORD_MAX is DPO_LIMIT; NaN or
 * infinity in a column of floats is DPO_NONFINITE naming it.
 */
enum dpo_status dpo_writer_put(struct dpo_writer *writer, const struct dpo_value *values, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Write what is pending and END. parent: the tip of the input this was made from, 32 bytes, or NULL for none (zeros).
 * Call it only after the input's own END was verified.
 */
enum dpo_status dpo_writer_end(struct dpo_writer *writer, const uint8_t *parent, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Release without writing; NULL is allowed. */
void dpo_writer_close(struct dpo_writer *writer);

#endif
