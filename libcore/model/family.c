#include "model/family.h"

#include <string.h>

/* ------------------------------------------------------------------ keys */

#define FIELD(name) offsetof(struct dpo_config, name)
#define HARMLESS(name) { name, DPO_KEY_HARMLESS, 0, false }
#define LAST { NULL, DPO_KEY_HARMLESS, 0, false }

/*
 * Harmless here are what transformers writes for any model, in versions 3 to 5, settings of
 * generation once kept here, dropout (there is none), and what tools leave behind.
 */
const struct dpo_key dpo_common_keys[] = {
	{ "vocab_size", DPO_KEY_SIZE, FIELD(vocab_size), true },
	{ "initializer_range", DPO_KEY_POSITIVE, FIELD(initializer_range), false },
	{ "tie_word_embeddings", DPO_KEY_FLAG, FIELD(tied_head), false },
	{ "model_type", DPO_KEY_APART, 0, true },
	{ "add_cross_attention", DPO_KEY_MUST_BE_FALSE, 0, false },
	{ "is_encoder_decoder", DPO_KEY_MUST_BE_FALSE, 0, false },
	{ "pruned_heads", DPO_KEY_MUST_BE_EMPTY, 0, false },
	{ "quantization_config", DPO_KEY_MUST_BE_EMPTY, 0, false },
	HARMLESS("architectures"), HARMLESS("dtype"), HARMLESS("torch_dtype"), HARMLESS("use_cache"),
	HARMLESS("cache_implementation"), HARMLESS("transformers_version"),
	HARMLESS("transformers.js_config"), HARMLESS("auto_map"), HARMLESS("bos_token_id"),
	HARMLESS("eos_token_id"), HARMLESS("sep_token_id"), HARMLESS("unk_token_id"),
	HARMLESS("decoder_start_token_id"), HARMLESS("_name_or_path"),
	HARMLESS("name_or_path"), HARMLESS("_commit_hash"), HARMLESS("_attn_implementation"),
	HARMLESS("attn_implementation"), HARMLESS("_attn_implementation_autoset"),
	HARMLESS("gradient_checkpointing"), HARMLESS("is_decoder"),
	HARMLESS("chunk_size_feed_forward"), HARMLESS("cross_attention_hidden_size"),
	HARMLESS("tie_encoder_decoder"), HARMLESS("torchscript"), HARMLESS("use_bfloat16"),
	HARMLESS("tf_legacy_loss"), HARMLESS("return_dict"), HARMLESS("return_dict_in_generate"),
	HARMLESS("output_attentions"), HARMLESS("output_hidden_states"), HARMLESS("output_scores"),
	HARMLESS("output_past"), HARMLESS("id2label"), HARMLESS("label2id"), HARMLESS("num_labels"),
	HARMLESS("problem_type"), HARMLESS("finetuning_task"), HARMLESS("task_specific_params"),
	HARMLESS("tokenizer_class"), HARMLESS("prefix"), HARMLESS("unsloth_version"),
	HARMLESS("unsloth_fixed"), HARMLESS("max_length"), HARMLESS("min_length"),
	HARMLESS("do_sample"), HARMLESS("early_stopping"), HARMLESS("num_beams"),
	HARMLESS("num_beam_groups"), HARMLESS("diversity_penalty"), HARMLESS("temperature"),
	HARMLESS("top_k"), HARMLESS("top_p"), HARMLESS("typical_p"), HARMLESS("repetition_penalty"),
	HARMLESS("length_penalty"), HARMLESS("no_repeat_ngram_size"),
	HARMLESS("encoder_no_repeat_ngram_size"), HARMLESS("bad_words_ids"),
	HARMLESS("num_return_sequences"), HARMLESS("forced_bos_token_id"),
	HARMLESS("forced_eos_token_id"), HARMLESS("remove_invalid_values"),
	HARMLESS("exponential_decay_length_penalty"), HARMLESS("suppress_tokens"),
	HARMLESS("begin_suppress_tokens"),
	LAST
};

