/*
 * wish - what the environment wants products to be computed by. Layer 0; uses nothing.
 */
#ifndef DPO_WISH_H
#define DPO_WISH_H

#include <stdlib.h>
#include <string.h>

/* The best this processor has; without tile registers; without AVX-512 and bf16 too; without any kernel of ours. */
enum dpo_wish { DPO_WISH_BEST, DPO_WISH_VECTORS, DPO_WISH_AVX2, DPO_WISH_BLAS };

/* What DPO_KERNEL says. */
static inline enum dpo_wish
dpo_wish(void)
{
	static const char *const names[] = { [DPO_WISH_VECTORS] = "vectors", [DPO_WISH_AVX2] = "avx2", [DPO_WISH_BLAS] = "blas" };
	const char *said = getenv("DPO_KERNEL");

	for (size_t i = DPO_WISH_VECTORS; said && i < sizeof names / sizeof *names; i++)
		if (strcmp(said, names[i]) == 0)
			return (enum dpo_wish)i;
	return DPO_WISH_BEST;
}

#endif
