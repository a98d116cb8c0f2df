/*
 * block - a chain of hashed blocks of bytes in a zstd stream. Layer 5; uses error, size, buffer, bytes, random, hashes,
 * parallel, file, frames, zstd.
 *
 * This is the outer half of dpo-stream(5): header bytes, blocks and END, and what concatenation means. record.h interprets
 * the bytes of a block. H is BLAKE2b-256:
 *
 *	h_0 = H(header unit)    h_i = H(h_(i-1), content_i)    seal = H(h_last, record count, parent)
 *
 * with content hashed first, so that blocks can be hashed in parallel: h_i = H(h_(i-1) H(content_i)).
 */
#ifndef DPO_BLOCK_H
#define DPO_BLOCK_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/random.h"

#define DPO_BLOCK_MAGIC "dpostrm\n"			/* begins the header unit */
#define DPO_BLOCK_MAGIC_BYTES 8
#define DPO_BLOCK_HELD 16				/* blocks held back or read ahead at most, */
#define DPO_BLOCK_HELD_BYTES ((size_t)64 << 20)		/* and their bytes, not counting the last one's */
#define DPO_HEADER_MAX ((size_t)1 << 20)		/* bytes of the header's JSON */
#define DPO_CONTENT_MAX (((size_t)64 << 20) + 4)	/* bytes of a block's content: its count and one largest record */

/* ------------------------------------------------------------------ reading
 * Memory: two zstd buffers, one block (but see dpo_block_ahead), and never more than twice what has arrived, whatever a
 * length field claims. Errors begin with the name: "NAME: record 17: block 3: fact".
 */

struct dpo_block_reader;

/*
 * Read the header unit from fd; the reader takes ownership of fd, even on error. head: n_head bytes that the caller has
 * already read from fd. On error *reader is NULL.
 */
enum dpo_status dpo_block_open(struct dpo_block_reader **reader, int fd, const void *head, size_t n_head,
	const char *name, struct dpo_error *err) DPO_MUST_CHECK;

/* The JSON of the first member's header. Borrowed. */
const struct dpo_buffer *dpo_block_header(const struct dpo_block_reader *reader);

/*
 * Verify the next block and return its content (records only) and the number of records it declares; valid until the next
 * call. Continues past END into further members with the same header bytes. DPO_END after the last END and end of file.
 */
enum dpo_status dpo_block_next(struct dpo_block_reader *reader, const uint8_t **content, size_t *len, size_t *count,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * From now on read up to DPO_BLOCK_HELD blocks ahead, or 64 MiB, and verify them side by side, on at most `threads`
 * threads: for streams whose first record nobody waits for. Blocks and errors are the same, in the same order.
 */
void dpo_block_ahead(struct dpo_block_reader *reader, int threads);

uint64_t dpo_block_count(const struct dpo_block_reader *reader);	/* blocks returned so far */
const char *dpo_block_name(const struct dpo_block_reader *reader);
/* After DPO_END: the last h, folded over members as dpo_reader_tip says. */
const uint8_t *dpo_block_tip(const struct dpo_block_reader *reader);
/* The parent that the last END read carries; zeros if none. */
const uint8_t *dpo_block_parent(const struct dpo_block_reader *reader);
/* Before reading: fold on from `tip`, that of members read before, elsewhere. */
void dpo_block_fold_on(struct dpo_block_reader *reader, const uint8_t *tip);
/* Members whose END was verified. */
uint64_t dpo_block_members(const struct dpo_block_reader *reader);

void dpo_block_close(struct dpo_block_reader *reader);

/* ------------------------------------------------------------------ writing
 * One zstd frame for the header, one for each block and one for END, each with zstd's checksum and written immediately.
 */

struct dpo_block_writer;

/* Write the header unit. out is borrowed until close. On error *writer is NULL. */
enum dpo_status dpo_block_create(struct dpo_block_writer **writer, struct dpo_out *out, const void *header, size_t len,
	int level, struct dpo_error *err) DPO_MUST_CHECK;
/*
 * From now on hold blocks back, up to DPO_BLOCK_HELD of them or 64 MiB, and then hash and compress them side by side, on at
 * most `threads` threads: for streams whose first record nobody waits for. The bytes are the same.
 */
void dpo_block_hold(struct dpo_block_writer *writer, int threads);
/* The buffer to append records to, after what it holds. Valid until the next put. */
struct dpo_buffer *dpo_block_room(struct dpo_block_writer *writer);
/* How many bytes were appended since the last block. */
size_t dpo_block_pending(const struct dpo_block_writer *writer);
/* Write the first len of them, `count` records, as a block; the rest begins the next. An error may be that of an earlier block. */
enum dpo_status dpo_block_put(struct dpo_block_writer *writer, size_t len, size_t count, struct dpo_error *err)
	DPO_MUST_CHECK;
/* Write END; nothing is pending. parent is DPO_HASH_BYTES long, or NULL for zeros. */
enum dpo_status dpo_block_end(struct dpo_block_writer *writer, const uint8_t *parent, struct dpo_error *err)
	DPO_MUST_CHECK;
/* Release without writing. */
void dpo_block_free(struct dpo_block_writer *writer);

#endif
