/* config and params: what config.json may say, and the table of tensors it gives. */
#include "model/config.h"
#include "model/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPT2 "{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_positions\":16"
#define LLAMA "{\"model_type\":\"llama\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":12," \
	"\"num_hidden_layers\":2,\"num_attention_heads\":4,\"max_position_embeddings\":32"

/* Sizes that every family but GPT-2 reads. */
#define FAMILY(type) "{\"model_type\":\"" type "\",\"vocab_size\":11,\"hidden_size\":8," \
	"\"intermediate_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":4"
#define QWEN2 FAMILY("qwen2") ",\"num_key_value_heads\":2"

static struct dpo_config
read_good(const char *text)
{
	struct dpo_config config;
	struct dpo_error err = { 0 };

	if (dpo_config_read(&config, text, strlen(text), &err) != DPO_OK)
		fail_msg("%s: %s", text, err.text);
	return config;
}

static void
gpt2_is_read_with_its_defaults(void **unused)
{
	struct dpo_config c = read_good(GPT2 "}");

	(void)unused;
	assert_string_equal(c.family->model_type, "gpt2");
	assert_int_equal(c.vocab_size, 11);
	assert_int_equal(c.hidden_size, 8);
	assert_int_equal(c.layers, 2);
	assert_int_equal(c.heads, 2);
	assert_int_equal(c.kv_heads, 2);
	assert_int_equal(c.head_dim, 4);
	assert_int_equal(c.intermediate_size, 32);
	assert_int_equal(c.max_positions, 16);
	assert_true(c.norm_epsilon == 1e-5 && c.initializer_range == 0.02);
	assert_true(c.tied_head && c.attention_bias && c.mlp_bias);
	c = read_good(GPT2 ",\"n_inner\":20,\"tie_word_embeddings\":false,\"layer_norm_epsilon\":1e-3,\"n_ctx\":99}");
	assert_int_equal(c.intermediate_size, 20);
	assert_int_equal(c.max_positions, 16);
	assert_true(!c.tied_head && c.norm_epsilon == 1e-3);
	c = read_good("{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_ctx\":99,"
	    "\"n_inner\":null}");
	assert_int_equal(c.max_positions, 99);
	assert_int_equal(c.intermediate_size, 32);
}

static void
llama_is_read_with_its_defaults(void **unused)
{
	struct dpo_config c = read_good(LLAMA "}");

	(void)unused;
	assert_string_equal(c.family->model_type, "llama");
	assert_int_equal(c.kv_heads, 4);
	assert_int_equal(c.head_dim, 2);
	assert_int_equal(c.max_positions, 32);
	assert_true(c.norm_epsilon == 1e-6 && c.rope.theta == 10000);
	assert_true(!c.tied_head && !c.attention_bias && !c.mlp_bias);
	c = read_good(LLAMA ",\"num_key_value_heads\":2,\"head_dim\":6,\"rms_norm_eps\":1e-5,\"rope_theta\":5e5,"
	    "\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"rope_scaling\":null,\"pretraining_tp\":1}");
	assert_int_equal(c.kv_heads, 2);
	assert_int_equal(c.head_dim, 6);
	assert_true(c.norm_epsilon == 1e-5 && c.rope.theta == 5e5);
	assert_true(c.tied_head && c.attention_bias && c.mlp_bias);
	/* As transformers 5 writes it; its rope_theta counts. */
	c = read_good(LLAMA ",\"rope_theta\":3,\"rope_parameters\":{\"rope_theta\":777.5,\"rope_type\":\"default\"}}");
	assert_true(c.rope.theta == 777.5);
	c = read_good(LLAMA ",\"rope_theta\":3,\"rope_scaling\":{\"type\":\"default\"}}");
	assert_true(c.rope.theta == 3);
}

