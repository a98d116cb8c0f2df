#include "stream/spool.h"

#include "base/buffer.h"
#include "base/size.h"
#include "stream/record.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { CHUNK_BYTES = 1 << 16, LEVEL = 1 };

/* A run of records, compressed. */
struct chunk {
	uint8_t *bytes;		/* owned; n of them */
	size_t n;
	size_t raw;		/* bytes when decompressed */
	size_t first;		/* its first record */
};

struct dpo_spool {
	struct dpo_header header;
	struct chunk *chunks;	/* owned */
	size_t n_chunks, chunks_capacity;
	uint32_t *offsets;	/* owned; where each record begins within its chunk */
	size_t count, offsets_capacity;
	struct dpo_buffer raw;	/* chunk `current`, decompressed; while loading, the chunk to come */
	size_t current;		/* n_chunks for none */
	struct dpo_buffer scratch;
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
};

/* Compress the records collected in raw, the first of which is `first`, into a chunk of their own. */
static enum dpo_status
close_chunk(struct dpo_spool *spool, size_t first, struct dpo_error *err)
{
	size_t room = ZSTD_compressBound(spool->raw.len), done;
	void *chunks = spool->chunks, *shrunk;
	uint8_t *bytes;

	if (!dpo_size_grow(&chunks, &spool->chunks_capacity, spool->n_chunks + 1, sizeof *spool->chunks))
		return dpo_fail_memory(err);
	spool->chunks = chunks;
	if (!(bytes = malloc(room)))
		return dpo_fail_memory(err);
	done = ZSTD_compressCCtx(spool->compressor, bytes, room, spool->raw.data, spool->raw.len, LEVEL);
	if (ZSTD_isError(done)) {
		free(bytes);
		return dpo_fail(err, DPO_NOMEM, "zstd: %s", ZSTD_getErrorName(done));
	}
	shrunk = realloc(bytes, done);
	spool->chunks[spool->n_chunks++] = (struct chunk){ shrunk ? shrunk : bytes, done, spool->raw.len, first };
	dpo_buffer_clear(&spool->raw);
	return DPO_OK;
}

static enum dpo_status
add_record(struct dpo_spool *spool, const struct dpo_value *values, struct dpo_error *err)
{
	void *offsets = spool->offsets;

	if (!dpo_size_grow(&offsets, &spool->offsets_capacity, spool->count + 1, sizeof *spool->offsets))
		return dpo_fail_memory(err);
	spool->offsets = offsets;
	spool->offsets[spool->count++] = (uint32_t)spool->raw.len;
	return dpo_record_put(&spool->header, values, &spool->raw, err);
}

static enum dpo_status
load(struct dpo_spool *spool, struct dpo_reader *reader, struct dpo_value *values, struct dpo_error *err)
{
	enum dpo_status status;
	size_t first = 0;

	while ((status = dpo_reader_next(reader, values, err)) == DPO_OK) {
		if ((status = add_record(spool, values, err)) != DPO_OK)
			return status;
		if (spool->raw.len < CHUNK_BYTES)
			continue;
		if ((status = close_chunk(spool, first, err)) != DPO_OK)
			return status;
		first = spool->count;
	}
	if (status == DPO_END)
		status = spool->raw.len ? close_chunk(spool, first, err) : DPO_OK;
	return status;
}

enum dpo_status
dpo_spool_load(struct dpo_spool **spool, struct dpo_reader *reader, struct dpo_error *err)
{
	const struct dpo_header *header = dpo_reader_header(reader);
	struct dpo_value *values = dpo_alloc(header->n_columns, sizeof *values);
	struct dpo_spool *made = dpo_alloc(1, sizeof *made);
	enum dpo_status status = DPO_OK;

	*spool = NULL;
	if (made) {
		made->compressor = ZSTD_createCCtx();
		made->decompressor = ZSTD_createDCtx();
	}
	if (!values || !made || !made->compressor || !made->decompressor)
		status = dpo_fail_memory(err);
	if (status == DPO_OK && (status = dpo_header_copy(&made->header, header, err)) == DPO_OK)
		status = load(made, reader, values, err);
	free(values);
	if (status != DPO_OK) {
		dpo_spool_free(made);
		return status;
	}
	made->current = made->n_chunks;
	ZSTD_freeCCtx(made->compressor);
	made->compressor = NULL;
	*spool = made;
	return DPO_OK;
}

size_t
dpo_spool_count(const struct dpo_spool *spool)
{
	return spool->count;
}

/* The chunk that holds record `index`: the last whose first is not beyond it. */
static size_t
find_chunk(const struct dpo_spool *spool, size_t index)
{
	size_t low = 0, high = spool->n_chunks;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (spool->chunks[middle].first <= index)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static enum dpo_status
decompress(struct dpo_spool *spool, size_t number, struct dpo_error *err)
{
	const struct chunk *chunk = &spool->chunks[number];
	size_t done;
	uint8_t *to;

	spool->current = spool->n_chunks;
	dpo_buffer_clear(&spool->raw);
	if (!(to = dpo_buffer_room(&spool->raw, chunk->raw)))
		return dpo_fail_memory(err);
	done = ZSTD_decompressDCtx(spool->decompressor, to, chunk->raw, chunk->bytes, chunk->n);
	if (ZSTD_isError(done) || done != chunk->raw)
		return dpo_fail(err, DPO_CORRUPT, "records kept in memory do not decompress: faulty memory");
	spool->current = number;
	return DPO_OK;
}

enum dpo_status
dpo_spool_get(struct dpo_spool *spool, size_t index, struct dpo_value *values, struct dpo_error *err)
{
	size_t number = find_chunk(spool, index), at = spool->offsets[index];
	enum dpo_status status = DPO_OK;

	if (number != spool->current)
		status = decompress(spool, number, err);
	if (status != DPO_OK)
		return status;
	return dpo_record_get(&spool->header, spool->raw.data, spool->raw.len, &at, &spool->scratch, values, err);
}

void
dpo_spool_free(struct dpo_spool *spool)
{
	if (!spool)
		return;
	for (size_t i = 0; i < spool->n_chunks; i++)
		free(spool->chunks[i].bytes);
	free(spool->chunks);
	free(spool->offsets);
	dpo_header_free(&spool->header);
	dpo_buffer_free(&spool->raw);
	dpo_buffer_free(&spool->scratch);
	ZSTD_freeCCtx(spool->compressor);
	ZSTD_freeDCtx(spool->decompressor);
	free(spool);
}
