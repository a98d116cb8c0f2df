#include "base/bytes.h"

float
dpo_bytes_from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;

	if (exponent == 31)
		return dpo_bytes_to_float(sign | 0x7f800000 | fraction << 13);
	if (exponent == 0) {
		float tiny = (float)fraction * 0x1p-24f;

		return sign ? -tiny : tiny;
	}
	return dpo_bytes_to_float(sign | (exponent + 112) << 23 | fraction << 13);
}

void
dpo_bytes_swap_copy(void *to, const void *from, size_t n, size_t each)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (n)
		memcpy(to, from, n * each);
#else
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < each; k++)
			((uint8_t *)to)[i * each + k] = ((const uint8_t *)from)[i * each + each - 1 - k];
#endif
}

/* Numbers are looked at in runs, whose end is known beforehand: then compilers use vectors. */
enum { RUN = 256 };
typedef uint32_t word __attribute__((aligned(1), may_alias));
typedef uint16_t half __attribute__((aligned(1), may_alias));

static bool
any_word(const word *words, uint32_t exponent)
{
	uint32_t any = 0;

	for (size_t i = 0; i < RUN; i++)
		any |= (words[i] & exponent) == exponent;
	return any;
}

static bool
any_half(const half *halves, uint16_t exponent)
{
	uint16_t any = 0;

	for (size_t i = 0; i < RUN; i++)
		any |= (halves[i] & exponent) == exponent;
	return any;
}

bool
dpo_bytes_finite(const void *numbers, size_t n, size_t each, uint32_t exponent)
{
	uint32_t last[RUN] = { 0 };	/* a shorter run, padded with zeros */
	const uint8_t *at = numbers;
	bool bad = false;

	for (size_t i = 0; i < n && !bad; i += RUN) {
		const void *run = at + i * each;

		if (n - i < RUN)
			run = memcpy(last, run, (n - i) * each);
		bad = each == 4 ? any_word(run, exponent) : any_half(run, (uint16_t)exponent);
	}
	return !bad;
}

void
dpo_bytes_hex(char *hex, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * n] = '\0';
}
