/*
 * hashparts - a step of BLAKE2b in several lanes, once for each set of vector instructions. Layer 2; uses nothing.
 */
#ifndef DPO_HASHPARTS_H
#define DPO_HASHPARTS_H

#include <stddef.h>
#include <stdint.h>

/* RFC 7693, section 2.6: the fractions of square roots, SHA-512's initial values. */
static const uint64_t dpo_hash_start[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

#define DPO_HASHES_LANES 8

/* One block of each lane. */
struct dpo_hash_blocks {
	const uint8_t *from[DPO_HASHES_LANES];
	uint64_t taken[DPO_HASHES_LANES];	/* bytes so far, this block included */
	uint64_t last[DPO_HASHES_LANES];	/* all ones in the last block */
	uint64_t live[DPO_HASHES_LANES];	/* all ones if there is a block */
};

/* Section 3.2: the state after one more block; only where the processor has the instructions. */
void dpo_hash_compress_avx2(uint64_t state[8][DPO_HASHES_LANES], const struct dpo_hash_blocks *blocks);
void dpo_hash_compress_avx512(uint64_t state[8][DPO_HASHES_LANES], const struct dpo_hash_blocks *blocks);

#endif
