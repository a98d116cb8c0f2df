#include "export/adapter.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/size.h"
#include "decoder/lora.h"
#include "model/content.h"
#include "model/files.h"
#include "model/safetensors.h"
#include "model/tensors.h"
#include "stream/header.h"
#include "stream/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CONFIG_LIMIT = 1 << 24 };	/* bytes */

/* ------------------------------------------------------------------ attaching */

/* An adapter with these settings, which it takes ownership of, for the model, all zero. */
static enum dpo_status
attach(struct dpo_model *model, cJSON *settings, struct dpo_error *err)
{
	struct dpo_lora *lora = dpo_alloc(1, sizeof *lora);
	enum dpo_status status;

	if (!lora) {
		cJSON_Delete(settings);
		return dpo_fail_memory(err);
	}
	if ((status = dpo_lora_init(lora, settings, &model->config, &model->params, model->id, err)) == DPO_OK)
		model->lora = lora;
	else
		free(lora);
	return status;
}

static void
detach(struct dpo_model *model)
{
	dpo_lora_free(model->lora);
	free(model->lora);
	model->lora = NULL;
}

enum dpo_status
dpo_adapter_start(struct dpo_model *model, cJSON *settings, uint64_t seed, struct dpo_error *err)
{
	enum dpo_status status = attach(model, settings, err);

	if (status == DPO_OK && (status = dpo_lora_check_patterns(model->lora, err)) != DPO_OK)
		detach(model);
	if (status != DPO_OK || !model->weights)
		return status;
	return dpo_lora_start(model->lora, model->weights, seed) ? DPO_OK : dpo_fail_memory(err);
}

static enum dpo_status
attach_by_text(struct dpo_model *model, const void *text, size_t n, const char *place, struct dpo_error *err)
{
	cJSON *settings;
	enum dpo_status status = dpo_json_parse(&settings, text, n, err);

	if (status == DPO_OK)
		status = attach(model, settings, err);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "%s", place);
}

/* ------------------------------------------------------------------ a stream */

struct incoming {
	struct dpo_model *model;
	struct dpo_files files;
};

static enum dpo_status
begin_tensors(void *context, struct dpo_tensors_fill *fill, struct dpo_error *err)
{
	struct incoming *in = context;
	const struct dpo_named_file *file = dpo_files_find(&in->files, DPO_ADAPTER_CONFIG);
	enum dpo_status status;

	if (!file)
		return dpo_fail(err, DPO_FORMAT, "there is no " DPO_ADAPTER_CONFIG);
	if ((status = attach_by_text(in->model, file->bytes, file->n, DPO_ADAPTER_CONFIG, err)) != DPO_OK)
		return status;
	fill->params = &in->model->lora->params;
	fill->block = in->model->lora->block;
	return DPO_OK;
}

static enum dpo_status
check_base(const struct dpo_model *model, const struct dpo_header *header, struct dpo_error *err)
{
	const char *base = dpo_header_last(header, NULL, "base");

	if (!model->weights || strcmp(header->kind, "adapter") != 0 || (base && strcmp(base, model->id) == 0))
		return DPO_OK;	/* of another kind: found when it is read */
	return dpo_fail(err, DPO_MISMATCH, "an adapter of model %.16s, not of %.16s", base ? base : "unknown", model->id);
}

static enum dpo_status
read_stream(struct dpo_model *model, struct dpo_reader *reader, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(reader);
	struct incoming in = { .model = model };
	enum dpo_status status = check_base(model, header, err);
	cJSON *stages;

	if (status != DPO_OK)
		return dpo_error_prefix(err, "%s", dpo_reader_name(reader));
	status = dpo_content_read(reader, "adapter", &in.files, begin_tensors, &in, err);
	dpo_files_free(&in.files);
	if (status != DPO_OK)
		return status;
	if (!(stages = cJSON_Duplicate(header->stages, true)))
		return dpo_fail_memory(err);
	cJSON_Delete(model->stages);
	model->stages = stages;
	return DPO_OK;
}

static enum dpo_status
open_stream(struct dpo_model *model, const char *path, struct dpo_error *err)
{
	struct dpo_reader *reader;
	enum dpo_status status;

	if ((status = dpo_reader_open_path(&reader, path, err)) != DPO_OK)
		return status;
	status = read_stream(model, reader, err);
	dpo_reader_close(reader);
	return status;
}

