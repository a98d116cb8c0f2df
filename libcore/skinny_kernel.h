/*
 * skinny_kernel - the loops of skinny.c for one set of instructions. Layer 5; uses dtype.
 *
 * Included once for each set, with LANES (floats of a vector), VEC, WORDS and HALVES (vectors of that many floats, and
 * integers of 32 and 16 bits), MADD(a, b, c) = a b + c, TARGET (the attribute of the set's functions) and NAME(f) (the set's f)
 * defined, and of two vectors, by fours of lanes, LOW a0 b0 a1 b1, HIGH a2 b2 a3 b3, LEFT a0 a1 b0 b1, RIGHT a2 a3 b2 b3, and
 * FOLD(v), the sum of its fours; it undefines them. No include guard, for that reason.
 */

/* A set with many registers has a block of OUTS outputs, and adds STEP rows of w at once; others have other ones. */
#if LANES == 16
#define OUTS 4
#define STEP 16
#else
#define OUTS 8
#define STEP 8
#endif

TARGET static inline __attribute__((always_inline)) VEC
NAME(load)(const float *x)
{
	VEC v;

	memcpy(&v, x, sizeof v);
	return v;
}

/* LANES weights from number `at` on, as floats: exact (the conversions are those of dpo_vector_widen). */
TARGET static inline __attribute__((always_inline)) VEC
NAME(weights)(const void *w, const enum dpo_dtype dtype, size_t at)
{
	HALVES stored;
	WORDS bits;
	VEC number;

	if (dtype == DPO_DTYPE_F32)
		return NAME(load)((const float *)w + at);
	memcpy(&stored, (const uint16_t *)w + at, sizeof stored);
	bits = __builtin_convertvector(stored, WORDS);
	if (dtype == DPO_DTYPE_BF16)
		return (VEC)(bits << 16);
	number = (VEC)((bits & 0x7fff) << 13) * 0x1p112f;
	return (VEC)((WORDS)number | (bits & 0x8000) << 16);
}

/* The memory that holds weights from number `at` on is on its way to a cache: the first, or else the second, which is larger. */
TARGET static inline __attribute__((always_inline)) void
NAME(fetch)(const bool first, const void *w, const enum dpo_dtype dtype, size_t at)
{
	const uint8_t *line = (const uint8_t *)w + at * dpo_dtype_size(dtype);

	if (first)
		__builtin_prefetch(line, 0, 3);
	else
		__builtin_prefetch(line, 0, 2);
}

/* The sums of the lanes of four vectors at once, each in the same order. */
TARGET static inline __attribute__((always_inline)) floats4
NAME(sum_lanes)(const VEC *v)
{
	VEC left = LOW(v[0], v[1]) + HIGH(v[0], v[1]), right = LOW(v[2], v[3]) + HIGH(v[2], v[3]);

	left = LEFT(left, right) + RIGHT(left, right);
	return FOLD(left);
}

/*
 * y[r][o] = x[r] . w[o] for up to ROWS_AT_ONCE rows and up to OUTS rows of w, the first at number `at`: LANES sums over
 * every LANES-th element of whole lines, added up, and then what is left of the row. rows, outs and dtype are constants where
 * this is called. A processor left to itself fetches ahead too little of what is read but once: meanwhile, `fetched` rows of
 * w from number `next` on are fetched; the set with many registers fetches the rows after these instead.
 */
