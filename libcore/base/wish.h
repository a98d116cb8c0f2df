/*
 * wish - what the environment wants products to be computed by. Layer 0; uses nothing.
 */
#ifndef DPO_WISH_H
#define DPO_WISH_H

#include <stdlib.h>
#include <strings.h>

/*
 * The best this processor has; without tile registers; without AVX-512 and bf16 too; without any kernel of ours. The last is no
 * wish that is known.
 */
enum dpo_wish { DPO_WISH_BEST, DPO_WISH_VECTORS, DPO_WISH_AVX2, DPO_WISH_BLAS, DPO_WISHES };
#define DPO_WISH_NAMES "vectors, avx2, blas"

/* What DPO_KERNEL says, in capitals or not. */
static inline enum dpo_wish
dpo_wish_said(void)
{
	static const char *const names[] = { [DPO_WISH_VECTORS] = "vectors", [DPO_WISH_AVX2] = "avx2", [DPO_WISH_BLAS] = "blas" };
	const char *said = getenv("DPO_KERNEL");

	if (!said || !*said)
		return DPO_WISH_BEST;
	for (size_t i = DPO_WISH_VECTORS; i < DPO_WISHES; i++)
		if (strcasecmp(said, names[i]) == 0)
			return (enum dpo_wish)i;
	return DPO_WISHES;
}

/* What to compute by: where nothing is known of the wish, a program has refused it, and a library takes the best. */
static inline enum dpo_wish
dpo_wish(void)
{
	enum dpo_wish said = dpo_wish_said();

	return said == DPO_WISHES ? DPO_WISH_BEST : said;
}

#endif
