#include "base/random.h"

#include "base/bytes.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>

void
dpo_hash(uint8_t hash[DPO_HASH_BYTES], const void *bytes, size_t n)
{
	crypto_generichash(hash, DPO_HASH_BYTES, bytes, n, NULL, 0);
}

void
dpo_hash_two(uint8_t hash[DPO_HASH_BYTES], const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, DPO_HASH_BYTES);
	crypto_generichash_update(&state, a, a_bytes);
	crypto_generichash_update(&state, b, b_bytes);
	crypto_generichash_final(&state, hash, DPO_HASH_BYTES);
}

void
dpo_random_bytes(void *out, size_t n, const char *purpose, uint64_t seed, uint64_t index)
{
	uint8_t numbers[16], key[DPO_HASH_BYTES];

	dpo_bytes_store64(numbers, seed);
	dpo_bytes_store64(numbers + 8, index);
	dpo_hash_two(key, numbers, sizeof numbers, purpose, strlen(purpose));
	randombytes_buf_deterministic(out, n, key);
}

bool
dpo_random_order(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch)
{
	uint64_t *draws = dpo_alloc(n, sizeof *draws);

	if (!draws)
		return false;
	dpo_random_bytes(draws, n * sizeof *draws, "order", seed, epoch);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n; i > 1; i--) {
		uint8_t raw[8];
		size_t j;
		uint32_t kept;

		memcpy(raw, &draws[i - 1], sizeof raw);
		/* The bias of a 64-bit draw modulo i < 2^32 is below 2^-32. */
		j = (size_t)(dpo_bytes_load64(raw) % i);
		kept = order[i - 1];
		order[i - 1] = order[j];
		order[j] = kept;
	}
	free(draws);
	return true;
}

bool
dpo_random_uniform(float *out, size_t n, double bound, uint64_t seed, const char *name)
{
	enum { RUN = 4096 };
	uint8_t *raw = dpo_alloc(RUN, 4);

	if (!raw)
		return false;
	for (size_t i = 0; i < n; i += RUN) {
		dpo_random_bytes(raw, RUN * 4, name, seed, i);
		for (size_t k = 0; k < RUN && i + k < n; k++)
			out[i + k] = (float)(bound * ((double)(dpo_bytes_load32(raw + 4 * k) >> 8) * 0x1p-23 - 1.0));
	}
	free(raw);
	return true;
}

/* A uniform number in (0, 1] from 8 bytes. */
static double
uniform(const uint8_t *raw)
{
	return (double)((dpo_bytes_load64(raw) >> 11) + 1) * 0x1p-53;
}

bool
dpo_random_normal(float *out, size_t n, double deviation, uint64_t seed, const char *name)
{
	const double turn = 6.283185307179586476925286766559;
	enum { PAIRS = 512 };
	uint8_t *raw = dpo_alloc(PAIRS, 16);

	if (!raw)
		return false;
	for (size_t i = 0; i < n; i += 2 * PAIRS) {
		dpo_random_bytes(raw, PAIRS * 16, name, seed, i);
		for (size_t k = 0; k < PAIRS && i + 2 * k < n; k++) {
			double radius = deviation * sqrt(-2.0 * log(uniform(raw + 16 * k)));
			double angle = turn * uniform(raw + 16 * k + 8);

			out[i + 2 * k] = (float)(radius * cos(angle));
			if (i + 2 * k + 1 < n)
				out[i + 2 * k + 1] = (float)(radius * sin(angle));
		}
	}
	free(raw);
	return true;
}
