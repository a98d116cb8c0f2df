/*
 * dtype - how the numbers of a tensor are stored. Layer 1; uses bytes.
 */
#ifndef DPO_DTYPE_H
#define DPO_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dpo_dtype { DPO_DTYPE_F32, DPO_DTYPE_F16, DPO_DTYPE_BF16, DPO_DTYPE_OTHER };

/* Bytes of one element: 4, 2, 2; 0 for OTHER. */
static inline size_t
dpo_dtype_size(enum dpo_dtype dtype)
{
	return dtype == DPO_DTYPE_F32 ? 4 : dtype == DPO_DTYPE_OTHER ? 0 : 2;
}

/* out[n] = the n stored elements, little-endian, as float, exactly. dtype is not OTHER. */
void dpo_dtype_to_float(float *out, const uint8_t *stored, size_t n, enum dpo_dtype dtype);

#endif
