#include "stream/stream.h"

#include "base/buffer.h"
#include "base/size.h"
#include "stream/block.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ reading */

struct dpo_reader {
	struct dpo_block_reader *blocks;
	struct dpo_header header;
	const uint8_t *content;		/* records of the current block: len bytes, `at` of them read */
	size_t len, at;
	size_t left;			/* records of it not yet returned */
	struct dpo_buffer scratch;	/* the values returned last */
	uint64_t records;
	enum dpo_status status;		/* what ended the stream, returned again on every later call */
	struct dpo_error err;
};

enum dpo_status
dpo_reader_open_after(struct dpo_reader **reader, int fd, const void *head, size_t n_head, const char *name,
    struct dpo_error *err)
{
	struct dpo_block_reader *blocks;
	struct dpo_reader *made;
	const struct dpo_buffer *json;
	enum dpo_status status;

	*reader = NULL;
	if ((status = dpo_block_open(&blocks, fd, head, n_head, name, err)) != DPO_OK)
		return status;
	if (!(made = dpo_alloc(1, sizeof *made))) {
		dpo_block_close(blocks);
		return dpo_fail_memory(err);
	}
	made->blocks = blocks;
	json = dpo_block_header(blocks);
	if ((status = dpo_header_read(&made->header, (const char *)json->data, json->len, err)) != DPO_OK) {
		dpo_error_prefix(err, "%s", name);
		dpo_reader_close(made);
		return status;
	}
	*reader = made;
	return DPO_OK;
}

enum dpo_status
dpo_reader_open(struct dpo_reader **reader, int fd, const char *name, struct dpo_error *err)
{
	return dpo_reader_open_after(reader, fd, NULL, 0, name, err);
}

enum dpo_status
dpo_reader_open_path(struct dpo_reader **reader, const char *path, struct dpo_error *err)
{
	int fd;
	enum dpo_status status = dpo_file_open(&fd, path, err);

	*reader = NULL;
	return status != DPO_OK ? status :
	    dpo_reader_open(reader, fd, strcmp(path, "-") ? path : "standard input", err);
}

void
dpo_reader_ahead(struct dpo_reader *reader, int threads)
{
	dpo_block_ahead(reader->blocks, threads);
}

const struct dpo_header *
dpo_reader_header(const struct dpo_reader *reader)
{
	return &reader->header;
}

const char *
dpo_reader_name(const struct dpo_reader *reader)
{
	return dpo_block_name(reader->blocks);
}

/* A record that the hash covers but the format does not allow: a writer's mistake, not damage. */
static enum dpo_status
at_record(const struct dpo_reader *reader, struct dpo_error *err)
{
	return dpo_error_prefix(err, "%.200s: record %llu: block %llu", dpo_reader_name(reader),
	    (unsigned long long)reader->records + 1, (unsigned long long)dpo_block_count(reader->blocks));
}

static enum dpo_status
next_block(struct dpo_reader *reader, struct dpo_error *err)
{
	enum dpo_status status;

	if (reader->at < reader->len) {
		reader->records--;	/* the last one of the block is the one that ends too early */
		dpo_fail(err, DPO_FORMAT, "%zu bytes of its block follow its last record", reader->len - reader->at);
		return at_record(reader, err);
	}
	reader->at = reader->len = 0;
	status = dpo_block_next(reader->blocks, &reader->content, &reader->len, &reader->left, err);
	if (status == DPO_OK && reader->left == 0) {
		dpo_fail(err, DPO_FORMAT, "block without a record");
		return at_record(reader, err);
	}
	return status;
}

enum dpo_status
dpo_reader_next(struct dpo_reader *reader, struct dpo_value *values, struct dpo_error *err)
{
	if (reader->status == DPO_OK && reader->left == 0)
		reader->status = next_block(reader, &reader->err);
	if (reader->status == DPO_OK) {
		reader->status = dpo_record_get(&reader->header, reader->content, reader->len, &reader->at,
		    &reader->scratch, values, &reader->err);
		if (reader->status != DPO_OK)
			at_record(reader, &reader->err);
	}
	if (reader->status != DPO_OK) {
		if (err && reader->status != DPO_END)
			*err = reader->err;
		return reader->status;
	}
	reader->left--;
	reader->records++;
	return DPO_OK;
}

uint64_t
dpo_reader_records(const struct dpo_reader *reader)
{
	return reader->records;
}

