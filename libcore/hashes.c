#include "hashes.h"

#include "bytes.h"
#include "kernel.h"
#include "parallel.h"

#include <string.h>

enum { LANES = DPO_HASHES_LANES, BLOCK = DPO_HASHES_BLOCK, WORDS = 16, ROUNDS = 12 };
enum { FEW = 3 };	/* fewer are as fast one after the other */

static size_t
left_of(const struct dpo_hashes *hashes, size_t lane)
{
	return hashes->bytes[lane] > hashes->at ? hashes->bytes[lane] - hashes->at : 0;
}

#if defined(__x86_64__) && defined(__GNUC__)

/* ------------------------------------------------------------------ side by side */

#define AVX512 __attribute__((target("avx512f")))
#define AVX512_INLINE __attribute__((target("avx512f"), always_inline)) static inline

typedef uint64_t vector __attribute__((vector_size(8 * LANES)));
typedef vector stored __attribute__((aligned(1), may_alias));

/* RFC 7693, section 2.6: the square roots' fractions, as SHA-512 begins. */
static const uint64_t start[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* Section 2.7: the order of the words in each round. */
static const uint8_t order[10][WORDS] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 }, { 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 }, { 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 }, { 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 }, { 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

/* One block of each lane. */
struct blocks {
	const uint8_t *from[LANES];
	uint64_t taken[LANES];	/* bytes so far, this block included */
	uint64_t last[LANES];	/* all ones in the last block */
	uint64_t live[LANES];	/* all ones if there is a block */
};

/* word[w] = words first + w of all lanes, w < 8. */
AVX512_INLINE void
side_by_side(vector *word, const uint8_t *const from[LANES], size_t first)
{
	const vector low2 = { 0, 8, 2, 10, 4, 12, 6, 14 }, high2 = { 1, 9, 3, 11, 5, 13, 7, 15 };
	const vector low4 = { 0, 1, 8, 9, 4, 5, 12, 13 }, high4 = { 2, 3, 10, 11, 6, 7, 14, 15 };
	const vector low8 = { 0, 1, 2, 3, 8, 9, 10, 11 }, high8 = { 4, 5, 6, 7, 12, 13, 14, 15 };
	vector r[LANES], t[LANES];

	for (size_t i = 0; i < LANES; i++)
		r[i] = *(const stored *)(const void *)(from[i] + 8 * first);
	for (size_t i = 0; i < LANES; i += 2) {		/* pairs: words 0 2 4 6, 1 3 5 7 */
		t[i] = __builtin_shuffle(r[i], r[i + 1], low2);
		t[i + 1] = __builtin_shuffle(r[i], r[i + 1], high2);
	}
	for (size_t i = 0; i < LANES; i += 4)		/* fours: words 0 4, 1 5, 2 6, 3 7 */
		for (size_t k = 0; k < 2; k++) {
			r[i + k] = __builtin_shuffle(t[i + k], t[i + 2 + k], low4);
			r[i + 2 + k] = __builtin_shuffle(t[i + k], t[i + 2 + k], high4);
		}
	for (size_t k = 0; k < 4; k++) {
		word[k] = __builtin_shuffle(r[k], r[4 + k], low8);
		word[4 + k] = __builtin_shuffle(r[k], r[4 + k], high8);
	}
}

/* Section 3.1. */
#define ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define MIX(a, b, c, d, x, y) do { \
	v[a] += v[b] + word[x]; v[d] ^= v[a]; v[d] = ROTATE(v[d], 32); \
	v[c] += v[d]; v[b] ^= v[c]; v[b] = ROTATE(v[b], 24); \
	v[a] += v[b] + word[y]; v[d] ^= v[a]; v[d] = ROTATE(v[d], 16); \
	v[c] += v[d]; v[b] ^= v[c]; v[b] = ROTATE(v[b], 63); \
} while (0)

/* Section 3.2: the state after one more block. */
AVX512 static void
compress(uint64_t state[8][LANES], const struct blocks *blocks)
{
	stored *h = (stored *)(void *)state;
	vector word[WORDS], v[16], live = *(const stored *)(const void *)blocks->live;

	side_by_side(word, blocks->from, 0);
	side_by_side(word + 8, blocks->from, 8);
	for (size_t i = 0; i < 8; i++) {
		v[i] = h[i];
		v[8 + i] = (vector){ 0 } + start[i];
	}
	v[12] ^= *(const stored *)(const void *)blocks->taken;
	v[14] ^= *(const stored *)(const void *)blocks->last;
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
		h[i] ^= (v[i] ^ v[8 + i]) & live;
}

static void
begin_side_by_side(struct dpo_hashes *hashes)
{
	for (size_t i = 0; i < 8; i++)
		for (size_t lane = 0; lane < LANES; lane++)
			hashes->state[i][lane] = start[i];
	/* Section 2.5, the parameter block: no key, and the length of the hash. */
	for (size_t lane = 0; lane < LANES; lane++)
		hashes->state[0][lane] ^= 0x01010000 ^ DPO_HASH_BYTES;
}

