/*
 * gguf - the writer of GGUF files, version 3 (ggml's docs/gguf.md). Layer 4; uses error, buffer, bytes, dtype, file.
 *
 * A file is the head (magic, version, counts, the keys and their values, the names, shapes and places of the tensors) and the
 * data, each tensor at a multiple of 32 bytes from the start of the data. All is little-endian.
 *
 *	struct dpo_gguf gguf = { 0 };
 *	keys and tensors in order; then dpo_gguf_head; then the tensors' data, dpo_gguf_pad after each; dpo_gguf_free
 */
#ifndef DPO_GGUF_H
#define DPO_GGUF_H

#include "base/buffer.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"

enum dpo_gguf_type { DPO_GGUF_U8 = 0, DPO_GGUF_U32 = 4, DPO_GGUF_I32 = 5, DPO_GGUF_F32 = 6, DPO_GGUF_BOOL = 7, DPO_GGUF_STRING = 8,
	DPO_GGUF_ARRAY = 9 };

/* A head being built; dpo_gguf_head reports running out of memory. */
struct dpo_gguf {
	struct dpo_buffer keys, tensors;
	uint64_t n_keys, n_tensors;
	uint64_t at;		/* bytes of data so far */
};

void dpo_gguf_u32(struct dpo_gguf *gguf, const char *key, uint32_t value);
void dpo_gguf_f32(struct dpo_gguf *gguf, const char *key, double value);
void dpo_gguf_bool(struct dpo_gguf *gguf, const char *key, bool value);
void dpo_gguf_string(struct dpo_gguf *gguf, const char *key, const char *text, size_t n);

/* An array of n elements, which must follow, each by the function of its type. */
void dpo_gguf_array(struct dpo_gguf *gguf, const char *key, enum dpo_gguf_type type, size_t n);
void dpo_gguf_put_u32(struct dpo_gguf *gguf, uint32_t value);
void dpo_gguf_put_f32(struct dpo_gguf *gguf, float value);
void dpo_gguf_put_bytes(struct dpo_gguf *gguf, const uint8_t *bytes, size_t n);	/* n elements */
void dpo_gguf_put_string(struct dpo_gguf *gguf, const char *text, size_t n);

/* A tensor of shape[rank], rank 1 or 2, the last dimension running fastest; it is placed after the one before. */
void dpo_gguf_tensor(struct dpo_gguf *gguf, const char *name, const size_t *shape, size_t rank, enum dpo_dtype dtype);

/* Write everything before the data. */
enum dpo_status dpo_gguf_head(const struct dpo_gguf *gguf, struct dpo_out *out, struct dpo_error *err) DPO_MUST_CHECK;
/* Write the zeros after a tensor of `bytes` bytes. */
enum dpo_status dpo_gguf_pad(struct dpo_out *out, size_t bytes, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_gguf_free(struct dpo_gguf *gguf);

#endif
