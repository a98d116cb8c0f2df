#include "train/checkpoint.h"

#include "base/json.h"
#include "base/size.h"
#include "model/tensors.h"
#include "stream/stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 4 << 20 };

static const char state_name[] = "state.json", log_name[] = "log.jsonl";

/* ------------------------------------------------------------------ writing */

static enum dpo_status
make_header(struct dpo_header *header, const cJSON *run, struct dpo_error *err)
{
	enum dpo_status status;
	cJSON *copy;

	if ((status = dpo_header_init(header, "checkpoint", err)) != DPO_OK ||
	    (status = dpo_tensors_add(header, err)) != DPO_OK ||
	    (status = dpo_header_add(header, "bytes", DPO_BYTES, err)) != DPO_OK)
		return status;
	if (!(copy = cJSON_Duplicate(run, true)))
		return dpo_fail_memory(err);
	return dpo_header_stage(header, "dpo-train", copy, NULL, NULL, err);
}

/* A file as records of at most PIECE bytes; an empty one is a single empty record. */
static enum dpo_status
write_file(struct dpo_writer *writer, const struct dpo_header *header, const char *name,
    const struct dpo_buffer *content, struct dpo_error *err)
{
	struct dpo_value *values = dpo_alloc(header->n_columns, sizeof *values);
	struct dpo_tensors_columns columns;
	enum dpo_status status;
	size_t bytes, at = 0;

	if (!values)
		return dpo_fail_memory(err);
	if ((status = dpo_tensors_find(&columns, header, err)) == DPO_OK)
		status = dpo_header_need(header, "bytes", DPO_BYTES, &bytes, err);
	do {
		size_t n = content->len - at < PIECE ? content->len - at : PIECE;

		if (status != DPO_OK)
			break;
		values[columns.name] = (struct dpo_value){ .data = name, .count = strlen(name) };
		values[columns.offset].i64 = (int64_t)at;
		values[bytes] = (struct dpo_value){ .data = n ? content->data + at : NULL, .count = n };
		status = dpo_writer_put(writer, values, err);
		at += n;
	} while (at < content->len);
	free(values);
	return status;
}

enum dpo_status
dpo_checkpoint_write(struct dpo_out *out, const cJSON *run, const struct dpo_buffer *state,
    const struct dpo_buffer *log, const struct dpo_params_block *blocks, size_t n_blocks, int threads,
    struct dpo_error *err)
{
	struct dpo_header header = { 0 };
	struct dpo_writer *writer = NULL;
	enum dpo_status status;

	if ((status = make_header(&header, run, err)) != DPO_OK ||
	    (status = dpo_writer_open(&writer, out, &header, DPO_LEVEL_WEIGHTS, err)) != DPO_OK)
		goto out;
	dpo_writer_hold(writer, threads);
	if ((status = write_file(writer, &header, state_name, state, err)) != DPO_OK ||
	    (status = write_file(writer, &header, log_name, log, err)) != DPO_OK)
		goto out;
	for (size_t b = 0; b < n_blocks && status == DPO_OK; b++)
		status = dpo_tensors_write(writer, &header, blocks[b].prefix, blocks[b].params, blocks[b].data, err);
	if (status == DPO_OK)
		status = dpo_writer_end(writer, NULL, err);
out:
	dpo_writer_close(writer);
	dpo_header_free(&header);
	return status;
}

/* ------------------------------------------------------------------ opening, comparing */

struct dpo_checkpoint {
	struct dpo_reader *reader;
	struct dpo_value *values;
	struct dpo_tensors_columns columns;
	size_t bytes;
	const cJSON *run;	/* in the reader's header */
};

static enum dpo_status
read_header(struct dpo_checkpoint *checkpoint, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(checkpoint->reader);
	enum dpo_status status;

	if (strcmp(header->kind, "checkpoint") != 0)
		return dpo_fail(err, DPO_MISMATCH, "not a checkpoint but a stream of kind \"%s\"", header->kind);
	checkpoint->run = dpo_json_get(cJSON_GetArrayItem(header->stages, 0), "settings");
	if (!checkpoint->run)
		return dpo_fail(err, DPO_FORMAT, "the checkpoint does not say which run it is from");
	if (!(checkpoint->values = dpo_alloc(header->n_columns, sizeof *checkpoint->values)))
		return dpo_fail_memory(err);
	if ((status = dpo_tensors_find(&checkpoint->columns, header, err)) != DPO_OK)
		return status;
	return dpo_header_need(header, "bytes", DPO_BYTES, &checkpoint->bytes, err);
}

