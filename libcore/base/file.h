/*
 * file - reading whole files, and output that is complete or absent. Layer 3; uses error, size, buffer, bytes, random.
 *
 * Messages name the path as it was given. Every descriptor is opened close-on-exec.
 */
#ifndef DPO_FILE_H
#define DPO_FILE_H

#include "base/buffer.h"
#include "base/error.h"

/* Open path for reading; "-" is standard input (a duplicate of descriptor 0). A directory is DPO_IO. Caller closes *fd. */
enum dpo_status dpo_file_open(int *fd, const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/* Up to n bytes into bytes; *got 0 is end of file. Retries after EINTR. `name` is for the message. */
enum dpo_status dpo_file_read_some(int fd, void *bytes, size_t n, size_t *got, const char *name,
	struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Read n bytes at `position` of a regular file; DPO_TRUNCATED if it ends before that. May be called from several threads at
 * once. Messages do not name the file.
 */
enum dpo_status dpo_file_read_at(int fd, size_t position, void *bytes, size_t n, struct dpo_error *err) DPO_MUST_CHECK;

/* Append the whole file to buffer; more than `limit` bytes is DPO_LIMIT. */
enum dpo_status dpo_file_read(struct dpo_buffer *buffer, const char *path, size_t limit, struct dpo_error *err)
	DPO_MUST_CHECK;

/* directory/name, allocated; NULL if out of memory. Caller frees. */
char *dpo_file_join(const char *directory, const char *name);

/* Whether a file could be created at path: its directory exists and is writable. Nothing is touched. */
enum dpo_status dpo_file_place(const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The descriptor that path names, open or not: /dev/stdout, /dev/stderr, /dev/fd/N or /proc/self/fd/N; else -1. Opening
 * such a path would open the file again: without O_APPEND, at its beginning.
 */
int dpo_file_descriptor(const char *path);

/*
 * An output. To a regular file (or a path that does not exist) it is atomic: the bytes go to `temp` beside it, and
 * dpo_out_commit() does fsync, rename, fsync of the directory; a symbolic link at path is replaced, not followed. To a FIFO
 * or a device it writes through. path NULL or "-" is standard output. A descriptor (dpo_file_descriptor) is written to at
 * its current position, whatever it is open on. A name too long for its file system is an error at once. {0} with fd -1 is
 * closed. After an error only dpo_out_abort() may be called.
 */
struct dpo_out {
	int fd;
	char *path;		/* owned; "standard output" for that */
	char *temp;		/* owned; NULL when writing through */
	char *directory;	/* owned; the directory of path, when temp is set */
	size_t resting;		/* bytes written since the system was last asked to start writing back */
};

enum dpo_status dpo_out_open(struct dpo_out *out, const char *path, struct dpo_error *err) DPO_MUST_CHECK;
/* Whether dpo_out_open could write to path, as far as can be said without opening anything. */
enum dpo_status dpo_out_place(const char *path, struct dpo_error *err) DPO_MUST_CHECK;
enum dpo_status dpo_out_write(struct dpo_out *out, const void *bytes, size_t n, struct dpo_error *err)
	DPO_MUST_CHECK;
/* Make the output durable and visible under its name, and close it. After an error the temporary file is gone. */
enum dpo_status dpo_out_commit(struct dpo_out *out, struct dpo_error *err) DPO_MUST_CHECK;
/* Close; remove the temporary file. May be called twice, and after commit. */
void dpo_out_abort(struct dpo_out *out);

/*
 * Sync a directory's names to disk. Where that is impossible, because the file system does not support it or the directory
 * is writable but not readable, it is DPO_OK all the same.
 */
enum dpo_status dpo_file_sync_directory(const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/* All of it at once: open, write, commit. */
enum dpo_status dpo_file_write(const char *path, const void *bytes, size_t n, struct dpo_error *err) DPO_MUST_CHECK;

#endif
