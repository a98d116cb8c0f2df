/*
 * kernelpack - operands of our AVX-512 product, laid out as it reads them. Layer 1; uses tile, avx512, transpose.
 *
 * A panel is a strip of A's rows or of B's columns; packed, its numbers of one inner index lie together, and those of the
 * next behind them.
 */
#ifndef DPO_KERNELPACK_H
#define DPO_KERNELPACK_H

#include "tile.h"

/* Rows of a panel of A, and columns of one of B, at most. */
#define DPO_PANEL_ROWS ((size_t)13)
#define DPO_PANEL_COLUMNS ((size_t)32)

/* Floats of no meaning that are written behind a packed A. */
#define DPO_PACK_SLACK ((size_t)16)

/* Panels of that many rows, nearly equal in height, and the first row of panel i. */
size_t dpo_pack_panels(size_t rows);
size_t dpo_pack_row(size_t rows, size_t i);

/* A's first `rows` rows: panel i as [inner.n][its height], at to + inner.n dpo_pack_row(rows, i). */
void dpo_pack_a(float *to, const struct dpo_operand *a, size_t rows, struct dpo_stretch inner);

/* A panel of B: to[inner.n][DPO_PANEL_COLUMNS], 64-byte aligned; `columns` from `column` on, then zeros. */
void dpo_pack_b(float *to, const struct dpo_operand *b, size_t column, size_t columns, struct dpo_stretch inner);

#endif
