#include "export/safewrite.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/json.h"
#include "kernel/narrow.h"

static size_t
elements(const struct dpo_safetensors_item *item)
{
	size_t n = 1;

	for (size_t d = 0; d < item->rank; d++)
		n *= item->shape[d];	/* the data are in memory, so it fits */
	return n;
}

static const char *const dtype_names[] = { [DPO_DTYPE_F32] = "F32", [DPO_DTYPE_F16] = "F16", [DPO_DTYPE_BF16] = "BF16" };

static void
put_header(struct dpo_buffer *header, const struct dpo_safetensors_item *items, size_t n, enum dpo_dtype dtype)
{
	size_t at = 0;

	dpo_buffer_string(header, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < n; i++) {
		size_t end = at + dpo_dtype_size(dtype) * elements(&items[i]);

		dpo_buffer_byte(header, ',');
		dpo_json_put_string(header, items[i].name, strlen(items[i].name));
		dpo_buffer_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", dtype_names[dtype]);
		for (size_t d = 0; d < items[i].rank; d++)
			dpo_buffer_printf(header, d ? ",%zu" : "%zu", items[i].shape[d]);
		dpo_buffer_printf(header, "],\"data_offsets\":[%zu,%zu]}", at, end);
		at = end;
	}
	dpo_buffer_byte(header, '}');
	while (header->len % 8 != 0 && !header->failed)
		dpo_buffer_byte(header, ' ');
}

enum dpo_status
dpo_safetensors_write(struct dpo_out *out, const struct dpo_safetensors_item *items, size_t n,
    enum dpo_dtype dtype, struct dpo_error *err)
{
	uint8_t raw[8];
	struct dpo_buffer header = { 0 };
	enum dpo_status status;

	put_header(&header, items, n, dtype);
	if (header.failed) {
		status = dpo_fail_memory(err);
	} else {
		dpo_bytes_store64(raw, header.len);
		status = dpo_out_write(out, raw, sizeof raw, err);
		if (status == DPO_OK)
			status = dpo_out_write(out, header.data, header.len, err);
	}
	for (size_t i = 0; i < n && status == DPO_OK; i++) {
		status = dpo_narrow_write(out, items[i].data, elements(&items[i]), dtype, err);
		if (status == DPO_LIMIT)
			dpo_error_prefix(err, "tensor \"%s\"", items[i].name);
	}
	dpo_buffer_free(&header);
	return status;
}
