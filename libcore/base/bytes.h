/*
 * bytes - little-endian loads and stores, hexadecimal, and the 16-bit floats. Layer 0; uses nothing.
 *
 * Everything here works on any alignment and any host byte order.
 */
#ifndef DPO_BYTES_H
#define DPO_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Whether the host's byte order is that of files. */
static inline bool
dpo_bytes_little_endian(void)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
}

static inline uint32_t
dpo_bytes_load32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t
dpo_bytes_load64(const uint8_t *p)
{
	return (uint64_t)dpo_bytes_load32(p) | (uint64_t)dpo_bytes_load32(p + 4) << 32;
}

static inline void
dpo_bytes_store32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void
dpo_bytes_store64(uint8_t *p, uint64_t v)
{
	dpo_bytes_store32(p, (uint32_t)v);
	dpo_bytes_store32(p + 4, (uint32_t)(v >> 32));
}

/* The bits of a float and back. */
static inline uint32_t
dpo_bytes_from_float(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	return bits;
}

static inline float
dpo_bytes_to_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

/* bfloat16 is the upper half of a float: exact. */
static inline float
dpo_bytes_from_bf16(uint16_t h)
{
	return dpo_bytes_to_float((uint32_t)h << 16);
}

/* IEEE half precision to float: exact, subnormals, infinities and NaN included. */
float dpo_bytes_from_f16(uint16_t h);

/*
 * Copy n elements of `each` bytes (1, 2, 4 or 8) from host byte order to little-endian or back (the same operation). On a
 * little-endian host this is a plain copy. to and from must not overlap.
 */
void dpo_bytes_swap_copy(void *to, const void *from, size_t n, size_t each);

/*
 * Whether n numbers of `each` bytes (4 or 2) are all finite: none has all of the bits `exponent` set, which is given in the
 * byte order of the numbers.
 */
bool dpo_bytes_finite(const void *numbers, size_t n, size_t each, uint32_t exponent);

/* The same for floats in host byte order. */
static inline bool
dpo_bytes_finite_floats(const float *x, size_t n)
{
	return dpo_bytes_finite(x, n, sizeof *x, 0x7f800000);
}

/* 2n lower-case hexadecimal digits and a NUL into hex[2n + 1]. */
void dpo_bytes_hex(char *hex, const uint8_t *bytes, size_t n);

#endif
