#include "model/modelfiles.h"

#include "base/file.h"
#include "base/size.h"
#include "stream/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum dpo_status
dpo_modelfiles_finish(struct dpo_modelfiles_piece *piece, struct dpo_files *files, struct dpo_error *err)
{
	enum dpo_status status;

	if (!piece->name[0])
		return DPO_OK;
	status = dpo_files_add(files, piece->name, piece->text.data ? piece->text.data : (const uint8_t *)"",
	    piece->text.len, err);
	dpo_buffer_clear(&piece->text);
	piece->name[0] = '\0';
	return status;
}

enum dpo_status
dpo_modelfiles_take(struct dpo_modelfiles_piece *piece, struct dpo_files *files, const struct dpo_value *name,
    int64_t offset, const struct dpo_value *bytes, struct dpo_error *err)
{
	enum dpo_status status;

	if (name->count >= sizeof piece->name || memchr(name->data, '\0', name->count))
		return dpo_fail(err, DPO_FORMAT, "\"file\" is not a file name");
	if (strlen(piece->name) != name->count || memcmp(piece->name, name->data, name->count) != 0) {
		if ((status = dpo_modelfiles_finish(piece, files, err)) != DPO_OK)
			return status;
		memcpy(piece->name, name->data, name->count);
		piece->name[name->count] = '\0';
	} else if (bytes->count == 0) {
		return dpo_fail(err, DPO_FORMAT, "file \"%s\": an empty piece", piece->name);
	}
	if (offset < 0 || (uint64_t)offset != piece->text.len)
		return dpo_fail(err, DPO_FORMAT, "file \"%s\": offset %lld where %zu is expected", piece->name,
		    (long long)offset, piece->text.len);
	if (bytes->count > DPO_FILES_LIMIT - piece->text.len)
		return dpo_fail(err, DPO_LIMIT, "file \"%s\": more than %zu bytes", piece->name, DPO_FILES_LIMIT);
	dpo_buffer_append(&piece->text, bytes->data, bytes->count);
	return piece->text.failed ? dpo_fail_memory(err) : DPO_OK;
}

/* Records up to the first tensor or the END. */
static enum dpo_status
take_records(struct dpo_files *files, struct dpo_reader *reader, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(reader);
	struct dpo_modelfiles_piece piece = { 0 };
	size_t file, offset, bytes;
	struct dpo_value *values;
	enum dpo_status status;

	if (strcmp(header->kind, "model") != 0)
		return dpo_fail(err, DPO_FORMAT, "%s: a stream of kind \"%.100s\", not a model", dpo_reader_name(reader),
		    header->kind);
	if ((status = dpo_header_need(header, "file", DPO_STR, &file, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "offset", DPO_I64, &offset, err)) != DPO_OK ||
	    (status = dpo_header_need(header, "bytes", DPO_BYTES, &bytes, err)) != DPO_OK)
		return dpo_error_prefix(err, "%s", dpo_reader_name(reader));
	if (!(values = dpo_alloc(header->n_columns, sizeof *values)))
		return dpo_fail_memory(err);
	while ((status = dpo_reader_next(reader, values, err)) == DPO_OK && values[file].count > 0) {
		status = dpo_modelfiles_take(&piece, files, &values[file], values[offset].i64, &values[bytes], err);
		if (status != DPO_OK) {
			dpo_error_prefix(err, "%s: record %llu", dpo_reader_name(reader),
			    (unsigned long long)dpo_reader_records(reader));
			break;
		}
	}
	if (status == DPO_OK || status == DPO_END)
		status = dpo_modelfiles_finish(&piece, files, err);
	dpo_buffer_free(&piece.text);
	free(values);
	return status;
}

enum dpo_status
dpo_modelfiles_open(struct dpo_files *files, const char *path, struct dpo_error *err)
{
	bool standard = strcmp(path, "-") == 0;
	struct dpo_reader *reader;
	enum dpo_status status;
	struct stat about;

	*files = (struct dpo_files){ 0 };
	if (!standard && stat(path, &about) != 0)
		return dpo_fail_errno(err, "%s", path);
	if (!standard && S_ISDIR(about.st_mode))
		return dpo_files_read(files, path, err);
	if ((status = dpo_reader_open_path(&reader, path, err)) != DPO_OK)
		return status;
	status = take_records(files, reader, err);
	dpo_reader_close(reader);
	if (status != DPO_OK)
		dpo_files_free(files);
	return status;
}
