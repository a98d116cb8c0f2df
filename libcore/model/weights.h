/*
 * weights - the block of a model's floats: read from its files, hashed into the model id. Layer 8; uses error, size, buffer,
 * bytes, random, maps, identity, safetensors, shards, stored, config, params, leaves.
 */
#ifndef DPO_WEIGHTS_H
#define DPO_WEIGHTS_H

#include "base/error.h"
#include "base/maps.h"
#include "base/random.h"
#include "model/config.h"
#include "model/params.h"

/*
 * Read the tensors of a model directory into *weights (params->total floats, 64 byte aligned,
 * padding 0; the caller frees) and give the model id, over the bytes as stored.
 *
 * F32, F16 and BF16 become float exactly. For a model that is only read there are maps ({0}): matrices in F16 and BF16 stay
 * so, in host byte order, and a tensor that is stored as it is needed (little-endian, on a boundary of its numbers) stays in
 * its file, which is mapped; params is laid out for it. The caller frees the maps after the weights are of no more use, after
 * an error too. Data are checked and hashed by reading, not through the map. Which tensors there must be, and what is ignored, says
 * stored.h; its errors, and DPO_NONFINITE for a NaN or infinity, name the tensor. On error *weights is NULL. On at most `threads`
 * threads; the result does not depend on them.
 */
enum dpo_status dpo_weights_read(float **weights, char id[2 * DPO_HASH_BYTES + 1],
	const struct dpo_config *config, struct dpo_params *params, const char *directory, struct dpo_maps *maps,
	int threads, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * DPO_OK if the tensors that lie in mapped files are still those that were read and identified; else DPO_IO, which names the file.
 * Mostly the files' times tell; where they leave it open (dpo_maps_look) what is mapped is hashed again.
 */
enum dpo_status dpo_weights_same(const struct dpo_params *params, struct dpo_maps *maps, struct dpo_error *err) DPO_MUST_CHECK;

/* Only what dpo_weights_read finds out before it takes memory: the tensors are there and fit; with `keep` params is laid out. */
enum dpo_status dpo_weights_look(const struct dpo_config *config, struct dpo_params *params, const char *directory, bool keep,
	struct dpo_error *err) DPO_MUST_CHECK;

/* The model id of float weights in memory: that of an F32 directory of the same tensors. */
enum dpo_status dpo_weights_identify(char id[2 * DPO_HASH_BYTES + 1],
	const struct dpo_config *config,
	const struct dpo_params *params, const float *weights, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
