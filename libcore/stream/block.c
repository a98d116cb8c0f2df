#include "stream/block.h"

#include "base/bytes.h"
#include "base/size.h"
#include "hash/hashes.h"
#include "stream/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LENGTH_BYTES = 4, COUNT_BYTES = 4,
	END_BYTES = 8 + 3 * DPO_HASH_BYTES,	/* count, last h, parent, seal; without the tag */
	STEP = 1 << 18,				/* a length is believed this many bytes at a time */
};

/* A block that was read, whether or not it is verified yet. */
struct unit {
	struct dpo_buffer content;
	uint8_t carried[DPO_HASH_BYTES];
};

struct dpo_block_reader {
	char *name;
	struct dpo_frames frames;
	struct dpo_buffer header;	/* JSON */
	struct unit ahead[DPO_BLOCK_HELD];	/* n_ahead of them still to be returned, from `next` on */
	size_t n_ahead, next, most;
	int threads;
	uint64_t ahead_records;		/* that they hold together */
	enum dpo_status then;		/* what comes after them, if it is an error */
	struct dpo_error err;
	uint8_t h[DPO_HASH_BYTES], first[DPO_HASH_BYTES], tip[DPO_HASH_BYTES], parent[DPO_HASH_BYTES];
	bool between;			/* after an END */
	bool tagged;			/* `tag` was read, and what it begins was not */
	char tag;
	uint64_t blocks, records;	/* returned so far */
	uint64_t member_records, members;
	bool has_tip;
};

/* ------------------------------------------------------------------ messages */

/* Records of all blocks that were read. */
static unsigned long long
records_read(const struct dpo_block_reader *reader)
{
	return reader->records + reader->ahead_records;
}

/* Put "NAME: record R: block B" before the text: the block being read, and the first record that it would give. */
static enum dpo_status
at_block(const struct dpo_block_reader *reader, struct dpo_error *err)
{
	return dpo_error_prefix(err, "%.200s: record %llu: block %llu", reader->name, records_read(reader) + 1,
	    (unsigned long long)(reader->blocks + reader->n_ahead - reader->next) + 1);
}

static enum dpo_status
truncated(const struct dpo_block_reader *reader, struct dpo_error *err)
{
	return dpo_fail(err, DPO_TRUNCATED, "%s: ends without END after %llu record%s: cut off, or the program that "
	    "wrote it failed", reader->name, records_read(reader), records_read(reader) == 1 ? "" : "s");
}

static enum dpo_status
not_zstd(const struct dpo_block_reader *reader, struct dpo_error *err)
{
	const uint8_t *at = reader->frames.input.data, *end = at + reader->frames.input.len;

	if (at == end)
		return dpo_fail(err, DPO_TRUNCATED, "%s: empty: not even a header", reader->name);
	while (at < end && *at && strchr(" \t\r\n", *at))
		at++;
	if (at < end && *at == '{')
		return dpo_fail(err, DPO_FORMAT, "%s: not a stream; it looks like JSON Lines: preference rows go through "
		    "dpo-tok first, a stream shown as text through dpo-cat -z", reader->name);
	return dpo_fail(err, DPO_FORMAT, "%s: not a stream: does not begin as zstd does", reader->name);
}

static enum dpo_status
after_end(const struct dpo_block_reader *reader, struct dpo_error *err)
{
	return dpo_fail(err, DPO_FORMAT, "%s: bytes after END that are no further stream", reader->name);
}

/* ------------------------------------------------------------------ decompressed bytes */

/* Up to n of them, as dpo_frames_pull; its errors with their place. */
static enum dpo_status
pull(struct dpo_block_reader *reader, void *bytes, size_t n, size_t *got, struct dpo_error *err)
{
	enum dpo_status status = dpo_frames_pull(&reader->frames, bytes, n, got, err);

	if (status == DPO_TRUNCATED)
		return truncated(reader, err);
	if (status != DPO_CORRUPT && status != DPO_LIMIT)
		return status;
	return reader->between && !reader->frames.inside ? after_end(reader, err) : at_block(reader, err);
}

/* Exactly n bytes. */
static enum dpo_status
pull_all(struct dpo_block_reader *reader, void *bytes, size_t n, struct dpo_error *err)
{
	enum dpo_status status;
	size_t got;

	status = pull(reader, bytes, n, &got, err);
	return status == DPO_OK && got < n ? truncated(reader, err) : status;
}

/* Append exactly n bytes to buffer, growing it only as they arrive. */
static enum dpo_status
pull_into(struct dpo_block_reader *reader, struct dpo_buffer *buffer, size_t n, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	while (n > 0 && status == DPO_OK) {
		size_t step = n < STEP ? n : STEP;
		uint8_t *room = dpo_buffer_room(buffer, step);

		status = room ? pull_all(reader, room, step, err) : dpo_fail_memory(err);
		n -= step;
	}
	return status;
}

