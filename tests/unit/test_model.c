/* model, identity, export: directory, shards and stream are one model with one id; floats survive bit for bit. */
#include "base/bytes.h"
#include "base/json.h"
#include "export/adapter.h"
#include "export/export.h"
#include "fixture.h"
#include "models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char *const directory = fixture_here;

/* ------------------------------------------------------------------ one id */

static void
check_one_id(const char *config)
{
	struct dpo_model model, other;
	struct dpo_error err;
	char path[512];

	models_make(&model, config);
	assert_int_equal(strlen(model.id), 64);
	assert_int_equal(strlen(model.tokenizer_id), 64);
	for (size_t i = 0; i < model.files.count; i++)
		assert_true(strcmp(model.files.list[i].name, "start.json") != 0);

	models_make_directory(path, "whole", &model);
	models_take_items(&model, 0, model.params.count);
	models_put_items(path, "model.safetensors");
	for (int threads = 1; threads <= 3; threads++) {
		models_open_good(&other, path, threads);
		models_check_same(&model, &other);
		assert_int_equal(cJSON_GetArraySize(other.stages), 0);
		dpo_model_free(&other);
	}
	models_make_directory(path, "shards", &model);
	models_put_shards(&model, path);
	models_open_good(&other, path, 2);
	models_check_same(&model, &other);
	dpo_model_free(&other);

	models_put_stream(&model, fixture_path(path, directory, "stream"));
	models_open_good(&other, path, 2);
	models_check_same(&model, &other);
	assert_string_equal(model.tokenizer_id, other.tokenizer_id);
	assert_int_equal(other.files.count, model.files.count);
	for (size_t i = 0; i < model.files.count; i++) {
		assert_string_equal(other.files.list[i].name, model.files.list[i].name);
		assert_int_equal(other.files.list[i].n, model.files.list[i].n);
		assert_memory_equal(other.files.list[i].bytes, model.files.list[i].bytes,
		    model.files.list[i].n);
	}
	/* The last bit of the last tensor is in the id. */
	other.weights[other.params.list[other.params.count - 1].offset] =
	    nextafterf(other.weights[other.params.list[other.params.count - 1].offset], 2);
	assert_int_equal(dpo_model_identify(&other, 2, &err), DPO_OK);
	assert_string_not_equal(model.id, other.id);
	dpo_model_free(&other);
	dpo_model_free(&model);
}

static void
directory_shards_and_stream_are_one_gpt2(void **unused)
{
	(void)unused;
	check_one_id(MODELS_GPT2);
}

static void
directory_shards_and_stream_are_one_llama(void **unused)
{
	(void)unused;
	check_one_id(MODELS_LLAMA);
}

static void
random_weights_follow_the_seed(void **unused)
{
	struct dpo_model model, other;
	struct dpo_error err;
	char path[512];

	(void)unused;
	models_make(&model, MODELS_GPT2);
	fixture_path(path, directory, "start.json");
	assert_int_equal(dpo_model_init(&other, path, 42, &err), DPO_OK);
	models_check_same(&model, &other);
	dpo_model_free(&other);
	assert_int_equal(dpo_model_init(&other, path, 43, &err), DPO_OK);
	assert_string_not_equal(model.id, other.id);
	dpo_model_free(&other);
	for (size_t t = 0; t < model.params.count; t++) {
		const struct dpo_tensor *tensor = &model.params.list[t];

		for (size_t i = 0; i < tensor->count; i++) {
			float x = model.weights[tensor->offset + i];

			if (strstr(tensor->name, "bias"))
				assert_true(x == 0);
			else if (strstr(tensor->name, "ln_"))
				assert_true(x == 1);
			else
				assert_true(x != 0 && fabsf(x) < 0.2f);
		}
	}
	dpo_model_free(&model);
	fixture_text(directory, "start.json", "{\"model_type\":\"gpt2\",\"n_embd\":8}");
	assert_int_equal(dpo_model_init(&model, path, 1, &err), DPO_FORMAT);
	assert_non_null(strstr(err.text, "start.json: \"vocab_size\" is missing"));
}

/*
 * ------------------------------------------------------------------ the id by its definition, on
 * one thread
 */

struct text {
	uint8_t bytes[65536];
	size_t n;
};

static void
put_bytes(struct text *text, const void *bytes, size_t n)
{
	assert_true(text->n + n <= sizeof text->bytes);
	memcpy(text->bytes + text->n, bytes, n);
	text->n += n;
}

static void
put_u64(struct text *text, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		put_bytes(text, &(uint8_t){ (uint8_t)(value >> 8 * i) }, 1);
}

