/*
 * vectors512 - AVX-512 under the names that the loops of our kernels use; empty where the compiler cannot generate such
 * code. Layer 1; uses avx512, transpose.
 *
 * Loops that exist once for each instruction set (kernel_loops, kernelpack_loops, strip_loops, thin_loops, turn_loops) are
 * written with these names. A file includes one set, vectors512.h or vectors256.h, and then the loops.
 */
#ifndef DPO_VECTORS512_H
#define DPO_VECTORS512_H

#if defined(__x86_64__) && defined(__GNUC__)

#include "base/avx512.h"
#include "kernel/transpose.h"

#include <stdbool.h>
#include <stdint.h>

/* What functions are compiled for. */
#define DPO_SET DPO_AVX512
#define DPO_SET_INLINE DPO_AVX512_INLINE

/* DPO_LANES floats, and some of their lanes. */
typedef __m512 dpo_vec;
typedef __mmask16 dpo_some;

/* Whether storing only some lanes is as fast as storing all. */
enum { DPO_SOME_FAST = true };

/* The first n lanes. */
DPO_SET_INLINE dpo_some
dpo_first(size_t n)
{
	return dpo_lanes(n);
}

DPO_SET_INLINE dpo_vec
dpo_zeros(void)
{
	return _mm512_setzero_ps();
}

/* x in every lane. */
DPO_SET_INLINE dpo_vec
dpo_each(float x)
{
	return _mm512_set1_ps(x);
}

DPO_SET_INLINE dpo_vec
dpo_load(const float *from)
{
	return _mm512_loadu_ps(from);
}

/* Zeros in other lanes, for which nothing is read. */
DPO_SET_INLINE dpo_vec
dpo_load_some(dpo_some some, const float *from)
{
	return _mm512_maskz_loadu_ps(some, from);
}

DPO_SET_INLINE void
dpo_store(float *to, dpo_vec v)
{
	_mm512_storeu_ps(to, v);
}

DPO_SET_INLINE void
dpo_store_some(float *to, dpo_some some, dpo_vec v)
{
	_mm512_mask_storeu_ps(to, some, v);
}

DPO_SET_INLINE dpo_vec
dpo_add(dpo_vec a, dpo_vec b)
{
	return _mm512_add_ps(a, b);
}

/* The first n lanes; a set that is slow with some lanes (DPO_SOME_FAST) has a faster way where n covers all. */
DPO_SET_INLINE dpo_vec
dpo_load_first(const float *from, size_t n)
{
	return dpo_load_some(dpo_first(n), from);
}

DPO_SET_INLINE void
dpo_store_first(float *to, size_t n, dpo_vec v)
{
	dpo_store_some(to, dpo_first(n), v);
}

/* a b + c, rounded once. */
DPO_SET_INLINE dpo_vec
dpo_fma(dpo_vec a, dpo_vec b, dpo_vec c)
{
	return _mm512_fmadd_ps(a, b, c);
}

/* Those of the first n lanes whose bits are set: lane 0 has bit j of a mask with 16 bits to a word. */
DPO_SET_INLINE dpo_vec
dpo_load_masked(const float *from, size_t n, const uint16_t *mask, size_t j)
{
	return dpo_load_some(dpo_first(n) & mask[j / 16], from);
}

/* Lane i of r[k] = from[i][k], i < n, k < inner, both at most DPO_LANES; zeros in further lanes and further k. */
DPO_SET_INLINE void
dpo_turn(dpo_vec r[DPO_LANES], const float *from, size_t ld, size_t n, size_t inner)
{
	__m512i square[DPO_LANES];
	dpo_some some = dpo_first(inner);

#pragma GCC unroll 16
	for (size_t i = 0; i < DPO_LANES; i++)
		square[i] = i < n ? _mm512_maskz_loadu_epi32(some, from + i * ld) : _mm512_setzero_si512();
	dpo_transpose16(square);
#pragma GCC unroll 16
	for (size_t k = 0; k < DPO_LANES; k++)
		r[k] = _mm512_castsi512_ps(square[k]);
}

#endif
#endif
