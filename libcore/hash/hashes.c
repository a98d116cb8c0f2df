#include "hash/hashes.h"

#include "base/bytes.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "hash/hashparts.h"

#include <string.h>

enum { LANES = DPO_HASHES_LANES, BLOCK = DPO_HASHES_BLOCK };
enum { FEW = 3 };	/* fewer are as fast one after the other */

static size_t
left_of(const struct dpo_hashes *hashes, size_t lane)
{
	return hashes->bytes[lane] > hashes->at ? hashes->bytes[lane] - hashes->at : 0;
}

/* ------------------------------------------------------------------ side by side */

/* NULL: one after the other. */
typedef void compress_lanes(uint64_t state[8][LANES], const struct dpo_hash_blocks *blocks);

static compress_lanes *
compress_here(void)
{
	static compress_lanes *const sets[] = DPO_CPU_SETS(NULL, dpo_hash_compress_avx2, dpo_hash_compress_avx512);

	return sets[dpo_cpu()];
}

static void
begin_side_by_side(struct dpo_hashes *hashes)
{
	for (size_t i = 0; i < 8; i++)
		for (size_t lane = 0; lane < LANES; lane++)
			hashes->state[i][lane] = dpo_hash_start[i];
	/* Section 2.5, the parameter block: no key, and the length of the hash. */
	for (size_t lane = 0; lane < LANES; lane++)
		hashes->state[0][lane] ^= 0x01010000 ^ DPO_HASH_BYTES;
}

/* The block of a lane at `from`, of which `left` bytes are there; `padded` is for a short one. */
static void
lay_out(struct dpo_hash_blocks *blocks, size_t lane, const uint8_t *from, size_t left, size_t taken, uint8_t padded[BLOCK])
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
add_side_by_side(struct dpo_hashes *hashes, compress_lanes *compress, const uint8_t *const runs[LANES], size_t n)
{
	uint8_t padded[LANES][BLOCK] = { { 0 } };
	struct dpo_hash_blocks blocks = { 0 };

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
	compress_lanes *compress = compress_here();

	if (compress)
		add_side_by_side(hashes, compress, runs, n);
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
		if (hashes->bytes[lane] && compress_here())
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
