/*
 * shards - the safetensors files of a model directory. Layer 5; uses error, table, json, file,
 * safetensors.
 */
#ifndef DPO_SHARDS_H
#define DPO_SHARDS_H

#include "error.h"
#include "safetensors.h"

/*
 * Open model.safetensors in the directory, or else the shards that model.safetensors.index.json
 * names. A shard is a regular file beside the index (or a symbolic link to one: the Hugging Face
 * cache is made of them); every tensor of every shard must be in the index and the reverse.
 * Malformed is DPO_FORMAT, a file cut short DPO_TRUNCATED, pickled weights DPO_UNSUPPORTED. On
 * error *set is {0}.
 */
enum dpo_status dpo_shards_open(struct dpo_safetensors *set, const char *directory,
	struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