static void
windows_are_read(void **unused)
{
	struct dpo_config c = read_good(FAMILY("mistral") ",\"num_key_value_heads\":2}");

	(void)unused;
	assert_int_equal(dpo_config_window(&c, 0), 4096);
	assert_int_equal(dpo_config_window(&c, 1), 4096);
	c = read_good(FAMILY("mistral") ",\"num_key_value_heads\":2,\"sliding_window\":null}");
	assert_int_equal(dpo_config_window(&c, 0), 0);
	c = read_good(FAMILY("phi3") "}");
	assert_int_equal(dpo_config_window(&c, 0), 0);
	c = read_good(FAMILY("gemma2") ",\"sliding_window\":7}");
	assert_int_equal(dpo_config_window(&c, 0), 7);
	assert_int_equal(dpo_config_window(&c, 1), 0);
	c = read_good(QWEN2 ",\"sliding_window\":7,\"max_window_layers\":1}");
	assert_int_equal(dpo_config_window(&c, 1), 0);
	c = read_good(QWEN2 ",\"sliding_window\":7,\"max_window_layers\":1,\"use_sliding_window\":true}");
	assert_int_equal(dpo_config_window(&c, 0), 0);
	assert_int_equal(dpo_config_window(&c, 1), 7);
	c = read_good(QWEN2 ",\"sliding_window\":7,\"use_sliding_window\":true,"
	    "\"layer_types\":[\"sliding_attention\",\"full_attention\"]}");
	assert_int_equal(dpo_config_window(&c, 0), 7);
	assert_int_equal(dpo_config_window(&c, 1), 0);
}

static void
parts_of_families_are_read(void **unused)
{
	struct dpo_config c = read_good(FAMILY("gemma2") "}");

	(void)unused;
	assert_int_equal(c.head_dim, 256);
	assert_int_equal(c.kv_heads, 4);
	assert_true(c.query_scalar == 256 && c.attention_cap == 50 && c.logit_cap == 30 && c.tied_head);
	c = read_good(FAMILY("gemma2") ",\"attn_logit_softcapping\":null,\"final_logit_softcapping\":3,"
	    "\"query_pre_attn_scalar\":5,\"head_dim\":4,\"hidden_act\":\"gelu\"}");
	assert_true(c.query_scalar == 5 && c.attention_cap == 0 && c.logit_cap == 3);
	assert_int_equal(c.activation, DPO_ACTIVATION_GELU_TANH);
	c = read_good(QWEN2 "}");
	assert_true(c.attention_bias && !c.output_bias && !c.mlp_bias);
	c = read_good(FAMILY("qwen3") ",\"num_key_value_heads\":4,\"attention_bias\":true}");
	assert_true(c.attention_bias && c.output_bias && c.head_dim == 128);
	c = read_good("{\"model_type\":\"gpt_neox\",\"vocab_size\":11,\"hidden_size\":64,"
	    "\"intermediate_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":4}");
	assert_true(c.parallel_residual && c.attention_bias && c.output_bias && c.mlp_bias);
	assert_int_equal(c.rope.dim, 4);
	assert_int_equal(c.activation, DPO_ACTIVATION_GELU);
	c = read_good("{\"model_type\":\"gpt_neox\",\"vocab_size\":11,\"hidden_size\":64,"
	    "\"intermediate_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"rotary_pct\":0.5,"
	    "\"rotary_emb_base\":77,\"rope_theta\":3,\"use_parallel_residual\":false}");
	assert_true(c.rope.theta == 77 && c.rope.dim == 8 && !c.parallel_residual);
}

