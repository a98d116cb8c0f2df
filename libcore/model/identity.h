/*
 * identity - the id of a model, from its tensors and configuration. Layer 3; uses error, buffer, bytes, random.
 *
 *	id = H("dpo model 1\n", T_1, ..., T_n, config)
 *	T  = name, 0, dtype, 0, u64 rank, u64 shape[rank], H(H(leaf 1), ..., H(leaf m))
 *
 * H = BLAKE2b-256; the tensors are in byte order of their names. A leaf is 4 MiB of the tensor's bytes as they are stored
 * (little-endian; the last leaf is shorter), so that leaves hash in parallel; config is the canonical text of config.h. The
 * file layout plays no part.
 */
#ifndef DPO_IDENTITY_H
#define DPO_IDENTITY_H

#include "base/error.h"
#include "base/random.h"

#define DPO_LEAF_BYTES ((size_t)4 << 20)

struct dpo_identity_tensor {
	const char *name;	/* borrowed */
	const char *dtype;	/* borrowed; "F32" */
	const size_t *shape;	/* borrowed; rank of them */
	size_t rank;
	uint8_t hash[DPO_HASH_BYTES];	/* over the leaf hashes */
};

/* The id as hex. tensors are sorted in place. */
enum dpo_status dpo_identity(char hex[2 * DPO_HASH_BYTES + 1], struct dpo_identity_tensor *tensors,
	size_t n, const void *config, size_t config_bytes, struct dpo_error *err) DPO_MUST_CHECK;

#endif
