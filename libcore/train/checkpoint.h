/*
 * checkpoint - a training run at a step, in one file. Layer 8; uses error, size, buffer, json, file, header, stream,
 * params, tensors.
 *
 * A stream of kind "checkpoint" (dpo-stream(5)) with the columns name, shape, offset, data of a model stream and `bytes`:
 * the file "state.json" (one record), "log.jsonl" (records of at most 4 MiB, `offset` in bytes), then the tensors of each
 * block: the weights as params/NAME and whatever else the run carries from step to step, such as AdamW's moments
 * adam_m/NAME and adam_v/NAME, or reference/NAME where the reference moves. Which blocks there are follows from the
 * identity of the run, which the header's only stage holds in its settings, as `run`: a JSON object of everything that
 * shapes the run's result. It is written through struct dpo_out, so that the file is whole or absent.
 */
#ifndef DPO_CHECKPOINT_H
#define DPO_CHECKPOINT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "model/params.h"
#include "stream/header.h"

struct dpo_checkpoint;

/* Write all of it, END included; the caller commits out. state is JSON text. The bytes do not depend on the threads. */
enum dpo_status dpo_checkpoint_write(struct dpo_out *out, const cJSON *run, const struct dpo_buffer *state,
	const struct dpo_buffer *log, const struct dpo_params_block *blocks, size_t n_blocks, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Open the file at path and read its header. No such file: DPO_OK and *checkpoint NULL. Another kind is DPO_MISMATCH. */
enum dpo_status dpo_checkpoint_open(struct dpo_checkpoint **checkpoint, const char *path, struct dpo_error *err)
	DPO_MUST_CHECK;

/* The identity that the checkpoint holds. Borrowed. */
const cJSON *dpo_checkpoint_run(const struct dpo_checkpoint *checkpoint);

/*
 * Check that the checkpoint is of `run`: DPO_MISMATCH naming the first key that differs, with both values. Keys called
 * "kernel" are not compared.
 */
enum dpo_status dpo_checkpoint_same(const struct dpo_checkpoint *checkpoint, const cJSON *run, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Read everything up to the verified END; state and log are appended to, and the blocks, which must be those that were
 * written, are filled. After an error their contents are undefined. On at most `threads` threads.
 */
enum dpo_status dpo_checkpoint_read(struct dpo_checkpoint *checkpoint, struct dpo_buffer *state,
	struct dpo_buffer *log, const struct dpo_params_block *blocks, size_t n_blocks, int threads, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Remove the temporary files that killed runs left beside the checkpoint at path: .NAME.16 hex digits.tmp. Best effort; it
 * assumes that only one run at a time uses the checkpoint. Those of a NAME above 200 bytes stay: they carry only its
 * beginning, which other runs may share.
 */
void dpo_checkpoint_sweep(const char *path);

/* Release; NULL is allowed. */
void dpo_checkpoint_close(struct dpo_checkpoint *checkpoint);

#endif
