/*
 * config - the configuration keys of a model that shape its mathematics. Layer 4; uses error, size,
 * buffer, json.
 *
 * Families are rows of one table: GPT-2 (config.json "gpt2") and Llama ("llama"). A key that would
 * change the mathematics and is not implemented is DPO_UNSUPPORTED naming it; dropout keys are read
 * as 0.
 */
#ifndef DPO_CONFIG_H
#define DPO_CONFIG_H

#include "buffer.h"
#include "error.h"

enum dpo_norm_kind { DPO_NORM_LAYER, DPO_NORM_RMS };
enum dpo_position_kind { DPO_POSITION_LEARNED, DPO_POSITION_ROPE };
enum dpo_mlp_kind { DPO_MLP_PLAIN, DPO_MLP_GATED };
enum dpo_activation { DPO_ACTIVATION_GELU_TANH, DPO_ACTIVATION_SILU };
enum dpo_layout { DPO_LAYOUT_OUT_IN, DPO_LAYOUT_IN_OUT };	/* Linear; GPT-2's Conv1D */

struct dpo_family;

struct dpo_config {
	const struct dpo_family *family;	/* a row of the table; static */
	size_t vocab_size;
	size_t hidden_size;
	size_t layers;
	size_t heads;			/* query heads */
	size_t kv_heads;		/* heads % kv_heads == 0 */
	size_t head_dim;
	size_t intermediate_size;
	size_t max_positions;
	double norm_epsilon;
	double rope_theta;
	double initializer_range;
	bool tied_head;
	bool attention_bias;		/* on q, k, v and o */
	bool mlp_bias;
};

/* A family: what its rows of the decoder are. */
struct dpo_family {
	const char *model_type;		/* config.json's */
	enum dpo_norm_kind norm;
	enum dpo_position_kind position;
	enum dpo_mlp_kind mlp;
	enum dpo_activation activation;
	enum dpo_layout layout;
	bool fused_qkv;			/* one tensor for q, k, v (GPT-2's c_attn) */
};

/* Read config.json's text. Sizes are bounded so that products of two fit well within size_t. */
enum dpo_status dpo_config_read(struct dpo_config *config, const char *text, size_t len,
	struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Append the canonical text of what shapes the mathematics: one "key=value" a line, in fixed order.
 * It enters the model id.
 */
void dpo_config_canonical(const struct dpo_config *config, struct dpo_buffer *out);

#endif
