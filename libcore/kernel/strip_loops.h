/*
 * strip_loops - the products of strip.h in float, for one set of vector instructions. Layer 5; uses strip, turn_loops.
 *
 * Included once for each set, after its vectors and turn_loops.h, where VECTORS is defined, and EACH_VECTORS(f, rows),
 * f(rows, 1) ... up to it: a panel is PANEL_ROWS high and up to VECTORS vectors wide, so that its sums, that many vectors
 * of B and one of A fit in registers.
 */

enum { PANEL_ROWS = 6 };

struct panel {
	size_t inner;
	const float *a;
	size_t row_step, inner_step;	/* of a */
	const float *b;
	size_t ldb;
	bool keep;
	float *c;
	size_t ldc;
	bool whole;			/* each of its vectors */
	dpo_some last;			/* columns of the last one */
};

/* rows, vectors and whole are known when compiled. */
DPO_SET_INLINE void
multiply(const size_t rows, const size_t vectors, const bool whole, const struct panel *p)
{
	dpo_vec sum[PANEL_ROWS][VECTORS], row[VECTORS], each;
	const float *a = p->a, *b = p->b;

#pragma GCC unroll 6
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[i][v] = dpo_zeros();
	for (size_t k = 0; k < p->inner; k++, a += p->inner_step, b += p->ldb) {
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			row[v] = whole || v + 1 < vectors ? dpo_load(b + v * DPO_LANES) :
			    dpo_load_some(p->last, b + v * DPO_LANES);
#pragma GCC unroll 6
		for (size_t i = 0; i < rows; i++) {
			each = dpo_each(a[i * p->row_step]);
#pragma GCC unroll 4
			for (size_t v = 0; v < vectors; v++)
				sum[i][v] = dpo_fma(each, row[v], sum[i][v]);
		}
	}
#pragma GCC unroll 6
	for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++) {
			dpo_some some = v + 1 < vectors ? dpo_first(DPO_LANES) : p->last;
			float *to = p->c + i * p->ldc + v * DPO_LANES;

			if (p->keep)
				sum[i][v] = dpo_add(whole ? dpo_load(to) : dpo_load_some(some, to), sum[i][v]);
			if (whole)
				dpo_store(to, sum[i][v]);
			else
				dpo_store_some(to, some, sum[i][v]);
		}
}

typedef void multiply_panel(const struct panel *p);

#define MULTIPLY(rows, vectors) \
	DPO_SET static void \
	multiply_##rows##_##vectors(const struct panel *p) \
	{ \
		if (!DPO_SOME_FAST && p->whole) \
			multiply(rows, vectors, true, p); \
		else \
			multiply(rows, vectors, false, p); \
	}
EACH_VECTORS(MULTIPLY, 1)
EACH_VECTORS(MULTIPLY, 2)
EACH_VECTORS(MULTIPLY, 3)
EACH_VECTORS(MULTIPLY, 4)
EACH_VECTORS(MULTIPLY, 5)
EACH_VECTORS(MULTIPLY, 6)

#define NAME(rows, vectors) multiply_##rows##_##vectors,
#define NAMES(rows) { EACH_VECTORS(NAME, rows) }
static multiply_panel *const panels[PANEL_ROWS][VECTORS] = { NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5), NAMES(6) };

DPO_SET static void
product(size_t rows, size_t columns, size_t inner, struct dpo_operand a, struct dpo_strip_operand b, size_t first,
    size_t column, bool keep, float *c, size_t ldc)
{
	struct panel p = { .inner = inner, .row_step = a.transposed ? 1 : a.ld, .inner_step = a.transposed ? a.ld : 1,
		.ldb = b.step, .keep = keep, .ldc = ldc };
	const float *from = b.data + first * b.step + column;

	for (size_t j = 0, width, high; j < columns; j += width) {
		width = columns - j < VECTORS * DPO_LANES ? columns - j : VECTORS * DPO_LANES;
		p.b = from + j;
		p.whole = width % DPO_LANES == 0;
		p.last = dpo_first((width - 1) % DPO_LANES + 1);
		for (size_t i = 0; i < rows; i += high) {
			high = rows - i < PANEL_ROWS ? rows - i : PANEL_ROWS;
			p.a = a.data + i * p.row_step;
			p.c = c + i * ldc + j;
			panels[high - 1][(width - 1) / DPO_LANES](&p);
		}
	}
}

static struct dpo_strip_operand
lay(float *to, struct dpo_operand b, size_t columns, size_t inner)
{
	if (b.transposed)
		turn_lanes(&(struct dpo_turned){ .rows = columns, .columns = inner, .from = b.data, .ld = b.ld, .to = to,
		    .ld_to = columns });
	for (size_t k = 0; k < inner && !b.transposed; k++)
		memcpy(to + k * columns, b.data + k * b.ld, columns * sizeof *to);
	return (struct dpo_strip_operand){ to, columns };
}
