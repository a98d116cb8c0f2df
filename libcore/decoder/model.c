#include "decoder/model.h"

#include "base/size.h"
#include "model/content.h"
#include "model/modelfiles.h"
#include "model/tensors.h"
#include "model/weights.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_LIMIT = 1 << 24 };	/* bytes */

/* ------------------------------------------------------------------ configuration */

/* Read the configuration from `text`, make the table, and name the tokenizer. */
static enum dpo_status
configure(struct dpo_model *model, const void *text, size_t len, const char *place,
    struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_config_read(&model->config, text, len, err)) != DPO_OK)
		return dpo_error_prefix(err, "%s", place);
	if ((status = dpo_files_tokenizer_id(&model->files, model->tokenizer_id, err)) != DPO_OK)
		return dpo_error_prefix(err, "beside %s", place);
	return dpo_params_init(&model->params, &model->config, err);
}

static enum dpo_status
configure_from_files(struct dpo_model *model, const char *place, struct dpo_error *err)
{
	const struct dpo_named_file *file = dpo_files_find(&model->files, "config.json");

	if (!file)
		return dpo_fail(err, DPO_FORMAT, "%s: there is no such file", place);
	return configure(model, file->bytes, file->n, place, err);
}

static enum dpo_status
allocate(struct dpo_model *model, struct dpo_error *err)
{
	model->weights = dpo_alloc_aligned(model->params.total, sizeof *model->weights);
	return model->weights ? DPO_OK : dpo_fail_memory(err);
}

static enum dpo_status
no_stages(struct dpo_model *model, struct dpo_error *err)
{
	model->stages = cJSON_CreateArray();
	return model->stages ? DPO_OK : dpo_fail_memory(err);
}

/* ------------------------------------------------------------------ a directory */

static enum dpo_status
open_directory(struct dpo_model *model, const char *path, struct dpo_maps *maps, int threads, struct dpo_error *err)
{
	char *place = dpo_file_join(path, "config.json");
	enum dpo_status status;

	if (!place)
		return dpo_fail_memory(err);
	if ((status = dpo_files_read(&model->files, path, err)) == DPO_OK &&
	    (status = configure_from_files(model, place, err)) == DPO_OK &&
	    (status = no_stages(model, err)) == DPO_OK)
		status = dpo_weights_read(&model->weights, model->id, &model->config,
		    &model->params, path, maps, threads, err);
	free(place);
	return status;
}

/* ------------------------------------------------------------------ a stream */

/* The files are there: config.json says what follows. */
static enum dpo_status
begin_tensors(void *context, struct dpo_tensors_fill *fill, struct dpo_error *err)
{
	struct dpo_model *model = context;
	enum dpo_status status;

	if ((status = configure_from_files(model, "config.json", err)) != DPO_OK ||
	    (status = allocate(model, err)) != DPO_OK)
		return status;
	fill->params = &model->params;
	fill->block = model->weights;
	return DPO_OK;
}

static enum dpo_status
open_stream(struct dpo_model *model, const char *path, int threads, struct dpo_error *err)
{
	struct dpo_reader *reader;
	enum dpo_status status;

	if ((status = dpo_reader_open_path(&reader, path, err)) != DPO_OK)
		return status;
	dpo_reader_ahead(reader, threads);
	status = dpo_content_read(reader, "model", &model->files, begin_tensors, model, err);
	if (status == DPO_OK && !(model->stages = cJSON_Duplicate(dpo_reader_header(reader)->stages, true)))
		status = dpo_fail_memory(err);
	dpo_reader_close(reader);
	return status != DPO_OK ? status : dpo_model_identify(model, threads, err);
}

/* ------------------------------------------------------------------ opening */

