#include "model/content.h"

#include "base/size.h"
#include "model/modelfiles.h"
#include "model/params.h"
#include "stream/header.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_PIECE = 1 << 22 };	/* bytes */

/* ------------------------------------------------------------------ reading */

/* A stream being read: files first, then tensors. */
struct incoming {
	struct dpo_files *files;
	dpo_content_begin *begin;
	void *context;
	size_t file, bytes;			/* columns */
	struct dpo_tensors_columns columns;
	struct dpo_tensors_fill fill;
	struct dpo_tensors_gather *gather;	/* instead of begin and fill, or NULL */
	struct dpo_modelfiles_piece piece;	/* the file being put together */
	bool tensors;				/* the files are over */
};

static enum dpo_status
take_file(struct incoming *in, const struct dpo_value *values, struct dpo_error *err)
{
	if (in->tensors)
		return dpo_fail(err, DPO_FORMAT, "a file after the first tensor");
	return dpo_modelfiles_take(&in->piece, in->files, &values[in->file],
	    values[in->columns.offset].i64, &values[in->bytes], err);
}

static enum dpo_status
begin_tensors(struct incoming *in, struct dpo_error *err)
{
	enum dpo_status status;

	in->tensors = true;
	in->fill = (struct dpo_tensors_fill){ .prefix = "" };
	if ((status = dpo_modelfiles_finish(&in->piece, in->files, err)) != DPO_OK || in->gather)
		return status;
	return in->begin(in->context, &in->fill, err);
}

static enum dpo_status
take_record(struct incoming *in, const struct dpo_value *values, struct dpo_error *err)
{
	enum dpo_status status;

	if (values[in->file].count > 0)
		return take_file(in, values, err);
	if (!in->tensors && (status = begin_tensors(in, err)) != DPO_OK)
		return status;
	if (in->gather)
		return dpo_tensors_gather(in->gather, &in->columns, values, err);
	return dpo_tensors_take(&in->fill, &in->columns, values, err);
}

static enum dpo_status
check_header(struct incoming *in, const struct dpo_header *header, const char *kind, struct dpo_error *err)
{
	enum dpo_status status;

	if (strcmp(header->kind, kind) != 0)
		return dpo_fail(err, DPO_FORMAT, "a stream of kind \"%.100s\", not a%s %s", header->kind,
		    strchr("aeiou", kind[0]) ? "n" : "", kind);
	if ((status = dpo_header_need(header, "file", DPO_STR, &in->file, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "bytes", DPO_BYTES, &in->bytes, err)) != DPO_OK)
		return status;
	return dpo_tensors_find(&in->columns, header, err);
}

/* All records, to the verified END. The errors of the reader name the stream; ours do not yet. */
static enum dpo_status
take_records(struct incoming *in, struct dpo_reader *reader, const char *kind, struct dpo_error *err)
{
	struct dpo_value *values = dpo_alloc(dpo_reader_header(reader)->n_columns, sizeof *values);
	enum dpo_status status = values ? DPO_OK : dpo_fail_memory(err);

	while (status == DPO_OK && (status = dpo_reader_next(reader, values, err)) == DPO_OK)
		if ((status = take_record(in, values, err)) != DPO_OK)
			dpo_error_prefix(err, "%s: record %llu", dpo_reader_name(reader),
			    (unsigned long long)dpo_reader_records(reader));
	free(values);
	if (status != DPO_END || in->gather)
		return status == DPO_END ? DPO_OK : status;
	if (!in->tensors || !dpo_tensors_full(&in->fill))
		return dpo_fail(err, DPO_FORMAT,
		    "%s: the %s ends before tensor \"%s\" is complete",
		    dpo_reader_name(reader), kind, in->tensors ?
		    in->fill.params->list[in->fill.tensor].name : "(the first)");
	return DPO_OK;
}

static enum dpo_status
read_all(struct incoming *in, struct dpo_reader *reader, const char *kind, struct dpo_error *err)
{
	enum dpo_status status = check_header(in, dpo_reader_header(reader), kind, err);

	if (status != DPO_OK)
		return dpo_error_prefix(err, "%s", dpo_reader_name(reader));
	status = take_records(in, reader, kind, err);
	dpo_buffer_free(&in->piece.text);
	return status;
}

enum dpo_status
dpo_content_read(struct dpo_reader *reader, const char *kind, struct dpo_files *files, dpo_content_begin *begin,
    void *context, struct dpo_error *err)
{
	struct incoming in = { .files = files, .begin = begin, .context = context };

	return read_all(&in, reader, kind, err);
}

enum dpo_status
dpo_content_gather(struct dpo_reader *reader, const char *kind, struct dpo_files *files,
    struct dpo_tensors_gather *gather, struct dpo_error *err)
{
	struct incoming in = { .files = files, .gather = gather };

	return read_all(&in, reader, kind, err);
}

/* ------------------------------------------------------------------ writing */

static enum dpo_status
make_header(struct dpo_header *header, const char *kind, const cJSON *stages, struct dpo_error *err)
{
	enum dpo_status status;
	cJSON *copy;

	if ((status = dpo_header_init(header, kind, err)) != DPO_OK)
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
dpo_content_write(struct dpo_out *out, const char *kind, const cJSON *stages, const uint8_t *parent,
    const struct dpo_files *files, const struct dpo_params *params, const float *block, int threads, struct dpo_error *err)
{
	struct dpo_writer *writer = NULL;
	struct dpo_header header;
	enum dpo_status status;

	if ((status = make_header(&header, kind, stages, err)) != DPO_OK)
		return status;
	if ((status = dpo_writer_open(&writer, out, &header, dpo_stream_level(kind), err)) == DPO_OK)
		dpo_writer_hold(writer, threads);
	for (size_t i = 0; i < files->count && status == DPO_OK; i++)
		status = write_file(writer, &header, &files->list[i], err);
	if (status == DPO_OK)
		status = dpo_tensors_write(writer, &header, "", params, block, err);
	if (status == DPO_OK)
		status = dpo_writer_end(writer, parent, err);
	dpo_writer_close(writer);
	dpo_header_free(&header);
	return status;
}
