/*
 * shards - the files of weights in a model directory. Layer 6; uses error, table, json, file,
 * safetensors, torchfile.
 */
#ifndef DPO_SHARDS_H
#define DPO_SHARDS_H

#include "base/error.h"
#include "model/safetensors.h"

/*
 * Open the first that exists of model.safetensors, the shards named in model.safetensors.index.json, pytorch_model.bin, and
 * the shards named in pytorch_model.bin.index.json. A shard is a regular file beside the index (or a symbolic link to one:
 * the Hugging Face cache is made of them); every tensor of every shard must be in the index and the reverse. A malformed
 * file is DPO_FORMAT, one cut short DPO_TRUNCATED. On error *set is {0}.
 */
enum dpo_status dpo_shards_open(struct dpo_safetensors *set, const char *directory,
	struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