static enum dpo_status
open_any(struct dpo_model *model, const char *path, bool frozen, int threads, struct dpo_error *err)
{
	enum dpo_status status;
	struct stat about;

	*model = (struct dpo_model){ 0 };
	if (strcmp(path, "-") != 0 && stat(path, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	if (strcmp(path, "-") != 0 && S_ISDIR(about.st_mode))
		status = open_directory(model, path, frozen ? &model->maps : NULL, threads, err);
	else
		status = open_stream(model, path, threads, err);
	if (status != DPO_OK)
		dpo_model_free(model);
	return status;
}

enum dpo_status
dpo_model_open(struct dpo_model *model, const char *path, int threads, struct dpo_error *err)
{
	return open_any(model, path, false, threads, err);
}

enum dpo_status
dpo_model_open_frozen(struct dpo_model *model, const char *path, int threads, struct dpo_error *err)
{
	return open_any(model, path, true, threads, err);
}

enum dpo_status
dpo_model_outline(struct dpo_model *model, const char *path, bool frozen, struct dpo_error *err)
{
	enum dpo_status status;
	struct stat about;
	char *place = NULL;

	*model = (struct dpo_model){ 0 };
	if (strcmp(path, "-") != 0 && stat(path, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	if (!(place = dpo_file_join(path, "config.json")))
		return dpo_fail_memory(err);
	if ((status = dpo_modelfiles_open(&model->files, path, err)) == DPO_OK &&
	    (status = configure_from_files(model, place, err)) == DPO_OK && strcmp(path, "-") != 0 && S_ISDIR(about.st_mode))
		status = dpo_weights_look(&model->config, &model->params, path, frozen, err);
	free(place);
	if (status != DPO_OK)
		dpo_model_free(model);
	return status;
}

enum dpo_status
dpo_model_identify(struct dpo_model *model, int threads, struct dpo_error *err)
{
	if (model->lora)
		return dpo_lora_identify(model->id, model->lora, threads, err);
	return dpo_weights_identify(model->id, &model->config, &model->params, model->weights,
	    threads, err);
}

struct dpo_trained
dpo_model_trained(const struct dpo_model *model)
{
	if (model->lora)
		return (struct dpo_trained){ &model->lora->params, model->lora->block };
	return (struct dpo_trained){ &model->params, model->weights };
}

void
dpo_model_free(struct dpo_model *model)
{
	dpo_lora_free(model->lora);
	free(model->lora);
	free(model->weights);
	dpo_maps_free(&model->maps);
	dpo_params_free(&model->params);
	dpo_files_free(&model->files);
	cJSON_Delete(model->stages);
	*model = (struct dpo_model){ 0 };
}

/* ------------------------------------------------------------------ random weights */

static enum dpo_status
randomize(struct dpo_model *model, uint64_t seed, struct dpo_error *err)
{
	for (size_t t = 0; t < model->params.count; t++) {
		const struct dpo_tensor *tensor = &model->params.list[t];
		float *to = model->weights + tensor->offset;

		if (tensor->init == DPO_INIT_NORMAL &&
		    !dpo_random_normal(to, tensor->count, model->config.initializer_range, seed,
		    tensor->name))
			return dpo_fail_memory(err);
		for (size_t i = 0; i < tensor->count && tensor->init == DPO_INIT_ONE; i++)
			to[i] = 1;
	}
	return DPO_OK;
}

/* The files beside config_path, with that file as config.json whatever its name is. */
static enum dpo_status
collect_files(struct dpo_files *files, const char *config_path, struct dpo_error *err)
{
	const char *slash = strrchr(config_path, '/');
	char *directory = slash ? dpo_size_copy(config_path, (size_t)(slash - config_path) + 1) :
	    dpo_size_copy(".", 1);
	struct dpo_files beside = { 0 };
	struct dpo_buffer text = { 0 };
	enum dpo_status status;

	if (!directory)
		return dpo_fail_memory(err);
	if ((status = dpo_file_read(&text, config_path, CONFIG_LIMIT, err)) == DPO_OK &&
	    (status = dpo_files_add(files, "config.json", text.data ? text.data :
	    (const uint8_t *)"", text.len, err)) ==
	    DPO_OK)
		status = dpo_files_read(&beside, directory, err);
	for (size_t i = 0; i < beside.count && status == DPO_OK; i++)
		if (strcmp(beside.list[i].name, "config.json") != 0)
			status = dpo_files_add(files, beside.list[i].name, beside.list[i].bytes,
			    beside.list[i].n, err);
	dpo_files_free(&beside);
	dpo_buffer_free(&text);
	free(directory);
	return status;
}

enum dpo_status
dpo_model_init_outline(struct dpo_model *model, const char *config_path, struct dpo_error *err)
{
	enum dpo_status status;

	*model = (struct dpo_model){ 0 };
	if ((status = collect_files(&model->files, config_path, err)) != DPO_OK ||
	    (status = configure_from_files(model, config_path, err)) != DPO_OK)
		dpo_model_free(model);
	return status;
}

enum dpo_status
dpo_model_init(struct dpo_model *model, const char *config_path, uint64_t seed,
    struct dpo_error *err)
{
	enum dpo_status status;

	*model = (struct dpo_model){ 0 };
	if ((status = collect_files(&model->files, config_path, err)) != DPO_OK ||
	    (status = configure_from_files(model, config_path, err)) != DPO_OK ||
	    (status = no_stages(model, err)) != DPO_OK ||
	    (status = allocate(model, err)) != DPO_OK ||
	    (status = randomize(model, seed, err)) != DPO_OK ||
	    (status = dpo_model_identify(model, 1, err)) != DPO_OK)
		dpo_model_free(model);
	return status;
}

/* ------------------------------------------------------------------ writing */

enum dpo_status
dpo_model_write(const struct dpo_model *model, const cJSON *stages, const uint8_t *parent,
    struct dpo_out *out, int threads, struct dpo_error *err)
{
	return dpo_content_write(out, "model", stages, parent, &model->files, &model->params, model->weights, threads, err);
}
