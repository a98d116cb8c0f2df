#include "kernel/kernel.h"

#include "base/wish.h"

#include <assert.h>

#if defined(__x86_64__) && defined(__GNUC__)

enum dpo_kernel_set
dpo_kernel_set(void)
{
	enum dpo_wish wish = dpo_wish();

	if (wish == DPO_WISH_BLAS)
		return DPO_KERNEL_NONE;
	if (__builtin_cpu_supports("avx512f") && wish != DPO_WISH_AVX2)
		return DPO_KERNEL_AVX512;
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? DPO_KERNEL_AVX2 : DPO_KERNEL_NONE;
}

void
dpo_kernel_product(const struct dpo_tile *tile)
{
	(dpo_kernel_set() == DPO_KERNEL_AVX512 ? dpo_kernel_avx512 : dpo_kernel_avx2)(tile);
}

#else

enum dpo_kernel_set
dpo_kernel_set(void)
{
	return DPO_KERNEL_NONE;
}

void
dpo_kernel_product(const struct dpo_tile *tile)
{
	(void)tile;
	assert(!"only where dpo_kernel_set names a set");
}

#endif
