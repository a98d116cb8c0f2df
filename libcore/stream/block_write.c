#include "stream/block.h"

#include "base/bytes.h"
#include "base/parallel.h"
#include "hash/hashes.h"

#include <stdlib.h>
#include <zstd.h>

enum {
	TAG_BYTES = 1, LENGTH_BYTES = 4, COUNT_BYTES = 4,
	FRONT_BYTES = TAG_BYTES + LENGTH_BYTES + COUNT_BYTES,	/* before the records; the content is count and records */
	HELD = DPO_BLOCK_HELD,
};

/* What makes a unit a frame. */
struct coder {
	ZSTD_CCtx *zstd;
	struct dpo_buffer frame;
	size_t code;		/* zstd's: the frame's length, or an error */
};

struct dpo_block_writer {
	struct dpo_out *out;
	int level, threads;
	uint8_t h[DPO_HASH_BYTES];	/* of the last block that was hashed */
	uint64_t records;
	struct dpo_buffer pending;	/* a block that has not ended */
	struct dpo_buffer held[HELD];	/* units; the first n_held are blocks complete but for their h */
	size_t n_held, held_bytes, most;
	struct coder coders[HELD];	/* one a thread */
};

/* ------------------------------------------------------------------ frames */

static bool
open_coder(struct coder *coder, int level)
{
	if (!coder->zstd && (coder->zstd = ZSTD_createCCtx()) &&
	    (ZSTD_isError(ZSTD_CCtx_setParameter(coder->zstd, ZSTD_c_checksumFlag, 1)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(coder->zstd, ZSTD_c_compressionLevel, level)))) {
		ZSTD_freeCCtx(coder->zstd);
		coder->zstd = NULL;
	}
	return coder->zstd != NULL;
}

/* Units from `first` on, one a coder. */
struct round {
	struct dpo_block_writer *writer;
	size_t first;
};

static void
code_item(void *context, size_t item)
{
	const struct round *round = context;
	const struct dpo_buffer *unit = &round->writer->held[round->first + item];
	struct coder *coder = &round->writer->coders[item];
	size_t room = ZSTD_compressBound(unit->len);
	uint8_t *to;

	dpo_buffer_clear(&coder->frame);
	coder->code = 0;
	if (open_coder(coder, round->writer->level) && (to = dpo_buffer_room(&coder->frame, room)))
		coder->code = ZSTD_compress2(coder->zstd, to, room, unit->data, unit->len);
}

/* The first n units, in order. */
static enum dpo_status
write_units(struct dpo_block_writer *writer, size_t n, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	size_t some;

	for (size_t first = 0; first < n; first += some) {
		some = dpo_size_least(n - first, (size_t)writer->threads);
		dpo_parallel_for(writer->threads, some, code_item, &(struct round){ writer, first });
		for (size_t i = 0; i < some && status == DPO_OK; i++) {
			const struct coder *coder = &writer->coders[i];

			if (coder->code == 0)
				return dpo_fail_memory(err);
			if (ZSTD_isError(coder->code))
				return dpo_fail(err, DPO_NOMEM, "zstd: %s", ZSTD_getErrorName(coder->code));
			status = dpo_out_write(writer->out, coder->frame.data, coder->code, err);
		}
		if (status != DPO_OK)
			return status;
	}
	return DPO_OK;
}

/* ------------------------------------------------------------------ units */

/* Begin the block to come with n bytes of its records; what stands before them is known when it ends. */
static void
begin_block(struct dpo_block_writer *writer, const void *records, size_t n)
{
	dpo_buffer_clear(&writer->pending);
	(void)dpo_buffer_room(&writer->pending, FRONT_BYTES);
	dpo_buffer_append(&writer->pending, records, n);
}

struct dpo_buffer *
dpo_block_room(struct dpo_block_writer *writer)
{
	return &writer->pending;
}

size_t
dpo_block_pending(const struct dpo_block_writer *writer)
{
	return writer->pending.failed ? 0 : writer->pending.len - FRONT_BYTES;
}

/* Hash the blocks that are held, and write them. */
static enum dpo_status
write_held(struct dpo_block_writer *writer, struct dpo_error *err)
{
	uint8_t hash[HELD][DPO_HASH_BYTES];
	const uint8_t *content[HELD] = { 0 };
	size_t bytes[HELD] = { 0 }, n = writer->n_held;

	for (size_t i = 0; i < n; i++) {
		content[i] = writer->held[i].data + FRONT_BYTES - COUNT_BYTES;
		bytes[i] = writer->held[i].len - FRONT_BYTES + COUNT_BYTES;
	}
	dpo_hashes_all(writer->threads, n, content, bytes, hash);
	for (size_t i = 0; i < n; i++) {
		dpo_hash_two(writer->h, writer->h, sizeof writer->h, hash[i], sizeof hash[i]);
		dpo_buffer_append(&writer->held[i], writer->h, sizeof writer->h);
		if (writer->held[i].failed)
			return dpo_fail_memory(err);
	}
	writer->n_held = writer->held_bytes = 0;
	return write_units(writer, n, err);
}

