/* BLAKE2b in eight lanes of AVX-512. */
#include "hash/hashparts.h"

#if defined(__x86_64__) && defined(__GNUC__)

#define SET __attribute__((target("avx512f")))
#define SET_INLINE __attribute__((target("avx512f"), always_inline)) static inline

enum { WIDTH = 8 };

typedef uint64_t vector __attribute__((vector_size(8 * WIDTH)));

#define ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define SPILL(x) ((void)0)

SET_INLINE void
turn(vector word[WIDTH], const uint8_t *const from[WIDTH], size_t byte)
{
	typedef vector stored __attribute__((aligned(1), may_alias));
	vector r[WIDTH], t[WIDTH];

	for (size_t i = 0; i < WIDTH; i++)
		r[i] = *(const stored *)(const void *)(from[i] + byte);
	for (size_t i = 0; i < WIDTH; i += 2) {		/* pairs: words 0 2 4 6, 1 3 5 7 */
		t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
		t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
	}
	for (size_t i = 0; i < WIDTH; i += 4)		/* fours: words 0 4, 1 5, 2 6, 3 7 */
		for (size_t k = 0; k < 2; k++) {
			r[i + k] = __builtin_shufflevector(t[i + k], t[i + 2 + k], 0, 1, 8, 9, 4, 5, 12, 13);
			r[i + 2 + k] = __builtin_shufflevector(t[i + k], t[i + 2 + k], 2, 3, 10, 11, 6, 7, 14, 15);
		}
	for (size_t k = 0; k < 4; k++) {
		word[k] = __builtin_shufflevector(r[k], r[4 + k], 0, 1, 2, 3, 8, 9, 10, 11);
		word[4 + k] = __builtin_shufflevector(r[k], r[4 + k], 4, 5, 6, 7, 12, 13, 14, 15);
	}
}

#include "hash/hash_loops.h"

SET void
dpo_hash_compress_avx512(uint64_t state[8][LANES], const struct dpo_hash_blocks *blocks)
{
	compress(state, blocks, 0);
}

#endif