static const struct dpo_key gpt2_keys[] = {
	{ "n_embd", DPO_KEY_SIZE, FIELD(hidden_size), true },
	{ "n_layer", DPO_KEY_SIZE, FIELD(layers), true },
	{ "n_head", DPO_KEY_SIZE, FIELD(heads), true },
	{ "n_ctx", DPO_KEY_SIZE, FIELD(max_positions), false },
	{ "n_positions", DPO_KEY_SIZE, FIELD(max_positions), false },	/* wins over n_ctx */
	{ "n_inner", DPO_KEY_SIZE, FIELD(intermediate_size), false },
	{ "layer_norm_epsilon", DPO_KEY_POSITIVE, FIELD(norm_epsilon), false },
	{ "activation_function", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "scale_attn_weights", DPO_KEY_MUST_BE_TRUE, 0, false },
	{ "scale_attn_by_inverse_layer_idx", DPO_KEY_MUST_BE_FALSE, 0, false },
	HARMLESS("reorder_and_upcast_attn"), HARMLESS("attn_pdrop"), HARMLESS("embd_pdrop"),
	HARMLESS("resid_pdrop"), HARMLESS("summary_activation"), HARMLESS("summary_first_dropout"),
	HARMLESS("summary_proj_to_labels"), HARMLESS("summary_type"), HARMLESS("summary_use_proj"),
	HARMLESS("predict_special_tokens"), HARMLESS("n_special"), HARMLESS("afn"),
	HARMLESS("pad_token_id"),
	LAST
};

/* What all the others call by the same names. */
static const struct dpo_key shared_keys[] = {
	{ "hidden_size", DPO_KEY_SIZE, FIELD(hidden_size), true },
	{ "intermediate_size", DPO_KEY_SIZE, FIELD(intermediate_size), true },
	{ "num_hidden_layers", DPO_KEY_SIZE, FIELD(layers), true },
	{ "num_attention_heads", DPO_KEY_SIZE, FIELD(heads), true },
	{ "max_position_embeddings", DPO_KEY_SIZE, FIELD(max_positions), false },
	{ "rope_scaling", DPO_KEY_APART, 0, false },
	{ "rope_parameters", DPO_KEY_APART, 0, false },
	{ "original_max_position_embeddings", DPO_KEY_SIZE, FIELD(rope.original), false },
	HARMLESS("attention_dropout"),
	LAST
};

/* Those that came after Llama. Their embedding leaves the row of the padding token alone (torch.nn.Embedding, padding_idx). */
static const struct dpo_key llama_keys[] = {
	{ "num_key_value_heads", DPO_KEY_SIZE, FIELD(kv_heads), false },
	{ "head_dim", DPO_KEY_SIZE, FIELD(head_dim), false },
	{ "rms_norm_eps", DPO_KEY_POSITIVE, FIELD(norm_epsilon), false },
	{ "rope_theta", DPO_KEY_POSITIVE, FIELD(rope.theta), false },
	{ "pad_token_id", DPO_KEY_TOKEN, FIELD(pad_token), false },
	LAST
};

static const struct dpo_key only_llama_keys[] = {
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(attention_bias), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(output_bias), false },
	{ "mlp_bias", DPO_KEY_FLAG, FIELD(mlp_bias), false },
	{ "rope_interleaved", DPO_KEY_MUST_BE_FALSE, 0, false },
	{ "pretraining_tp", DPO_KEY_MUST_BE_ONE, 0, false },
	HARMLESS("max_sequence_length"), HARMLESS("is_llama_config"),
	LAST
};

static const struct dpo_key neox_keys[] = {
	{ "layer_norm_eps", DPO_KEY_POSITIVE, FIELD(norm_epsilon), false },
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "use_parallel_residual", DPO_KEY_FLAG, FIELD(parallel_residual), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(attention_bias), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(output_bias), false },
	{ "rope_theta", DPO_KEY_POSITIVE, FIELD(rope.theta), false },
	{ "rotary_emb_base", DPO_KEY_POSITIVE, FIELD(rope.theta), false },	/* wins */
	{ "partial_rotary_factor", DPO_KEY_POSITIVE, FIELD(rope.part), false },
	{ "rotary_pct", DPO_KEY_POSITIVE, FIELD(rope.part), false },		/* wins */
	HARMLESS("hidden_dropout"), HARMLESS("classifier_dropout"), HARMLESS("pad_token_id"),
	LAST
};

static const struct dpo_key mistral_keys[] = {
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "sliding_window", DPO_KEY_SIZE_OR_NONE, FIELD(window), false },
	LAST
};

