/*
 * vectors256 - AVX2 with FMA under the names that the loops of our kernels use (described in vectors512.h); empty where the
 * compiler cannot generate such code. Layer 1; uses nothing.
 */
#ifndef DPO_VECTORS256_H
#define DPO_VECTORS256_H

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DPO_SET __attribute__((target("avx2,fma,prfchw")))
#define DPO_SET_INLINE __attribute__((target("avx2,fma,prfchw"), always_inline)) static inline

#define DPO_LANES ((size_t)8)

typedef __m256 dpo_vec;
typedef __m256i dpo_some;

enum { DPO_SOME_FAST = false };

DPO_SET_INLINE dpo_some
dpo_first(size_t n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > DPO_LANES ? (int)DPO_LANES : (int)n),
	    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

DPO_SET_INLINE dpo_vec
dpo_zeros(void)
{
	return _mm256_setzero_ps();
}

DPO_SET_INLINE dpo_vec
dpo_each(float x)
{
	return _mm256_set1_ps(x);
}

DPO_SET_INLINE dpo_vec
dpo_load(const float *from)
{
	return _mm256_loadu_ps(from);
}

DPO_SET_INLINE dpo_vec
dpo_load_some(dpo_some some, const float *from)
{
	return _mm256_maskload_ps(from, some);
}

DPO_SET_INLINE void
dpo_store(float *to, dpo_vec v)
{
	_mm256_storeu_ps(to, v);
}

DPO_SET_INLINE void
dpo_store_some(float *to, dpo_some some, dpo_vec v)
{
	_mm256_maskstore_ps(to, some, v);
}

DPO_SET_INLINE dpo_vec
dpo_load_first(const float *from, size_t n)
{
	return n < DPO_LANES ? dpo_load_some(dpo_first(n), from) : dpo_load(from);
}

DPO_SET_INLINE void
dpo_store_first(float *to, size_t n, dpo_vec v)
{
	if (n < DPO_LANES)
		dpo_store_some(to, dpo_first(n), v);
	else
		dpo_store(to, v);
}

DPO_SET_INLINE dpo_vec
dpo_add(dpo_vec a, dpo_vec b)
{
	return _mm256_add_ps(a, b);
}

DPO_SET_INLINE dpo_vec
dpo_fma(dpo_vec a, dpo_vec b, dpo_vec c)
{
	return _mm256_fmadd_ps(a, b, c);
}

DPO_SET_INLINE dpo_vec
dpo_load_masked(const float *from, size_t n, const uint16_t *mask, size_t j)
{
	static const int32_t bits[16] = { 1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10,
		1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15 };
	__m256i bit = _mm256_loadu_si256((const __m256i *)(const void *)(bits + j % 16));
	__m256i stay = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi16((short)mask[j / 16]), bit), bit);

	return _mm256_and_ps(dpo_load_first(from, n), _mm256_castsi256_ps(stay));
}

DPO_SET_INLINE void
dpo_turn(dpo_vec r[DPO_LANES], const float *from, size_t ld, size_t n, size_t inner)
{
	__m256 t[DPO_LANES];

#pragma GCC unroll 8
	for (size_t i = 0; i < DPO_LANES; i++)
		r[i] = i < n ? dpo_load_first(from + i * ld, inner) : dpo_zeros();
#pragma GCC unroll 4
	for (size_t i = 0; i < DPO_LANES; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (size_t i = 0; i < DPO_LANES; i += 4)
#pragma GCC unroll 2
		for (size_t k = 0; k < 2; k++) {
			r[i + 2 * k] = _mm256_shuffle_ps(t[i + k], t[i + 2 + k], 0x44);
			r[i + 2 * k + 1] = _mm256_shuffle_ps(t[i + k], t[i + 2 + k], 0xee);
		}
#pragma GCC unroll 4
	for (size_t k = 0; k < 4; k++) {
		t[k] = _mm256_permute2f128_ps(r[k], r[4 + k], 0x20);
		t[4 + k] = _mm256_permute2f128_ps(r[k], r[4 + k], 0x31);
	}
#pragma GCC unroll 8
	for (size_t k = 0; k < DPO_LANES; k++)
		r[k] = t[k];
}

#endif
#endif
