/*
 * hashes - BLAKE2b-256 of several runs of bytes at once (RFC 7693). Layer 3; uses bytes, cpu, hashparts, parallel,
 * random, libsodium.
 *
 * The hashes are those of dpo_hash. A single run leaves a processor's vector units half idle, because each step of BLAKE2b
 * waits for the one before. So where cpu.h names AVX-512 or AVX2 the runs go side by side, one in each lane; elsewhere one
 * after the other.
 */
#ifndef DPO_HASHES_H
#define DPO_HASHES_H

#include "base/random.h"
#include "hash/hashparts.h"

#include <sodium.h>

#define DPO_HASHES_BLOCK 128	/* bytes */

struct dpo_hashes {
	size_t bytes[DPO_HASHES_LANES];		/* of each run; 0: no run */
	size_t at;				/* bytes taken of each run, or all of a shorter one */
	uint64_t state[8][DPO_HASHES_LANES];	/* side by side */
	crypto_generichash_state one[DPO_HASHES_LANES];	/* one after the other */
};

/* Begin, with the length of each run. */
void dpo_hashes_begin(struct dpo_hashes *hashes, const size_t bytes[DPO_HASHES_LANES]);
/*
 * Take the next n bytes of each run, or what it has left if that is less: runs[lane] is where they are; it is not read when
 * nothing is left. n is a multiple of DPO_HASHES_BLOCK.
 */
void dpo_hashes_add(struct dpo_hashes *hashes, const uint8_t *const runs[DPO_HASHES_LANES], size_t n);
/* After all bytes of all runs: the hash of each. A lane without a run gets none. */
void dpo_hashes_end(struct dpo_hashes *hashes, uint8_t *const hash[DPO_HASHES_LANES]);

/* All of it at once, for any number of runs: hash[i] is that of bytes[i] > 0 bytes at runs[i]. On at most `threads` threads. */
void dpo_hashes_all(int threads, size_t n, const uint8_t *const *runs, const size_t *bytes, uint8_t (*hash)[DPO_HASH_BYTES]);

#endif