enum dpo_status
dpo_block_put(struct dpo_block_writer *writer, size_t len, size_t count, struct dpo_error *err)
{
	struct dpo_buffer *unit = &writer->held[writer->n_held], spare = *unit;

	*unit = writer->pending;
	writer->pending = spare;
	if (unit->failed)
		return dpo_fail_memory(err);
	begin_block(writer, unit->data + FRONT_BYTES + len, unit->len - FRONT_BYTES - len);
	unit->len = FRONT_BYTES + len;
	unit->data[0] = 'B';
	dpo_bytes_store32(unit->data + TAG_BYTES, (uint32_t)(COUNT_BYTES + len));
	dpo_bytes_store32(unit->data + TAG_BYTES + LENGTH_BYTES, (uint32_t)count);
	writer->records += count;
	writer->n_held++;
	writer->held_bytes += len;
	return writer->n_held == writer->most || writer->held_bytes >= DPO_BLOCK_HELD_BYTES ? write_held(writer, err) : DPO_OK;
}

static enum dpo_status
write_header(struct dpo_block_writer *writer, const void *header, size_t len, struct dpo_error *err)
{
	struct dpo_buffer *unit = &writer->held[0];

	if (len > DPO_HEADER_MAX)
		return dpo_fail(err, DPO_LIMIT, "header of %zu bytes; the limit is %zu", len, DPO_HEADER_MAX);
	dpo_buffer_append(unit, DPO_BLOCK_MAGIC, DPO_BLOCK_MAGIC_BYTES);
	dpo_buffer_put32(unit, (uint32_t)len);
	dpo_buffer_append(unit, header, len);
	if (unit->failed)
		return dpo_fail_memory(err);
	dpo_hash(writer->h, unit->data, unit->len);
	dpo_buffer_append(unit, writer->h, sizeof writer->h);
	return write_units(writer, 1, err);
}

enum dpo_status
dpo_block_end(struct dpo_block_writer *writer, const uint8_t *parent, struct dpo_error *err)
{
	static const uint8_t none[DPO_HASH_BYTES];
	uint8_t sealed[8 + DPO_HASH_BYTES], seal[DPO_HASH_BYTES];
	enum dpo_status status = write_held(writer, err);
	struct dpo_buffer *unit = &writer->held[0];

	if (status != DPO_OK)
		return status;
	dpo_bytes_store64(sealed, writer->records);
	memcpy(sealed + 8, parent ? parent : none, DPO_HASH_BYTES);
	dpo_hash_two(seal, writer->h, sizeof writer->h, sealed, sizeof sealed);
	dpo_buffer_clear(unit);
	dpo_buffer_byte(unit, 'E');
	dpo_buffer_append(unit, sealed, 8);
	dpo_buffer_append(unit, writer->h, sizeof writer->h);
	dpo_buffer_append(unit, sealed + 8, DPO_HASH_BYTES);
	dpo_buffer_append(unit, seal, sizeof seal);
	return unit->failed ? dpo_fail_memory(err) : write_units(writer, 1, err);
}

/* ------------------------------------------------------------------ opening and closing */

enum dpo_status
dpo_block_create(struct dpo_block_writer **writer, struct dpo_out *out, const void *header, size_t len, int level,
    struct dpo_error *err)
{
	struct dpo_block_writer *made = dpo_alloc(1, sizeof *made);
	enum dpo_status status;

	*writer = NULL;
	if (!made)
		return dpo_fail_memory(err);
	made->out = out;
	made->level = level;
	made->threads = 1;
	made->most = 1;
	begin_block(made, NULL, 0);
	if ((status = write_header(made, header, len, err)) == DPO_OK)
		*writer = made;
	else
		dpo_block_free(made);
	return status;
}

void
dpo_block_hold(struct dpo_block_writer *writer, int threads)
{
	writer->most = HELD;
	writer->threads = threads < 1 ? 1 : threads < HELD ? threads : HELD;
}

void
dpo_block_free(struct dpo_block_writer *writer)
{
	if (!writer)
		return;
	for (size_t i = 0; i < HELD; i++) {
		ZSTD_freeCCtx(writer->coders[i].zstd);
		dpo_buffer_free(&writer->coders[i].frame);
		dpo_buffer_free(&writer->held[i]);
	}
	dpo_buffer_free(&writer->pending);
	free(writer);
}
