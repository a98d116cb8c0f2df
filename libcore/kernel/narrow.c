#include "kernel/narrow.h"

#include "base/bytes.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>

enum { CHUNK = 1 << 16 };	/* numbers converted at a time */

/* `bits` without its lowest `drop` bits, rounded to nearest even. */
static uint32_t
round_off(uint32_t bits, unsigned drop)
{
	uint32_t half = (uint32_t)1 << (drop - 1), rest = bits & (2 * half - 1), kept = bits >> drop;

	return kept + (rest > half || (rest == half && kept & 1));
}

uint16_t
dpo_narrow_bf16(float x)
{
	uint32_t bits = dpo_bytes_from_float(x);

	if (isnan(x))
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)round_off(bits, 16);
}

/* A carry out of the fraction goes into the exponent, which is right, up to infinity. */
uint16_t
dpo_narrow_f16(float x)
{
	uint32_t bits = dpo_bytes_from_float(x), sign = bits >> 16 & 0x8000, fraction = bits & 0x7fffff;
	int exponent = (int)(bits >> 23 & 0xff) - 127;

	if (isnan(x))
		return (uint16_t)(sign | 0x7e00);
	if (exponent > 15)
		return (uint16_t)(sign | 0x7c00);
	if (exponent >= -14)
		return (uint16_t)(sign | round_off((uint32_t)(exponent + 15) << 23 | fraction, 13));
	if (exponent < -25)
		return (uint16_t)sign;
	return (uint16_t)(sign | round_off(0x800000 | fraction, (unsigned)(-1 - exponent)));
}

/* n numbers as bytes; the index of the first that does not fit, or n. */
static size_t
convert(uint8_t *to, const float *from, size_t n, enum dpo_dtype dtype)
{
	if (dtype == DPO_DTYPE_F32) {
		dpo_bytes_swap_copy(to, from, n, 4);
		return n;
	}
	for (size_t i = 0; i < n; i++) {
		uint16_t half = dtype == DPO_DTYPE_F16 ? dpo_narrow_f16(from[i]) : dpo_narrow_bf16(from[i]);
		uint16_t infinite = dtype == DPO_DTYPE_F16 ? 0x7c00 : 0x7f80;

		if ((half & 0x7fff) == infinite && isfinite(from[i]))
			return i;
		to[2 * i] = (uint8_t)half;
		to[2 * i + 1] = (uint8_t)(half >> 8);
	}
	return n;
}

enum dpo_status
dpo_narrow_write(struct dpo_out *out, const float *data, size_t n, enum dpo_dtype dtype, struct dpo_error *err)
{
	uint8_t *bytes = dpo_alloc(CHUNK, 4);
	enum dpo_status status = bytes ? DPO_OK : dpo_fail_memory(err);

	for (size_t at = 0; at < n && status == DPO_OK; at += CHUNK) {
		size_t some = n - at < CHUNK ? n - at : CHUNK, good = convert(bytes, data + at, some, dtype);

		status = good == some ? dpo_out_write(out, bytes, some * dpo_dtype_size(dtype), err) :
		    dpo_fail(err, DPO_LIMIT, "holds %g, beyond the range of %s", (double)data[at + good],
		    dtype == DPO_DTYPE_F16 ? "F16; take BF16 or F32" : "BF16; take F32");
	}
	free(bytes);
	return status;
}
