/*
 * transpose - transposes a square of 16 by 16 numbers in AVX-512 registers. Layer 0; for kernels of x86-64 alone.
 */
#ifndef DPO_TRANSPOSE_H
#define DPO_TRANSPOSE_H

#include <immintrin.h>
#include <stddef.h>

/* r[i][k] becomes r[k][i]. */
__attribute__((target("avx512f"), always_inline)) static inline void
dpo_transpose16(__m512i r[16])
{
	__m512i t[16];

#pragma GCC unroll 8
	for (size_t i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < 16; i += 4)
#pragma GCC unroll 2
		for (size_t k = 0; k < 2; k++) {
			r[i + 2 * k] = _mm512_unpacklo_epi64(t[i + k], t[i + 2 + k]);
			r[i + 2 * k + 1] = _mm512_unpackhi_epi64(t[i + k], t[i + 2 + k]);
		}
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++)
#pragma GCC unroll 2
		for (size_t k = 0; k < 2; k++) {
			t[8 * k + i] = _mm512_shuffle_i32x4(r[8 * k + i], r[8 * k + 4 + i], 0x88);
			t[8 * k + 4 + i] = _mm512_shuffle_i32x4(r[8 * k + i], r[8 * k + 4 + i], 0xdd);
		}
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++) {
		r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
		r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
	}
}

#endif
