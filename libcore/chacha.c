#include "chacha.h"

#include "bytes.h"
#include "vector.h"

#include <string.h>

enum { WORDS = 16, BLOCKS = 16, ROUNDS = 8 };

/* A word of each block. */
typedef uint32_t words __attribute__((vector_size(4 * BLOCKS)));

__attribute__((always_inline)) static inline void
turn(words *x, int bits)
{
	*x = *x << bits | *x >> (32 - bits);
}

__attribute__((always_inline)) static inline void
quarter_round(words *a, words *b, words *c, words *d)
{
	*a += *b;
	*d ^= *a;
	turn(d, 16);
	*c += *d;
	*b ^= *c;
	turn(b, 12);
	*a += *b;
	*d ^= *a;
	turn(d, 8);
	*c += *d;
	*b ^= *c;
	turn(b, 7);
}

__attribute__((always_inline)) static inline void
store(uint8_t *out, const words *x)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	memcpy(out, x, sizeof *x);
#else
	for (size_t i = 0; i < BLOCKS; i++)
		dpo_bytes_store32(out + 4 * i, (*x)[i]);
#endif
}

DPO_WIDE void
dpo_chacha8(uint8_t *out, size_t runs, const uint8_t key[DPO_CHACHA_KEY])
{
	const words block = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint32_t first[WORDS] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };	/* "expand 32-byte k" */
	words x[WORDS];

	for (size_t i = 0; i < DPO_CHACHA_KEY / 4; i++)
		first[4 + i] = dpo_bytes_load32(key + 4 * i);
	for (size_t run = 0; run < runs; run++, out += DPO_CHACHA_RUN) {
		for (size_t i = 0; i < WORDS; i++)
			x[i] = first[i] + (words){ 0 };
		x[12] += (uint32_t)(run * BLOCKS) + block;
		for (size_t i = 0; i < ROUNDS; i += 2) {
			quarter_round(&x[0], &x[4], &x[8], &x[12]);
			quarter_round(&x[1], &x[5], &x[9], &x[13]);
			quarter_round(&x[2], &x[6], &x[10], &x[14]);
			quarter_round(&x[3], &x[7], &x[11], &x[15]);
			quarter_round(&x[0], &x[5], &x[10], &x[15]);
			quarter_round(&x[1], &x[6], &x[11], &x[12]);
			quarter_round(&x[2], &x[7], &x[8], &x[13]);
			quarter_round(&x[3], &x[4], &x[9], &x[14]);
		}
		x[12] += (uint32_t)(run * BLOCKS) + block;
		for (size_t i = 0; i < WORDS; i++) {
			x[i] += first[i];
			store(out + 4 * BLOCKS * i, &x[i]);
		}
	}
}
