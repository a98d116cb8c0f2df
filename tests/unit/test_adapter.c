/*
 * adapter, merge: a model with an adapter through a stream and through peft's layout keeps its bits; of another base, cut or
 * of another kind it is refused and the model stays as it was; folded in, it is the same function.
 */
#include "export/adapter.h"
#include "export/export.h"
#include "export/merge.h"
#include "fixture.h"
#include "model/safetensors.h"
#include "naive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char settings[] = "{\"r\":3,\"lora_alpha\":5.000000000000001,\"target_modules\":\"all-linear\","
    "\"rank_pattern\":{\"up_proj\":2},"
    "\"modules_to_save\":[\"model.norm\",\"lm_head\"]}";

static void
good(enum dpo_status status, const struct dpo_error *err)
{
	if (status != DPO_OK)
		fail_msg("%s", err->text);
}

/* A model with random weights, the same each time. */
static void
make(struct dpo_model *model, uint64_t seed)
{
	char path[512];
	struct dpo_error err;

	fixture_text(fixture_here, "start.json", naive_llama_untied);
	good(dpo_model_init(model, fixture_path(path, fixture_here, "start.json"), seed, &err), &err);
}

/* An adapter of it with numbers everywhere. */
static void
adapt(struct dpo_model *model)
{
	struct dpo_error err;
	uint64_t seed = 3;
	cJSON *tree;

	good(dpo_json_parse(&tree, settings, strlen(settings), &err), &err);
	good(dpo_adapter_start(model, tree, 42, &err), &err);
	for (size_t t = 0; t < model->lora->params.count; t++)
		for (size_t i = 0; i < model->lora->params.list[t].count; i++)
			model->lora->block[model->lora->params.list[t].offset + i] = 0.1f * naive_random(&seed);
}

/* The adapter as the stream `name`, which says that it is of `base`. */
static void
write_stream(const struct dpo_model *model, const char *name, const char *base)
{
	cJSON *stages = cJSON_CreateArray(), *stage = cJSON_CreateObject();
	char path[512];
	struct dpo_error err;
	struct dpo_out out;

	assert_true(cJSON_AddStringToObject(stage, "stage", "test") && cJSON_AddStringToObject(stage, "base", base));
	assert_true(cJSON_AddItemToArray(stages, stage));
	good(dpo_out_open(&out, fixture_path(path, fixture_here, name), &err), &err);
	good(dpo_adapter_write(model, stages, NULL, &out, 1, &err), &err);
	good(dpo_out_commit(&out, &err), &err);
	cJSON_Delete(stages);
}

static void
write_peft(const struct dpo_model *model, const char *name)
{
	struct dpo_export export;
	char path[512];
	struct dpo_error err;

	good(dpo_export_begin(&export, model, (struct dpo_export_form){ .adapter = true },
	    fixture_path(path, fixture_here, name), false, &err), &err);
	good(dpo_export_write(&export, &err), &err);
	good(dpo_export_commit(&export, &err), &err);
	dpo_export_free(&export);
}

static void
same_adapter(const struct dpo_lora *a, const struct dpo_lora *b)
{
	assert_int_equal(a->params.count, b->params.count);
	assert_int_equal(a->params.total, b->params.total);
	assert_int_equal(a->params.parameters, b->params.parameters);
	for (size_t t = 0; t < a->params.count; t++) {
		assert_string_equal(a->params.list[t].name, b->params.list[t].name);
		assert_int_equal(a->params.list[t].offset, b->params.list[t].offset);
	}
	assert_memory_equal(a->block, b->block, a->params.total * sizeof *a->block);
	assert_string_equal(a->base_id, b->base_id);
	assert_true(a->config.alpha == b->config.alpha);
}

static void
through_stream_and_directory(void **state)
{
	static const char *const names[] = { "adapter.dpo", "peft" };
	struct dpo_model model, again, alone;
	char id[DPO_HEX_BYTES], path[512];
	struct dpo_error err;

	(void)state;
	make(&model, 1);
	snprintf(id, sizeof id, "%s", model.id);
	adapt(&model);
	assert_string_equal(model.id, id);
	write_stream(&model, "adapter.dpo", id);
	write_peft(&model, "peft");
	for (size_t i = 0; i < 2; i++) {
		make(&again, 1);
		good(dpo_adapter_open(&again, fixture_path(path, fixture_here, names[i]), 2, &err), &err);
		same_adapter(again.lora, model.lora);
		assert_string_not_equal(again.id, id);
		assert_int_equal(cJSON_GetArraySize(again.stages), i == 0);
		good(dpo_model_identify(&model, 1, &err), &err);
		assert_string_equal(again.id, model.id);
		assert_ptr_equal(dpo_model_trained(&again).block, again.lora->block);
		dpo_model_free(&again);
	}
	good(dpo_adapter_open_alone(&alone, fixture_path(path, fixture_here, "adapter.dpo"), &err), &err);
	same_adapter(alone.lora, model.lora);
	dpo_model_free(&alone);
	dpo_model_free(&model);
}

