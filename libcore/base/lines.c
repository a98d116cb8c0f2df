#include "base/lines.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

struct dpo_lines {
	int fd;
	size_t most;			/* bytes of a line */
	char *name;			/* owned */
	struct dpo_buffer bytes;	/* read; from `at` on not yet returned */
	size_t at;			/* start of the next line */
	size_t seen;			/* bytes before have no newline at or after `at` */
	uint64_t number, blank;
	bool ended;			/* read returned 0 */
	bool regular;			/* a regular file */
};

enum dpo_status
dpo_lines_open(struct dpo_lines **lines, int fd, const char *name, struct dpo_error *err)
{
	struct stat about;

	*lines = dpo_alloc(1, sizeof **lines);
	if (*lines) {
		(*lines)->fd = fd;
		(*lines)->most = DPO_LINE_MAX;
		(*lines)->regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
	}
	if (!*lines || !((*lines)->name = dpo_size_copy(name, strlen(name)))) {
		free(*lines);
		close(fd);
		*lines = NULL;
		return dpo_fail_memory(err);
	}
	return DPO_OK;
}

enum dpo_status
dpo_lines_open_after(struct dpo_lines **lines, int fd, size_t most, const void *head, size_t n_head, const char *name,
    struct dpo_error *err)
{
	enum dpo_status status = dpo_lines_open(lines, fd, name, err);

	if (status != DPO_OK)
		return status;
	(*lines)->most = most;
	dpo_buffer_append(&(*lines)->bytes, head, n_head);
	if (!(*lines)->bytes.failed)
		return DPO_OK;
	dpo_lines_close(*lines);
	*lines = NULL;
	return dpo_fail_memory(err);
}

void
dpo_lines_close(struct dpo_lines *lines)
{
	if (!lines)
		return;
	close(lines->fd);
	dpo_buffer_free(&lines->bytes);
	free(lines->name);
	free(lines);
}

uint64_t
dpo_lines_number(const struct dpo_lines *lines)
{
	return lines->number;
}

uint64_t
dpo_lines_blank(const struct dpo_lines *lines)
{
	return lines->blank;
}

const char *
dpo_lines_name(const struct dpo_lines *lines)
{
	return lines->name;
}

static enum dpo_status
too_long(const struct dpo_lines *lines, uint64_t number, struct dpo_error *err)
{
	return dpo_fail(err, DPO_LIMIT, "%s:%llu: a line of more than %zu bytes", lines->name, (unsigned long long)number,
	    lines->most);
}

/* Read once more; what was returned is dropped first. */
static enum dpo_status
read_more(struct dpo_lines *lines, struct dpo_error *err)
{
	struct dpo_buffer *bytes = &lines->bytes;
	enum dpo_status status;
	uint8_t *room;
	size_t got;

	if (lines->at > 0) {
		bytes->len -= lines->at;
		memmove(bytes->data, bytes->data + lines->at, bytes->len);
		lines->seen -= lines->at;
		lines->at = 0;
	}
	if (bytes->len > lines->most)
		return too_long(lines, lines->number + 1, err);
	if (!(room = dpo_buffer_room(bytes, CHUNK)))
		return dpo_fail_memory(err);
	status = dpo_file_read_some(lines->fd, room, CHUNK, &got, lines->name, err);
	bytes->len -= CHUNK - got;
	lines->ended = got == 0;
	return status;
}

/* What the file is, if its first bytes say that it is no UTF-8 text. */
static enum dpo_status
check_start(const struct dpo_lines *lines, const char *line, size_t n, struct dpo_error *err)
{
	static const struct { const char *magic; size_t n; const char *what; } others[] = {
		{ "\x1f\x8b", 2, "gzip data; pipe it through zcat" },
		{ "\x28\xb5\x2f\xfd", 4, "zstd data, a stream or compressed text; this reads JSON Lines (zstdcat, dpo-cat)" },
		{ "BZh", 3, "bzip2 data; pipe it through bzcat" },
		{ "\xfd" "7zXZ", 5, "xz data; pipe it through xzcat" },
		{ "PK\x03\x04", 4, "a zip archive; this reads JSON Lines" },
		{ "PAR1", 4, "a Parquet file; pipelines/from-parquet writes it as JSON Lines" },
		{ "ARROW1", 6, "an Arrow file; write it as JSON Lines first" },
		{ "\xff\xfe", 2, "UTF-16 text; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)" },
		{ "\xfe\xff", 2, "UTF-16 text; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)" },
		{ "{\0", 2, "UTF-16 text; convert it to UTF-8 (iconv -f UTF-16LE -t UTF-8)" },
		{ "\0{", 2, "UTF-16 text; convert it to UTF-8 (iconv -f UTF-16BE -t UTF-8)" },
	};

	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (n >= others[i].n && memcmp(line, others[i].magic, others[i].n) == 0)
			return dpo_fail(err, DPO_FORMAT, "%s: %s", lines->name, others[i].what);
	return DPO_OK;
}

static bool
is_blank(const char *line, size_t n)
{
	size_t i = 0;

	while (i < n && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r'))
		i++;
	return i == n;
}

/* The next line, blank or not. */
static enum dpo_status
take_line(struct dpo_lines *lines, const char **line, size_t *n, struct dpo_error *err)
{
	const uint8_t *newline = NULL;
	enum dpo_status status;

	for (;;) {
		if (lines->bytes.len > lines->seen)
			newline = memchr(lines->bytes.data + lines->seen, '\n', lines->bytes.len - lines->seen);
		lines->seen = lines->bytes.len;
		if (newline || lines->ended)
			break;
		if ((status = read_more(lines, err)) != DPO_OK)
			return status;
	}
	if (!newline && lines->at == lines->bytes.len)
		return DPO_END;
	*line = (const char *)lines->bytes.data + lines->at;
	*n = newline ? (size_t)(newline - lines->bytes.data) - lines->at : lines->bytes.len - lines->at;
	lines->at += *n + (newline != NULL);
	lines->seen = lines->at;
	lines->number++;
	if (*n > lines->most)
		return too_long(lines, lines->number, err);
	if (*n > 0 && (*line)[*n - 1] == '\r')
		--*n;
	return DPO_OK;
}

enum dpo_status
dpo_lines_next(struct dpo_lines *lines, const char **line, size_t *n, struct dpo_error *err)
{
	enum dpo_status status;

	while ((status = take_line(lines, line, n, err)) == DPO_OK) {
		if (lines->number == 1 && (status = check_start(lines, *line, *n, err)) != DPO_OK)
			return status;
		if (lines->number == 1 && *n >= 3 && memcmp(*line, DPO_LINES_MARK, 3) == 0) {
			*line += 3;
			*n -= 3;
		}
		if (!is_blank(*line, *n))
			return DPO_OK;
		lines->blank++;
	}
	return status;
}

bool
dpo_lines_ready(const struct dpo_lines *lines)
{
	const char *text = (const char *)lines->bytes.data, *newline;

	if (lines->regular || lines->ended)
		return true;
	for (size_t at = lines->at; at < lines->bytes.len; at = (size_t)(newline - text) + 1) {
		if (!(newline = memchr(text + at, '\n', lines->bytes.len - at)))
			return false;
		if (!is_blank(text + at, (size_t)(newline - text) - at))
			return true;
	}
	return false;
}
