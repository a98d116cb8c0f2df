#include "kernel/kernel.h"

#include <assert.h>

enum dpo_cpu
dpo_kernel_set(void)
{
	return dpo_wish() == DPO_WISH_BLAS ? DPO_CPU_BASE : dpo_cpu();
}

void
dpo_kernel_product(const struct dpo_tile *tile)
{
#if defined(__x86_64__) && defined(__GNUC__)
	(dpo_kernel_set() == DPO_CPU_AVX512 ? dpo_kernel_avx512 : dpo_kernel_avx2)(tile);
#else
	(void)tile;
	assert(!"only where dpo_kernel_set names a set");
#endif
}