/* Old names and new ones, what counts of two, and how far positions go. */
/* As transformers' embeddings take their padding_idx: 32000, 0 and 1 where phi3, gemma2 and olmo2 say nothing. */
static void
padding_tokens_are_read(void **unused)
{
	static const struct { const char *text; int64_t token; } cases[] = {
		{ LLAMA "}", DPO_NO_TOKEN }, { LLAMA ",\"pad_token_id\":null}", DPO_NO_TOKEN },
		{ LLAMA ",\"pad_token_id\":0}", 0 }, { LLAMA ",\"pad_token_id\":10}", 10 },
		{ LLAMA ",\"pad_token_id\":-1}", 10 }, { LLAMA ",\"pad_token_id\":-11}", 0 },
		{ LLAMA ",\"pad_token_id\":11}", DPO_NO_TOKEN }, { LLAMA ",\"pad_token_id\":-12}", DPO_NO_TOKEN },
		{ GPT2 ",\"pad_token_id\":3}", DPO_NO_TOKEN },
		{ FAMILY("gpt_neox") ",\"rotary_pct\":1,\"pad_token_id\":3}", DPO_NO_TOKEN },
		{ FAMILY("gemma2") "}", 0 }, { FAMILY("olmo2") "}", 1 }, { FAMILY("olmo2") ",\"pad_token_id\":null}",
		    DPO_NO_TOKEN },
		{ FAMILY("phi3") "}", DPO_NO_TOKEN }, { FAMILY("phi3") ",\"pad_token_id\":2}", 2 },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(read_good(cases[i].text).pad_token, cases[i].token);
}

static void
rope_is_read(void **unused)
{
	struct dpo_config c = read_good(LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}}");

	(void)unused;
	assert_int_equal(c.rope.kind, DPO_ROPE_LINEAR);
	assert_int_equal(c.rope.original, 32);
	assert_int_equal(c.max_positions, 80);
	c = read_good(LLAMA ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"rope_theta\":5,"
	    "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":16}}");
	assert_int_equal(c.rope.kind, DPO_ROPE_LLAMA3);
	assert_int_equal(c.rope.original, 16);
	assert_int_equal(c.max_positions, 32);
	c = read_good(LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32}}");
	assert_int_equal(c.max_positions, 128);
	assert_true(c.rope.scale > 1.138629 && c.rope.scale < 1.13863);	/* 0.1 ln 4 + 1 */
	c = read_good(LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attention_factor\":1.5}}");
	assert_true(c.rope.scale == 1.5 && c.rope.original == 32);
	c = read_good(FAMILY("phi3") ",\"max_position_embeddings\":16384,\"rope_scaling\":{\"type\":\"su\","
	    "\"short_factor\":[1.5],\"long_factor\":[3]}}");
	assert_int_equal(c.rope.kind, DPO_ROPE_LONGROPE);
	assert_int_equal(c.rope.original, 4096);
	assert_int_equal(c.max_positions, 16384);
	assert_true(c.rope.scale > 1.080123 && c.rope.scale < 1.080124);	/* sqrt(1 + ln 4 / ln 4096) */
}

/* Everything transformers 4 and 5 write for a model that is plain. */
static void
harmless_keys_are_accepted(void **unused)
{
	(void)unused;
	(void)read_good(GPT2 ",\"activation_function\":\"gelu_new\",\"add_cross_attention\":false,"
	    "\"architectures\":[\"GPT2LMHeadModel\"],"
	    "\"attn_pdrop\":0.1,\"bos_token_id\":5,\"dtype\":\"float32\",\"embd_pdrop\":0.1,\"eos_token_id\":[5,6],"
	    "\"initializer_range\":0.02,\"pad_token_id\":null,\"reorder_and_upcast_attn\":true,\"resid_pdrop\":0.1,"
	    "\"scale_attn_by_inverse_layer_idx\":false,\"scale_attn_weights\":true,\"summary_activation\":null,"
	    "\"summary_first_dropout\":0.1,\"summary_proj_to_labels\":true,\"summary_type\":\"cls_index\","
	    "\"summary_use_proj\":true,"
	    "\"task_specific_params\":{\"text-generation\":{\"do_sample\":true,\"max_length\":50}},\"torch_dtype\":\"float32\","
	    "\"transformers_version\":\"5.0.0\",\"use_cache\":true,\"_name_or_path\":\"gpt2\",\"pruned_heads\":{},"
	    "\"id2label\":{\"0\":\"LABEL_0\"},\"label2id\":{\"LABEL_0\":0},\"return_dict\":true,\"output_attentions\":false,"
	    "\"chunk_size_feed_forward\":0,\"is_encoder_decoder\":false,\"problem_type\":null,\"key_of_the_future\":null}");
	(void)read_good(LLAMA ",\"architectures\":[\"LlamaForCausalLM\"],\"attention_dropout\":0.0,\"hidden_act\":\"silu\","
	    "\"initializer_range\":0.1,\"rope_interleaved\":false,\"is_llama_config\":true,\"torch_dtype\":\"bfloat16\"}");
}