/* The block of a lane at `from`, of which `left` bytes are there; `padded` is for a short one. */
static void
lay_out(struct blocks *blocks, size_t lane, const uint8_t *from, size_t left, size_t taken, uint8_t padded[BLOCK])
{
	if (left < BLOCK) {
		memset(padded, 0, BLOCK);
		from = memcpy(padded, from, left);
	}
	blocks->from[lane] = from;
	blocks->taken[lane] = taken + (left < BLOCK ? left : BLOCK);
	blocks->last[lane] = left <= BLOCK ? UINT64_MAX : 0;
	blocks->live[lane] = UINT64_MAX;
}

static void
add_side_by_side(struct dpo_hashes *hashes, const uint8_t *const runs[LANES], size_t n)
{
	uint8_t padded[LANES][BLOCK] = { { 0 } };
	struct blocks blocks = { 0 };

	for (size_t k = 0; k < n; k += BLOCK) {
		size_t live = 0;

		for (size_t lane = 0; lane < LANES; lane++) {
			size_t left = left_of(hashes, lane);

			blocks.live[lane] = 0;
			blocks.from[lane] = padded[lane];
			if (left <= k)
				continue;
			lay_out(&blocks, lane, runs[lane] + k, left - k, hashes->at + k, padded[lane]);
			live++;
		}
		if (!live)
			return;
		compress(hashes->state, &blocks);
	}
}

static void
end_side_by_side(const struct dpo_hashes *hashes, size_t lane, uint8_t *hash)
{
	for (size_t i = 0; i < DPO_HASH_BYTES / 8; i++)
		dpo_bytes_store64(hash + 8 * i, hashes->state[i][lane]);
}

#else

static void
begin_side_by_side(struct dpo_hashes *hashes)
{
	(void)hashes;
}

static void
add_side_by_side(struct dpo_hashes *hashes, const uint8_t *const runs[LANES], size_t n)
{
	(void)hashes, (void)runs, (void)n;
}

static void
end_side_by_side(const struct dpo_hashes *hashes, size_t lane, uint8_t *hash)
{
	(void)hashes, (void)lane, (void)hash;
}

#endif

/* ------------------------------------------------------------------ either way */

void
dpo_hashes_begin(struct dpo_hashes *hashes, const size_t bytes[LANES])
{
	memcpy(hashes->bytes, bytes, sizeof hashes->bytes);
	hashes->at = 0;
	begin_side_by_side(hashes);
	for (size_t lane = 0; lane < LANES; lane++)
		crypto_generichash_init(&hashes->one[lane], NULL, 0, DPO_HASH_BYTES);
}

void
dpo_hashes_add(struct dpo_hashes *hashes, const uint8_t *const runs[LANES], size_t n)
{
	if (dpo_kernel_set() == DPO_KERNEL_AVX512)
		add_side_by_side(hashes, runs, n);
	else
		for (size_t lane = 0; lane < LANES; lane++) {
			size_t left = left_of(hashes, lane);

			if (left)
				crypto_generichash_update(&hashes->one[lane], runs[lane], left < n ? left : n);
		}
	hashes->at += n;
}

void
dpo_hashes_end(struct dpo_hashes *hashes, uint8_t *const hash[LANES])
{
	for (size_t lane = 0; lane < LANES; lane++)
		if (hashes->bytes[lane] && dpo_kernel_set() == DPO_KERNEL_AVX512)
			end_side_by_side(hashes, lane, hash[lane]);
		else if (hashes->bytes[lane])
			crypto_generichash_final(&hashes->one[lane], hash[lane], DPO_HASH_BYTES);
}

/* ------------------------------------------------------------------ many */

struct many {
	size_t n;
	const uint8_t *const *runs;
	const size_t *bytes;
	uint8_t (*hash)[DPO_HASH_BYTES];
};

static void
hash_group(void *context, size_t group)
{
	const struct many *many = context;
	size_t first = group * LANES, n = dpo_size_least(many->n - first, LANES), bytes[LANES] = { 0 }, longest = 0;
	const uint8_t *runs[LANES] = { 0 };
	uint8_t *hash[LANES] = { 0 };
	struct dpo_hashes hashes;

	for (size_t i = 0; i < n; i++) {
		runs[i] = many->runs[first + i];
		bytes[i] = many->bytes[first + i];
		hash[i] = many->hash[first + i];
		longest = bytes[i] > longest ? bytes[i] : longest;
	}
	if (n < FEW) {
		for (size_t i = 0; i < n; i++)
			dpo_hash(hash[i], runs[i], bytes[i]);
		return;
	}
	dpo_hashes_begin(&hashes, bytes);
	dpo_hashes_add(&hashes, runs, dpo_size_parts(longest, BLOCK) * BLOCK);
	dpo_hashes_end(&hashes, hash);
}

void
dpo_hashes_all(int threads, size_t n, const uint8_t *const *runs, const size_t *bytes, uint8_t (*hash)[DPO_HASH_BYTES])
{
	struct many many = { n, runs, bytes, hash };

	dpo_parallel_for(threads, dpo_size_parts(n, LANES), hash_group, &many);
}
