#include "models.h"

#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char *const directory = fixture_here;

struct dpo_safetensors_item models_items[64];
size_t models_n_items;

void
models_make(struct dpo_model *model, const char *config)
{
	struct dpo_error err = { 0 };
	char path[512];

	fixture_text(directory, "start.json", config);
	fixture_text(directory, "vocab.json", "{\"a\":0}");
	fixture_text(directory, "merges.txt", "");
	if (dpo_model_init(model, fixture_path(path, directory, "start.json"), 42, &err) != DPO_OK)
		fail_msg("%s", err.text);
}

void
models_make_directory(char path[512], const char *name, const struct dpo_model *model)
{
	const struct dpo_named_file *config = dpo_files_find(&model->files, "config.json");

	assert_int_equal(mkdir(fixture_path(path, directory, name), 0700), 0);
	fixture_write(path, "config.json", config->bytes, config->n);
}

void
models_take_items(const struct dpo_model *model, size_t from, size_t to)
{
	models_n_items = 0;
	for (size_t t = from; t < to; t++)
		models_items[models_n_items++] = (struct dpo_safetensors_item){ model->params.list[t].name,
			model->params.list[t].shape, model->params.list[t].rank,
			model->weights + model->params.list[t].offset };
}

void
models_put_items(const char *at, const char *name)
{
	struct dpo_error err;
	struct dpo_out out;
	char path[512];

	assert_int_equal(dpo_out_open(&out, fixture_path(path, at, name), &err), DPO_OK);
	assert_int_equal(dpo_safetensors_write(&out, models_items, models_n_items, DPO_DTYPE_F32, &err), DPO_OK);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
}

void
models_put_shards(const struct dpo_model *model, const char *at)
{
	struct dpo_buffer text = { 0 };
	size_t cut = model->params.count / 2;

	models_take_items(model, cut, model->params.count);
	models_put_items(at, "model-00001-of-00002.safetensors");
	models_take_items(model, 0, cut);
	models_put_items(at, "model-00002-of-00002.safetensors");
	dpo_buffer_string(&text, "{\"metadata\":{},\"weight_map\":{");
	for (size_t t = 0; t < model->params.count; t++)
		dpo_buffer_printf(&text, "%s\"%s\":\"model-0000%d-of-00002.safetensors\"", t ? "," : "",
		    model->params.list[t].name, t < cut ? 2 : 1);
	dpo_buffer_string(&text, "}}");
	fixture_text(at, "model.safetensors.index.json", dpo_buffer_text(&text));
	dpo_buffer_free(&text);
}

void
models_put_stream(const struct dpo_model *model, const char *path)
{
	struct dpo_error err;
	struct dpo_out out;

	assert_int_equal(dpo_out_open(&out, path, &err), DPO_OK);
	assert_int_equal(dpo_model_write(model, NULL, NULL, &out, 1, &err), DPO_OK);
	assert_int_equal(dpo_out_commit(&out, &err), DPO_OK);
}

void
models_open_good(struct dpo_model *model, const char *path, int threads)
{
	struct dpo_error err = { 0 };

	if (dpo_model_open(model, path, threads, &err) != DPO_OK)
		fail_msg("%s", err.text);
}

void
models_open_bad(const char *path, enum dpo_status status, const char *words)
{
	struct dpo_model model;
	struct dpo_error err = { 0 };

	assert_int_equal(dpo_model_open(&model, path, 2, &err), status);
	if (!strstr(err.text, words) || strncmp(err.text, path, strlen(path)) != 0)
		fail_msg("\"%s\" lacks \"%s\" or its path", err.text, words);
	assert_null(model.weights);
}

void
models_check_same(const struct dpo_model *a, const struct dpo_model *b)
{
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->params.total, b->params.total);
	assert_memory_equal(a->weights, b->weights, a->params.total * sizeof *a->weights);
}
