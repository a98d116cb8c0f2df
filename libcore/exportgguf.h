/*
 * exportgguf - a model as a GGUF file, for llama.cpp and what is built on it. Layer 10; uses error, size, narrow, gguf,
 * tokenizer, ggufvocab, model.
 *
 * Names, shapes and keys are those of llama.cpp's converter. GPT-2's matrices are transposed to rows of outputs. Where
 * llama.cpp rotates neighbouring elements of a head (its "llama"), the rows of Q and K are put in its order: row 2j + h of a head is
 * row h d/2 + j, d = head_dim, h in {0, 1}. Vectors, norms and position embeddings are always F32.
 */
#ifndef DPO_EXPORTGGUF_H
#define DPO_EXPORTGGUF_H

#include "dtype.h"
#include "error.h"
#include "file.h"
#include "model.h"

/*
 * Write the model, its matrices in F32, F16 or BF16. A family without a row in the table here, a tokenizer without one in
 * ggufvocab.h's: DPO_UNSUPPORTED naming it. A number beyond F16's range: DPO_LIMIT naming the tensor.
 */
enum dpo_status dpo_export_gguf(const struct dpo_model *model, enum dpo_dtype dtype, struct dpo_out *out,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Append Ollama's Modelfile for the GGUF file of that name beside it. */
void dpo_export_modelfile(const struct dpo_model *model, const char *name, struct dpo_buffer *out);

#endif
