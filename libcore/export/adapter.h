/*
 * adapter - begin, open and write a model's low-rank adapter. Layer 10; uses error, size, bytes, buffer, file, files, json,
 * header, safetensors, stream, tensors, content, lora, model.
 *
 * A stream of kind "adapter" has the columns of a model stream: first the file adapter_config.json with peft's keys, then
 * the tensors of lora.h's table. The last stage that has a "base" names the id of the model it is for. A directory is
 * peft's: adapter_config.json and adapter_model.safetensors, where each name begins with "base_model.model."; it names no
 * id, so only names and shapes tell whether it fits.
 */
#ifndef DPO_ADAPTER_H
#define DPO_ADAPTER_H

#include "base/error.h"
#include "base/file.h"
#include "decoder/model.h"

#define DPO_ADAPTER_CONFIG "adapter_config.json"
#define DPO_ADAPTER_WEIGHTS "adapter_model.safetensors"
#define DPO_ADAPTER_PREFIX "base_model.model."

/*
 * Give the model a new adapter in its initial state (dpo_lora_start). Takes ownership of settings, even on error. The model
 * computes the same function as before, and keeps its id. Errors are those of dpo_lora_init and dpo_lora_check_patterns.
 * For an outline (model.h) only the table is made.
 */
enum dpo_status dpo_adapter_start(struct dpo_model *model, cJSON *settings, uint64_t seed, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Give the model the adapter in the stream or directory at path ("-": standard input, a stream). model->id becomes that of
 * both, model->stages the stream's. An adapter of another base is DPO_MISMATCH (an outline's id is not known); a missing or
 * superfluous tensor, another shape or dtype, or what dpo_lora_init refuses, is the same error as there.
 */
enum dpo_status dpo_adapter_open(struct dpo_model *model, const char *path, int threads, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Open the adapter stream at path without its base, only to write it elsewhere: *model is empty except for `lora`, which
 * has settings, tensors and base_id, but no parts. What loraconfig refuses is refused; whether the tensors fit a model is
 * not checked.
 */
enum dpo_status dpo_adapter_open_alone(struct dpo_model *model, const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/* Write the model's adapter as a stream; stages, parent and threads as in dpo_model_write. */
enum dpo_status dpo_adapter_write(const struct dpo_model *model, const cJSON *stages, const uint8_t *parent,
	struct dpo_out *out, int threads, struct dpo_error *err) DPO_MUST_CHECK;

/* The files of an adapter: its adapter_config.json. On error *files is {0}. */
enum dpo_status dpo_adapter_files(struct dpo_files *files, const struct dpo_lora *lora, struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