/* The keys of config.json in models people use, with their values. */
static void
published_models_are_read(void **unused)
{
	static const char *const texts[] = {
		"{\"architectures\":[\"GPTNeoXForCausalLM\"],\"bos_token_id\":0,\"eos_token_id\":0,\"hidden_act\":\"gelu\","
		    "\"hidden_size\":512,\"initializer_range\":0.02,\"intermediate_size\":2048,\"layer_norm_eps\":1e-05,"
		    "\"max_position_embeddings\":2048,\"model_type\":\"gpt_neox\",\"num_attention_heads\":8,"
		    "\"num_hidden_layers\":6,\"rotary_emb_base\":10000,\"rotary_pct\":0.25,\"tie_word_embeddings\":false,"
		    "\"torch_dtype\":\"float16\",\"use_cache\":true,\"use_parallel_residual\":true,\"vocab_size\":50304}",
		"{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
		    "\"bos_token_id\":128000,\"eos_token_id\":[128001,128008],\"head_dim\":64,\"hidden_act\":\"silu\","
		    "\"hidden_size\":2048,\"initializer_range\":0.02,\"intermediate_size\":8192,"
		    "\"max_position_embeddings\":131072,\"mlp_bias\":false,\"model_type\":\"llama\","
		    "\"num_attention_heads\":32,\"num_hidden_layers\":16,\"num_key_value_heads\":8,\"pretraining_tp\":1,"
		    "\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4.0,"
		    "\"low_freq_factor\":1.0,\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},"
		    "\"rope_theta\":500000.0,\"tie_word_embeddings\":true,\"vocab_size\":128256}",
		"{\"architectures\":[\"MistralForCausalLM\"],\"hidden_act\":\"silu\",\"hidden_size\":4096,"
		    "\"initializer_range\":0.02,\"intermediate_size\":14336,\"max_position_embeddings\":32768,"
		    "\"model_type\":\"mistral\",\"num_attention_heads\":32,\"num_hidden_layers\":32,"
		    "\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"sliding_window\":4096,"
		    "\"tie_word_embeddings\":false,\"vocab_size\":32000}",
		"{\"architectures\":[\"Qwen2ForCausalLM\"],\"attention_dropout\":0.0,\"hidden_act\":\"silu\","
		    "\"hidden_size\":896,\"intermediate_size\":4864,\"max_position_embeddings\":32768,"
		    "\"max_window_layers\":24,\"model_type\":\"qwen2\",\"num_attention_heads\":14,\"num_hidden_layers\":24,"
		    "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"sliding_window\":32768,"
		    "\"tie_word_embeddings\":true,\"use_mrope\":false,\"use_sliding_window\":false,\"vocab_size\":151936}",
		"{\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
		    "\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":1024,\"intermediate_size\":3072,"
		    "\"max_position_embeddings\":40960,\"max_window_layers\":28,\"model_type\":\"qwen3\","
		    "\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-06,"
		    "\"rope_scaling\":null,\"rope_theta\":1000000,\"sliding_window\":null,\"tie_word_embeddings\":true,"
		    "\"use_sliding_window\":false,\"vocab_size\":151936}",
		"{\"architectures\":[\"Phi3ForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
		    "\"auto_map\":{\"AutoConfig\":\"x\"},\"embd_pdrop\":0.0,\"hidden_act\":\"silu\",\"hidden_size\":3072,"
		    "\"intermediate_size\":8192,\"max_position_embeddings\":4096,\"model_type\":\"phi3\","
		    "\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":32,"
		    "\"original_max_position_embeddings\":4096,\"pad_token_id\":32000,\"resid_pdrop\":0.0,"
		    "\"rms_norm_eps\":1e-05,\"rope_scaling\":null,\"rope_theta\":10000.0,\"sliding_window\":2047,"
		    "\"tie_word_embeddings\":false,\"vocab_size\":32064}",
		"{\"architectures\":[\"Gemma2ForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
		    "\"attn_logit_softcapping\":50.0,\"bos_token_id\":2,\"cache_implementation\":\"hybrid\","
		    "\"final_logit_softcapping\":30.0,\"head_dim\":256,\"hidden_act\":\"gelu_pytorch_tanh\","
		    "\"hidden_activation\":\"gelu_pytorch_tanh\",\"hidden_size\":2304,\"intermediate_size\":9216,"
		    "\"max_position_embeddings\":8192,\"model_type\":\"gemma2\",\"num_attention_heads\":8,"
		    "\"num_hidden_layers\":26,\"num_key_value_heads\":4,\"pad_token_id\":0,\"query_pre_attn_scalar\":256,"
		    "\"rms_norm_eps\":1e-06,\"rope_theta\":10000.0,\"sliding_window\":4096,\"sliding_window_size\":4096,"
		    "\"vocab_size\":256000}",
		"{\"architectures\":[\"Olmo2ForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,"
		    "\"hidden_act\":\"silu\",\"hidden_size\":4096,\"intermediate_size\":11008,"
		    "\"max_position_embeddings\":4096,\"model_type\":\"olmo2\",\"num_attention_heads\":32,"
		    "\"num_hidden_layers\":32,\"num_key_value_heads\":32,\"pad_token_id\":100277,\"rms_norm_eps\":1e-06,"
		    "\"rope_scaling\":null,\"rope_theta\":500000,\"tie_word_embeddings\":false,\"vocab_size\":100352}",
	};

	(void)unused;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		(void)read_good(texts[i]);
}

