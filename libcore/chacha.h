/*
 * chacha - many random numbers quickly: the stream cipher ChaCha (Bernstein 2008, "ChaCha, a variant of Salsa20") with 8 rounds,
 * sixteen blocks side by side. Layer 3; uses bytes, vector.
 *
 * For what need not be hidden from anybody, such as the masks of dropout: libsodium's generator (random.h), which has 20
 * rounds and four blocks side by side at most, takes several times as long.
 */
#ifndef DPO_CHACHA_H
#define DPO_CHACHA_H

#include <stddef.h>
#include <stdint.h>

#define DPO_CHACHA_KEY 32
#define DPO_CHACHA_RUN ((size_t)1024)	/* bytes of sixteen blocks */

/*
 * `runs` runs of bytes. Of run r, word w (little-endian) of block 16 r + i of the key's stream with nonce 0 is at
 * 1024 r + 64 w + 4 i. The same on every machine.
 */
void dpo_chacha8(uint8_t *out, size_t runs, const uint8_t key[DPO_CHACHA_KEY]);

#endif
