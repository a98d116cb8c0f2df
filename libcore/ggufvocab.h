/*
 * ggufvocab - a tokenizer as the keys of GGUF. Layer 9; uses error, size, buffer, json, table, files, tokenizer, gguf.
 *
 * llama.cpp splits text by rules of its own, named by "tokenizer.ggml.model" and "tokenizer.ggml.pre"; which ones do what
 * the tokenizer's normalizer and pre-tokenizer do is a table here. A tokenizer that is not in it is DPO_UNSUPPORTED: its
 * tokens would be wrong. Byte-level BPE is written with its merges ("gpt2"), SentencePiece's BPE with scores ("llama"):
 * minus the rank of the first merge that makes the token, so that they are merged in the same order.
 */
#ifndef DPO_GGUFVOCAB_H
#define DPO_GGUFVOCAB_H

#include "error.h"
#include "files.h"
#include "gguf.h"
#include "tokenizer.h"

/*
 * Add the keys: model, pre, tokens, types, scores or merges, the ids of the special tokens, whether BOS and EOS are added, and the
 * chat template. `rows` is the number of embeddings; ids that no token has are filled as unused. A token beyond them
 * is DPO_FORMAT.
 */
enum dpo_status dpo_ggufvocab_add(struct dpo_gguf *gguf, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
	size_t rows, struct dpo_error *err) DPO_MUST_CHECK;

#endif