static const struct dpo_key qwen2_keys[] = {
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "use_sliding_window", DPO_KEY_FLAG, FIELD(use_window), false },
	{ "sliding_window", DPO_KEY_SIZE_OR_NONE, FIELD(window), false },
	{ "max_window_layers", DPO_KEY_COUNT, FIELD(full_layers), false },
	{ "layer_types", DPO_KEY_APART, 0, false },
	{ "use_mrope", DPO_KEY_MUST_BE_FALSE, 0, false },
	LAST
};

static const struct dpo_key qwen3_keys[] = {
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(attention_bias), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(output_bias), false },
	{ "use_sliding_window", DPO_KEY_FLAG, FIELD(use_window), false },
	{ "sliding_window", DPO_KEY_SIZE_OR_NONE, FIELD(window), false },
	{ "max_window_layers", DPO_KEY_COUNT, FIELD(full_layers), false },
	{ "layer_types", DPO_KEY_APART, 0, false },
	LAST
};

static const struct dpo_key phi3_keys[] = {
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "sliding_window", DPO_KEY_SIZE_OR_NONE, FIELD(window), false },
	{ "partial_rotary_factor", DPO_KEY_POSITIVE, FIELD(rope.part), false },
	{ "attention_bias", DPO_KEY_MUST_BE_FALSE, 0, false },
	{ "mlp_bias", DPO_KEY_MUST_BE_FALSE, 0, false },
	{ "lm_head_bias", DPO_KEY_MUST_BE_FALSE, 0, false },
	{ "full_attn_mod", DPO_KEY_MUST_BE_ONE, 0, false },
	{ "interpolate_factor", DPO_KEY_MUST_BE_ONE, 0, false },
	HARMLESS("embd_pdrop"), HARMLESS("resid_pdrop"),
	LAST
};

static const struct dpo_key gemma2_keys[] = {
	{ "hidden_activation", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(attention_bias), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(output_bias), false },
	{ "query_pre_attn_scalar", DPO_KEY_POSITIVE, FIELD(query_scalar), false },
	{ "attn_logit_softcapping", DPO_KEY_POSITIVE_OR_NONE, FIELD(attention_cap), false },
	{ "final_logit_softcapping", DPO_KEY_POSITIVE_OR_NONE, FIELD(logit_cap), false },
	{ "sliding_window", DPO_KEY_SIZE_OR_NONE, FIELD(window), false },
	{ "layer_types", DPO_KEY_APART, 0, false },
	{ "use_bidirectional_attention", DPO_KEY_MUST_BE_FALSE, 0, false },
	HARMLESS("hidden_act"), HARMLESS("sliding_window_size"),	/* the keys above count */
	LAST
};

static const struct dpo_key olmo2_keys[] = {
	{ "hidden_act", DPO_KEY_ACTIVATION, FIELD(activation), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(attention_bias), false },
	{ "attention_bias", DPO_KEY_FLAG, FIELD(output_bias), false },
	LAST
};

const struct dpo_key dpo_rope_keys[] = {
	{ "rope_type", DPO_KEY_APART, 0, false },
	{ "type", DPO_KEY_APART, 0, false },
	{ "rope_theta", DPO_KEY_POSITIVE, FIELD(rope.theta), false },
	{ "partial_rotary_factor", DPO_KEY_POSITIVE, FIELD(rope.part), false },
	{ "factor", DPO_KEY_POSITIVE, FIELD(rope.factor), false },
	{ "original_max_position_embeddings", DPO_KEY_SIZE, FIELD(rope.original), false },
	{ "low_freq_factor", DPO_KEY_POSITIVE, FIELD(rope.low_frequency), false },
	{ "high_freq_factor", DPO_KEY_POSITIVE, FIELD(rope.high_frequency), false },
	{ "beta_fast", DPO_KEY_POSITIVE, FIELD(rope.beta_fast), false },
	{ "beta_slow", DPO_KEY_POSITIVE, FIELD(rope.beta_slow), false },
	{ "mscale", DPO_KEY_POSITIVE, FIELD(rope.mscale), false },
	{ "mscale_all_dim", DPO_KEY_POSITIVE, FIELD(rope.mscale_all), false },
	{ "truncate", DPO_KEY_FLAG, FIELD(rope.truncate), false },
	{ "attention_factor", DPO_KEY_POSITIVE, FIELD(rope.scale), false },
	{ "short_factor", DPO_KEY_FACTORS, FIELD(rope.short_factors), false },
	{ "long_factor", DPO_KEY_FACTORS, FIELD(rope.long_factors), false },
	LAST
};

