/*
 * frames - the decompressed bytes of a file of zstd frames, wherever they are cut. Layer 4; uses error, size, buffer, file, zstd.
 */
#ifndef DPO_FRAMES_H
#define DPO_FRAMES_H

#include "base/buffer.h"
#include "base/error.h"

#include <zstd.h>

struct dpo_frames {
	const char *name;		/* borrowed; for messages about reading */
	int fd;				/* owned */
	ZSTD_DCtx *zstd;
	struct dpo_buffer input;	/* capacity fixed at opening; input.len bytes, `at` of them used */
	size_t at;
	bool inside;			/* a frame that has not ended */
	bool end_of_file;
};

/*
 * Begin to read fd, from which the caller has already read n_head bytes, at head. Takes ownership of fd, even on error:
 * then, too, call dpo_frames_close.
 */
enum dpo_status dpo_frames_open(struct dpo_frames *frames, int fd, const void *head, size_t n_head, const char *name,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Before any pull: the file's first bytes, still compressed, into start[n]; *got is less than n only if the file is shorter. */
enum dpo_status dpo_frames_peek(struct dpo_frames *frames, uint8_t *start, size_t n, size_t *got, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Up to n decompressed bytes; fewer only at the end of the file, which must not lie within a frame: that is DPO_TRUNCATED,
 * without a text. DPO_CORRUPT, and DPO_LIMIT for a window above 8 MiB, have a text that names no file.
 */
enum dpo_status dpo_frames_pull(struct dpo_frames *frames, void *bytes, size_t n, size_t *got, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Closes fd. Call once after dpo_frames_open, whatever that returned. */
void dpo_frames_close(struct dpo_frames *frames);

#endif
