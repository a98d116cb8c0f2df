#include "kernel/strip.h"

#include "base/size.h"
#include "kernel/amx.h"
#include "kernel/bf16.h"
#include "kernel/gemm.h"

#include <stdint.h>
#include <string.h>

static void
blas_product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	dpo_gemm_one(rows, columns, inner, a, (struct dpo_operand){ b.data + first * b.step + column, b.step, false },
	    keep, c, ldc);
}

static struct dpo_strip_operand
plain_lay(float *to, struct dpo_operand b, size_t columns, size_t inner)
{
	for (size_t k = 0; k < inner; k++)
		for (size_t j = 0; j < columns; j++)
			to[k * columns + j] = b.transposed ? b.data[j * b.ld + k] : b.data[k * b.ld + j];
	return (struct dpo_strip_operand){ to, columns };
}

static const struct dpo_strip blas = { DPO_STRIP_MOST, 1, plain_lay, blas_product };

/* ------------------------------------------------------------------ bf16 */

enum { HALF_ROWS = 2 * DPO_BF16_PANEL, HALF_MOST = 256 };

static struct dpo_strip_operand
half_lay(float *to, struct dpo_operand b, size_t columns, size_t inner)
{
	struct dpo_bf16_side side = { .data = b.data, .dtype = DPO_DTYPE_F32, .ld = b.ld, .outer_next = !b.transposed,
	    .outer = columns, .inner = inner };
	size_t step = dpo_size_parts(inner, DPO_BF16_INNER) * DPO_BF16_TILE, n = dpo_size_parts(columns, DPO_BF16_PANEL);
	uint16_t *packed = (uint16_t *)(void *)to;

	dpo_bf16_pack_b(&side, 0, n, packed, step);
	if (n % 2 == 1)	/* columns up to a multiple of the unit may be asked for */
		memset(packed + n * step, 0, step * sizeof *packed);
	return (struct dpo_strip_operand){ to, step };
}

static void
half_multiply(bool amx, size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	_Alignas(64) uint16_t packed[HALF_ROWS * HALF_MOST];
	struct dpo_bf16_side side = { .data = a.data, .dtype = DPO_DTYPE_F32, .ld = a.ld, .outer_next = a.transposed,
	    .outer = rows, .inner = inner };
	size_t tiles = dpo_size_parts(inner, DPO_BF16_INNER), at = first / DPO_BF16_INNER * DPO_BF16_TILE;
	const uint16_t *data = (const uint16_t *)(const void *)b.data + column / DPO_BF16_PANEL * b.step + at;

	size_t high = keep ? rows : HALF_ROWS;		/* whole squares are faster */

	dpo_bf16_pack_a(&side, 0, dpo_size_parts(high, DPO_BF16_PANEL), packed, tiles * DPO_BF16_TILE);
	dpo_bf16_multiply(&(struct dpo_bf16_product){ .rows = high, .columns = columns, .tiles = tiles,
	    .a = { packed, tiles * DPO_BF16_TILE }, .b = { data, b.step }, .amx = amx, .keep = keep, .c = c, .ldc = ldc });
}

static void
vectors_product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	half_multiply(false, rows, columns, inner, a, b, first, column, keep, c, ldc);
}

static void
tiles_product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	half_multiply(true, rows, columns, inner, a, b, first, column, keep, c, ldc);
}

static const struct dpo_strip half_vectors = { HALF_ROWS, DPO_BF16_INNER, half_lay, vectors_product };
static const struct dpo_strip half_tiles = { HALF_ROWS, DPO_BF16_INNER, half_lay, tiles_product };

/* ------------------------------------------------------------------ which */

static const struct dpo_strip *const sets[] = DPO_CPU_SETS(&blas, &dpo_strip_avx2, &dpo_strip_avx512);

const struct dpo_strip *
dpo_strip_best(bool bf16, size_t head_dim)
{
	if (bf16 && head_dim <= HALF_MOST && dpo_bf16_kernel())
		return dpo_amx_here() ? &half_tiles : &half_vectors;
	return sets[dpo_kernel_set()];
}
