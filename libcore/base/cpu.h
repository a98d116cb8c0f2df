/*
 * cpu - which vector instructions our loops may use: what the processor has and what the environment allows. Layer 0; uses
 * nothing.
 */
#ifndef DPO_CPU_H
#define DPO_CPU_H

/* Instruction sets that we have code for, each a superset of the one before: the compiler's baseline; AVX2 with FMA; AVX-512. */
enum dpo_cpu { DPO_CPU_BASE, DPO_CPU_AVX2, DPO_CPU_AVX512 };

/* The table of what there is for each set. */
#if defined(__x86_64__) && defined(__GNUC__)
#define DPO_CPU_SETS(base, avx2, avx512) { [DPO_CPU_BASE] = base, [DPO_CPU_AVX2] = avx2, [DPO_CPU_AVX512] = avx512 }
#else
#define DPO_CPU_SETS(base, avx2, avx512) { [DPO_CPU_BASE] = base }
#endif

/*
 * The best this processor has; without tile registers; also without AVX-512 and bf16; matrix products by the BLAS.
 * DPO_WISHES stands for an unknown wish.
 */
enum dpo_wish { DPO_WISH_BEST, DPO_WISH_VECTORS, DPO_WISH_AVX2, DPO_WISH_BLAS, DPO_WISHES };
#define DPO_WISH_NAMES "vectors, avx2, blas"

/* What DPO_KERNEL says, in upper or lower case. */
enum dpo_wish dpo_wish_said(void);
/* What to compute with: a program has refused an unknown wish; a library then takes the best. */
enum dpo_wish dpo_wish(void);

/* The best set of this processor; the best that the wish allows. */
enum dpo_cpu dpo_cpu_has(void);
enum dpo_cpu dpo_cpu(void);

#endif
