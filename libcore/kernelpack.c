#include "kernelpack.h"

#include "avx512.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "transpose.h"

/* Rows of a transposed A whose cache lines are shared by neighbouring panels while they are near. */
enum { STRIP = 8 };

/* to[k][step] <- from[i][k], i < n, k < inner, both at most 16; zeros for further i up to 16. */
DPO_AVX512_INLINE void
transpose(float *to, size_t step, const float *from, size_t ld, size_t n, size_t inner)
{
	__m512i r[DPO_LANES];
	__mmask16 mask = dpo_lanes(inner);

#pragma GCC unroll 16
	for (size_t i = 0; i < DPO_LANES; i++)
		r[i] = i < n ? _mm512_maskz_loadu_epi32(mask, from + i * ld) : _mm512_setzero_si512();
	dpo_transpose16(r);
#pragma GCC unroll 16
	for (size_t k = 0; k < DPO_LANES; k++)
		if (k < inner)
			_mm512_storeu_si512(to + k * step, r[k]);
}

/*
 * to[k][step] <- n <= 16 rows of `inner` floats each, transposed. Sixteen floats are written at each k; where the step is
 * less, the next k's replace those too many.
 */
DPO_AVX512 static void
pack_rows(float *to, size_t step, const float *from, size_t ld, size_t n, size_t inner)
{
	for (size_t k = 0; k < inner; k += DPO_LANES)
		transpose(to + k * step, step, from + k, ld, n, inner - k < DPO_LANES ? inner - k : DPO_LANES);
}

/* to[k][n] <- the first n <= 16 floats of each of `inner` rows. */
DPO_AVX512 static void
pack_columns(float *to, const float *from, size_t ld, size_t n, size_t inner)
{
	__mmask16 mask = dpo_lanes(n);

	for (size_t k = 0; k < inner; k++, to += n, from += ld) {
		_mm512_mask_storeu_ps(to, mask, _mm512_maskz_loadu_ps(mask, from));
		__builtin_prefetch(from + STRIP * ld);
	}
}

size_t
dpo_pack_panels(size_t rows)
{
	return (rows + DPO_PANEL_ROWS - 1) / DPO_PANEL_ROWS;
}

size_t
dpo_pack_row(size_t rows, size_t i)
{
	return rows * i / dpo_pack_panels(rows);
}

void
dpo_pack_a(float *to, const struct dpo_operand *a, size_t rows, struct dpo_stretch inner)
{
	size_t panels = dpo_pack_panels(rows), strip = a->transposed ? STRIP : inner.n, steps;

	for (size_t k = 0; k < inner.n; k += steps) {
		steps = inner.n - k < strip ? inner.n - k : strip;
		for (size_t i = 0, row = 0, n; i < panels; i++, row += n) {
			n = dpo_pack_row(rows, i + 1) - row;
			if (a->transposed)
				pack_columns(to + row * inner.n + k * n, a->data + (inner.first + k) * a->ld + row, a->ld, n,
				    steps);
			else
				pack_rows(to + row * inner.n, n, a->data + row * a->ld + inner.first, a->ld, n, steps);
		}
	}
}

DPO_AVX512 void
dpo_pack_b(float *to, const struct dpo_operand *b, size_t column, size_t columns, struct dpo_stretch inner)
{
	size_t left = columns < DPO_LANES ? columns : DPO_LANES, right = columns - left;
	const float *from = b->data + (b->transposed ? column * b->ld + inner.first : inner.first * b->ld + column);

	if (b->transposed) {
		pack_rows(to, DPO_PANEL_COLUMNS, from, b->ld, left, inner.n);
		pack_rows(to + DPO_LANES, DPO_PANEL_COLUMNS, from + left * b->ld, b->ld, right, inner.n);
		return;
	}
	for (size_t k = 0; k < inner.n; k++, to += DPO_PANEL_COLUMNS, from += b->ld) {
		_mm512_store_ps(to, _mm512_maskz_loadu_ps(dpo_lanes(left), from));
		_mm512_store_ps(to + DPO_LANES, _mm512_maskz_loadu_ps(dpo_lanes(right), from + left));
	}
}

#endif
