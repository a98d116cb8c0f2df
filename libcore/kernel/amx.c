#define _GNU_SOURCE	/* syscall */
#include "kernel/amx.h"

#include "base/cpu.h"

#include <assert.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)

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

bool
dpo_amx_here(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("amx-tile") &&
	    __builtin_cpu_supports("amx-bf16") && dpo_wish() == DPO_WISH_BEST && granted();
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