TARGET static inline __attribute__((always_inline)) void
NAME(dots)(const size_t rows, const size_t outs, const enum dpo_dtype dtype, const float *x, size_t ldx, const void *w,
    size_t at, size_t n, size_t next, size_t fetched, float *y, size_t ldy)
{
	VEC sums[ROWS_AT_ONCE * OUTS] = { 0 };	/* [rows][outs] */
	float all[ROWS_AT_ONCE * OUTS];
	size_t whole = n - n % LINE;

	for (size_t line = 0; line < whole; line += LINE) {
		for (size_t f = 0; LANES < LINE && f < fetched; f++)
			NAME(fetch)(false, w, dtype, next + f * n + line);
#pragma GCC unroll 4
		for (size_t k = line; k < line + LINE; k += LANES) {
			VEC here[OUTS];

#pragma GCC unroll 8
			for (size_t o = 0; o < outs; o++) {
				if (LANES == LINE) {
					NAME(fetch)(false, w, dtype, at + (OUTS + o) * n + k);
					NAME(fetch)(true, w, dtype, at + o * n + k + NEAR);
				}
				here[o] = NAME(weights)(w, dtype, at + o * n + k);
			}
#pragma GCC unroll 8
			for (size_t r = 0; r < rows; r++) {
				VEC input = NAME(load)(x + r * ldx + k);

				KEEP(input);
#pragma GCC unroll 8
				for (size_t o = 0; o < outs; o++)
					sums[r * outs + o] = MADD(input, here[o], sums[r * outs + o]);
			}
		}
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < rows * outs; i += 4) {
		floats4 four = NAME(sum_lanes)(sums + i);

		memcpy(all + i, &four, sizeof four);
	}
#pragma GCC unroll 8
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 8
		for (size_t o = 0; o < outs; o++) {
			float sum = all[r * outs + o];

			for (size_t k = whole; k < n; k++)
				sum += x[r * ldx + k] * weight(w, dtype, at + o * n + k);
			y[r * ldy + o] = sum;
		}
}

#if LANES == 16

/* outs outputs, at most OUTS, of all rows. */
TARGET static inline __attribute__((always_inline)) void
NAME(dots_of)(const enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const void *w, size_t at,
    size_t n, float *y, size_t ldy)
{
	for (; outs == OUTS && rows >= 8; rows -= 8, x += 8 * ldx, y += 8 * ldy)
		for (size_t o = 0; o < OUTS; o += 2)
			NAME(dots)(8, 2, dtype, x, ldx, w, at + o * n, n, 0, 0, y + o, ldy);
	for (; outs == OUTS && rows >= 4; rows -= 4, x += 4 * ldx, y += 4 * ldy)
		NAME(dots)(4, OUTS, dtype, x, ldx, w, at, n, 0, 0, y, ldy);
	for (; outs == OUTS && rows >= 2; rows -= 2, x += 2 * ldx, y += 2 * ldy)
		NAME(dots)(2, OUTS, dtype, x, ldx, w, at, n, 0, 0, y, ldy);
	for (; rows > 0; rows--, x += ldx, y += ldy)
		if (outs == OUTS)
			NAME(dots)(1, OUTS, dtype, x, ldx, w, at, n, 0, 0, y, ldy);
		else
			for (size_t o = 0; o < outs; o++)
				NAME(dots)(1, 1, dtype, x, ldx, w, at + o * n, n, 0, 0, y + o, ldy);
}

#else

/*
 * outs outputs, at most OUTS, of all rows, in passes of OUTS sums: four rows and a fourth of the outputs, two and half of
 * them, or one. Each pass fetches its share of the OUTS rows of w that come next, so that the memory never waits.
 */
TARGET static inline __attribute__((always_inline)) void
NAME(dots_of)(const enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const void *w, size_t at,
    size_t n, float *y, size_t ldy)
{
	size_t passes = rows / 4 * 4 + rows % 4 / 2 * 2 + rows % 2, pass = 0;

	for (size_t r = 0, group; outs == OUTS && r < rows; r += group) {
		group = rows - r >= 4 ? 4 : rows - r >= 2 ? 2 : 1;
		for (size_t o = 0; o < OUTS; o += OUTS / group, pass++) {
			size_t first = pass * OUTS / passes, fetched = (pass + 1) * OUTS / passes - first, from = at + o * n;
			const float *rows_x = x + r * ldx;
			float *to = y + r * ldy + o;

			first = at + (OUTS + first) * n;
			if (group == 4)
				NAME(dots)(4, OUTS / 4, dtype, rows_x, ldx, w, from, n, first, fetched, to, ldy);
			else if (group == 2)
				NAME(dots)(2, OUTS / 2, dtype, rows_x, ldx, w, from, n, first, fetched, to, ldy);
			else
				NAME(dots)(1, OUTS, dtype, rows_x, ldx, w, from, n, first, fetched, to, ldy);
		}
	}
	for (size_t r = 0; outs < OUTS && r < rows; r++)
		for (size_t o = 0; o < outs; o++)
			NAME(dots)(1, 1, dtype, x + r * ldx, ldx, w, at + o * n, n, 0, 0, y + r * ldy + o, ldy);
}

