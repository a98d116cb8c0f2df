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
 * Read the tensors of a model directory into *weights (params->total floats, 64-byte aligned, padding 0; the caller frees)
 * and compute the model id, over the bytes as stored.
 *
 * F32, F16 and BF16 become float exactly. For a read-only model pass maps ({0}), else NULL. With maps, F16 and BF16
 * matrices stay so, in host byte order, and a tensor stored just as it is needed (little-endian, aligned to its numbers)
 * stays in its file, which is mapped; params is laid out accordingly. The caller frees the maps, even on error, once the
 * weights are no longer used. Data are checked and hashed by reading, not through the map. stored.h says which tensors
 * there must be and what is ignored; its errors, and DPO_NONFINITE for a NaN or infinity, name the tensor. On error
 * *weights is NULL. On at most `threads` threads; the result does not depend on the number.
 */
enum dpo_status dpo_weights_read(float **weights, char id[2 * DPO_HASH_BYTES + 1],
	const struct dpo_config *config, struct dpo_params *params, const char *directory, struct dpo_maps *maps,
	int threads, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * DPO_OK if the tensors that lie in mapped files are still those that were read and identified; else DPO_IO, which names the file.
 * Mostly the files' times tell; where they leave it open (dpo_maps_look) what is mapped is hashed again.
 */
enum dpo_status dpo_weights_same(const struct dpo_params *params, struct dpo_maps *maps, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Only what dpo_weights_read checks before it takes memory: the tensors are there and fit. With `keep` params is laid out
 * as with maps.
 */
enum dpo_status dpo_weights_look(const struct dpo_config *config, struct dpo_params *params, const char *directory, bool keep,
	struct dpo_error *err) DPO_MUST_CHECK;

/* The model id of float weights in memory: that of an F32 directory of the same tensors. */
enum dpo_status dpo_weights_identify(char id[2 * DPO_HASH_BYTES + 1],
	const struct dpo_config *config,
	const struct dpo_params *params, const float *weights, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