static void
what_would_change_the_mathematics_is_refused(void **unused)
{
	static const struct { const char *text; enum dpo_status status; const char *words; } cases[] = {
		{ GPT2 ",\"foo\":1}", DPO_UNSUPPORTED, "\"foo\"" },
		{ GPT2 ",\"hidden_size\":8}", DPO_UNSUPPORTED, "\"hidden_size\"" },
		{ GPT2 ",\"activation_function\":\"mish\"}", DPO_UNSUPPORTED, "\"mish\"" },
		{ GPT2 ",\"activation_function\":3}", DPO_FORMAT, "\"activation_function\"" },
		{ GPT2 ",\"scale_attn_weights\":false}", DPO_UNSUPPORTED,
		    "\"scale_attn_weights\"" },
		{ GPT2 ",\"scale_attn_by_inverse_layer_idx\":true}", DPO_UNSUPPORTED,
		    "\"scale_attn_by_inverse_layer_idx\"" },
		{ GPT2 ",\"add_cross_attention\":true}", DPO_UNSUPPORTED,
		    "\"add_cross_attention\"" },
		{ GPT2 ",\"pruned_heads\":{\"0\":[1]}}", DPO_UNSUPPORTED, "\"pruned_heads\"" },
		{ GPT2 ",\"quantization_config\":{\"bits\":4}}", DPO_UNSUPPORTED,
		    "\"quantization_config\"" },
		{ LLAMA ",\"hidden_act\":\"xielu\"}", DPO_UNSUPPORTED, "\"xielu\"" },
		{ LLAMA ",\"sliding_window\":4096}", DPO_UNSUPPORTED, "\"sliding_window\"" },
		{ LLAMA ",\"pretraining_tp\":2}", DPO_UNSUPPORTED, "\"pretraining_tp\"" },
		{ LLAMA ",\"rope_interleaved\":true}", DPO_UNSUPPORTED, "\"rope_interleaved\"" },
		{ LLAMA ",\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2.0}}", DPO_UNSUPPORTED,
		    "\"mrope\"" },
		{ LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", DPO_FORMAT, "\"factor\"" },
		{ LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}}", DPO_FORMAT,
		    "\"factor\"" },
		{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2}}", DPO_FORMAT,
		    "more than 2" },
		{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,2],"
		    "\"long_factor\":[1]}}", DPO_FORMAT, "needs 1 numbers" },
		{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[0],"
		    "\"long_factor\":[1]}}", DPO_FORMAT, "\"short_factor\"[0]" },
		{ LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"mrope_section\":[1]}}",
		    DPO_UNSUPPORTED, "\"mrope_section\"" },
		{ LLAMA ",\"rope_scaling\":{\"factor\":2.0}}", DPO_UNSUPPORTED, "\"factor\"" },
		{ LLAMA ",\"rope_scaling\":7}", DPO_FORMAT, "\"rope_scaling\"" },
		{ LLAMA ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,"
		    "\"low_freq_factor\":4,\"high_freq_factor\":4}}", DPO_FORMAT, "\"llama3\"" },
		{ LLAMA ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4}}}",
		    DPO_UNSUPPORTED, "\"full_attention\"" },
		{ LLAMA ",\"num_local_experts\":8}", DPO_UNSUPPORTED, "\"num_local_experts\"" },
		{ LLAMA ",\"layer_types\":[\"full_attention\",\"full_attention\"]}", DPO_UNSUPPORTED,
		    "\"layer_types\"" },
		{ QWEN2 ",\"layer_types\":[\"full_attention\",\"linear_attention\"]}", DPO_UNSUPPORTED,
		    "\"layer_types\"[1]" },
		{ QWEN2 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", DPO_FORMAT,
		    "\"layer_types\"[1]" },
		{ QWEN2 ",\"layer_types\":[\"full_attention\"]}", DPO_FORMAT, "not a list of 2" },
		{ FAMILY("gemma2") ",\"use_bidirectional_attention\":true}", DPO_UNSUPPORTED,
		    "\"use_bidirectional_attention\"" },
		{ FAMILY("phi3") ",\"attention_bias\":true}", DPO_UNSUPPORTED, "\"attention_bias\"" },
		{ FAMILY("gpt_neox") ",\"rotary_pct\":0.2}", DPO_FORMAT, "0 of 2 elements" },
		{ FAMILY("gpt_neox") ",\"rotary_pct\":1.5}", DPO_UNSUPPORTED, "partial_rotary_factor" },
		{ FAMILY("olmo2") ",\"clip_qkv\":8}", DPO_UNSUPPORTED, "\"clip_qkv\"" },
		{ FAMILY("mixtral") "}", DPO_UNSUPPORTED, "mixture of experts" },
		{ FAMILY("qwen3_moe") "}", DPO_UNSUPPORTED, "mixture of experts" },
		{ LLAMA ",\"rope_parameters\":{\"rope_theta\":1e4,\"partial_rotary_factor\":0.5}}",
		    DPO_UNSUPPORTED,
		    "\"partial_rotary_factor\"" },
		{ "{\"model_type\":\"mamba\"}", DPO_UNSUPPORTED, "\"mamba\"" },
		{ "{\"model_type\":7}", DPO_FORMAT, "\"model_type\"" },
		{ "{}", DPO_FORMAT, "\"model_type\" is missing" },
		{ "[]", DPO_FORMAT, "not a JSON object" },
		{ "", DPO_FORMAT, "JSON" },
		{ GPT2 ",\"n_head\":2}", DPO_FORMAT, "duplicate" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct dpo_config config;
		struct dpo_error err = { 0 };

		assert_int_equal(dpo_config_read(&config, cases[i].text, strlen(cases[i].text),
		    &err), cases[i].status);
		if (!strstr(err.text, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
	}
}

/* One number of a good configuration is changed to `value`. */
static void
size_gives(const char *key, const char *value, enum dpo_status status)
{
	static const char *const good[][2] = { { "vocab_size", "11" }, { "hidden_size", "8" },
	    { "intermediate_size", "12" },
		{ "num_hidden_layers", "2" }, { "num_attention_heads", "4" },
		    { "num_key_value_heads", "2" } };
	struct dpo_config config;
	struct dpo_error err = { 0 };
	char text[1024] = "{\"model_type\":\"llama\"";
	bool known = false;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		bool this = strcmp(key, good[i][0]) == 0;
		size_t at = strlen(text);

		known = known || this;
		snprintf(text + at, sizeof text - at, ",\"%s\":%s", good[i][0], this ? value :
		    good[i][1]);
	}
	if (!known)
		snprintf(text + strlen(text), sizeof text - strlen(text), ",\"%s\":%s", key, value);
	strcat(text, "}");
	if (dpo_config_read(&config, text, strlen(text), &err) != status)
		fail_msg("%s %s: %s", key, value, err.text);
}

