#include "stream/source.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/lines.h"
#include "base/size.h"
#include "stream/stream.h"
#include "stream/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

struct dpo_source {
	struct dpo_header header;	/* of the first file */
	struct dpo_buffer header_text;
	bool waive;
	uint64_t files, records, blocks, members;
	uint8_t tip[DPO_HASH_BYTES], parent[DPO_HASH_BYTES];

	/* The current file: a stream ... */
	struct dpo_reader *reader;
	/* ... or lines. */
	struct dpo_lines *lines;
	struct dpo_text_record record;
};

struct dpo_source *
dpo_source_new(bool waive)
{
	struct dpo_source *source = dpo_alloc(1, sizeof *source);

	if (source)
		source->waive = waive;
	return source;
}

static void
close_file(struct dpo_source *source)
{
	dpo_reader_close(source->reader);
	source->reader = NULL;
	dpo_lines_close(source->lines);
	source->lines = NULL;
}

void
dpo_source_free(struct dpo_source *source)
{
	if (!source)
		return;
	close_file(source);
	dpo_header_free(&source->header);
	dpo_buffer_free(&source->header_text);
	dpo_text_free(&source->record);
	free(source);
}

/* ------------------------------------------------------------------ beginning a file */

/* Read until a byte that is no white space is there, or the file ends: *lines is whether it is a brace. */
static enum dpo_status
peek(struct dpo_buffer *head, int fd, const char *name, bool *lines, struct dpo_error *err)
{
	static const char mark[] = DPO_LINES_MARK, space[] = " \t\r\n";
	size_t at = 0, got = 1, n_mark = sizeof mark - 1;
	enum dpo_status status;
	uint8_t *room;

	while (got > 0 && at <= CHUNK && (head->len < n_mark || at == head->len)) {
		if (!(room = dpo_buffer_room(head, CHUNK)))
			return dpo_fail_memory(err);
		status = dpo_file_read_some(fd, room, CHUNK, &got, name, err);
		head->len -= CHUNK - got;
		if (status != DPO_OK)
			return status;
		if (at == 0 && head->len >= n_mark && memcmp(head->data, mark, n_mark) == 0)
			at = n_mark;
		while (at < head->len && memchr(space, head->data[at], sizeof space - 1))
			at++;
	}
	*lines = at < head->len && head->data[at] == '{';	/* neither kind begins with more white space */
	return DPO_OK;
}

static enum dpo_status
at_line(const struct dpo_source *source, struct dpo_error *err)
{
	return dpo_error_prefix(err, "%.200s:%" PRIu64, dpo_lines_name(source->lines), dpo_lines_number(source->lines));
}

static enum dpo_status
open_lines(struct dpo_source *source, const struct dpo_buffer *head, int fd, const char *name, struct dpo_header *header,
    struct dpo_error *err)
{
	enum dpo_status status = dpo_lines_open_after(&source->lines, fd, DPO_SOURCE_LINE_MAX, head->data, head->len, name, err);
	const char *line;
	size_t len;

	if (status != DPO_OK || (status = dpo_lines_next(source->lines, &line, &len, err)) != DPO_OK)
		return status;
	if ((status = dpo_text_get_header(header, line, len, err)) != DPO_OK)
		at_line(source, err);
	return status;
}

static enum dpo_status
open_stream(struct dpo_source *source, const struct dpo_buffer *head, int fd, const char *name, struct dpo_header *header,
    struct dpo_error *err)
{
	enum dpo_status status = dpo_reader_open_after(&source->reader, fd, head->data, head->len, name, err);

	if (status != DPO_OK)
		return status;
	if (source->members > 0)
		dpo_reader_fold_on(source->reader, source->tip);
	return dpo_header_copy(header, dpo_reader_header(source->reader), err);
}

/* Take the header of the first file; later ones must have the same text. */
static enum dpo_status
agree(struct dpo_source *source, struct dpo_header *header, const char *name, struct dpo_error *err)
{
	struct dpo_buffer text = { 0 };
	enum dpo_status status = dpo_header_write(header, &text, err);

	if (status == DPO_OK && source->files == 0) {
		source->header = *header;
		source->header_text = text;
		source->files = 1;
		return DPO_OK;
	}
	if (status == DPO_OK && (text.len != source->header_text.len ||
	    memcmp(text.data, source->header_text.data, text.len) != 0))
		status = dpo_fail(err, DPO_FORMAT, "%s: its header differs from the first file's", name);
	dpo_buffer_free(&text);
	dpo_header_free(header);
	return status;
}

