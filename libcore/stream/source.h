/*
 * source - streams and JSON Lines read one after the other as one table. Layer 7; uses error, size, buffer, file, lines,
 * header, random, stream, text.
 *
 * The first byte that is neither blank nor of a byte order mark decides the kind of file: `{` begins JSON Lines, anything else
 * a stream. All files must have equal headers. JSON Lines without the last line {"end":true} are DPO_TRUNCATED unless that is
 * waived.
 */
#ifndef DPO_SOURCE_H
#define DPO_SOURCE_H

#include "base/error.h"
#include "base/random.h"
#include "stream/header.h"

struct dpo_source;

#define DPO_SOURCE_LINE_MAX ((size_t)512 << 20)	/* bytes of one line */

/* An empty source. waive: the end of a JSON Lines file counts as its {"end":true}. NULL if out of memory. */
struct dpo_source *dpo_source_new(bool waive);

/*
 * Begin a file; the source takes ownership of fd, even on error. Only at the start and after DPO_END. A header that differs
 * from the first file's is DPO_FORMAT.
 */
enum dpo_status dpo_source_open(struct dpo_source *source, int fd, const char *name, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Of the first file. Valid until dpo_source_free. */
const struct dpo_header *dpo_source_header(const struct dpo_source *source);

/*
 * Whether the current file is JSON Lines, also after its DPO_END. The tip and parent of JSON Lines are only what the file
 * claims.
 */
bool dpo_source_lines(const struct dpo_source *source);

/* The next record of the current file, as dpo_reader_next; JSON Lines errors begin with "NAME:LINE: ". */
enum dpo_status dpo_source_next(struct dpo_source *source, struct dpo_value *values, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Records and blocks (of streams) read in all files. */
uint64_t dpo_source_records(const struct dpo_source *source);
uint64_t dpo_source_blocks(const struct dpo_source *source);

/*
 * After the last DPO_END: the tip (of several streams, in whatever files, their tips folded as dpo_reader_tip says; JSON
 * Lines count as one), and the parent (of several streams their tip: sealing them as one makes a child of them all).
 */
const uint8_t *dpo_source_tip(const struct dpo_source *source);
const uint8_t *dpo_source_parent(const struct dpo_source *source);

void dpo_source_free(struct dpo_source *source);

#endif