static void
sizes_are_bounded(void **unused)
{
	static const char *const keys[] = { "vocab_size", "hidden_size", "intermediate_size",
	    "num_hidden_layers",
		"num_attention_heads", "num_key_value_heads", "max_position_embeddings",
		    "head_dim" };
	static const char *const bad[] = { "0", "-1", "1.5", "\"8\"", "true", "16777217", "1e30",
	    "[8]" };

	(void)unused;
	size_gives("vocab_size", "16777216", DPO_OK);
	for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
			size_gives(keys[k], bad[i], DPO_FORMAT);
	size_gives("vocab_size", "null", DPO_FORMAT);
	size_gives("num_hidden_layers", "4097", DPO_LIMIT);
	size_gives("head_dim", "16777216", DPO_LIMIT);
	size_gives("head_dim", "16386", DPO_LIMIT);
	size_gives("head_dim", "16384", DPO_OK);
	size_gives("head_dim", "3", DPO_FORMAT);
	size_gives("num_attention_heads", "3", DPO_FORMAT);	/* not a multiple of the key-value heads */
	size_gives("hidden_size", "6", DPO_FORMAT);		/* not a multiple of the heads */
	size_gives("rms_norm_eps", "0", DPO_FORMAT);
	size_gives("rope_theta", "-1", DPO_FORMAT);
}