/* ------------------------------------------------------------------ units */

/* After the magic: the JSON into `json`, and h_0. */
static enum dpo_status
read_header(struct dpo_block_reader *reader, struct dpo_buffer *json, struct dpo_error *err)
{
	struct dpo_buffer unit = { 0 };
	uint8_t raw[LENGTH_BYTES];
	enum dpo_status status;
	size_t len;

	if ((status = pull_all(reader, raw, sizeof raw, err)) != DPO_OK)
		return status;
	if ((len = dpo_bytes_load32(raw)) > DPO_HEADER_MAX)
		return dpo_fail(err, DPO_LIMIT, "%s: header of %zu bytes; the limit is %zu", reader->name, len,
		    DPO_HEADER_MAX);
	dpo_buffer_append(&unit, DPO_BLOCK_MAGIC, DPO_BLOCK_MAGIC_BYTES);
	dpo_buffer_append(&unit, raw, sizeof raw);
	if ((status = pull_into(reader, &unit, len, err)) == DPO_OK) {
		dpo_buffer_append(json, unit.data + DPO_BLOCK_MAGIC_BYTES + LENGTH_BYTES, len);
		dpo_hash(reader->h, unit.data, unit.len);
		status = json->failed || unit.failed ? dpo_fail_memory(err) : DPO_OK;
	}
	dpo_buffer_free(&unit);
	return status;
}

/* The h_0 that the member carries against the one of its header; for members after the first, against the first's too. */
static enum dpo_status
check_header(struct dpo_block_reader *reader, struct dpo_error *err)
{
	uint8_t carried[DPO_HASH_BYTES];
	enum dpo_status status = pull_all(reader, carried, sizeof carried, err);

	if (status != DPO_OK)
		return status;
	if (memcmp(carried, reader->h, sizeof carried) != 0)
		return dpo_fail(err, DPO_CORRUPT, "%s: header: hash does not match", reader->name);
	if (reader->members == 0)
		memcpy(reader->first, reader->h, sizeof reader->first);
	else if (memcmp(reader->first, reader->h, sizeof reader->first) != 0)
		return dpo_fail(err, DPO_FORMAT, "%s: after %llu records: the header of a further stream differs; only "
		    "streams with equal headers read as one", reader->name, (unsigned long long)reader->records);
	reader->member_records = 0;
	reader->between = false;
	return DPO_OK;
}

/* A header unit after an END; `tag` is the byte of it read already. */
static enum dpo_status
next_member(struct dpo_block_reader *reader, char tag, struct dpo_error *err)
{
	struct dpo_buffer json = { 0 };
	char start[DPO_BLOCK_MAGIC_BYTES];
	enum dpo_status status = DPO_OK;
	size_t got = 0;

	start[0] = tag;
	if (tag == DPO_BLOCK_MAGIC[0])
		status = pull(reader, start + 1, DPO_BLOCK_MAGIC_BYTES - 1, &got, err);
	if (status != DPO_OK)
		return status;
	if (got < DPO_BLOCK_MAGIC_BYTES - 1 || memcmp(start, DPO_BLOCK_MAGIC, DPO_BLOCK_MAGIC_BYTES) != 0)
		return after_end(reader, err);
	if ((status = read_header(reader, &json, err)) == DPO_OK)
		status = check_header(reader, err);
	dpo_buffer_free(&json);
	return status;
}

static void
fold_tip(struct dpo_block_reader *reader)
{
	if (!reader->has_tip)
		memcpy(reader->tip, reader->h, sizeof reader->tip);
	else
		dpo_hash_two(reader->tip, reader->tip, sizeof reader->tip, reader->h, sizeof reader->h);
	reader->has_tip = true;
}

static enum dpo_status
read_end(struct dpo_block_reader *reader, struct dpo_error *err)
{
	uint8_t raw[END_BYTES], seal[DPO_HASH_BYTES];
	const uint8_t *last = raw + 8, *parent = last + DPO_HASH_BYTES, *carried = parent + DPO_HASH_BYTES;
	enum dpo_status status = pull_all(reader, raw, sizeof raw, err);
	uint8_t sealed[8 + DPO_HASH_BYTES];

	if (status != DPO_OK)
		return status;
	memcpy(sealed, raw, 8);
	memcpy(sealed + 8, parent, DPO_HASH_BYTES);
	dpo_hash_two(seal, last, DPO_HASH_BYTES, sealed, sizeof sealed);
	if (memcmp(seal, carried, sizeof seal) != 0)
		return dpo_fail(err, DPO_CORRUPT, "%s: END: hash does not match", reader->name);
	if (memcmp(last, reader->h, DPO_HASH_BYTES) != 0)
		return dpo_fail(err, DPO_CORRUPT, "%s: END belongs to other blocks than the %llu before it", reader->name,
		    (unsigned long long)reader->blocks);
	if (dpo_bytes_load64(raw) != reader->member_records)
		return dpo_fail(err, DPO_CORRUPT, "%s: END counts %llu records; the blocks hold %llu", reader->name,
		    (unsigned long long)dpo_bytes_load64(raw), (unsigned long long)reader->member_records);
	memcpy(reader->parent, parent, DPO_HASH_BYTES);
	fold_tip(reader);
	reader->members++;
	reader->between = true;
	return DPO_OK;
}

