/*
 * kernel_loops - our matrix product on one thread (kernel.h), for one set of vector instructions. Layer 2; uses tile, size,
 * kernelpack_loops.
 *
 * Included once for each set, after its vectors and kernelpack_loops.h, where these are defined: PANEL_ROWS, the rows of a
 * panel of A, and EACH_ROWS(f), f(1) f(2) ... up to it; and INNER_A, how many inner steps of a tile's packed rows of A stay
 * in the second-level cache.
 */

/*
 * A panel of B of LONG inner steps and one of A stay in the first-level cache; an inner index up to twice SHORT is cut into
 * blocks of that instead, for then C, which every block reads and writes, costs more than a panel from the second-level
 * cache. The same in every set, because the order of sums depends on it.
 */
enum { LONG = 256, SHORT = 384, ROOM_A = DPO_KERNEL_ROWS * INNER_A };

/* Floats of packed panels of B. */
enum { ROOM_B = PANEL_COLUMNS * SHORT };

/* Floats of a cache line. */
enum { LINE = 16 };

/* Inner steps between looks at what is fetched ahead. */
enum { STEPS = 16 };

/* ------------------------------------------------------------------ fetching ahead */

/* Memory that is packed next, fetched into the second-level cache line by line while panels are multiplied. */
struct ahead {
	const float *run;
	size_t ld, width;	/* floats from run to run, and of a run */
	size_t at;		/* in this run */
	size_t lines;		/* left */
	size_t rate;		/* lines a look */
};

DPO_SET_INLINE void
look_ahead(struct ahead *ahead)
{
	for (size_t n = ahead->rate; n > 0 && ahead->lines > 0; n--, ahead->lines--) {
		__builtin_prefetch(ahead->run + ahead->at, 0, 2);
		ahead->at += LINE;
		if (ahead->at >= ahead->width) {
			ahead->at = 0;
			ahead->run += ahead->ld;
		}
	}
}

/* ------------------------------------------------------------------ multiplying */

/* A panel of A with one of B: c[rows][columns <= PANEL_COLUMNS] = a b, added to c if `keep`. */
struct panels {
	size_t inner;
	const float *a, *b;
	bool keep;
	float *c;
	size_t ldc, columns;
	const float *next;	/* the c that follows, fetched meanwhile */
};

DPO_SET_INLINE void
store(float *c, dpo_some mask, bool keep, dpo_vec sum)
{
	dpo_vec before = keep ? dpo_load_some(mask, c) : dpo_zeros();

	dpo_store_some(c, mask, dpo_add(sum, before));
}

/* Whole panels are stored without masks, which cost a store its speed. */
DPO_SET_INLINE void
store_row(float *c, size_t columns, bool keep, const dpo_vec sum[2])
{
	dpo_vec low = dpo_zeros(), high = low;

	if (columns < PANEL_COLUMNS) {
		store(c, dpo_first(columns), keep, sum[0]);
		store(c + DPO_LANES, dpo_first(columns > DPO_LANES ? columns - DPO_LANES : 0), keep, sum[1]);
		return;
	}
	if (keep) {
		low = dpo_load(c);
		high = dpo_load(c + DPO_LANES);
	}
	dpo_store(c, dpo_add(sum[0], low));
	dpo_store(c + DPO_LANES, dpo_add(sum[1], high));
}

/* `rows` is known when compiled: the sums, two vectors of B and one of A are registers. */
DPO_SET_INLINE void
multiply(const size_t rows, const struct panels *p, struct ahead *shared)
{
	dpo_vec sum[PANEL_ROWS][2], low, high, each;
	const float *a = p->a, *b = p->b, *next = p->next;
	struct ahead ahead = *shared;
	size_t fetched = rows * STEPS / (p->inner + STEPS - 1) + 1;	/* rows of next a look */

#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++)
		sum[i][0] = sum[i][1] = dpo_zeros();
	for (size_t left = p->inner, steps; left > 0; left -= steps) {
		steps = left < STEPS ? left : STEPS;
		for (size_t i = 0; i < fetched; i++, next += p->ldc) {
			__builtin_prefetch(next, 1);
			if (PANEL_COLUMNS > LINE)
				__builtin_prefetch(next + LINE, 1);
		}
		look_ahead(&ahead);
		for (size_t k = 0; k < steps; k++, a += rows, b += PANEL_COLUMNS) {
			low = dpo_load(b);
			high = dpo_load(b + DPO_LANES);
#pragma GCC unroll 16
			for (size_t i = 0; i < rows; i++) {
				each = dpo_each(a[i]);
				sum[i][0] = dpo_fma(each, low, sum[i][0]);
				sum[i][1] = dpo_fma(each, high, sum[i][1]);
			}
		}
	}
	*shared = ahead;
#pragma GCC unroll 16
	for (size_t i = 0; i < rows; i++)
		store_row(p->c + i * p->ldc, p->columns, p->keep, sum[i]);
}

typedef void multiply_panels(const struct panels *panels, struct ahead *ahead);

