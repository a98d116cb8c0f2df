/*
 * exportgguf - a model as a GGUF file, for llama.cpp and what is built on it. Layer 10; uses error, size, dtype, file,
 * narrow, gguf, rope, tokenizer, ggufnames, ggufvocab, model.
 *
 * Keys are those of llama.cpp's converter, tensors as in ggufnames.h. Vectors, norms and position embeddings are always
 * F32. Where llama.cpp lacks a sliding window the context is limited to the window, so that it computes the same model.
 * llama.cpp uses the long factors of longrope where its context, not the sequence, is longer than the original, and
 * computes GPT-NeoX's GELU by its tanh form.
 */
#ifndef DPO_EXPORTGGUF_H
#define DPO_EXPORTGGUF_H

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"
#include "decoder/model.h"

/*
 * Write the model, its matrices in F32, F16 or BF16. DPO_UNSUPPORTED, naming it: a family without a row in the table here,
 * a part that llama.cpp computes differently, a tokenizer without a row in ggufsplit.h's table. A number beyond F16's
 * range: DPO_LIMIT naming the tensor.
 */
enum dpo_status dpo_export_gguf(const struct dpo_model *model, enum dpo_dtype dtype, struct dpo_out *out,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Append an Ollama Modelfile for the GGUF file `name` in the same directory. */
void dpo_export_modelfile(const struct dpo_model *model, const char *name, struct dpo_buffer *out);

#endif
