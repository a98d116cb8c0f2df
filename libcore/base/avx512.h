/*
 * avx512 - what our AVX-512 kernels share; empty where the compiler cannot generate such code. Layer 0; uses nothing.
 *
 * The kernels are compiled for AVX-512 function by function, and run only where the processor has it.
 */
#ifndef DPO_AVX512_H
#define DPO_AVX512_H

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <stddef.h>

#define DPO_AVX512 __attribute__((target("avx512f,prfchw")))
#define DPO_AVX512_INLINE __attribute__((target("avx512f,prfchw"), always_inline)) static inline

/* Floats of a vector. */
#define DPO_LANES ((size_t)16)

/* The mask of a vector's first n floats. */
DPO_AVX512_INLINE __mmask16
dpo_lanes(size_t n)
{
	return (__mmask16)(n >= DPO_LANES ? 0xffffu : (1u << n) - 1);
}

#endif
#endif