/* ------------------------------------------------------------------ rows */

/* Names and parts that most have in common with Llama. */
#define LLAMA_NAMES .tokens = "model.embed_tokens", .norm = "model.norm", .head = "lm_head", \
	.layer = "model.layers", .o = "self_attn.o_proj", .down = "mlp.down_proj"
#define LLAMA_NORMS .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm"
#define LLAMA_QKV .qkv = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" }
#define QK_NORMS .qk_norm = { "self_attn.q_norm", "self_attn.k_norm" }
#define LLAMA_UP .up = { "mlp.gate_proj", "mlp.up_proj" }
#define LLAMA_PARTS .prefix = "model.", .position = DPO_POSITION_ROPE, .mlp = DPO_MLP_GATED, \
	.layout = DPO_LAYOUT_OUT_IN, .buffers = { "rotary_emb.inv_freq" }
#define PLAIN_ROPE .theta = 10000, .beta_fast = 32, .beta_slow = 1, .truncate = true

static const struct dpo_family rows[] = {
	{
		.model_type = "gpt2", .prefix = "transformer.",
		.names = {
			.tokens = "transformer.wte", .positions = "transformer.wpe",
			.norm = "transformer.ln_f", .head = "lm_head", .layer = "transformer.h",
			.norm1 = "ln_1", .qkv = { "attn.c_attn" }, .o = "attn.c_proj",
			.norm2 = "ln_2", .up = { "mlp.c_fc" }, .down = "mlp.c_proj",
		},
		.norm = DPO_NORM_LAYER, .position = DPO_POSITION_LEARNED, .mlp = DPO_MLP_PLAIN,
		.layout = DPO_LAYOUT_IN_OUT,
		.buffers = { ".attn.bias", ".attn.masked_bias" },
		.keys = { gpt2_keys },
		.defaults = {
			.pad_token = DPO_NO_TOKEN,
			.activation = DPO_ACTIVATION_GELU_TANH, .norm_epsilon = 1e-5,
			.tied_head = true, .attention_bias = true, .output_bias = true,
			.mlp_bias = true,
		},
	}, {
		.model_type = "gpt_neox", .prefix = "gpt_neox.",
		.names = {
			.tokens = "gpt_neox.embed_in", .norm = "gpt_neox.final_layer_norm",
			.head = "embed_out", .layer = "gpt_neox.layers", LLAMA_NORMS,
			.qkv = { "attention.query_key_value" }, .o = "attention.dense",
			.up = { "mlp.dense_h_to_4h" }, .down = "mlp.dense_4h_to_h",
		},
		.norm = DPO_NORM_LAYER, .position = DPO_POSITION_ROPE, .mlp = DPO_MLP_PLAIN,
		.layout = DPO_LAYOUT_OUT_IN, .qkv_by_head = true,
		.buffers = { ".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq" },
		.keys = { shared_keys, neox_keys },
		.defaults = {
			.pad_token = DPO_NO_TOKEN,
			.activation = DPO_ACTIVATION_GELU, .norm_epsilon = 1e-5,
			.max_positions = 2048, .attention_bias = true, .output_bias = true,
			.mlp_bias = true, .parallel_residual = true,
			.rope = { PLAIN_ROPE, .part = 0.25 },
		},
	}, {
		.model_type = "llama", LLAMA_PARTS, .norm = DPO_NORM_RMS,
		.names = { LLAMA_NAMES, LLAMA_NORMS, LLAMA_QKV, LLAMA_UP },
		.keys = { shared_keys, llama_keys, only_llama_keys },
		.defaults = {
			.pad_token = DPO_NO_TOKEN,
			.activation = DPO_ACTIVATION_SILU, .norm_epsilon = 1e-6,
			.max_positions = 2048, .rope = { PLAIN_ROPE },
		},
	}, {
		.model_type = "mistral", LLAMA_PARTS, .norm = DPO_NORM_RMS,
		.names = { LLAMA_NAMES, LLAMA_NORMS, LLAMA_QKV, LLAMA_UP },
		.keys = { shared_keys, llama_keys, mistral_keys },
		.defaults = {
			.pad_token = DPO_NO_TOKEN,
			.activation = DPO_ACTIVATION_SILU, .norm_epsilon = 1e-6, .kv_heads = 8,
			.max_positions = 131072, .window = 4096, .use_window = true,
			.rope = { PLAIN_ROPE },
		},
	}, {
		.model_type = "qwen2", LLAMA_PARTS, .norm = DPO_NORM_RMS,
		.names = { LLAMA_NAMES, LLAMA_NORMS, LLAMA_QKV, LLAMA_UP },
		.keys = { shared_keys, llama_keys, qwen2_keys },
		.defaults = {
			.pad_token = DPO_NO_TOKEN,
			.activation = DPO_ACTIVATION_SILU, .norm_epsilon = 1e-6, .kv_heads = 32,
			.max_positions = 32768, .window = 4096, .full_layers = 28,
			.attention_bias = true, .rope = { PLAIN_ROPE },
		},
	}, {
		.model_type = "qwen3", LLAMA_PARTS, .norm = DPO_NORM_RMS, .qk_norm = DPO_QK_NORM_HEAD,
		.names = { LLAMA_NAMES, LLAMA_NORMS, LLAMA_QKV, QK_NORMS, LLAMA_UP },
		.keys = { shared_keys, llama_keys, qwen3_keys },
		.defaults = {
			.pad_token = DPO_NO_TOKEN,
			.activation = DPO_ACTIVATION_SILU, .norm_epsilon = 1e-6, .kv_heads = 32,
			.head_dim = 128, .max_positions = 32768, .window = 4096, .full_layers = 28,
			.rope = { PLAIN_ROPE },
		},
	}, {
		.model_type = "phi3", LLAMA_PARTS, .norm = DPO_NORM_RMS,
		.names = {
			LLAMA_NAMES, LLAMA_NORMS, .qkv = { "self_attn.qkv_proj" },
			.up = { "mlp.gate_up_proj" },
		},
		.keys = { shared_keys, llama_keys, phi3_keys },
		.defaults = {
			.pad_token = 32000,
			.activation = DPO_ACTIVATION_SILU, .norm_epsilon = 1e-5,
			.max_positions = 4096, .use_window = true,
			.rope = { PLAIN_ROPE, .part = 1, .original = 4096 },
		},
	}, {
		.model_type = "gemma2", LLAMA_PARTS, .norm = DPO_NORM_RMS_FROM_ONE,
		.scaled_embedding = true, .window_alternates = true,
		.names = {
			LLAMA_NAMES, .norm1 = "input_layernorm", LLAMA_QKV,
			.post1 = "post_attention_layernorm", .norm2 = "pre_feedforward_layernorm",
			LLAMA_UP, .post2 = "post_feedforward_layernorm",
		},
		.keys = { shared_keys, llama_keys, gemma2_keys },
		.defaults = {
			.pad_token = 0,
			.activation = DPO_ACTIVATION_GELU_TANH, .norm_epsilon = 1e-6, .kv_heads = 4,
			.head_dim = 256, .max_positions = 8192, .query_scalar = 256,
			.attention_cap = 50, .logit_cap = 30, .window = 4096, .use_window = true,
			.tied_head = true, .rope = { PLAIN_ROPE },
		},
	}, {
		.model_type = "olmo2", LLAMA_PARTS, .norm = DPO_NORM_RMS, .qk_norm = DPO_QK_NORM_ALL,
		.names = {
			LLAMA_NAMES, LLAMA_QKV, QK_NORMS, .post1 = "post_attention_layernorm",
			LLAMA_UP, .post2 = "post_feedforward_layernorm",
		},
		.keys = { shared_keys, llama_keys, olmo2_keys },
		.defaults = {
			.pad_token = 1,
			.activation = DPO_ACTIVATION_SILU, .norm_epsilon = 1e-5,
			.max_positions = 2048, .rope = { PLAIN_ROPE },
		},
	},
};

const struct dpo_family *
dpo_family_find(const char *model_type)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].model_type, model_type) == 0)
			return &rows[i];
	return NULL;
}

bool
dpo_family_is_mixture(const char *model_type)
{
	static const char *const words[] = { "moe", "mixtral", "deepseek_v", "dbrx", "gpt_oss",
	    "llama4", "arctic", "grok", NULL };

	for (size_t i = 0; words[i]; i++)
		if (strstr(model_type, words[i]))
			return true;
	return false;
}