static int
by_name(const void *a, const void *b)
{
	const struct dpo_tensor *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void
hash_tensor(uint8_t hash[32], const float *block, const struct dpo_tensor *tensor)
{
	static struct text leaves;
	uint8_t leaf[32];

	leaves.n = 0;
	for (size_t at = 0; at < tensor->count; at += 1 << 20) {
		size_t n = tensor->count - at < 1 << 20 ? tensor->count - at : 1 << 20;

		dpo_hash(leaf, block + tensor->offset + at, 4 * n);	/* the tests run on little-endian machines */
		put_bytes(&leaves, leaf, 32);
	}
	dpo_hash(hash, leaves.bytes, leaves.n);
}

/* The id by its definition (identity.h), one hash after the other. */
static void
define_id(char hex[65], const struct dpo_params *params, const float *block, const char *end)
{
	static struct text text;
	const struct dpo_tensor *sorted[16];
	uint8_t hash[32];

	assert_true(params->count <= 16);
	for (size_t t = 0; t < params->count; t++)
		sorted[t] = &params->list[t];
	qsort(sorted, params->count, sizeof *sorted, by_name);
	text.n = 0;
	put_bytes(&text, "dpo model 1\n", 12);
	for (size_t t = 0; t < params->count; t++) {
		put_bytes(&text, sorted[t]->name, strlen(sorted[t]->name) + 1);
		put_bytes(&text, "F32", 4);
		put_u64(&text, sorted[t]->rank);
		for (size_t d = 0; d < sorted[t]->rank; d++)
			put_u64(&text, sorted[t]->shape[d]);
		hash_tensor(hash, block, sorted[t]);
		put_bytes(&text, hash, 32);
	}
	put_bytes(&text, end, strlen(end));
	dpo_hash(hash, text.bytes, text.n);
	dpo_bytes_hex(hex, hash, 32);
}

static void
the_id_is_as_defined(void **unused)
{
	static const char config[] = "model_type=llama\nvocab_size=70001\nhidden_size=16\nlayers=1\nheads=4\nkv_heads=2\n"
	    "head_dim=4\nintermediate_size=12\nattention_bias=0\nmlp_bias=0\ntied_head=1\n"
	    "norm_epsilon=9.9999999999999995e-07\nrope_theta=10000\n";
	struct dpo_model model;
	char hex[65];

	(void)unused;
	models_make(&model, MODELS_LLAMA);
	define_id(hex, &model.params, model.weights, config);
	assert_string_equal(model.id, hex);
	dpo_model_free(&model);
}

/* Of an adapter with tensors of more than a leaf. */
static void
the_id_of_an_adapter_is_as_defined(void **unused)
{
	static const char wider[] = "{\"model_type\":\"llama\",\"vocab_size\":11,\"hidden_size\":32,\"intermediate_size\":12,"
	    "\"num_hidden_layers\":1,\"num_attention_heads\":4}";
	static const char settings[] = "{\"r\":60000,\"lora_alpha\":30000,\"target_modules\":[\"q_proj\"]}";
	struct dpo_model model;
	struct dpo_error err;
	char hex[65], text[256];
	cJSON *parsed;

	(void)unused;
	models_make(&model, wider);
	assert_int_equal(dpo_json_parse(&parsed, settings, strlen(settings), &err), DPO_OK);
	snprintf(text, sizeof text, "adapter %s\nmodel.layers.0.self_attn.q_proj.lora_A.weight 0x1p-1\n", model.id);
	assert_int_equal(dpo_adapter_start(&model, parsed, 1, &err), DPO_OK);
	define_id(hex, &model.lora->params, model.lora->block, text);
	for (int threads = 1; threads <= 3; threads++) {
		assert_int_equal(dpo_lora_identify(model.id, model.lora, threads, &err), DPO_OK);
		assert_string_equal(model.id, hex);
	}
	dpo_model_free(&model);
}

/* ------------------------------------------------------------------ export */

static void
an_export_is_whole_or_absent(void **unused)
{
	struct dpo_export export;
	struct dpo_model model, other;
	struct dpo_error err;
	char path[512], inside[512];

	(void)unused;
	models_make(&model, MODELS_GPT2);
	fixture_path(path, directory, "out//");
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, false, &err), DPO_OK);
	assert_int_equal(dpo_export_write(&export, &err), DPO_OK);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(access(export.temp, F_OK), 0);
	assert_int_equal(dpo_export_commit(&export, &err), DPO_OK);
	assert_int_not_equal(access(export.temp, F_OK), 0);
	dpo_export_free(&export);
	models_open_good(&other, path, 2);
	models_check_same(&model, &other);
	assert_string_equal(model.tokenizer_id, other.tokenizer_id);
	dpo_model_free(&other);

	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, false, &err), DPO_USAGE);
	dpo_export_free(&export);
	/* Swapped while the model is another one. */
	model.weights[0] += 1;
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, true, &err), DPO_OK);
	assert_int_equal(dpo_export_write(&export, &err), DPO_OK);
	assert_int_equal(dpo_export_commit(&export, &err), DPO_OK);
	assert_int_not_equal(access(export.temp, F_OK), 0);
	dpo_export_free(&export);
	models_open_good(&other, path, 2);
	assert_true(other.weights[0] == model.weights[0]);
	dpo_model_free(&other);

	/* Given up half-way: nothing new, and what was there stays. */
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, true, &err), DPO_OK);
	assert_int_equal(dpo_export_write(&export, &err), DPO_OK);
	dpo_export_remove(&export);
	assert_int_not_equal(access(export.temp, F_OK), 0);
	dpo_export_free(&export);
	assert_int_equal(access(fixture_path(inside, path, "model.safetensors"), F_OK), 0);

	fixture_text(path, "thesis.tex", "dear");
	assert_int_equal(dpo_export_begin(&export, &model, (struct dpo_export_form){ 0 }, path, true, &err), DPO_USAGE);
	assert_non_null(strstr(err.text, "thesis.tex"));
	dpo_export_free(&export);
	dpo_model_free(&model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(directory_shards_and_stream_are_one_gpt2, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(directory_shards_and_stream_are_one_llama, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(random_weights_follow_the_seed, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(the_id_is_as_defined, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(the_id_of_an_adapter_is_as_defined, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(an_export_is_whole_or_absent, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
