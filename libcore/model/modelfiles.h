/*
 * modelfiles - a MODEL's small files, without its weights. Layer 7; uses error, size, buffer, file, files, header, stream.
 *
 * In a model stream the files come first, as records whose column "file" is not empty: pieces in order, each with its
 * offset in the file. Reading stops at the first tensor; what was read by then has passed the stream's hashes.
 */
#ifndef DPO_MODELFILES_H
#define DPO_MODELFILES_H

#include "base/buffer.h"
#include "base/error.h"
#include "model/files.h"
#include "stream/header.h"

/* The files of the directory or model stream at path ("-": standard input, a stream). On error *files is {0}. */
enum dpo_status dpo_modelfiles_open(struct dpo_files *files, const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/* A file being put together from its records; {0} at first. */
struct dpo_modelfiles_piece {
	char name[256];			/* "" for none */
	struct dpo_buffer text;		/* its bytes so far */
};

/* Take a record's file name, offset and bytes. DPO_FORMAT if it does not continue where the file ended so far. */
enum dpo_status dpo_modelfiles_take(struct dpo_modelfiles_piece *piece, struct dpo_files *files,
	const struct dpo_value *name, int64_t offset, const struct dpo_value *bytes, struct dpo_error *err)
	DPO_MUST_CHECK;
/* The file, if there is one, is complete: add it to files. */
enum dpo_status dpo_modelfiles_finish(struct dpo_modelfiles_piece *piece, struct dpo_files *files,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
