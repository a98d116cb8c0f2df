/*
 * leaves - the hashes of tensors by their leaves (identity.h), on all threads. Layer 5; uses error, size, buffer, bytes, random,
 * hashes, parallel, identity, params.
 *
 * The leaves of all tensors are one list, taken in groups that are hashed side by side (hashes.h), piece by piece, so that
 * a piece converted on the way stays in the cache.
 */
#ifndef DPO_LEAVES_H
#define DPO_LEAVES_H

#include "base/buffer.h"
#include "base/error.h"
#include "model/identity.h"
#include "model/params.h"

/* The longest piece that is asked for at once; a piece begins at a multiple of it. */
#define DPO_LEAVES_PIECE ((size_t)1 << 16)

/*
 * n bytes of a tensor, as they are or would be stored, from `at` on: *bytes points to them, perhaps into room[n]. Called
 * from several threads at once, with err NULL; where that failed, called again by one thread for the message. A failure
 * that does not come again is one all the same.
 */
typedef enum dpo_status dpo_leaves_take(const void *context, size_t tensor, size_t at, size_t n, uint8_t *room,
	const uint8_t **bytes, struct dpo_error *err);

/*
 * The hash of each of n tensors, of bytes[n] bytes, into tensors[n].hash; nothing else there is read. Errors are those of
 * `take`, the first in the order of the bytes. On at most `threads` threads; the result does not depend on the number.
 */
enum dpo_status dpo_leaves_hash(struct dpo_identity_tensor *tensors, const size_t *bytes, size_t n, dpo_leaves_take *take,
	const void *context, int threads, struct dpo_error *err) DPO_MUST_CHECK;

/* The id of float tensors in a block, as dpo_identity gives it with that text. */
enum dpo_status dpo_leaves_identify(char id[2 * DPO_HASH_BYTES + 1], const struct dpo_params *params, const float *block,
	const struct dpo_buffer *text, int threads, struct dpo_error *err) DPO_MUST_CHECK;

#endif