/* ------------------------------------------------------------------ a stream alone */

/* The settings in the file, checked. */
static enum dpo_status
take_settings(struct dpo_lora *lora, const struct dpo_files *files, struct dpo_error *err)
{
	const struct dpo_named_file *file = dpo_files_find(files, DPO_ADAPTER_CONFIG);
	enum dpo_status status;

	if (!file)
		return dpo_fail(err, DPO_FORMAT, "there is no " DPO_ADAPTER_CONFIG);
	if ((status = dpo_json_parse(&lora->settings, (const char *)file->bytes, file->n, err)) == DPO_OK)
		status = dpo_loraconfig_read(&lora->config, lora->settings, err);
	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, DPO_ADAPTER_CONFIG);
}

static enum dpo_status
gather(struct dpo_lora *lora, struct dpo_reader *reader, struct dpo_error *err)
{
	const char *base = dpo_header_last(dpo_reader_header(reader), NULL, "base");
	struct dpo_tensors_gather tensors = { 0 };
	struct dpo_files files = { 0 };
	enum dpo_status status = dpo_content_gather(reader, "adapter", &files, &tensors, err);

	if (status == DPO_OK && ((status = dpo_tensors_gathered(&tensors, &lora->block, err)) != DPO_OK ||
	    (status = take_settings(lora, &files, err)) != DPO_OK))
		(void)dpo_error_prefix(err, "%s", dpo_reader_name(reader));
	if (status == DPO_OK) {
		lora->params = tensors.params;
		tensors.params = (struct dpo_params){ 0 };
		snprintf(lora->base_id, sizeof lora->base_id, "%s", base ? base : "");
	}
	dpo_tensors_gather_free(&tensors);
	dpo_files_free(&files);
	return status;
}

enum dpo_status
dpo_adapter_open_alone(struct dpo_model *model, const char *path, struct dpo_error *err)
{
	struct dpo_reader *reader;
	enum dpo_status status;

	*model = (struct dpo_model){ 0 };
	if ((status = dpo_reader_open_path(&reader, path, err)) != DPO_OK)
		return status;
	model->lora = dpo_alloc(1, sizeof *model->lora);
	status = model->lora ? gather(model->lora, reader, err) : dpo_fail_memory(err);
	dpo_reader_close(reader);
	if (status != DPO_OK)
		dpo_model_free(model);
	return status;
}

/* ------------------------------------------------------------------ a directory of peft */

static bool
same_shape(const struct dpo_safetensors_entry *entry, const struct dpo_tensor *tensor)
{
	bool same = entry->rank == tensor->rank;

	for (size_t d = 0; same && d < tensor->rank; d++)
		same = entry->shape[d] == tensor->shape[d];
	return same;
}

static enum dpo_status
read_entry(float *to, const struct dpo_safetensors *set, const struct dpo_safetensors_entry *entry,
    const struct dpo_tensor *tensor, struct dpo_error *err)
{
	uint8_t *stored;
	enum dpo_status status;

	if (!same_shape(entry, tensor))
		return dpo_fail(err, DPO_FORMAT, "tensor \"%s\" has %zu dimensions of %zu, %zu; the model and "
		    DPO_ADAPTER_CONFIG " give %zu of %zu, %zu", entry->name, entry->rank, entry->shape[0], entry->shape[1],
		    tensor->rank, tensor->shape[0], tensor->shape[1]);
	if (entry->dtype == DPO_DTYPE_OTHER)
		return dpo_fail(err, DPO_UNSUPPORTED, "tensor \"%s\": dtype %s is not supported", entry->name,
		    entry->dtype_name);
	if (!(stored = dpo_alloc(entry->bytes, 1)))
		return dpo_fail_memory(err);
	if ((status = dpo_safetensors_read(set, entry, 0, stored, entry->bytes, err)) == DPO_OK)
		dpo_dtype_to_float(to, stored, tensor->count, entry->dtype);
	free(stored);
	if (status == DPO_OK && !dpo_bytes_finite_floats(to, tensor->count))
		status = dpo_fail(err, DPO_NONFINITE, "tensor \"%s\" holds a NaN or infinity", entry->name);
	return status;
}