/* ------------------------------------------------------------------ blocks */

/* One more, after those that were read ahead. */
static enum dpo_status
read_block(struct dpo_block_reader *reader, struct dpo_error *err)
{
	struct unit *unit = &reader->ahead[reader->n_ahead];
	uint8_t raw[LENGTH_BYTES];
	enum dpo_status status;
	size_t len;

	if ((status = pull_all(reader, raw, sizeof raw, err)) != DPO_OK)
		return status;
	len = dpo_bytes_load32(raw);
	if (len < COUNT_BYTES || len > DPO_CONTENT_MAX) {
		dpo_fail(err, DPO_LIMIT, "%zu bytes; a block holds %d to %zu", len, COUNT_BYTES, DPO_CONTENT_MAX);
		return at_block(reader, err);
	}
	dpo_buffer_clear(&unit->content);
	if ((status = pull_into(reader, &unit->content, len, err)) != DPO_OK ||
	    (status = pull_all(reader, unit->carried, sizeof unit->carried, err)) != DPO_OK)
		return status;
	reader->n_ahead++;
	reader->ahead_records += dpo_bytes_load32(unit->content.data);
	return DPO_OK;
}

/* The blocks read ahead against the chain: they end before the first that does not belong there. */
static void
verify(struct dpo_block_reader *reader)
{
	uint8_t hash[DPO_BLOCK_HELD][DPO_HASH_BYTES], h[DPO_HASH_BYTES];
	const uint8_t *content[DPO_BLOCK_HELD] = { 0 };
	size_t bytes[DPO_BLOCK_HELD] = { 0 }, n = reader->n_ahead;

	for (size_t i = 0; i < n; i++) {
		content[i] = reader->ahead[i].content.data;
		bytes[i] = reader->ahead[i].content.len;
	}
	dpo_hashes_all(reader->threads, n, content, bytes, hash);
	reader->n_ahead = reader->ahead_records = 0;
	for (size_t i = 0; i < n; i++) {
		dpo_hash_two(h, reader->h, sizeof h, hash[i], sizeof hash[i]);
		if (memcmp(h, reader->ahead[i].carried, sizeof h) != 0) {
			dpo_fail(&reader->err, DPO_CORRUPT, "hash does not match: damaged, or not the block that belongs here");
			reader->then = at_block(reader, &reader->err);
			return;
		}
		memcpy(reader->h, h, sizeof h);
		reader->n_ahead++;
		reader->ahead_records += dpo_bytes_load32(content[i]);
	}
}

/* What begins next; end of file after an END is DPO_END. */
static enum dpo_status
read_tag(struct dpo_block_reader *reader, struct dpo_error *err)
{
	enum dpo_status status;
	size_t got;

	if (reader->tagged)
		return DPO_OK;
	if ((status = pull(reader, &reader->tag, 1, &got, err)) != DPO_OK)
		return status;
	if (got == 0)
		return reader->between ? DPO_END : truncated(reader, err);
	reader->tagged = true;
	return DPO_OK;
}

/* Blocks until there are enough, or something else comes: a tag, or what `then` says. */
static void
read_ahead(struct dpo_block_reader *reader)
{
	size_t bytes = 0;

	reader->n_ahead = reader->next = 0;
	while (reader->n_ahead < reader->most && bytes < DPO_BLOCK_HELD_BYTES) {
		if ((reader->then = read_tag(reader, &reader->err)) != DPO_OK || reader->between || reader->tag != 'B')
			break;
		reader->tagged = false;
		if ((reader->then = read_block(reader, &reader->err)) != DPO_OK)
			break;
		bytes += reader->ahead[reader->n_ahead - 1].content.len;
	}
	verify(reader);
}

/* A unit that is no block, after its tag. */
static enum dpo_status
read_other(struct dpo_block_reader *reader, struct dpo_error *err)
{
	reader->tagged = false;
	if (reader->between)
		return next_member(reader, reader->tag, err);
	if (reader->tag == 'E')
		return read_end(reader, err);
	dpo_fail(err, DPO_FORMAT, "neither a block nor END");
	return at_block(reader, err);
}

