/*
 * ggufvocab - a tokenizer as GGUF keys. Layer 9; uses error, size, buffer, json, table, files, sentencepiece, ggufsplit,
 * tokenizer, gguf.
 *
 * Byte-level BPE is written with its merges (tokenizer.ggml.model "gpt2"), SentencePiece's BPE with scores ("llama"): those
 * of tokenizer.model, or minus the rank of the first merge that makes the token, so that they are merged in the same order.
 * Unigram is written as "t5", llama.cpp's model that segments that way. How text is split comes from ggufsplit.h.
 */
#ifndef DPO_GGUFVOCAB_H
#define DPO_GGUFVOCAB_H

#include "base/error.h"
#include "model/files.h"
#include "model/gguf.h"
#include "tokenizer/tokenizer.h"

/*
 * Add the keys: model, pre, tokens, types, scores or merges, the ids of the special tokens, whether BOS and EOS are added,
 * and the chat template. `rows` is the number of embeddings; ids without a token are filled in as unused. A token beyond
 * them is DPO_FORMAT.
 */
enum dpo_status dpo_ggufvocab_add(struct dpo_gguf *gguf, const struct dpo_files *files, const struct dpo_tokenizer *tokenizer,
	size_t rows, struct dpo_error *err) DPO_MUST_CHECK;

#endif