enum dpo_status
dpo_source_open(struct dpo_source *source, int fd, const char *name, struct dpo_error *err)
{
	struct dpo_header header = { 0 };
	struct dpo_buffer head = { 0 };
	enum dpo_status status;
	bool lines = false;

	close_file(source);
	if ((status = peek(&head, fd, name, &lines, err)) == DPO_OK)
		status = (lines ? open_lines : open_stream)(source, &head, fd, name, &header, err);
	else
		close(fd);
	dpo_buffer_free(&head);
	return status == DPO_OK ? agree(source, &header, name, err) : status;
}

/* ------------------------------------------------------------------ reading */

const struct dpo_header *
dpo_source_header(const struct dpo_source *source)
{
	return &source->header;
}

bool
dpo_source_lines(const struct dpo_source *source)
{
	return !source->reader;
}

/* A file with so many members ended: the tip of all members so far, and the parent that this one carries. */
static void
end_file(struct dpo_source *source, const uint8_t *tip, const uint8_t *parent, uint64_t members)
{
	memcpy(source->tip, tip, DPO_HASH_BYTES);
	source->members += members;
	memcpy(source->parent, source->members == 1 ? parent : tip, DPO_HASH_BYTES);
}

static enum dpo_status
next_of_stream(struct dpo_source *source, struct dpo_value *values, struct dpo_error *err)
{
	uint64_t before = dpo_reader_blocks(source->reader);
	enum dpo_status status = dpo_reader_next(source->reader, values, err);

	source->blocks += dpo_reader_blocks(source->reader) - before;
	if (status == DPO_END)
		end_file(source, dpo_reader_tip(source->reader), dpo_reader_parent(source->reader),
		    dpo_reader_members(source->reader));
	return status;
}

/* After {"end":true}, or the end of the file without it. */
static enum dpo_status
end_of_lines(struct dpo_source *source, bool told, const uint8_t *parent, uint8_t tip[DPO_HASH_BYTES], struct dpo_error *err)
{
	enum dpo_status status;
	const char *line;
	size_t len;

	if (!told && !source->waive)
		return dpo_fail(err, DPO_TRUNCATED,
		    "%s: ends without {\"end\":true} after line %" PRIu64 ": the program that wrote it "
		    "may have failed", dpo_lines_name(source->lines), dpo_lines_number(source->lines));
	if ((status = dpo_lines_next(source->lines, &line, &len, err)) == DPO_OK) {
		(void)dpo_fail(err, DPO_FORMAT, "a line after {\"end\":true}");
		return at_line(source, err);
	}
	if (status != DPO_END)
		return status;
	if (source->members > 0)
		dpo_hash_two(tip, source->tip, DPO_HASH_BYTES, tip, DPO_HASH_BYTES);
	end_file(source, tip, parent, 1);
	return DPO_END;
}

static enum dpo_status
next_of_lines(struct dpo_source *source, struct dpo_value *values, struct dpo_error *err)
{
	uint8_t parent[DPO_HASH_BYTES] = { 0 }, tip[DPO_HASH_BYTES] = { 0 };
	enum dpo_status status;
	const char *line;
	bool is_end;
	size_t len;

	if ((status = dpo_lines_next(source->lines, &line, &len, err)) == DPO_END)
		return end_of_lines(source, false, parent, tip, err);
	if (status != DPO_OK)
		return status;
	if ((status = dpo_text_get_end(&is_end, line, len, parent, tip, err)) == DPO_OK && is_end)
		return end_of_lines(source, true, parent, tip, err);
	if (status == DPO_OK)
		status = dpo_text_get_record(&source->record, &source->header, line, len, values, err);
	if (status != DPO_OK)
		at_line(source, err);
	return status;
}

enum dpo_status
dpo_source_next(struct dpo_source *source, struct dpo_value *values, struct dpo_error *err)
{
	enum dpo_status status = source->reader ? next_of_stream(source, values, err) : next_of_lines(source, values, err);

	if (status == DPO_OK)
		source->records++;
	return status;
}

uint64_t
dpo_source_records(const struct dpo_source *source)
{
	return source->records;
}

uint64_t
dpo_source_blocks(const struct dpo_source *source)
{
	return source->blocks;
}

const uint8_t *
dpo_source_tip(const struct dpo_source *source)
{
	return source->tip;
}

const uint8_t *
dpo_source_parent(const struct dpo_source *source)
{
	return source->parent;
}
