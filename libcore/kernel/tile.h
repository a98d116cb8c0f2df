/*
 * tile - the operands and result of a matrix product on one thread. Layer 0; uses nothing.
 */
#ifndef DPO_TILE_H
#define DPO_TILE_H

#include <stdbool.h>
#include <stddef.h>

/* A row-major operand. `transposed`: the operand is the transpose of what is stored at data. */
struct dpo_operand {
	const float *data;
	size_t ld;		/* floats between rows as stored at data */
	bool transposed;
};

/* A stretch of the inner index. */
struct dpo_stretch {
	size_t first, n;
};

/* C = A B, added to C if `keep`; A is rows x inner, B inner x columns. */
struct dpo_tile {
	size_t rows, columns, inner;
	struct dpo_operand a, b;
	bool keep;
	float *c;
	size_t ldc;
};

#endif
