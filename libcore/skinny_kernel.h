/*
 * skinny_kernel - the loops of skinny.c for one set of instructions. Layer 5; uses dtype.
 *
 * Included once for each set, with LANES (floats of a vector), VEC, WORDS and HALVES (vectors of that many floats, and
 * integers of 32 and 16 bits), MADD(a, b, c) = a b + c, TARGET (the attribute of the set's functions) and NAME(f) (the set's f)
 * defined, and of two vectors, by fours of lanes, LOW a0 b0 a1 b1, HIGH a2 b2 a3 b3, LEFT a0 a1 b0 b1, RIGHT a2 a3 b2 b3, and
 * FOLD(v), the sum of its fours; it undefines them. No include guard, for that reason.
 */

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
 * every LANES-th element, added up, and then what is left of the row. rows, outs and dtype are constants where this is called.
 * A processor left to itself fetches ahead too little of what is read but once.
 */
TARGET static inline __attribute__((always_inline)) void
NAME(dots)(const size_t rows, const size_t outs, const enum dpo_dtype dtype, const float *x, size_t ldx, const void *w,
    size_t at, size_t n, float *y, size_t ldy)
{
	VEC sums[ROWS_AT_ONCE * OUTS] = { 0 };	/* [rows][outs] */
	float all[ROWS_AT_ONCE * OUTS];
	size_t whole = n - n % LANES;

	for (size_t k = 0; k < whole; k += LANES) {
		VEC here[OUTS];

#pragma GCC unroll 4
		for (size_t o = 0; o < outs; o++) {
			__builtin_prefetch((const uint8_t *)w + (at + o * n + k) * dpo_dtype_size(dtype) + AHEAD);
			here[o] = NAME(weights)(w, dtype, at + o * n + k);
		}
#pragma GCC unroll 8
		for (size_t r = 0; r < rows; r++) {
			VEC input = NAME(load)(x + r * ldx + k);

#pragma GCC unroll 4
			for (size_t o = 0; o < outs; o++)
				sums[r * outs + o] = MADD(input, here[o], sums[r * outs + o]);
		}
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < rows * outs; i += 4) {
		floats4 four = NAME(sum_lanes)(sums + i);

		memcpy(all + i, &four, sizeof four);
	}
#pragma GCC unroll 8
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (size_t o = 0; o < outs; o++) {
			float sum = all[r * outs + o];

			for (size_t k = whole; k < n; k++)
				sum += x[r * ldx + k] * weight(w, dtype, at + o * n + k);
			y[r * ldy + o] = sum;
		}
}

/* A set with few registers takes fewer rows at once. */
#define MANY (LANES == 16 ? ROWS_AT_ONCE : ROWS_AT_ONCE / 2)

TARGET static inline __attribute__((always_inline)) void
NAME(dots_of)(const enum dpo_dtype dtype, size_t rows, size_t outs, const float *x, size_t ldx, const void *w, size_t at,
    size_t n, float *y, size_t ldy)
{
	for (; outs == OUTS && rows >= MANY; rows -= MANY, x += MANY * ldx, y += MANY * ldy)
		for (size_t o = 0; o < OUTS; o += 2)
			NAME(dots)(MANY, 2, dtype, x, ldx, w, at + o * n, n, y + o, ldy);
	for (; outs == OUTS && rows >= 4 && LANES == 16; rows -= 4, x += 4 * ldx, y += 4 * ldy)
		NAME(dots)(4, OUTS, dtype, x, ldx, w, at, n, y, ldy);
	for (; outs == OUTS && rows >= 2; rows -= 2, x += 2 * ldx, y += 2 * ldy)
		NAME(dots)(2, OUTS, dtype, x, ldx, w, at, n, y, ldy);
	for (; rows > 0; rows--, x += ldx, y += ldy)
		if (outs == OUTS)
			NAME(dots)(1, OUTS, dtype, x, ldx, w, at, n, y, ldy);
		else
			for (size_t o = 0; o < outs; o++)
				NAME(dots)(1, 1, dtype, x, ldx, w, at + o * n, n, y + o, ldy);
}

/* outs outputs, at most OUTS, of all rows, by dots. */
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

TARGET static inline __attribute__((always_inline)) void
NAME(axpys_of)(const enum dpo_dtype dtype, size_t rows, const float *x, size_t ldx, const void *w, size_t at, size_t ldw,
    float *y, size_t ldy, size_t columns)
{
	size_t whole = columns - columns % LANES;

	for (size_t j = 0; j < whole; j += LANES) {
		VEC here[STEP];

#pragma GCC unroll 8
		for (size_t k = 0; k < STEP; k++) {
			__builtin_prefetch((const uint8_t *)w + (at + (k + STEP) * ldw + j) * dpo_dtype_size(dtype));
			here[k] = NAME(weights)(w, dtype, at + k * ldw + j);
		}
		for (size_t r = 0; r < rows; r++) {
			VEC sum = NAME(load)(y + r * ldy + j);

#pragma GCC unroll 8
			for (size_t k = 0; k < STEP; k++)
				sum = MADD(x[r * ldx + k] - (VEC){ 0 }, here[k], sum);
			memcpy(y + r * ldy + j, &sum, sizeof sum);
		}
	}
	for (size_t r = 0; r < rows; r++)
		for (size_t j = whole; j < columns; j++)
			for (size_t k = 0; k < STEP; k++)
				y[r * ldy + j] += x[r * ldx + k] * weight(w, dtype, at + k * ldw + j);
}

/* y[r][j] += x[r][0] w[0][j] + ... + x[r][STEP - 1] w[STEP - 1][j], one after the other; w[0][0] is number `at`. */
TARGET static void
NAME(axpys)(enum dpo_dtype dtype, size_t rows, const float *x, size_t ldx, const void *w, size_t at, size_t ldw, float *y,
    size_t ldy, size_t columns)
{
	if (dtype == DPO_DTYPE_F32)
		NAME(axpys_of)(DPO_DTYPE_F32, rows, x, ldx, w, at, ldw, y, ldy, columns);
	else if (dtype == DPO_DTYPE_BF16)
		NAME(axpys_of)(DPO_DTYPE_BF16, rows, x, ldx, w, at, ldw, y, ldy, columns);
	else
		NAME(axpys_of)(DPO_DTYPE_F16, rows, x, ldx, w, at, ldw, y, ldy, columns);
}

#undef MANY
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