#define MULTIPLY(rows) \
	DPO_SET static void \
	multiply_##rows(const struct panels *panels, struct ahead *ahead) \
	{ \
		multiply(rows, panels, ahead); \
	}
EACH_ROWS(MULTIPLY)

#define MULTIPLIES(rows) multiply_##rows,
static multiply_panels *const multiply_rows[] = { NULL, EACH_ROWS(MULTIPLIES) };

/* ------------------------------------------------------------------ blocks */

static size_t
blocks(const struct dpo_tile *tile)
{
	return dpo_size_parts(tile->inner, tile->inner < 2 * SHORT ? SHORT : LONG);
}

/* Block q of the inner index: blocks of nearly equal length. */
static struct dpo_stretch
block(const struct dpo_tile *tile, size_t q)
{
	size_t first = tile->inner * q / blocks(tile);

	return (struct dpo_stretch){ first, tile->inner * (q + 1) / blocks(tile) - first };
}

/* Columns of B, in panels that are packed and multiplied together. */
struct strip {
	size_t first, n;
	struct dpo_stretch inner;
};

/* What packing that strip will read; nothing if it lies beyond B. */
static struct ahead
strip_ahead(const struct dpo_tile *tile, const struct strip *next, size_t looks)
{
	const struct dpo_operand *b = &tile->b;
	size_t columns = next->first < tile->columns ? dpo_size_least(tile->columns - next->first, next->n) : 0;
	size_t runs = b->transposed ? columns : next->inner.n, width = b->transposed ? next->inner.n : columns;
	size_t lines = runs * dpo_size_parts(width, LINE);

	if (lines == 0)
		return (struct ahead){ 0 };
	return (struct ahead){ .run = b->data + (b->transposed ? next->first * b->ld + next->inner.first :
	    next->inner.first * b->ld + next->first), .ld = b->ld, .width = width, .lines = lines,
	    .rate = dpo_size_parts(lines, looks) };
}

static void
pack_strip(float *packed, const struct dpo_tile *tile, const struct strip *strip)
{
	for (size_t j = 0; j < strip->n; j += PANEL_COLUMNS)
		pack_b(packed + j * strip->inner.n, &tile->b, strip->first + j, dpo_size_least(strip->n - j, PANEL_COLUMNS),
		    strip->inner);
}

/* The packed block of A with the packed strip of B, row after row of panels. */
static void
multiply_strip(const struct dpo_tile *tile, const float *a, const float *b, const struct strip *strip, bool keep,
    struct ahead ahead)
{
	size_t inner = strip->inner.n;
	struct panels p = { .inner = inner, .keep = keep, .ldc = tile->ldc };

	for (size_t i = 0, row = 0, n; i < pack_panels(tile->rows); i++, row += n) {
		n = pack_row(tile->rows, i + 1) - row;
		p.a = a + row * inner;
		for (size_t j = 0; j < strip->n; j += PANEL_COLUMNS) {
			p.b = b + j * inner;
			p.c = tile->c + row * tile->ldc + strip->first + j;
			p.columns = strip->n - j;
			p.next = p.columns > PANEL_COLUMNS ? p.c + PANEL_COLUMNS : row + n < tile->rows ?
			    p.c - j + n * tile->ldc : tile->c + strip->first;
			multiply_rows[n](&p, &ahead);
		}
	}
}

/* Blocks q to end - 1, for which A is packed; each strip of B is packed when its turn comes. */
static void
multiply_blocks(const struct dpo_tile *tile, const float *a, size_t q, size_t end)
{
	_Alignas(64) float b[ROOM_B];
	size_t longest = dpo_size_parts(tile->inner, blocks(tile)), start = block(tile, q).first;
	size_t wide = SHORT / longest * PANEL_COLUMNS;
	size_t looks = pack_panels(tile->rows) * (longest / STEPS + 1);

	for (size_t column = 0; column < tile->columns; column += wide)
		for (size_t r = q; r < end; r++) {
			struct strip strip = { column, dpo_size_least(tile->columns - column, wide), block(tile, r) };
			struct strip next = { r + 1 < end ? column : column + wide, wide, block(tile, r + 1 < end ? r + 1 : q) };

			pack_strip(b, tile, &strip);
			multiply_strip(tile, a + (strip.inner.first - start) * tile->rows, b, &strip, tile->keep || r > 0,
			    strip_ahead(tile, &next, looks));
		}
}

static void
product(const struct dpo_tile *tile)
{
	_Alignas(64) float a[ROOM_A + PACK_SLACK];
	struct dpo_stretch inner;
	size_t used;

	assert(tile->rows > 0 && tile->rows <= DPO_KERNEL_ROWS && tile->inner > 0);
	for (size_t q = 0, end = 0; q < blocks(tile); q = end) {
		for (used = 0; end < blocks(tile) && used + block(tile, end).n * tile->rows <= ROOM_A; end++) {
			inner = block(tile, end);
			pack_a(a + used, &tile->a, tile->rows, inner);
			used += inner.n * tile->rows;
		}
		multiply_blocks(tile, a, q, end);
	}
}
