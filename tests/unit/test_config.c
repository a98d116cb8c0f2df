/* config and params: what config.json may say, and the table of tensors it gives. */
#include "config.h"
#include "params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPT2 "{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_positions\":16"
#define LLAMA "{\"model_type\":\"llama\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":12," \
	"\"num_hidden_layers\":2,\"num_attention_heads\":4,\"max_position_embeddings\":32"

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
	c = read_good("{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,\"n_ctx\":99,\"n_inner\":null}");
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
	assert_true(c.norm_epsilon == 1e-6 && c.rope_theta == 10000);
	assert_true(!c.tied_head && !c.attention_bias && !c.mlp_bias);
	c = read_good(LLAMA ",\"num_key_value_heads\":2,\"head_dim\":6,\"rms_norm_eps\":1e-5,\"rope_theta\":5e5,"
	    "\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"rope_scaling\":null,\"pretraining_tp\":1}");
	assert_int_equal(c.kv_heads, 2);
	assert_int_equal(c.head_dim, 6);
	assert_true(c.norm_epsilon == 1e-5 && c.rope_theta == 5e5);
	assert_true(c.tied_head && c.attention_bias && c.mlp_bias);
	/* As transformers 5 writes it; its rope_theta counts. */
	c = read_good(LLAMA ",\"rope_theta\":3,\"rope_parameters\":{\"rope_theta\":777.5,\"rope_type\":\"default\"}}");
	assert_true(c.rope_theta == 777.5);
	c = read_good(LLAMA ",\"rope_theta\":3,\"rope_scaling\":{\"type\":\"default\"}}");
	assert_true(c.rope_theta == 3);
}

/* Everything transformers 4 and 5 write for a model that is plain. */
static void
harmless_keys_are_accepted(void **unused)
{
	(void)unused;
	(void)read_good(GPT2 ",\"activation_function\":\"gelu_new\",\"add_cross_attention\":false,\"architectures\":[\"GPT2LMHeadModel\"],"
	    "\"attn_pdrop\":0.1,\"bos_token_id\":5,\"dtype\":\"float32\",\"embd_pdrop\":0.1,\"eos_token_id\":[5,6],"
	    "\"initializer_range\":0.02,\"pad_token_id\":null,\"reorder_and_upcast_attn\":true,\"resid_pdrop\":0.1,"
	    "\"scale_attn_by_inverse_layer_idx\":false,\"scale_attn_weights\":true,\"summary_activation\":null,"
	    "\"summary_first_dropout\":0.1,\"summary_proj_to_labels\":true,\"summary_type\":\"cls_index\",\"summary_use_proj\":true,"
	    "\"task_specific_params\":{\"text-generation\":{\"do_sample\":true,\"max_length\":50}},\"torch_dtype\":\"float32\","
	    "\"transformers_version\":\"5.0.0\",\"use_cache\":true,\"_name_or_path\":\"gpt2\",\"pruned_heads\":{},"
	    "\"id2label\":{\"0\":\"LABEL_0\"},\"label2id\":{\"LABEL_0\":0},\"return_dict\":true,\"output_attentions\":false,"
	    "\"chunk_size_feed_forward\":0,\"is_encoder_decoder\":false,\"problem_type\":null,\"key_of_the_future\":null}");
	(void)read_good(LLAMA ",\"architectures\":[\"LlamaForCausalLM\"],\"attention_dropout\":0.0,\"hidden_act\":\"silu\","
	    "\"initializer_range\":0.1,\"rope_interleaved\":false,\"is_llama_config\":true,\"torch_dtype\":\"bfloat16\"}");
}

static void
what_would_change_the_mathematics_is_refused(void **unused)
{
	static const struct { const char *text; enum dpo_status status; const char *words; } cases[] = {
		{ GPT2 ",\"foo\":1}", DPO_UNSUPPORTED, "\"foo\"" },
		{ GPT2 ",\"hidden_size\":8}", DPO_UNSUPPORTED, "\"hidden_size\"" },
		{ GPT2 ",\"activation_function\":\"relu\"}", DPO_UNSUPPORTED, "\"relu\"" },
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
		{ LLAMA ",\"hidden_act\":\"gelu\"}", DPO_UNSUPPORTED, "\"gelu\"" },
		{ LLAMA ",\"sliding_window\":4096}", DPO_UNSUPPORTED, "\"sliding_window\"" },
		{ LLAMA ",\"pretraining_tp\":2}", DPO_UNSUPPORTED, "\"pretraining_tp\"" },
		{ LLAMA ",\"rope_interleaved\":true}", DPO_UNSUPPORTED, "\"rope_interleaved\"" },
		{ LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}", DPO_UNSUPPORTED,
		    "\"linear\"" },
		{ LLAMA ",\"rope_scaling\":{\"factor\":2.0}}", DPO_UNSUPPORTED, "\"factor\"" },
		{ LLAMA ",\"rope_scaling\":7}", DPO_FORMAT, "\"rope_scaling\"" },
		{ LLAMA ",\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"llama3\"}}",
		    DPO_UNSUPPORTED, "\"llama3\"" },
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
		    ",\"head_dim\":4}" };

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
	config.attention_bias = config.mlp_bias = true;
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
		cmocka_unit_test(harmless_keys_are_accepted),
		cmocka_unit_test(what_would_change_the_mathematics_is_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(canonical_text_is_of_the_mathematics_alone),
		cmocka_unit_test(gpt2_has_its_tensors),
		cmocka_unit_test(llama_has_its_tensors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
