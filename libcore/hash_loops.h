/*
 * hash_loops - a step of BLAKE2b (RFC 7693) in several lanes, for one set of vector instructions. Layer 4; uses hashparts.
 *
 * Included once for each set, where these are defined: SET and SET_INLINE, what functions are compiled for; WIDTH, the 64-bit
 * words of a vector; vector, the type of one; ROTATE(x, n), its words rotated to the right; and turn(word, from), which makes
 * word[k], k < WIDTH, of the words k that lie at from[lane], for each lane.
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

/* Section 3.1. */
#define MIX(a, b, c, d, x, y) do { \
	v[a] += v[b] + word[x]; v[d] ^= v[a]; v[d] = ROTATE(v[d], 32); \
	v[c] += v[d]; v[b] ^= v[c]; v[b] = ROTATE(v[b], 24); \
	v[a] += v[b] + word[y]; v[d] ^= v[a]; v[d] = ROTATE(v[d], 16); \
	v[c] += v[d]; v[b] ^= v[c]; v[b] = ROTATE(v[b], 63); \
} while (0)

SET_INLINE vector
at(const uint64_t *words)
{
	return *(const stored *)(const void *)words;
}

/* Section 3.2, of the WIDTH lanes from `lane` on. */
SET_INLINE void
compress(uint64_t state[8][LANES], const struct dpo_hash_blocks *blocks, size_t lane)
{
	vector word[WORDS], v[16], live = at(blocks->live + lane);

	for (size_t first = 0; first < WORDS; first += WIDTH)
		turn(word + first, blocks->from + lane, 8 * first);
	for (size_t i = 0; i < 8; i++) {
		v[i] = at(state[i] + lane);
		v[8 + i] = (vector){ 0 } + dpo_hash_start[i];
	}
	v[12] ^= at(blocks->taken + lane);
	v[14] ^= at(blocks->last + lane);
#pragma GCC unroll 12
	for (size_t round = 0; round < ROUNDS; round++) {
		const uint8_t *s = order[round % 10];

		MIX(0, 4, 8, 12, s[0], s[1]);
		MIX(1, 5, 9, 13, s[2], s[3]);
		MIX(2, 6, 10, 14, s[4], s[5]);
		MIX(3, 7, 11, 15, s[6], s[7]);
		MIX(0, 5, 10, 15, s[8], s[9]);
		MIX(1, 6, 11, 12, s[10], s[11]);
		MIX(2, 7, 8, 13, s[12], s[13]);
		MIX(3, 4, 9, 14, s[14], s[15]);
	}
	for (size_t i = 0; i < 8; i++)
		*(stored *)(void *)(state[i] + lane) ^= (v[i] ^ v[8 + i]) & live;
}
