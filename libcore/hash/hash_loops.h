/*
 * hash_loops - a step of BLAKE2b (RFC 7693) in several lanes, for one set of vector instructions. Layer 4; uses hashparts.
 *
 * Included once for each set, where these are defined: SET and SET_INLINE, what functions are compiled for; WIDTH, the 64-bit
 * words of a vector; vector, the type of one; ROTATE(x, n), its words rotated to the right; turn(word, from), which makes
 * word[k], k < WIDTH, of the words k that lie at from[lane], for each lane; and SPILL(x), which is nothing, or keeps x in memory
 * where registers are short.
 */

enum { LANES = DPO_HASHES_LANES, WORDS = 16, ROUNDS = 12 };

typedef vector stored __attribute__((aligned(1), may_alias));

/* Section 2.7: the order of the words in each round. */
static const uint8_t order[10][WORDS] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 }, { 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 }, { 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 }, { 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 }, { 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

/* Section 3.1, one half of it. */
SET_INLINE void
mix(vector *a, vector *b, vector *c, vector *d, vector word, const int first, const int second)
{
	*a += word;
	*a += *b;
	*d = ROTATE(*d ^ *a, first);
	*c += *d;
	*b = ROTATE(*b ^ *c, second);
}

/*
 * Half a round, with the words in the order s: four columns of the state, or with `by` 1 four diagonals. They are
 * interleaved because each step waits for the one before it.
 */
SET_INLINE void
mix_four(vector v[WORDS], const vector word[WORDS], const uint8_t *s, const size_t by)
{
#pragma GCC unroll 2
	for (size_t half = 0; half < 2; half++)
#pragma GCC unroll 4
		for (size_t k = 0; k < 4; k++) {
			mix(&v[k], &v[4 + (k + by) % 4], &v[8 + (k + 2 * by) % 4], &v[12 + (k + 3 * by) % 4],
			    word[s[2 * k + half]], half ? 16 : 32, half ? 63 : 24);
			SPILL(v[8]);
		}
}

SET_INLINE vector
at(const uint64_t *words)
{
	return *(const stored *)(const void *)words;
}

/* Section 3.2, for the WIDTH lanes from `lane` on. */
SET_INLINE void
compress(uint64_t state[8][LANES], const struct dpo_hash_blocks *blocks, size_t lane)
{
	vector word[WORDS], v[WORDS], live = at(blocks->live + lane);

#pragma GCC unroll 4
	for (size_t first = 0; first < WORDS; first += WIDTH)
		turn(word + first, blocks->from + lane, 8 * first);
	SPILL(word);
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++) {
		v[i] = at(state[i] + lane);
		v[8 + i] = (vector){ 0 } + dpo_hash_start[i];
	}
	v[12] ^= at(blocks->taken + lane);
	v[14] ^= at(blocks->last + lane);
#pragma GCC unroll 12
	for (size_t round = 0; round < ROUNDS; round++) {
		mix_four(v, word, order[round % 10], 0);
		mix_four(v, word, order[round % 10] + 8, 1);
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++)
		*(stored *)(void *)(state[i] + lane) ^= (v[i] ^ v[8 + i]) & live;
}