/* All tensors of the table, and no others. */
static enum dpo_status
read_tensors(struct dpo_lora *lora, const struct dpo_safetensors *set, struct dpo_error *err)
{
	char name[sizeof DPO_ADAPTER_PREFIX + sizeof lora->params.list->name];
	enum dpo_status status = DPO_OK;

	for (size_t t = 0; t < lora->params.count && status == DPO_OK; t++) {
		const struct dpo_tensor *tensor = &lora->params.list[t];
		const struct dpo_safetensors_entry *entry;

		snprintf(name, sizeof name, DPO_ADAPTER_PREFIX "%s", tensor->name);
		entry = dpo_safetensors_find(set, name);
		status = entry ? read_entry(lora->block + tensor->offset, set, entry, tensor, err) :
		    dpo_fail(err, DPO_FORMAT, "tensor \"%s\" is missing", name);
	}
	for (size_t i = 0; i < set->n_entries && status == DPO_OK; i++) {
		const char *found = set->entries[i].name;
		size_t n = strlen(DPO_ADAPTER_PREFIX);

		if (strncmp(found, DPO_ADAPTER_PREFIX, n) != 0 || !dpo_params_find(&lora->params, found + n))
			status = dpo_fail(err, DPO_FORMAT, "tensor \"%.150s\" is superfluous", found);
	}
	return status;
}

static enum dpo_status
read_weights(struct dpo_lora *lora, const char *path, struct dpo_error *err)
{
	struct dpo_safetensors set = { 0 };
	enum dpo_status status = dpo_safetensors_add(&set, path, err);

	if (status == DPO_OK && (status = read_tensors(lora, &set, err)) != DPO_OK)
		(void)dpo_error_prefix(err, "%s", path);
	dpo_safetensors_close(&set);
	return status;
}

static enum dpo_status
open_directory(struct dpo_model *model, const char *path, struct dpo_error *err)
{
	char *config = dpo_file_join(path, DPO_ADAPTER_CONFIG), *weights = dpo_file_join(path, DPO_ADAPTER_WEIGHTS);
	struct dpo_buffer text = { 0 };
	enum dpo_status status;

	if (!config || !weights)
		status = dpo_fail_memory(err);
	else if ((status = dpo_file_read(&text, config, CONFIG_LIMIT, err)) == DPO_OK &&
	    (status = attach_by_text(model, text.data, text.len, config, err)) == DPO_OK)
		status = read_weights(model->lora, weights, err);
	dpo_buffer_free(&text);
	free(config);
	free(weights);
	return status;
}

enum dpo_status
dpo_adapter_open(struct dpo_model *model, const char *path, int threads, struct dpo_error *err)
{
	bool standard = strcmp(path, "-") == 0;
	enum dpo_status status;
	struct stat about;

	if (!standard && stat(path, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	if (!standard && S_ISDIR(about.st_mode))
		status = open_directory(model, path, err);
	else
		status = open_stream(model, path, err);
	if (status == DPO_OK)
		status = dpo_lora_identify(model->id, model->lora, threads, err);
	if (status != DPO_OK)
		detach(model);
	return status;
}

/* ------------------------------------------------------------------ writing */

enum dpo_status
dpo_adapter_files(struct dpo_files *files, const struct dpo_lora *lora, struct dpo_error *err)
{
	struct dpo_buffer text = { 0 };
	enum dpo_status status;

	*files = (struct dpo_files){ 0 };
	dpo_json_put_tree(&text, lora->settings);
	status = text.failed ? dpo_fail_memory(err) : dpo_files_add(files, DPO_ADAPTER_CONFIG, text.data, text.len, err);
	dpo_buffer_free(&text);
	return status;
}

enum dpo_status
dpo_adapter_write(const struct dpo_model *model, const cJSON *stages, const uint8_t *parent, struct dpo_out *out,
    int threads, struct dpo_error *err)
{
	const struct dpo_lora *lora = model->lora;
	struct dpo_files files;
	enum dpo_status status = dpo_adapter_files(&files, lora, err);

	if (status == DPO_OK)
		status = dpo_content_write(out, "adapter", stages, parent, &files, &lora->params, lora->block, threads, err);
	dpo_files_free(&files);
	return status;
}