enum dpo_status
dpo_checkpoint_open(struct dpo_checkpoint **checkpoint, const char *path, struct dpo_error *err)
{
	struct stat about;
	enum dpo_status status;

	*checkpoint = NULL;
	if (stat(path, &about) != 0 && errno == ENOENT)
		return DPO_OK;
	if (!(*checkpoint = dpo_alloc(1, sizeof **checkpoint)))
		status = dpo_fail_memory(err);
	else if ((status = dpo_reader_open_path(&(*checkpoint)->reader, path, err)) == DPO_OK &&
	    (status = read_header(*checkpoint, err)) != DPO_OK)
		(void)dpo_error_prefix(err, "%s", path);
	if (status != DPO_OK) {
		dpo_checkpoint_close(*checkpoint);
		*checkpoint = NULL;
	}
	return status;
}

void
dpo_checkpoint_close(struct dpo_checkpoint *checkpoint)
{
	if (!checkpoint)
		return;
	dpo_reader_close(checkpoint->reader);
	free(checkpoint->values);
	free(checkpoint);
}

const cJSON *
dpo_checkpoint_run(const struct dpo_checkpoint *checkpoint)
{
	return checkpoint->run;
}

static void
put(struct dpo_buffer *text, const cJSON *value)
{
	if (value)
		dpo_json_put_tree(text, value);
	else
		dpo_buffer_string(text, "absent");
}

/* As texts: cJSON_Compare takes two numbers for the same that are not. */
static enum dpo_status
same(const char *key, const cJSON *ours, const cJSON *theirs, struct dpo_error *err)
{
	struct dpo_buffer a = { 0 }, b = { 0 };
	enum dpo_status status = DPO_OK;

	put(&a, ours);
	put(&b, theirs);
	if (strcmp(dpo_buffer_text(&a), dpo_buffer_text(&b)) != 0)
		status = dpo_fail(err, DPO_MISMATCH, "a checkpoint of another run: \"%s\" is %.80s here, %.80s there", key,
		    dpo_buffer_text(&a), dpo_buffer_text(&b));
	if (a.failed || b.failed)
		status = dpo_fail_memory(err);
	dpo_buffer_free(&a);
	dpo_buffer_free(&b);
	return status;
}

static enum dpo_status
compare(const cJSON *ours, const cJSON *theirs, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	const cJSON *item, *other;

	cJSON_ArrayForEach(item, ours) {
		other = dpo_json_get(theirs, item->string);
		if (strcmp(item->string, "kernel") == 0)
			continue;
		if (cJSON_IsObject(item) && cJSON_IsObject(other))
			status = compare(item, other, err);
		else
			status = same(item->string, item, other, err);
		if (status != DPO_OK)
			return status;
	}
	cJSON_ArrayForEach(item, theirs)
		if (!dpo_json_get(ours, item->string))
			return same(item->string, NULL, item, err);
	return DPO_OK;
}

enum dpo_status
dpo_checkpoint_same(const struct dpo_checkpoint *checkpoint, const cJSON *run, struct dpo_error *err)
{
	enum dpo_status status = compare(run, checkpoint->run, err);

	return status == DPO_OK ? DPO_OK : dpo_error_prefix(err, "%s", dpo_reader_name(checkpoint->reader));
}

/* ------------------------------------------------------------------ reading */

static bool
is_file(const struct dpo_checkpoint *checkpoint, const char *name)
{
	const struct dpo_value *value = &checkpoint->values[checkpoint->columns.name];

	return value->count == strlen(name) && memcmp(value->data, name, value->count) == 0;
}