/* ------------------------------------------------------------------ canonical text */

static bool
same_mathematics(const char *a, const char *b)
{
	struct dpo_config x = read_good(a), y = read_good(b);
	struct dpo_buffer s = { 0 }, t = { 0 };
	bool same;

	dpo_config_canonical(&x, &s);
	dpo_config_canonical(&y, &t);
	assert_true(s.len > 0 && !s.failed && !t.failed);
	same = strcmp(dpo_buffer_text(&s), dpo_buffer_text(&t)) == 0;
	dpo_buffer_free(&s);
	dpo_buffer_free(&t);
	return same;
}

static void
canonical_text_is_of_the_mathematics_alone(void **unused)
{
	static const char *const other[] = { ",\"rms_norm_eps\":1e-5}", ",\"rope_theta\":10001}",
	    ",\"tie_word_embeddings\":true}",
		",\"attention_bias\":true}", ",\"mlp_bias\":true}", ",\"num_key_value_heads\":1}",
		    ",\"head_dim\":4}",
		",\"hidden_act\":\"gelu\"}", ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}" };

	(void)unused;
	assert_true(same_mathematics(LLAMA "}",
	    LLAMA ",\"torch_dtype\":\"bfloat16\",\"use_cache\":false,\"initializer_range\":1}"));
	assert_true(same_mathematics(LLAMA "}",
	    LLAMA ",\"rope_parameters\":{\"rope_theta\":10000.0,\"rope_type\":\"default\"}}"));
	for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
		char text[1024];

		snprintf(text, sizeof text, LLAMA "%s", other[i]);
		assert_false(same_mathematics(LLAMA "}", text));
	}
}

/* ------------------------------------------------------------------ the table */

static void
check_tensor(const struct dpo_params *params, size_t i, const char *name, size_t rows,
    size_t columns, bool decay)
{
	assert_true(i < params->count);
	assert_string_equal(params->list[i].name, name);
	assert_int_equal(params->list[i].rank, columns ? 2 : 1);
	assert_int_equal(params->list[i].shape[0], rows);
	assert_int_equal(params->list[i].count, rows * (columns ? columns : 1));
	if (columns)
		assert_int_equal(params->list[i].shape[1], columns);
	assert_int_equal(params->list[i].decay, decay);
	assert_ptr_equal(dpo_params_find(params, name), &params->list[i]);
}

/* Offsets are aligned, in order, and leave no more than the padding between tensors. */
static void
check_layout(const struct dpo_params *params)
{
	size_t end = 0, parameters = 0;

	for (size_t i = 0; i < params->count; i++) {
		assert_int_equal(params->list[i].offset % 16, 0);
		assert_true(params->list[i].offset >= end && params->list[i].offset < end + 16);
		end = params->list[i].offset + params->list[i].count;
		parameters += params->list[i].count;
	}
	assert_true(params->total >= end && params->total < end + 16);
	assert_int_equal(params->parameters, parameters);
}

