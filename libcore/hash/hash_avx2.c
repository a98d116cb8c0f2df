/* BLAKE2b in lanes of AVX2, four after four. */
#include "hash/hashparts.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define SET __attribute__((target("avx2")))
#define SET_INLINE __attribute__((target("avx2"), always_inline)) static inline

enum { WIDTH = 4 };

typedef uint64_t vector __attribute__((vector_size(8 * WIDTH)));

/* n is known when compiled: by moving bytes where that will do. */
SET_INLINE vector
rotate(vector x, const int n)
{
	const __m256i by24 = _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12,
	    13, 14, 15, 8, 9, 10);
	const __m256i by16 = _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11,
	    12, 13, 14, 15, 8, 9);

	switch (n) {
	case 32:
		return (vector)_mm256_shuffle_epi32((__m256i)x, 0xb1);
	case 24:
		return (vector)_mm256_shuffle_epi8((__m256i)x, by24);
	case 16:
		return (vector)_mm256_shuffle_epi8((__m256i)x, by16);
	default:
		return x >> n | x << (64 - n);
	}
}

#define ROTATE(x, n) rotate(x, n)
/* The state fills all sixteen registers: left to itself, the compiler moves dozens of vectors to and fro where one will do. */
#define SPILL(x) __asm__("" : "+m"(x))

SET_INLINE void
turn(vector word[WIDTH], const uint8_t *const from[WIDTH], size_t byte)
{
	typedef vector stored __attribute__((aligned(1), may_alias));
	vector r[WIDTH], t[WIDTH];

	for (size_t i = 0; i < WIDTH; i++)
		r[i] = *(const stored *)(const void *)(from[i] + byte);
	for (size_t i = 0; i < WIDTH; i += 2) {
		t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 4, 2, 6);
		t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 5, 3, 7);
	}
	for (size_t k = 0; k < 2; k++) {
		word[k] = __builtin_shufflevector(t[k], t[2 + k], 0, 1, 4, 5);
		word[2 + k] = __builtin_shufflevector(t[k], t[2 + k], 2, 3, 6, 7);
	}
}

#include "hash/hash_loops.h"

SET void
dpo_hash_compress_avx2(uint64_t state[8][LANES], const struct dpo_hash_blocks *blocks)
{
	for (size_t lane = 0; lane < LANES; lane += WIDTH)
		if (blocks->live[lane] || blocks->live[lane + 1] || blocks->live[lane + 2] || blocks->live[lane + 3])
			compress(state, blocks, lane);
}

#endif
