#include "base/cpu.h"

#include <stddef.h>
#include <stdlib.h>
#include <strings.h>

enum dpo_wish
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

enum dpo_wish
dpo_wish(void)
{
	enum dpo_wish said = dpo_wish_said();

	return said == DPO_WISHES ? DPO_WISH_BEST : said;
}

enum dpo_cpu
dpo_cpu_has(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
	if (__builtin_cpu_supports("avx512f"))
		return DPO_CPU_AVX512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return DPO_CPU_AVX2;
#endif
	return DPO_CPU_BASE;
}

enum dpo_cpu
dpo_cpu(void)
{
	enum dpo_cpu has = dpo_cpu_has();

	return has > DPO_CPU_AVX2 && dpo_wish() == DPO_WISH_AVX2 ? DPO_CPU_AVX2 : has;
}
