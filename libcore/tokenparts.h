/*
 * tokenparts - the parts of a tokenizer, read from a model's files. Layer 5; uses error, size, buffer, ids, json, files,
 * vocab, added, normalize, pretokenize, bpe, detokenize.
 *
 * tokenizer.json holds all parts. Without it vocab.json and merges.txt hold vocabulary and merges, and the class named in
 * tokenizer_config.json (or the model_type of config.json) says the rest: GPT2Tokenizer or Qwen2Tokenizer; with neither file
 * it is GPT-2. "truncation" and "padding" of a tokenizer.json are not read: lengths are the caller's business.
 */
#ifndef DPO_TOKENPARTS_H
#define DPO_TOKENPARTS_H

#include "added.h"
#include "bpe.h"
#include "detokenize.h"
#include "error.h"
#include "files.h"
#include "ids.h"
#include "normalize.h"
#include "pretokenize.h"
#include "vocab.h"

struct dpo_tokenparts {
	struct dpo_vocab vocab;			/* added tokens included */
	struct dpo_bpe bpe;
	struct dpo_normalizer normalizer;
	struct dpo_pretokenizer pretokenizer;
	struct dpo_detokenizer detokenizer;
	struct dpo_added literal;		/* added tokens found in the text as it is */
	struct dpo_added normalized;		/* added tokens found in normalized text */
	struct dpo_ids before, after;		/* what the post-processor puts around a text */
	int32_t bos, eos;			/* -1: the files name none */
};

/*
 * Special tokens come from tokenizer_config.json, else special_tokens_map.json, else config.json's ids; if none of them
 * names an EOS, "<|endoftext|>" is it where the vocabulary has it. A name outside the vocabulary is DPO_FORMAT. On error
 * *parts is {0}.
 */
enum dpo_status dpo_tokenparts_read(struct dpo_tokenparts *parts, const struct dpo_files *files, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_tokenparts_free(struct dpo_tokenparts *parts);

#endif
