#include "kernel/kernel.h"

#include <stddef.h>

enum dpo_cpu
dpo_kernel_set(void)
{
	return dpo_wish() == DPO_WISH_BLAS ? DPO_CPU_BASE : dpo_cpu();
}

void
dpo_kernel_product(const struct dpo_tile *tile)
{
	static void (*const sets[])(const struct dpo_tile *tile) = DPO_CPU_SETS(NULL, dpo_kernel_avx2, dpo_kernel_avx512);

	sets[dpo_kernel_set()](tile);
}
