#include "model/gguf.h"

#include "base/bytes.h"

enum { VERSION = 3, ALIGN = 32 };

/* ggml's numbers of the dtypes. */
static const uint32_t dtype_numbers[] = { [DPO_DTYPE_F32] = 0, [DPO_DTYPE_F16] = 1, [DPO_DTYPE_BF16] = 30 };

static void
put_string(struct dpo_buffer *out, const char *text, size_t n)
{
	dpo_buffer_put64(out, n);
	dpo_buffer_append(out, text, n);
}

static void
put_key(struct dpo_gguf *gguf, const char *key, enum dpo_gguf_type type)
{
	put_string(&gguf->keys, key, strlen(key));
	dpo_buffer_put32(&gguf->keys, type);
	gguf->n_keys++;
}

void
dpo_gguf_u32(struct dpo_gguf *gguf, const char *key, uint32_t value)
{
	put_key(gguf, key, DPO_GGUF_U32);
	dpo_buffer_put32(&gguf->keys, value);
}

void
dpo_gguf_f32(struct dpo_gguf *gguf, const char *key, double value)
{
	put_key(gguf, key, DPO_GGUF_F32);
	dpo_buffer_put32(&gguf->keys, dpo_bytes_from_float((float)value));
}

void
dpo_gguf_bool(struct dpo_gguf *gguf, const char *key, bool value)
{
	put_key(gguf, key, DPO_GGUF_BOOL);
	dpo_buffer_byte(&gguf->keys, value);
}

void
dpo_gguf_string(struct dpo_gguf *gguf, const char *key, const char *text, size_t n)
{
	put_key(gguf, key, DPO_GGUF_STRING);
	put_string(&gguf->keys, text, n);
}

void
dpo_gguf_array(struct dpo_gguf *gguf, const char *key, enum dpo_gguf_type type, size_t n)
{
	put_key(gguf, key, DPO_GGUF_ARRAY);
	dpo_buffer_put32(&gguf->keys, type);
	dpo_buffer_put64(&gguf->keys, n);
}

void
dpo_gguf_put_u32(struct dpo_gguf *gguf, uint32_t value)
{
	dpo_buffer_put32(&gguf->keys, value);
}

void
dpo_gguf_put_bytes(struct dpo_gguf *gguf, const uint8_t *bytes, size_t n)
{
	dpo_buffer_append(&gguf->keys, bytes, n);
}

void
dpo_gguf_put_f32(struct dpo_gguf *gguf, float value)
{
	dpo_buffer_put32(&gguf->keys, dpo_bytes_from_float(value));
}

void
dpo_gguf_put_string(struct dpo_gguf *gguf, const char *text, size_t n)
{
	put_string(&gguf->keys, text, n);
}

void
dpo_gguf_tensor(struct dpo_gguf *gguf, const char *name, const size_t *shape, size_t rank, enum dpo_dtype dtype)
{
	uint64_t bytes = dpo_dtype_size(dtype);

	put_string(&gguf->tensors, name, strlen(name));
	dpo_buffer_put32(&gguf->tensors, (uint32_t)rank);
	for (size_t d = rank; d-- > 0;) {
		dpo_buffer_put64(&gguf->tensors, shape[d]);
		bytes *= shape[d];	/* the tensor is in memory, so it fits */
	}
	dpo_buffer_put32(&gguf->tensors, dtype_numbers[dtype]);
	dpo_buffer_put64(&gguf->tensors, gguf->at);
	gguf->n_tensors++;
	gguf->at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

enum dpo_status
dpo_gguf_head(const struct dpo_gguf *gguf, struct dpo_out *out, struct dpo_error *err)
{
	struct dpo_buffer start = { 0 };
	enum dpo_status status;
	size_t n;

	dpo_buffer_string(&start, "GGUF");
	dpo_buffer_put32(&start, VERSION);
	dpo_buffer_put64(&start, gguf->n_tensors);
	dpo_buffer_put64(&start, gguf->n_keys);
	n = start.len + gguf->keys.len + gguf->tensors.len;
	if (start.failed || gguf->keys.failed || gguf->tensors.failed)
		status = dpo_fail_memory(err);
	else if ((status = dpo_out_write(out, start.data, start.len, err)) == DPO_OK &&
	    (status = dpo_out_write(out, gguf->keys.data, gguf->keys.len, err)) == DPO_OK &&
	    (status = dpo_out_write(out, gguf->tensors.data, gguf->tensors.len, err)) == DPO_OK)
		status = dpo_gguf_pad(out, n, err);
	dpo_buffer_free(&start);
	return status;
}

enum dpo_status
dpo_gguf_pad(struct dpo_out *out, size_t bytes, struct dpo_error *err)
{
	static const uint8_t zeros[ALIGN] = { 0 };

	return bytes % ALIGN ? dpo_out_write(out, zeros, ALIGN - bytes % ALIGN, err) : DPO_OK;
}

void
dpo_gguf_free(struct dpo_gguf *gguf)
{
	dpo_buffer_free(&gguf->keys);
	dpo_buffer_free(&gguf->tensors);
	*gguf = (struct dpo_gguf){ 0 };
}