static void
gpt2_has_its_tensors(void **unused)
{
	struct dpo_config config = read_good(GPT2 ",\"n_inner\":20,\"tie_word_embeddings\":false}");
	struct dpo_params params;
	struct dpo_error err;

	(void)unused;
	assert_int_equal(dpo_params_init(&params, &config, &err), DPO_OK);
	check_layout(&params);
	assert_int_equal(params.count, 2 + 2 * 12 + 2 + 1);
	check_tensor(&params, 0, "transformer.wte.weight", 11, 8, true);
	check_tensor(&params, 1, "transformer.wpe.weight", 16, 8, true);
	check_tensor(&params, 2, "transformer.h.0.ln_1.weight", 8, 0, false);
	check_tensor(&params, 3, "transformer.h.0.ln_1.bias", 8, 0, false);
	check_tensor(&params, 4, "transformer.h.0.attn.c_attn.weight", 8, 24, true);
	check_tensor(&params, 5, "transformer.h.0.attn.c_attn.bias", 24, 0, false);
	check_tensor(&params, 6, "transformer.h.0.attn.c_proj.weight", 8, 8, true);
	check_tensor(&params, 10, "transformer.h.0.mlp.c_fc.weight", 8, 20, true);
	check_tensor(&params, 12, "transformer.h.0.mlp.c_proj.weight", 20, 8, true);
	check_tensor(&params, 25, "transformer.h.1.mlp.c_proj.bias", 8, 0, false);
	check_tensor(&params, 27, "transformer.ln_f.bias", 8, 0, false);
	check_tensor(&params, 28, "lm_head.weight", 11, 8, true);
	assert_null(dpo_params_find(&params, "transformer.h.2.ln_1.weight"));
	dpo_params_free(&params);
}

static void
llama_has_its_tensors(void **unused)
{
	struct dpo_config config = read_good(LLAMA ",\"num_key_value_heads\":2,\"head_dim\":6,\"tie_word_embeddings\":true}");
	struct dpo_params params;
	struct dpo_error err;

	(void)unused;
	assert_int_equal(dpo_params_init(&params, &config, &err), DPO_OK);
	check_layout(&params);
	assert_int_equal(params.count, 1 + 2 * 9 + 1);
	check_tensor(&params, 0, "model.embed_tokens.weight", 11, 8, true);
	check_tensor(&params, 1, "model.layers.0.input_layernorm.weight", 8, 0, false);
	check_tensor(&params, 2, "model.layers.0.self_attn.q_proj.weight", 24, 8, true);
	check_tensor(&params, 3, "model.layers.0.self_attn.k_proj.weight", 12, 8, true);
	check_tensor(&params, 5, "model.layers.0.self_attn.o_proj.weight", 8, 24, true);
	check_tensor(&params, 7, "model.layers.0.mlp.gate_proj.weight", 12, 8, true);
	check_tensor(&params, 9, "model.layers.0.mlp.down_proj.weight", 8, 12, true);
	check_tensor(&params, 19, "model.norm.weight", 8, 0, false);
	dpo_params_free(&params);
	config.attention_bias = config.output_bias = config.mlp_bias = true;
	assert_int_equal(dpo_params_init(&params, &config, &err), DPO_OK);
	assert_int_equal(params.count, 1 + 2 * 16 + 1);
	check_tensor(&params, 3, "model.layers.0.self_attn.q_proj.bias", 24, 0, false);
	dpo_params_free(&params);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpt2_is_read_with_its_defaults),
		cmocka_unit_test(llama_is_read_with_its_defaults),
		cmocka_unit_test(windows_are_read),
		cmocka_unit_test(parts_of_families_are_read),
		cmocka_unit_test(padding_tokens_are_read),
		cmocka_unit_test(rope_is_read),
		cmocka_unit_test(harmless_keys_are_accepted),
		cmocka_unit_test(published_models_are_read),
		cmocka_unit_test(what_would_change_the_mathematics_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(canonical_text_is_of_the_mathematics_alone),
		cmocka_unit_test(gpt2_has_its_tensors),
		cmocka_unit_test(llama_has_its_tensors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
