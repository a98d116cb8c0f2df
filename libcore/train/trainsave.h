/*
 * trainsave - writes a training run as a checkpoint and resumes it. Layer 16; uses error, file, buffer, json, state,
 * checkpoint, trainparts.
 */
#ifndef DPO_TRAINSAVE_H
#define DPO_TRAINSAVE_H

#include "base/error.h"
#include "base/file.h"
#include "train/checkpoint.h"

struct dpo_train;

/* Write a checkpoint of this run; `run` as in checkpoint.h. The caller commits out. */
enum dpo_status dpo_train_save(struct dpo_train *train, const cJSON *run, struct dpo_out *out, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;
/* Resume from an opened checkpoint, already checked to be of this run. After an error the run must not be used. */
enum dpo_status dpo_train_resume(struct dpo_train *train, struct dpo_checkpoint *checkpoint, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