static void
refused(struct dpo_model *model, const char *name, enum dpo_status wanted, const char *says)
{
	char path[512], id[DPO_HEX_BYTES];
	struct dpo_error err;
	enum dpo_status status;

	snprintf(id, sizeof id, "%s", model->id);
	status = dpo_adapter_open(model, fixture_path(path, fixture_here, name), 2, &err);
	if (status != wanted || !strstr(err.text, says))
		fail_msg("%s: %d, %s", name, (int)status, status ? err.text : "opened");
	assert_null(model->lora);
	assert_string_equal(model->id, id);
}

static void
what_does_not_fit_is_refused(void **state)
{
	struct dpo_model model, other, alone;
	char path[512], *whole;
	struct dpo_error err;
	struct dpo_out out;
	size_t n;

	(void)state;
	make(&model, 1);
	make(&other, 2);
	adapt(&model);
	write_stream(&model, "adapter.dpo", model.id);
	write_peft(&model, "peft");
	refused(&other, "adapter.dpo", DPO_MISMATCH, "an adapter of model");
	refused(&other, "absent", DPO_IO, "absent");

	whole = fixture_read(fixture_here, "adapter.dpo", &n);
	for (size_t cut = 0; cut < n; cut += n / 23) {
		fixture_write(fixture_here, "cut.dpo", whole, cut);
		assert_int_not_equal(dpo_adapter_open(&other, fixture_path(path, fixture_here, "cut.dpo"), 2, &err), DPO_OK);
		assert_int_not_equal(dpo_adapter_open_alone(&alone, path, &err), DPO_OK);
		assert_null(alone.lora);
	}
	free(whole);
	good(dpo_out_open(&out, fixture_path(path, fixture_here, "model.dpo"), &err), &err);
	good(dpo_model_write(&other, NULL, NULL, &out, 1, &err), &err);
	good(dpo_out_commit(&out, &err), &err);
	refused(&other, "model.dpo", DPO_FORMAT, "not an adapter");
	assert_int_equal(dpo_adapter_open_alone(&alone, path, &err), DPO_FORMAT);

	fixture_path(path, fixture_here, "peft/adapter_config.json");
	fixture_text(fixture_here, "peft/adapter_config.json",
	    "{\"r\":3,\"target_modules\":\"all-linear\",\"rank_pattern\":{\"up_proj\":2}}");
	refused(&other, "peft", DPO_FORMAT, "superfluous");
	fixture_text(fixture_here, "peft/adapter_config.json", "{\"r\":4,\"target_modules\":\"all-linear\"}");
	refused(&other, "peft", DPO_FORMAT, "has 2 dimensions of 3, 16");
	fixture_text(fixture_here, "peft/adapter_config.json", "[]");
	refused(&other, "peft", DPO_FORMAT, "adapter_config.json");
	assert_int_equal(unlink(path), 0);
	refused(&other, "peft", DPO_IO, "adapter_config.json");
	dpo_model_free(&model);
	dpo_model_free(&other);
}

static void
merged_is_the_same_function(void **state)
{
	struct dpo_merge_check check;
	struct dpo_model model, base;
	struct dpo_error err;
	char id[DPO_HEX_BYTES];

	(void)state;
	make(&model, 1);
	make(&base, 1);
	adapt(&model);
	good(dpo_model_identify(&model, 1, &err), &err);
	snprintf(id, sizeof id, "%s", model.id);
	good(dpo_merge(&model, &check, 2, &err), &err);
	assert_null(model.lora);
	assert_int_equal(check.tokens, DPO_MERGE_SEQUENCES * 31);
	assert_true(check.worst < 1e-5);
	assert_string_not_equal(model.id, id);
	assert_string_not_equal(model.id, base.id);
	assert_memory_not_equal(model.weights, base.weights, base.params.total * sizeof *base.weights);
	dpo_model_free(&base);
	dpo_model_free(&model);

	/* Where rounding breaks the function, no model is made. */
	make(&model, 1);
	adapt(&model);
	for (size_t i = 0; i < model.params.count; i++)
		model.lora->parts[i].scale *= 1e30f;
	assert_int_equal(dpo_merge(&model, &check, 2, &err), DPO_NONFINITE);
	dpo_model_free(&model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(through_stream_and_directory, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(merged_is_the_same_function, fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests_name("adapter", tests, NULL, NULL);
}
