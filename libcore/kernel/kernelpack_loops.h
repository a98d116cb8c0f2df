/*
 * kernelpack_loops - operands of our matrix product, laid out as it reads them, for one set of vector instructions. Layer 1; uses
 * tile.
 *
 * Included once for each set (kernel_loops.h), after its vectors. A panel is a strip of A's rows or of B's columns; packed,
 * its numbers of one inner index lie together, followed by those of the next.
 */

/* Columns of a panel of B. */
#define PANEL_COLUMNS (2 * DPO_LANES)

/* Meaningless floats written after a packed A. */
#define PACK_SLACK DPO_LANES

/* Rows of a transposed A whose cache lines are shared by neighbouring panels while they are near. */
enum { STRIP = 8 };

/* to[k][step] <- from[i][k], i < n, k < inner, both at most DPO_LANES; zeros for further i. */
DPO_SET_INLINE void
transpose(float *to, size_t step, const float *from, size_t ld, size_t n, size_t inner)
{
	dpo_vec r[DPO_LANES];

	dpo_turn(r, from, ld, n, inner);
#pragma GCC unroll 16
	for (size_t k = 0; k < DPO_LANES; k++)
		if (k < inner)
			dpo_store(to + k * step, r[k]);
}

/*
 * to[k][step] <- n <= DPO_LANES rows of `inner` floats each, transposed. DPO_LANES floats are written at each k; where the
 * step is less, those of the next k overwrite the excess.
 */
DPO_SET static void
pack_rows(float *to, size_t step, const float *from, size_t ld, size_t n, size_t inner)
{
	size_t k = 0;

	for (; k + DPO_LANES <= inner; k += DPO_LANES)
		transpose(to + k * step, step, from + k, ld, n, DPO_LANES);
	if (k < inner)
		transpose(to + k * step, step, from + k, ld, n, inner - k);
}

/* to[k][n] <- the first n <= DPO_LANES floats of each of `inner` rows. */
DPO_SET static void
pack_columns(float *to, const float *from, size_t ld, size_t n, size_t inner)
{
	dpo_some some = dpo_first(n);
	const float *end = to + inner * n;

	for (; to < end; to += n, from += ld) {
		if (DPO_SOME_FAST || end - to < (ptrdiff_t)DPO_LANES)
			dpo_store_some(to, some, dpo_load_some(some, from));
		else	/* the next row overwrites the excess */
			dpo_store(to, dpo_load_some(some, from));
		__builtin_prefetch(from + STRIP * ld);
	}
}

/* Panels of that many rows, nearly equal in height. */
static size_t
pack_panels(size_t rows)
{
	return (rows + PANEL_ROWS - 1) / PANEL_ROWS;
}

/* The first row of panel i. */
static size_t
pack_row(size_t rows, size_t i)
{
	return rows * i / pack_panels(rows);
}

/* A's first `rows` rows: panel i as [inner.n][its height], at to + inner.n pack_row(rows, i). */
static void
pack_a(float *to, const struct dpo_operand *a, size_t rows, struct dpo_stretch inner)
{
	size_t panels = pack_panels(rows), strip = a->transposed ? STRIP : inner.n, steps;

	for (size_t k = 0; k < inner.n; k += steps) {
		steps = inner.n - k < strip ? inner.n - k : strip;
		for (size_t i = 0, row = 0, n; i < panels; i++, row += n) {
			n = pack_row(rows, i + 1) - row;
			if (a->transposed)
				pack_columns(to + row * inner.n + k * n, a->data + (inner.first + k) * a->ld + row, a->ld, n,
				    steps);
			else
				pack_rows(to + row * inner.n, n, a->data + row * a->ld + inner.first, a->ld, n, steps);
		}
	}
}

/* A panel of B: to[inner.n][PANEL_COLUMNS]; `columns` from `column` on, then zeros. */
DPO_SET static void
pack_b(float *to, const struct dpo_operand *b, size_t column, size_t columns, struct dpo_stretch inner)
{
	size_t left = columns < DPO_LANES ? columns : DPO_LANES, right = columns - left;
	const float *from = b->data + (b->transposed ? column * b->ld + inner.first : inner.first * b->ld + column);

	if (b->transposed) {
		pack_rows(to, PANEL_COLUMNS, from, b->ld, left, inner.n);
		pack_rows(to + DPO_LANES, PANEL_COLUMNS, from + left * b->ld, b->ld, right, inner.n);
		return;
	}
	for (size_t k = 0; k < inner.n; k++, to += PANEL_COLUMNS, from += b->ld) {
		dpo_store(to, dpo_load_first(from, left));
		dpo_store(to + DPO_LANES, dpo_load_first(from + left, right));
	}
}
