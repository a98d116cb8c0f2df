#define _GNU_SOURCE	/* syscall */
#include "kernel/amx.h"

#include "base/cpu.h"

#include <assert.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX __attribute__((target("amx-tile")))

/* Linux gives a process the tile registers when it asks. */
static bool
granted(void)
{
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* Asked of the processor itself: not every compiler knows the names. */
static bool
has_tiles(void)
{
	enum { FEATURES = 7, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, BOTH = AMX_BF16 | AMX_TILE };
	unsigned a, b, c, d;

	return __get_cpuid_count(FEATURES, 0, &a, &b, &c, &d) && (d & BOTH) == BOTH;
}

bool
dpo_amx_here(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && has_tiles() &&
	    dpo_wish() == DPO_WISH_BEST && granted();
}

/* Constant, for the compiler does not see that it is read. */
static const struct {
	uint8_t palette, start, reserved[14];
	uint16_t bytes[16];
	uint8_t rows[16];
} shapes = { .palette = 1, .bytes = { 64, 64, 64, 64, 64, 64, 64, 64 }, .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

AMX void
dpo_amx_begin(void)
{
	_tile_loadconfig(&shapes);
}

AMX void
dpo_amx_end(void)
{
	_tile_release();
}

#else

bool
dpo_amx_here(void)
{
	return false;
}

void
dpo_amx_begin(void)
{
	assert(!"only where dpo_amx_here");
}

void
dpo_amx_end(void)
{
	dpo_amx_begin();
}

#endif