#endif

TARGET static void
NAME(dot_rows)(enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const void *w, size_t at, size_t n,
    float *y, size_t ldy)
{
	if (dtype == DPO_DTYPE_F32)
		NAME(dots_of)(DPO_DTYPE_F32, rows, outs, x, ldx, w, at, n, y, ldy);
	else if (dtype == DPO_DTYPE_BF16)
		NAME(dots_of)(DPO_DTYPE_BF16, rows, outs, x, ldx, w, at, n, y, ldy);
	else
		NAME(dots_of)(DPO_DTYPE_F16, rows, outs, x, ldx, w, at, n, y, ldy);
}

/*
 * y[r][j] += x[r][0] w[0][j] + ... + x[r][steps - 1] w[steps - 1][j], one after the other, of some rows and vectors of
 * columns, which are constants where this is called: their sums stay in registers. w[0][0] is number `at`. Meanwhile, if
 * `fetched`, the rows of w that come after these are fetched, and by the set with many registers what lies `near` columns
 * further of these.
 */
TARGET static inline __attribute__((always_inline)) void
NAME(tile)(const size_t rows, const size_t vectors, const enum dpo_dtype dtype, size_t steps, const float *x, size_t ldx,
    const void *w, size_t at, size_t ldw, size_t near, bool fetched, float *y, size_t ldy)
{
	VEC sums[SUMS], here[SUMS];

#pragma GCC unroll 8
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sums[r * vectors + v] = NAME(load)(y + r * ldy + v * LANES);
	for (size_t k = 0; k < steps; k++) {
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++) {
			if (fetched && v * LANES % LINE == 0)
				NAME(fetch)(false, w, dtype, at + (k + steps) * ldw + v * LANES);
			if (LANES == LINE)
				NAME(fetch)(true, w, dtype, at + k * ldw + near + v * LANES);
			here[v] = NAME(weights)(w, dtype, at + k * ldw + v * LANES);
		}
#pragma GCC unroll 8
		for (size_t r = 0; r < rows; r++) {
			VEC input = x[r * ldx + k] - (VEC){ 0 };

#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sums[r * vectors + v] = MADD(input, here[v], sums[r * vectors + v]);
		}
	}
#pragma GCC unroll 8
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			memcpy(y + r * ldy + v * LANES, &sums[r * vectors + v], sizeof sums[0]);
}

/* The last columns, which are no vector. */
TARGET static inline __attribute__((always_inline)) void
NAME(rest)(const enum dpo_dtype dtype, size_t rows, size_t steps, const float *x, size_t ldx, const void *w, size_t at,
    size_t ldw, float *y, size_t ldy, size_t columns)
{
	for (size_t j = 0; j < columns; j++)
		for (size_t r = 0; r < rows; r++)
			for (size_t k = 0; k < steps; k++)
				y[r * ldy + j] += x[r * ldx + k] * weight(w, dtype, at + k * ldw + j);
}

#if LANES == 16

/* All columns of some rows. */
TARGET static inline __attribute__((always_inline)) void
NAME(tiles)(const size_t rows, const enum dpo_dtype dtype, size_t steps, const float *x, size_t ldx, const void *w, size_t at,
    size_t ldw, float *y, size_t ldy, size_t columns)
{
	const size_t vectors = SUMS / rows;
	size_t j = 0, near;

	for (; j + vectors * LANES <= columns; j += vectors * LANES) {
		near = j + 3 * vectors * LANES <= columns ? 2 * vectors * LANES : 0;
		NAME(tile)(rows, vectors, dtype, steps, x, ldx, w, at + j, ldw, near, true, y + j, ldy);
	}
	for (; j + LANES <= columns; j += LANES)
		NAME(tile)(rows, 1, dtype, steps, x, ldx, w, at + j, ldw, 0, true, y + j, ldy);
	NAME(rest)(dtype, rows, steps, x, ldx, w, at + j, ldw, y + j, ldy, columns - j);
}

