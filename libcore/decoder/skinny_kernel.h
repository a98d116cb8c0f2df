/*
 * skinny_kernel - the loops of skinny.c for one set of instructions. Layer 5; uses dtype.
 *
 * Included once for each set, with LANES (floats of a vector), VEC, WORDS and HALVES (vectors of that many floats, and
 * integers of 32 and 16 bits), MADD(a, b, c) = a b + c, TARGET (the attribute of the set's functions) and NAME(f) (the set's f)
 * defined, and of two vectors, by fours of lanes, LOW a0 b0 a1 b1, HIGH a2 b2 a3 b3, LEFT a0 a1 b0 b1, RIGHT a2 a3 b2 b3, and
 * FOLD(v), the sum of its fours; it undefines them. No include guard, for that reason.
 */

/*
 * OUTS outputs per block, and ROW_RUNS, the runs of memory from which rows of an (in,out) w are added at once: two fewer
 * than the lines of a set of the first cache, or 0.
 */
#if LANES == 16
#define OUTS 4
#define ROW_RUNS 0
#else
#define OUTS 8
#define ROW_RUNS 6
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

/* Prefetch the weights from number `at` on. */
TARGET static inline __attribute__((always_inline)) void
NAME(fetch)(const enum fetch to, const void *w, const enum dpo_dtype dtype, size_t at)
{
	const uint8_t *line = (const uint8_t *)w + at * dpo_dtype_size(dtype);

	if (to == FIRST)
		__builtin_prefetch(line, 0, 3);
	else if (to == SECOND)
		__builtin_prefetch(line, 0, 2);
	else
		__builtin_prefetch(line + AHEAD, 0, 0);
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
 * y[r][o] = x[r] . w[o] for up to ROWS_AT_ONCE rows and up to OUTS outputs of a block: LANES sums over every LANES-th
 * element of whole lines, added up, and then what is left of the row. rows, outs, dtype and `to` are constants where this
 * is called. On its own a processor prefetches too little of what is read only once: meanwhile, `fetched` rows of w from
 * number `next` on are fetched; the set with many registers fetches the rows after these instead.
 */
TARGET static inline __attribute__((always_inline)) void
NAME(dots)(const size_t rows, const size_t outs, const enum dpo_dtype dtype, const float *x, size_t ldx, const struct block b,
    const enum fetch to, size_t next, size_t fetched)
{
	VEC sums[ROWS_AT_ONCE * OUTS] = { 0 };	/* [rows][outs] */
	float all[ROWS_AT_ONCE * OUTS];
	size_t whole = b.n - b.n % LINE;

	for (size_t line = 0; line < whole; line += LINE) {
		for (size_t f = 0; LANES < LINE && f < fetched; f++)
			NAME(fetch)(to, b.w, dtype, next + f * b.apart + line);
#pragma GCC unroll 4
		for (size_t k = line; k < line + LINE; k += LANES) {
			VEC here[OUTS];

#pragma GCC unroll 8
			for (size_t o = 0; o < outs; o++) {
				if (LANES == LINE) {
					NAME(fetch)(SECOND, b.w, dtype, b.at + (OUTS + o) * b.apart + k);
					NAME(fetch)(FIRST, b.w, dtype, b.at + o * b.apart + k + NEAR);
				}
				here[o] = NAME(weights)(b.w, dtype, b.at + o * b.apart + k);
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

			for (size_t k = whole; k < b.n; k++)
				sum += x[r * ldx + k] * weight(b.w, dtype, b.at + o * b.apart + k);
			b.y[r * b.ldy + o * b.step] = sum;
		}
}

/* From row r and output o on. */
static inline __attribute__((always_inline)) struct block
NAME(part)(struct block b, size_t r, size_t o)
{
	b.at += o * b.apart;
	b.y += r * b.ldy + o * b.step;
	return b;
}

#if LANES == 16

/* outs outputs, at most OUTS, of all rows. */
TARGET static inline __attribute__((always_inline)) void
NAME(dots_of)(const enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, struct block b)
{
	b.apart = b.n;
	b.step = 1;
	for (; outs == OUTS && rows >= 8; rows -= 8, x += 8 * ldx, b.y += 8 * b.ldy)
		for (size_t o = 0; o < OUTS; o += 2)
			NAME(dots)(8, 2, dtype, x, ldx, NAME(part)(b, 0, o), SECOND, 0, 0);
	for (; outs == OUTS && rows >= 4; rows -= 4, x += 4 * ldx, b.y += 4 * b.ldy)
		NAME(dots)(4, OUTS, dtype, x, ldx, b, SECOND, 0, 0);
	for (; outs == OUTS && rows >= 2; rows -= 2, x += 2 * ldx, b.y += 2 * b.ldy)
		NAME(dots)(2, OUTS, dtype, x, ldx, b, SECOND, 0, 0);
	for (; rows > 0; rows--, x += ldx, b.y += b.ldy)
		if (outs == OUTS)
			NAME(dots)(1, OUTS, dtype, x, ldx, b, SECOND, 0, 0);
		else
			for (size_t o = 0; o < outs; o++)
				NAME(dots)(1, 1, dtype, x, ldx, NAME(part)(b, 0, o), SECOND, 0, 0);
}

#else

/*
 * A block of OUTS outputs of all rows in passes: four rows and two outputs, or two rows or one and four. Each pass fetches its
 * share of the OUTS rows of w that come next, so that the memory never waits.
 */
TARGET static inline __attribute__((always_inline)) void
NAME(passes)(const enum dpo_dtype dtype, size_t rows, const float *x, size_t ldx, struct block b)
{
	size_t all = rows / 4 * (OUTS / 2) + (rows % 4 + 1) / 2 * (OUTS / 4), pass = 0;

	for (size_t r = 0, group; r < rows; r += group) {
		group = rows - r >= 4 ? 4 : rows - r >= 2 ? 2 : 1;
		for (size_t o = 0; o < OUTS; o += group == 4 ? 2 : 4, pass++) {
			size_t first = pass * OUTS / all, fetched = (pass + 1) * OUTS / all - first;
			size_t next = b.at + (OUTS + first) * b.apart;
			struct block part = NAME(part)(b, r, o);

			if (group == 4)
				NAME(dots)(4, 2, dtype, x + r * ldx, ldx, part, SECOND, next, fetched);
			else if (group == 2)
				NAME(dots)(2, 4, dtype, x + r * ldx, ldx, part, SECOND, next, fetched);
			else
				NAME(dots)(1, 4, dtype, x + r * ldx, ldx, part, SECOND, next, fetched);
		}
	}
}

/* outs outputs of all rows: a block of OUTS, or of FEW rows of RUNS runs of memory, or any. */
TARGET static inline __attribute__((always_inline)) void
NAME(dots_of)(const enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, struct block b)
{
	if (outs == OUTS)
		NAME(passes)(dtype, rows, x, ldx, b);
	else if (outs == RUNS && rows == 1)
		NAME(dots)(1, RUNS, dtype, x, ldx, b, ONCE, b.at, RUNS);
	else if (outs == RUNS && rows == 2)
		NAME(dots)(2, RUNS, dtype, x, ldx, b, ONCE, b.at, RUNS);
	else
		for (size_t r = 0; r < rows; r++)
			for (size_t o = 0; o < outs; o++)
				NAME(dots)(1, 1, dtype, x + r * ldx, ldx, NAME(part)(b, r, o), SECOND, 0, 0);
}

#endif

/* outs outputs, at most OUTS, of all rows. */
TARGET static void
NAME(dot_rows)(enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const struct block *b)
{
	if (dtype == DPO_DTYPE_F32)
		NAME(dots_of)(DPO_DTYPE_F32, rows, outs, x, ldx, *b);
	else if (dtype == DPO_DTYPE_BF16)
		NAME(dots_of)(DPO_DTYPE_BF16, rows, outs, x, ldx, *b);
	else
		NAME(dots_of)(DPO_DTYPE_F16, rows, outs, x, ldx, *b);
}

/*
 * y[r][j] += x[r][0] w[0][j] + ... + x[r][steps - 1] w[steps - 1][j], one after the other, of some rows and vectors of
 * columns, which are constants where this is called: their sums stay in registers. w[0][0] is number `at`. Meanwhile, if
 * `fetched`, what comes next of these rows is fetched; by the set with many registers the rows of w that come after these,
 * and what lies `near` columns further of these.
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
			if (LANES == LINE) {
				NAME(fetch)(SECOND, w, dtype, at + (k + steps) * ldw + v * LANES);
				NAME(fetch)(FIRST, w, dtype, at + k * ldw + near + v * LANES);
			} else if (fetched && v * LANES % LINE == 0) {
				NAME(fetch)(ONCE, w, dtype, at + k * ldw + v * LANES);
			}
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

static const struct kernel NAME(kernel) = { NAME(dot_rows), NAME(axpys), OUTS, ROW_RUNS };

#undef OUTS
#undef ROW_RUNS
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
