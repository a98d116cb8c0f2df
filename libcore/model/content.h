/*
 * content - what a model or adapter stream holds: files, then tensors. Layer 8; uses error, size, file, files, modelfiles,
 * header, stream, params, tensors.
 *
 * The records of the files come first: `file` (str), `offset` (i64, bytes) and `bytes`, at most 4 MiB each; then those of
 * the tensors (tensors.h), where `file` is empty.
 */
#ifndef DPO_CONTENT_H
#define DPO_CONTENT_H

#include "base/error.h"
#include "base/file.h"
#include "model/files.h"
#include "model/tensors.h"
#include "stream/stream.h"

/*
 * Called once, on the reader's thread, when the files are complete and the first tensor has arrived: sets fill's params and
 * block.
 */
typedef enum dpo_status dpo_content_begin(void *context, struct dpo_tensors_fill *fill, struct dpo_error *err);

/*
 * Read a stream of that kind to its verified END: files are appended to, the block that `begin` names is filled. Another
 * kind, a file after a tensor or a missing tensor is DPO_FORMAT. Errors name the stream and the record; after one the
 * contents of files and block are undefined.
 */
enum dpo_status dpo_content_read(struct dpo_reader *reader, const char *kind, struct dpo_files *files,
	dpo_content_begin *begin, void *context, struct dpo_error *err) DPO_MUST_CHECK;

/* As dpo_content_read, for tensors without a known table: they are gathered in the order in which they come. */
enum dpo_status dpo_content_gather(struct dpo_reader *reader, const char *kind, struct dpo_files *files,
	struct dpo_tensors_gather *gather, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Write a whole stream to out: header with `stages` (borrowed; NULL: none), files, tensors of the table in its order. On at
 * most `threads` threads; the bytes do not depend on the number.
 */
enum dpo_status dpo_content_write(struct dpo_out *out, const char *kind, const cJSON *stages, const uint8_t *parent,
	const struct dpo_files *files, const struct dpo_params *params, const float *block, int threads,
	struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