/* All records of a file, which begins with the current record; afterwards the one after it is current. */
static enum dpo_status
take_file(struct dpo_checkpoint *checkpoint, const char *name, struct dpo_buffer *content, struct dpo_error *err)
{
	size_t start = content->len;
	enum dpo_status status = DPO_OK;

	if (!is_file(checkpoint, name))
		return dpo_fail(err, DPO_FORMAT, "\"%s\" is missing", name);
	while (status == DPO_OK && is_file(checkpoint, name)) {
		const struct dpo_value *bytes = &checkpoint->values[checkpoint->bytes];

		if (checkpoint->values[checkpoint->columns.offset].i64 != (int64_t)(content->len - start))
			return dpo_fail(err, DPO_FORMAT, "\"%s\": a piece is missing", name);
		dpo_buffer_append(content, bytes->data, bytes->count);
		if (content->failed)
			return dpo_fail_memory(err);
		status = dpo_reader_next(checkpoint->reader, checkpoint->values, err);
	}
	return status == DPO_END ? dpo_fail(err, DPO_FORMAT, "no tensors") : status;
}

/* The tensors up to END; the first one's first record is current. */
static enum dpo_status
take_blocks(struct dpo_checkpoint *checkpoint, const struct dpo_params_block *blocks, size_t n_blocks,
    struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t b = 0; b < n_blocks; b++) {
		struct dpo_tensors_fill fill = { .params = blocks[b].params, .prefix = blocks[b].prefix, .block = blocks[b].data };

		while (!dpo_tensors_full(&fill)) {
			if (status == DPO_END)
				return dpo_fail(err, DPO_FORMAT, "tensors are missing");
			if (status == DPO_OK)
				status = dpo_tensors_take(&fill, &checkpoint->columns, checkpoint->values, err);
			if (status == DPO_OK)
				status = dpo_reader_next(checkpoint->reader, checkpoint->values, err);
			if (status != DPO_OK && status != DPO_END)
				return status;
		}
	}
	return status == DPO_END ? DPO_OK : dpo_fail(err, DPO_FORMAT, "a record after the last tensor");
}

enum dpo_status
dpo_checkpoint_read(struct dpo_checkpoint *checkpoint, struct dpo_buffer *state, struct dpo_buffer *log,
    const struct dpo_params_block *blocks, size_t n_blocks, int threads, struct dpo_error *err)
{
	enum dpo_status status;

	dpo_reader_ahead(checkpoint->reader, threads);
	status = dpo_reader_next(checkpoint->reader, checkpoint->values, err);
	if (status == DPO_END)
		status = dpo_fail(err, DPO_FORMAT, "%s: an empty checkpoint", dpo_reader_name(checkpoint->reader));
	if (status == DPO_OK)
		status = take_file(checkpoint, state_name, state, err);
	if (status == DPO_OK)
		status = take_file(checkpoint, log_name, log, err);
	if (status == DPO_OK)
		status = take_blocks(checkpoint, blocks, n_blocks, err);
	return status;
}

/* ------------------------------------------------------------------ what killed runs left */

/* Whether entry is .NAME.HEX.tmp, as dpo_out_open names them. */
static bool
is_left_over(const char *entry, const char *name)
{
	size_t n = strlen(name), hex = 16;

	return strlen(entry) == 1 + n + 1 + hex + 4 && entry[0] == '.' && strncmp(entry + 1, name, n) == 0 &&
	    entry[1 + n] == '.' && strspn(entry + n + 2, "0123456789abcdef") == hex &&
	    strcmp(entry + n + 2 + hex, ".tmp") == 0;
}

void
dpo_checkpoint_sweep(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *directory = slash == path ? dpo_size_copy("/", 1) :
	    slash ? dpo_size_copy(path, (size_t)(slash - path)) : dpo_size_copy(".", 1);
	DIR *open_directory = directory ? opendir(directory) : NULL;
	const struct dirent *entry;

	while (open_directory && (entry = readdir(open_directory)))
		if (is_left_over(entry->d_name, name))
			(void)unlinkat(dirfd(open_directory), entry->d_name, 0);
	if (open_directory)
		closedir(open_directory);
	free(directory);
}
