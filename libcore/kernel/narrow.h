/*
 * narrow - floats written in a stored dtype. Layer 4; uses error, size, bytes, dtype, file.
 *
 * F16 and BF16 are rounded to nearest, ties to even (IEEE 754-2019, section 4.3.1); what is below their smallest normal
 * number becomes subnormal or zero, as there.
 */
#ifndef DPO_NARROW_H
#define DPO_NARROW_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"

#include <stdint.h>

/* The bits of x in half precision; infinity beyond its range. NaN stays NaN. */
uint16_t dpo_narrow_f16(float x);
uint16_t dpo_narrow_bf16(float x);

/*
 * Write data[n] as little-endian F32, F16 or BF16. A finite number that rounds to infinity is DPO_LIMIT showing it; the
 * message names no tensor.
 */
enum dpo_status dpo_narrow_write(struct dpo_out *out, const float *data, size_t n, enum dpo_dtype dtype,
	struct dpo_error *err) DPO_MUST_CHECK;

#endif
