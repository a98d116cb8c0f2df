/*
 * lines - a file of JSON Lines, line by line. Layer 4; uses error, size, buffer, file.
 *
 * A line ends in LF or CR LF, the last also at the end of the file. A byte order mark at the start of the file is skipped,
 * and so are lines of nothing but white space, which are counted. Other kinds of files (gzip, zstd, Parquet, UTF-16 and so
 * on) are DPO_FORMAT saying what they are.
 */
#ifndef DPO_LINES_H
#define DPO_LINES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DPO_LINE_MAX ((size_t)64 << 20)	/* bytes of one line, unless more are allowed */
#define DPO_LINES_MARK "\xef\xbb\xbf"	/* the byte order mark */

struct dpo_lines;

/* Read from fd; lines takes ownership of it, even on error. name is copied. On error *lines is NULL. */
enum dpo_status dpo_lines_open(struct dpo_lines **lines, int fd, const char *name, struct dpo_error *err)
	DPO_MUST_CHECK;

/* The same for lines of at most so many bytes, after n_head bytes that the caller has already read from fd, at head. */
enum dpo_status dpo_lines_open_after(struct dpo_lines **lines, int fd, size_t most, const void *head, size_t n_head,
	const char *name, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The next line that is not blank, without its end, into *line and *n, valid until the next call; DPO_END after the last.
 * Returns as soon as a line is there: it does not wait for a full buffer. Errors name file and line; a line of more bytes
 * than are allowed is DPO_LIMIT.
 */
enum dpo_status dpo_lines_next(struct dpo_lines *lines, const char **line, size_t *n, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Whether dpo_lines_next would return without waiting for a pipe: a line is in memory, or the file is a regular one. */
bool dpo_lines_ready(const struct dpo_lines *lines);

/* The number of that line, from 1, blank lines counted; how many of them were blank. */
uint64_t dpo_lines_number(const struct dpo_lines *lines);
uint64_t dpo_lines_blank(const struct dpo_lines *lines);
const char *dpo_lines_name(const struct dpo_lines *lines);

/* Release and close; NULL is allowed. */
void dpo_lines_close(struct dpo_lines *lines);

#endif