uint64_t
dpo_reader_blocks(const struct dpo_reader *reader)
{
	return dpo_block_count(reader->blocks);
}

uint64_t
dpo_reader_members(const struct dpo_reader *reader)
{
	return dpo_block_members(reader->blocks);
}

const uint8_t *
dpo_reader_tip(const struct dpo_reader *reader)
{
	return dpo_block_tip(reader->blocks);
}

void
dpo_reader_fold_on(struct dpo_reader *reader, const uint8_t *tip)
{
	dpo_block_fold_on(reader->blocks, tip);
}

const uint8_t *
dpo_reader_parent(const struct dpo_reader *reader)
{
	return dpo_block_parent(reader->blocks);
}

void
dpo_reader_close(struct dpo_reader *reader)
{
	if (!reader)
		return;
	dpo_block_close(reader->blocks);
	dpo_header_free(&reader->header);
	dpo_buffer_free(&reader->scratch);
	free(reader);
}

/* ------------------------------------------------------------------ writing */

struct dpo_writer {
	struct dpo_block_writer *blocks;
	struct dpo_header header;
	size_t count;			/* records of the block to come */
	size_t target;			/* how many a block takes now: 1, 2, 4, ... */
	uint64_t records;
};

int
dpo_stream_level(const char *kind)
{
	bool weights = strcmp(kind, "model") == 0 || strcmp(kind, "adapter") == 0 || strcmp(kind, "checkpoint") == 0;

	return weights ? DPO_LEVEL_WEIGHTS : DPO_LEVEL_TABLE;
}

enum dpo_status
dpo_writer_open(struct dpo_writer **writer, struct dpo_out *out, const struct dpo_header *header, int level,
    struct dpo_error *err)
{
	struct dpo_writer *made = dpo_alloc(1, sizeof *made);
	struct dpo_buffer json = { 0 };
	enum dpo_status status;

	*writer = NULL;
	if (!made)
		return dpo_fail_memory(err);
	made->target = 1;
	if ((status = dpo_header_copy(&made->header, header, err)) == DPO_OK &&
	    (status = dpo_header_write(header, &json, err)) == DPO_OK)
		status = dpo_block_create(&made->blocks, out, json.data, json.len, level, err);
	dpo_buffer_free(&json);
	if (status == DPO_OK)
		*writer = made;
	else
		dpo_writer_close(made);
	return status;
}

void
dpo_writer_hold(struct dpo_writer *writer, int threads)
{
	dpo_block_hold(writer->blocks, threads);
}

/* Write the first `count` pending records, `len` bytes, as a block. */
static enum dpo_status
flush(struct dpo_writer *writer, size_t len, size_t count, struct dpo_error *err)
{
	writer->count -= count;
	if (writer->target <= DPO_BLOCK_BYTES)
		writer->target *= 2;
	return dpo_block_put(writer->blocks, len, count, err);
}

enum dpo_status
dpo_writer_put(struct dpo_writer *writer, const struct dpo_value *values, struct dpo_error *err)
{
	size_t before = dpo_block_pending(writer->blocks), pending;
	enum dpo_status status;

	writer->records++;
	if ((status = dpo_record_check(&writer->header, values, err)) != DPO_OK ||
	    (status = dpo_record_put(&writer->header, values, dpo_block_room(writer->blocks), err)) != DPO_OK)
		return status == DPO_NOMEM ? status :
		    dpo_error_prefix(err, "record %llu", (unsigned long long)writer->records);
	writer->count++;
	if (before > 0 && dpo_block_pending(writer->blocks) > DPO_BLOCK_BYTES)
		status = flush(writer, before, writer->count - 1, err);
	pending = dpo_block_pending(writer->blocks);
	if (status == DPO_OK && (writer->count == writer->target || pending > DPO_BLOCK_BYTES))
		status = flush(writer, pending, writer->count, err);
	return status;
}

enum dpo_status
dpo_writer_end(struct dpo_writer *writer, const uint8_t *parent, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	if (writer->count > 0)
		status = flush(writer, dpo_block_pending(writer->blocks), writer->count, err);
	return status == DPO_OK ? dpo_block_end(writer->blocks, parent, err) : status;
}

void
dpo_writer_close(struct dpo_writer *writer)
{
	if (!writer)
		return;
	dpo_block_free(writer->blocks);
	dpo_header_free(&writer->header);
	free(writer);
}
