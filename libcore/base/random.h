/*
 * random - numbers derived from (seed, purpose, index), and hashing. Layer 2; uses size, bytes.
 *
 * There is no random state: each call derives a key H(purpose, seed, index) with BLAKE2b-256 and expands it with
 * libsodium's deterministic generator (ChaCha20). The same arguments give the same numbers on every machine.
 */
#ifndef DPO_RANDOM_H
#define DPO_RANDOM_H

#include "base/size.h"

#include <stdint.h>

#define DPO_HASH_BYTES 32

/* BLAKE2b-256 of n bytes. hash may not overlap bytes. */
void dpo_hash(uint8_t hash[DPO_HASH_BYTES], const void *bytes, size_t n);

/* BLAKE2b-256 of two runs of bytes, one after the other. hash may be one of the runs. */
void dpo_hash_two(uint8_t hash[DPO_HASH_BYTES], const void *a, size_t a_bytes, const void *b, size_t b_bytes);

/* n random bytes. */
void dpo_random_bytes(void *out, size_t n, const char *purpose, uint64_t seed, uint64_t index);

/*
 * A uniformly random permutation of 0 .. n-1 into order[n] (Fisher-Yates; the bias of each draw is below 2^-32), keyed by
 * (seed, epoch). false if out of memory. n is below 2^32.
 */
bool dpo_random_order(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch);

/*
 * n numbers uniform in [-bound, bound) into out[n], multiples of 2^-23 bound, keyed by (seed, name). false if out of memory.
 */
bool dpo_random_uniform(float *out, size_t n, double bound, uint64_t seed, const char *name);

/*
 * n normal numbers of mean 0 and standard deviation `deviation` into out[n] (Box and Muller 1958), keyed by (seed, name).
 * false if out of memory. Bits depend on the C library's log, cos and sin.
 */
bool dpo_random_normal(float *out, size_t n, double deviation, uint64_t seed, const char *name);

#endif
