#include "base/dtype.h"

#include "base/bytes.h"

void
dpo_dtype_to_float(float *out, const uint8_t *stored, size_t n, enum dpo_dtype dtype)
{
	if (dtype == DPO_DTYPE_F32) {
		dpo_bytes_swap_copy(out, stored, n, 4);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		uint16_t half = (uint16_t)(stored[2 * i] | stored[2 * i + 1] << 8);

		out[i] = dtype == DPO_DTYPE_F16 ? dpo_bytes_from_f16(half) :
		    dpo_bytes_from_bf16(half);
	}
}
