#include "model.h"

#include "file.h"
#include "modelfiles.h"
#include "stream.h"
#include "tensors.h"
#include "weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_PIECE = 1 << 22, CONFIG_LIMIT = 1 << 24 };	/* bytes */

/* ------------------------------------------------------------------ configuration */

/* Read the configuration from `text`, make the table, and name the tokenizer. */
static enum dpo_status
configure(struct dpo_model *model, const void *text, size_t len, const char *place,
    struct dpo_error *err)
{
	enum dpo_status status;

	if ((status = dpo_config_read(&model->config, text, len, err)) != DPO_OK)
		return dpo_error_prefix(err, "%s", place);
	if (!dpo_files_tokenizer_id(&model->files, model->tokenizer_id))
		model->tokenizer_id[0] = '\0';
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
open_directory(struct dpo_model *model, const char *path, bool keep, int threads, struct dpo_error *err)
{
	char *place = dpo_file_join(path, "config.json");
	enum dpo_status status;

	if (!place)
		return dpo_fail_memory(err);
	if ((status = dpo_files_read(&model->files, path, err)) == DPO_OK &&
	    (status = configure_from_files(model, place, err)) == DPO_OK &&
	    (status = no_stages(model, err)) == DPO_OK)
		status = dpo_weights_read(&model->weights, model->id, &model->config,
		    &model->params, path, keep, threads, err);
	free(place);
	return status;
}

/* ------------------------------------------------------------------ a stream */

/* A stream being read: files first, then tensors. */
struct incoming {
	struct dpo_model *model;
	size_t file, bytes;			/* columns */
	struct dpo_tensors_columns columns;
	struct dpo_tensors_fill fill;
	struct dpo_modelfiles_piece piece;	/* the file being put together */
	bool tensors;				/* the files are over */
};

static enum dpo_status
take_file(struct incoming *in, const struct dpo_value *values, struct dpo_error *err)
{
	if (in->tensors)
		return dpo_fail(err, DPO_FORMAT, "a file after the first tensor");
	return dpo_modelfiles_take(&in->piece, &in->model->files, &values[in->file],
	    values[in->columns.offset].i64, &values[in->bytes], err);
}

/* With the first tensor the files are over, and config.json says what follows. */
static enum dpo_status
begin_tensors(struct incoming *in, struct dpo_error *err)
{
	struct dpo_model *model = in->model;
	enum dpo_status status;

	in->tensors = true;
	if ((status = dpo_modelfiles_finish(&in->piece, &model->files, err)) != DPO_OK ||
	    (status = configure_from_files(model, "config.json", err)) != DPO_OK ||
	    (status = allocate(model, err)) != DPO_OK)
		return status;
	in->fill = (struct dpo_tensors_fill){ .params = &model->params, .prefix = "",
	    .block = model->weights };
	return DPO_OK;
}

static enum dpo_status
take_record(struct incoming *in, const struct dpo_value *values, struct dpo_error *err)
{
	enum dpo_status status;

	if (values[in->file].count > 0)
		return take_file(in, values, err);
	if (!in->tensors && (status = begin_tensors(in, err)) != DPO_OK)
		return status;
	return dpo_tensors_take(&in->fill, &in->columns, values, err);
}

static enum dpo_status
check_header(struct incoming *in, const struct dpo_header *header, struct dpo_error *err)
{
	enum dpo_status status;

	if (strcmp(header->kind, "model") != 0)
		return dpo_fail(err, DPO_FORMAT, "a stream of kind \"%.100s\", not a model",
		    header->kind);
	if ((status = dpo_header_need(header, "file", DPO_STR, &in->file, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "bytes", DPO_BYTES, &in->bytes, err)) != DPO_OK ||
	    (status = dpo_tensors_find(&in->columns, header, err)) != DPO_OK)
		return status;
	in->model->stages = cJSON_Duplicate(header->stages, true);
	return in->model->stages ? DPO_OK : dpo_fail_memory(err);
}

/* All records, to the verified END. The errors of the reader name the stream; ours do not yet. */
static enum dpo_status
take_records(struct incoming *in, struct dpo_reader *reader, struct dpo_error *err)
{
	struct dpo_value *values = dpo_alloc(dpo_reader_header(reader)->n_columns, sizeof *values);
	enum dpo_status status = values ? DPO_OK : dpo_fail_memory(err);

	while (status == DPO_OK && (status = dpo_reader_next(reader, values, err)) == DPO_OK)
		if ((status = take_record(in, values, err)) != DPO_OK)
			dpo_error_prefix(err, "%s: record %llu", dpo_reader_name(reader),
			    (unsigned long long)dpo_reader_records(reader));
	free(values);
	if (status != DPO_END)
		return status;
	if (!in->tensors || !dpo_tensors_full(&in->fill))
		return dpo_fail(err, DPO_FORMAT,
		    "%s: the model ends before tensor \"%s\" is complete",
		    dpo_reader_name(reader), in->tensors ?
		    in->model->params.list[in->fill.tensor].name : "(the first)");
	return DPO_OK;
}

static enum dpo_status
open_stream(struct dpo_model *model, const char *path, int threads, struct dpo_error *err)
{
	const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
	struct incoming in = { .model = model };
	struct dpo_reader *reader;
	enum dpo_status status;
	int fd;

	if ((status = dpo_file_open(&fd, path, err)) != DPO_OK ||
	    (status = dpo_reader_open(&reader, fd, name, err)) != DPO_OK)
		return status;
	if ((status = check_header(&in, dpo_reader_header(reader), err)) != DPO_OK)
		dpo_error_prefix(err, "%s", name);
	else
		status = take_records(&in, reader, err);
	dpo_buffer_free(&in.piece.text);
	dpo_reader_close(reader);
	return status != DPO_OK ? status : dpo_model_identify(model, threads, err);
}

/* ------------------------------------------------------------------ opening */

static enum dpo_status
open_any(struct dpo_model *model, const char *path, bool keep, int threads, struct dpo_error *err)
{
	enum dpo_status status;
	struct stat about;

	*model = (struct dpo_model){ 0 };
	if (strcmp(path, "-") != 0 && stat(path, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	if (strcmp(path, "-") != 0 && S_ISDIR(about.st_mode))
		status = open_directory(model, path, keep, threads, err);
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
dpo_model_identify(struct dpo_model *model, int threads, struct dpo_error *err)
{
	return dpo_weights_identify(model->id, &model->config, &model->params, model->weights,
	    threads, err);
}

void
dpo_model_free(struct dpo_model *model)
{
	free(model->weights);
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

static enum dpo_status
make_header(struct dpo_header *header, const cJSON *stages, struct dpo_error *err)
{
	enum dpo_status status;
	cJSON *copy;

	if ((status = dpo_header_init(header, "model", err)) != DPO_OK)
		return status;
	if ((status = dpo_header_add(header, "file", DPO_STR, err)) == DPO_OK &&
	    (status = dpo_tensors_add(header, err)) == DPO_OK &&
	    (status = dpo_header_add(header, "bytes", DPO_BYTES, err)) == DPO_OK && stages) {
		if ((copy = cJSON_Duplicate(stages, true))) {
			cJSON_Delete(header->stages);
			header->stages = copy;
		} else {
			status = dpo_fail_memory(err);
		}
	}
	if (status != DPO_OK)
		dpo_header_free(header);
	return status;
}

/* The records of one file; an empty file is one empty record. */
static enum dpo_status
write_file(struct dpo_writer *writer, const struct dpo_header *header,
    const struct dpo_named_file *file, struct dpo_error *err)
{
	struct dpo_value *values = dpo_alloc(header->n_columns, sizeof *values);
	size_t offset = dpo_header_find(header, "offset"), bytes = dpo_header_find(header, "bytes"),
	    at = 0, n;
	enum dpo_status status;

	if (!values)
		return dpo_fail_memory(err);
	values[dpo_header_find(header, "file")] =
	    (struct dpo_value){ .data = file->name, .count = strlen(file->name) };
	do {
		n = file->n - at < FILE_PIECE ? file->n - at : FILE_PIECE;
		values[offset].i64 = (int64_t)at;
		values[bytes] = (struct dpo_value){ .data = file->bytes + at, .count = n };
		status = dpo_writer_put(writer, values, err);
		at += n;
	} while (status == DPO_OK && at < file->n);
	free(values);
	return status;
}

enum dpo_status
dpo_model_write(const struct dpo_model *model, const cJSON *stages, const uint8_t *parent,
    struct dpo_out *out, struct dpo_error *err)
{
	struct dpo_writer *writer = NULL;
	struct dpo_header header;
	enum dpo_status status;

	if ((status = make_header(&header, stages, err)) != DPO_OK)
		return status;
	status = dpo_writer_open(&writer, out, &header, DPO_LEVEL_WEIGHTS, err);
	for (size_t i = 0; i < model->files.count && status == DPO_OK; i++)
		status = write_file(writer, &header, &model->files.list[i], err);
	if (status == DPO_OK)
		status = dpo_tensors_write(writer, &header, "", &model->params, model->weights,
		    err);
	if (status == DPO_OK)
		status = dpo_writer_end(writer, parent, err);
	dpo_writer_close(writer);
	dpo_header_free(&header);
	return status;
}