enum dpo_status
dpo_block_next(struct dpo_block_reader *reader, const uint8_t **content, size_t *len, size_t *count,
    struct dpo_error *err)
{
	const struct dpo_buffer *block;

	while (reader->next == reader->n_ahead) {
		if (reader->then == DPO_OK)
			read_ahead(reader);
		if (reader->n_ahead == 0 && reader->then == DPO_OK)
			reader->then = read_other(reader, &reader->err);
		if (reader->next == reader->n_ahead && reader->then != DPO_OK) {
			if (err && reader->then != DPO_END)
				*err = reader->err;
			return reader->then;
		}
	}
	block = &reader->ahead[reader->next++].content;
	*content = block->data + COUNT_BYTES;
	*len = block->len - COUNT_BYTES;
	*count = dpo_bytes_load32(block->data);
	reader->blocks++;
	reader->records += *count;
	reader->member_records += *count;
	reader->ahead_records -= *count;
	return DPO_OK;
}

void
dpo_block_ahead(struct dpo_block_reader *reader, int threads)
{
	reader->most = DPO_BLOCK_HELD;
	reader->threads = threads;
}

/* ------------------------------------------------------------------ opening and closing */

/* zstd's magic, or that of a skippable frame. A file cut inside these four bytes is truncated, not foreign. */
static enum dpo_status
check_zstd(struct dpo_block_reader *reader, struct dpo_error *err)
{
	static const uint8_t plain[4] = { 0x28, 0xb5, 0x2f, 0xfd }, skippable[4] = { 0x50, 0x2a, 0x4d, 0x18 };
	uint8_t start[4] = { 0 };
	size_t got;
	enum dpo_status status = dpo_frames_peek(&reader->frames, start, sizeof start, &got, err);

	if (status != DPO_OK)
		return status;
	if (got > 0 && memcmp(start, plain, got) == 0)
		return got < sizeof start ? truncated(reader, err) : DPO_OK;
	start[0] &= 0xf0;
	if (got == sizeof start && memcmp(start, skippable, got) == 0)
		return DPO_OK;
	return not_zstd(reader, err);
}

static enum dpo_status
open_first(struct dpo_block_reader *reader, struct dpo_error *err)
{
	char start[DPO_BLOCK_MAGIC_BYTES];
	enum dpo_status status;

	if ((status = check_zstd(reader, err)) != DPO_OK ||
	    (status = pull_all(reader, start, sizeof start, err)) != DPO_OK)
		return status;
	if (memcmp(start, DPO_BLOCK_MAGIC, DPO_BLOCK_MAGIC_BYTES) != 0)
		return dpo_fail(err, DPO_FORMAT, "%s: zstd, but not a stream of these programs", reader->name);
	if ((status = read_header(reader, &reader->header, err)) != DPO_OK)
		return status;
	return check_header(reader, err);
}

enum dpo_status
dpo_block_open(struct dpo_block_reader **reader, int fd, const void *head, size_t n_head, const char *name,
    struct dpo_error *err)
{
	struct dpo_block_reader *made = dpo_alloc(1, sizeof *made);
	enum dpo_status status;

	*reader = NULL;
	if (!made) {
		close(fd);
		return dpo_fail_memory(err);
	}
	made->most = 1;
	made->threads = 1;
	made->name = dpo_size_copy(name, strlen(name));
	status = dpo_frames_open(&made->frames, fd, head, n_head, made->name, err);
	if (status == DPO_OK)
		status = made->name ? open_first(made, err) : dpo_fail_memory(err);
	if (status == DPO_OK)
		*reader = made;
	else
		dpo_block_close(made);
	return status;
}

const struct dpo_buffer *
dpo_block_header(const struct dpo_block_reader *reader)
{
	return &reader->header;
}

const char *
dpo_block_name(const struct dpo_block_reader *reader)
{
	return reader->name;
}

uint64_t
dpo_block_count(const struct dpo_block_reader *reader)
{
	return reader->blocks;
}

const uint8_t *
dpo_block_tip(const struct dpo_block_reader *reader)
{
	return reader->tip;
}

void
dpo_block_fold_on(struct dpo_block_reader *reader, const uint8_t *tip)
{
	memcpy(reader->tip, tip, sizeof reader->tip);
	reader->has_tip = true;
}

const uint8_t *
dpo_block_parent(const struct dpo_block_reader *reader)
{
	return reader->parent;
}

uint64_t
dpo_block_members(const struct dpo_block_reader *reader)
{
	return reader->members;
}

void
dpo_block_close(struct dpo_block_reader *reader)
{
	if (!reader)
		return;
	dpo_frames_close(&reader->frames);
	dpo_buffer_free(&reader->header);
	for (size_t i = 0; i < DPO_BLOCK_HELD; i++)
		dpo_buffer_free(&reader->ahead[i].content);
	free(reader->name);
	free(reader);
}
