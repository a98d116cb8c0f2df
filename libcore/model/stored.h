/*
 * stored - which tensor of a model's files each tensor of the table is. Layer 7; uses error, size, identity, safetensors, config,
 * params.
 */
#ifndef DPO_STORED_H
#define DPO_STORED_H

#include "base/error.h"
#include "model/config.h"
#include "model/params.h"
#include "model/safetensors.h"

/*
 * entries[t] becomes the set's entry for tensor t of the table, for all params->count; the set owns them. Names may lack
 * the prefix "transformer." or "model.", as files of the bare model do. Ignored are the buffers that older files carry
 * (attn.bias, attn.masked_bias, rotary_emb.inv_freq) and the copy of a tied head, which must equal the embedding. Any other
 * missing or superfluous tensor or wrong shape is DPO_FORMAT, another dtype DPO_UNSUPPORTED, each naming the tensor and its
 * file, or the directory.
 */
enum dpo_status dpo_stored_match(const struct dpo_safetensors_entry **entries, const struct dpo_safetensors *set,
	const struct dpo_config *config, const struct dpo_params *params, const char *directory, struct dpo_error *err)
	DPO_MUST_CHECK;

/* The file an entry lies in, for messages. */
const char *dpo_stored_file(const struct dpo_safetensors *set, const struct dpo_safetensors_entry *entry);

#endif
