/*
 * cpu - what our loops in vector instructions may use: what the processor has, and what the environment wants. Layer 0; uses
 * nothing.
 */
#ifndef DPO_CPU_H
#define DPO_CPU_H

/* Sets of instructions that we have code for, each a superset of the one before: no more than the compiler takes; AVX2 with FMA. */
enum dpo_cpu { DPO_CPU_BASE, DPO_CPU_AVX2, DPO_CPU_AVX512 };

/* The table of what there is for each set. */
#if defined(__x86_64__) && defined(__GNUC__)
#define DPO_CPU_SETS(base, avx2, avx512) { [DPO_CPU_BASE] = base, [DPO_CPU_AVX2] = avx2, [DPO_CPU_AVX512] = avx512 }
#else
#define DPO_CPU_SETS(base, avx2, avx512) { [DPO_CPU_BASE] = base }
#endif

/*
 * The best this processor has; without tile registers; without AVX-512 and bf16 too; matrix products by the BLAS. The last is no
 * wish that is known.
 */
enum dpo_wish { DPO_WISH_BEST, DPO_WISH_VECTORS, DPO_WISH_AVX2, DPO_WISH_BLAS, DPO_WISHES };
#define DPO_WISH_NAMES "vectors, avx2, blas"

/* What DPO_KERNEL says, in capitals or not. */
enum dpo_wish dpo_wish_said(void);
/* What to compute by: where nothing is known of the wish, a program has refused it, and a library takes the best. */
enum dpo_wish dpo_wish(void);

/* The best set of this processor; and no more than the wish allows. */
enum dpo_cpu dpo_cpu_has(void);
enum dpo_cpu dpo_cpu(void);

#endif