TARGET static inline __attribute__((always_inline)) void
NAME(axpys_of)(const enum dpo_dtype dtype, size_t rows, size_t steps, const float *x, size_t ldx, const void *w, size_t at,
    size_t ldw, float *y, size_t ldy, size_t columns)
{
	for (; rows >= 8; rows -= 8, x += 8 * ldx, y += 8 * ldy)
		NAME(tiles)(8, dtype, steps, x, ldx, w, at, ldw, y, ldy, columns);
	for (; rows >= 4; rows -= 4, x += 4 * ldx, y += 4 * ldy)
		NAME(tiles)(4, dtype, steps, x, ldx, w, at, ldw, y, ldy, columns);
	for (; rows >= 2; rows -= 2, x += 2 * ldx, y += 2 * ldy)
		NAME(tiles)(2, dtype, steps, x, ldx, w, at, ldw, y, ldy, columns);
	if (rows > 0)
		NAME(tiles)(1, dtype, steps, x, ldx, w, at, ldw, y, ldy, columns);
}

#else

/* Some vectors of columns, of all rows, four at a time: the first of them fetch. */
TARGET static inline __attribute__((always_inline)) void
NAME(tiles)(const size_t vectors, const enum dpo_dtype dtype, size_t rows, size_t steps, const float *x, size_t ldx,
    const void *w, size_t at, size_t ldw, float *y, size_t ldy)
{
	size_t r = 0;

	for (; r + 4 <= rows; r += 4)
		NAME(tile)(4, vectors, dtype, steps, x + r * ldx, ldx, w, at, ldw, 0, r == 0, y + r * ldy, ldy);
	for (; r + 2 <= rows; r += 2)
		NAME(tile)(2, vectors, dtype, steps, x + r * ldx, ldx, w, at, ldw, 0, r == 0, y + r * ldy, ldy);
	if (r < rows)
		NAME(tile)(1, vectors, dtype, steps, x + r * ldx, ldx, w, at, ldw, 0, r == 0, y + r * ldy, ldy);
}

/* Line by line: each is read from memory once, whatever the rows. */
TARGET static inline __attribute__((always_inline)) void
NAME(axpys_of)(const enum dpo_dtype dtype, size_t rows, size_t steps, const float *x, size_t ldx, const void *w, size_t at,
    size_t ldw, float *y, size_t ldy, size_t columns)
{
	size_t j = 0;

	for (; j + LINE <= columns; j += LINE)
		NAME(tiles)(LINE / LANES, dtype, rows, steps, x, ldx, w, at + j, ldw, y + j, ldy);
	for (; j + LANES <= columns; j += LANES)
		NAME(tiles)(1, dtype, rows, steps, x, ldx, w, at + j, ldw, y + j, ldy);
	NAME(rest)(dtype, rows, steps, x, ldx, w, at + j, ldw, y + j, ldy, columns - j);
}

#endif

/* y[r][j] += x[r][0] w[0][j] + ... + x[r][steps - 1] w[steps - 1][j], one after the other; w[0][0] is number `at`. */
TARGET static void
NAME(axpys)(enum dpo_dtype dtype, size_t rows, size_t steps, const float *x, size_t ldx, const void *w, size_t at, size_t ldw,
    float *y, size_t ldy, size_t columns)
{
	if (dtype == DPO_DTYPE_F32)
		NAME(axpys_of)(DPO_DTYPE_F32, rows, steps, x, ldx, w, at, ldw, y, ldy, columns);
	else if (dtype == DPO_DTYPE_BF16)
		NAME(axpys_of)(DPO_DTYPE_BF16, rows, steps, x, ldx, w, at, ldw, y, ldy, columns);
	else
		NAME(axpys_of)(DPO_DTYPE_F16, rows, steps, x, ldx, w, at, ldw, y, ldy, columns);
}

static const struct kernel NAME(kernel) = { NAME(dot_rows), NAME(axpys), OUTS, STEP };

#undef OUTS
#undef STEP
#undef NAME
#undef TARGET
#undef LANES
#undef VEC
#undef WORDS
#undef HALVES
#undef MADD
#undef LOW
#undef HIGH
#undef LEFT
#undef RIGHT
#undef FOLD
