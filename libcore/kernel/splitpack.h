/*
 * splitpack - operands of a product whose floats are split in three numbers of bfloat16 (split.h). Layer 1; uses size, tile,
 * avx512, transpose.
 *
 *	x = hi + mid + lo, hi = round(x), mid = round(x - hi), lo = x - hi - mid
 *
 * to the nearest number of 8 significant bits. No bit is lost except in parts below 2^-126, which count as zero in a
 * product; numbers beyond 3.39e38 have infinite parts.
 *
 * A panel is 32 rows of A or 32 columns of B, zeros beyond the end. Packed, a step of it, 32 of the inner index, is six
 * squares of the tile registers, 16 by 32: two of hi, two of mid, two of lo. A's squares have a row of A in a line; B's have
 * two inner indices in a line, in turn for each column.
 */
#ifndef DPO_SPLITPACK_H
#define DPO_SPLITPACK_H

#include "kernel/tile.h"

#include <stdint.h>

#define DPO_SPLIT_PANEL ((size_t)32)
#define DPO_SPLIT_INNER ((size_t)32)
/* Numbers in a square, and in a step. */
#define DPO_SPLIT_SQUARE ((size_t)512)
#define DPO_SPLIT_STEP (6 * DPO_SPLIT_SQUARE)
/* Steps of all of A's panels that lie together. */
#define DPO_SPLIT_CUT ((size_t)3)

/*
 * A's first `rows` rows into `to`, 64-byte aligned: the stretch cut by cut, each cut panel by panel, each panel step by
 * step. The last cut may have fewer steps.
 */
void dpo_split_pack_a(uint16_t *to, const struct dpo_operand *a, size_t rows, struct dpo_stretch inner);

/* A panel of B being packed piece by piece, step after step. */
struct dpo_split_panel {
	struct dpo_operand b;
	size_t column, columns;		/* where it begins, and B's */
	struct dpo_stretch inner;
	size_t k;			/* what is next in the stretch */
	uint16_t *to;
	size_t turned;			/* of a transposed B: halves of the next square */
	_Alignas(64) float square[16 * DPO_SPLIT_PANEL];
};

/* Begin packing the panel at `column` of B's `columns` into `to`, 64-byte aligned; beyond B there is nothing to do. */
void dpo_split_panel_begin(struct dpo_split_panel *panel, uint16_t *to, const struct dpo_operand *b, size_t column,
	size_t columns, struct dpo_stretch inner);

/* Pack a piece, in some twenty instructions (for a transposed B, now and then a hundred); false: nothing was left. */
bool dpo_split_panel_piece(struct dpo_split_panel *panel);

#endif
