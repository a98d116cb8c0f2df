#include "model/identity.h"

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static int
by_name(const void *a, const void *b)
{
	const struct dpo_identity_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

enum dpo_status
dpo_identity(char hex[2 * DPO_HASH_BYTES + 1], struct dpo_identity_tensor *tensors, size_t n,
    const void *config, size_t config_bytes, struct dpo_error *err)
{
	struct dpo_buffer text = { 0 };
	uint8_t hash[DPO_HASH_BYTES];

	qsort(tensors, n, sizeof *tensors, by_name);
	dpo_buffer_string(&text, "dpo model 1\n");
	for (size_t i = 0; i < n; i++) {
		dpo_buffer_append(&text, tensors[i].name, strlen(tensors[i].name) + 1);
		dpo_buffer_append(&text, tensors[i].dtype, strlen(tensors[i].dtype) + 1);
		dpo_buffer_put64(&text, tensors[i].rank);
		for (size_t d = 0; d < tensors[i].rank; d++)
			dpo_buffer_put64(&text, tensors[i].shape[d]);
		dpo_buffer_append(&text, tensors[i].hash, DPO_HASH_BYTES);
	}
	dpo_buffer_append(&text, config, config_bytes);
	if (text.failed) {
		dpo_buffer_free(&text);
		return dpo_fail_memory(err);
	}
	dpo_hash(hash, text.data, text.len);
	dpo_bytes_hex(hex, hash, sizeof hash);
	dpo_buffer_free(&text);
	return DPO_OK;
}
