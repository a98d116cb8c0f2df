#include "streams.h"

#include "fixture.h"

#include "stream/record.h"

#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

void
streams_header(struct dpo_header *header, const char *kind)
{
	struct dpo_error err;
	enum dpo_status status = dpo_header_init(header, kind, &err);

	for (size_t type = 0; type < DPO_TYPES && status == DPO_OK; type++)
		status = dpo_header_add(header, (char[]){ (char)('a' + type), 0 }, (enum dpo_type)type, &err);
	if (status == DPO_OK)
		status = dpo_header_stage(header, "test", NULL, "0123", NULL, &err);
	assert(status == DPO_OK);
}

void
streams_values(size_t number, struct dpo_value values[DPO_TYPES])
{
	static const char *const words[] = { "", "one", "z\xc3\xa4hl \"2\"\n", "\xf0\x9f\x99\x82" };
	static uint8_t bytes[64];
	static int32_t narrow[8];
	static int64_t wide[8];
	static float floats[8];
	static uint16_t halves[8];
	size_t n = number % 8;

	for (size_t i = 0; i < 8; i++) {
		narrow[i] = i == 7 ? INT32_MIN : (int32_t)(number * 8 + i);
		wide[i] = i == 6 ? INT64_MIN : i == 5 ? INT64_MAX : -(int64_t)(number + i);
		floats[i] = i == 4 ? 1e-45f : i == 3 ? -0.0f : i == 2 ? 3.4028235e38f : (float)(number + i) / 7;
		halves[i] = (uint16_t)(0x3c00 + number + i);
	}
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(number * 31 + i * 7);
	memset(values, 0, DPO_TYPES * sizeof *values);
	values[DPO_STR].data = words[number % 4];
	values[DPO_STR].count = strlen(words[number % 4]);
	values[DPO_BYTES] = (struct dpo_value){ .data = bytes, .count = n };
	values[DPO_F32].f32 = (float)number / 3;
	values[DPO_I64].i64 = (int64_t)number << 40;
	values[DPO_I32S] = (struct dpo_value){ .data = narrow, .count = 8 - n };
	values[DPO_I64S] = (struct dpo_value){ .data = wide, .count = n };
	values[DPO_F32S] = (struct dpo_value){ .data = floats, .count = 5 };
	values[DPO_BF16S] = (struct dpo_value){ .data = halves, .count = n };
	values[DPO_F16S] = (struct dpo_value){ .data = halves, .count = 1 };
}

int
streams_fd(const void *bytes, size_t n)
{
	static int fd = -1;
	char name[256];

	if (fd < 0) {
		fd = fixture_file(name);
		unlink(name);
	}
	if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, bytes, n, 0) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	return dup(fd);
}

/* What has been written to the file of this name, which is then gone. */
static void
collect(struct dpo_buffer *out, const char *path)
{
	struct dpo_error err;

	if (dpo_file_read(out, path, SIZE_MAX, &err) != DPO_OK)
		abort();
	unlink(path);
}

void
streams_make(struct dpo_buffer *out, const char *kind, size_t records, int level, const uint8_t *parent)
{
	char path[256];
	int fd = fixture_file(path);
	struct dpo_value values[DPO_TYPES];
	struct dpo_header header;
	struct dpo_writer *writer;
	struct dpo_error err;
	struct dpo_out file;
	bool good;

	close(fd);
	streams_header(&header, kind);
	good = dpo_out_open(&file, path, &err) == DPO_OK && dpo_writer_open(&writer, &file, &header, level, &err) == DPO_OK;
	assert(good);
	for (size_t i = 0; i < records && good; i++) {
		streams_values(i, values);
		good = dpo_writer_put(writer, values, &err) == DPO_OK;
	}
	good = good && dpo_writer_end(writer, parent, &err) == DPO_OK && dpo_out_commit(&file, &err) == DPO_OK;
	if (!good) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	dpo_writer_close(writer);
	dpo_header_free(&header);
	collect(out, path);
}

/* As streams_read; with threads by blocks read ahead. */
static enum dpo_status
read_as(int fd, int threads, uint8_t hash[DPO_HASH_BYTES], size_t *records, struct dpo_error *err)
{
	struct dpo_buffer all = { 0 };
	struct dpo_value *values;
	struct dpo_reader *reader;
	enum dpo_status status;

	*records = 0;
	if ((status = dpo_reader_open(&reader, fd, "test", err)) != DPO_OK)
		return status;
	if (threads)
		dpo_reader_ahead(reader, threads);
	values = dpo_alloc(dpo_reader_header(reader)->n_columns, sizeof *values);
	if (dpo_header_write(dpo_reader_header(reader), &all, err) != DPO_OK)
		abort();
	while ((status = dpo_reader_next(reader, values, err)) == DPO_OK) {
		if (dpo_record_put(dpo_reader_header(reader), values, &all, err) != DPO_OK)
			abort();
		++*records;
	}
	if (status == DPO_END) {
		dpo_buffer_append(&all, dpo_reader_tip(reader), DPO_HASH_BYTES);
		dpo_buffer_append(&all, dpo_reader_parent(reader), DPO_HASH_BYTES);
		dpo_hash(hash, all.data, all.len);
		status = DPO_OK;
	}
	dpo_reader_close(reader);
	dpo_buffer_free(&all);
	free(values);
	return status;
}

enum dpo_status
streams_read(int fd, uint8_t hash[DPO_HASH_BYTES], size_t *records, struct dpo_error *err)
{
	return read_as(fd, 0, hash, records, err);
}

enum dpo_status
streams_read_bytes(const void *bytes, size_t n, uint8_t *hash, struct dpo_error *err)
{
	size_t records, ahead_records;
	struct dpo_error first, ahead_err;
	uint8_t ahead[DPO_HASH_BYTES];
	enum dpo_status status = streams_read(streams_fd(bytes, n), hash, &records, &first);

	assert_int_equal(read_as(streams_fd(bytes, n), 2, ahead, &ahead_records, &ahead_err), status);
	assert_int_equal(ahead_records, records);
	if (status == DPO_OK)
		assert_memory_equal(ahead, hash, sizeof ahead);
	else
		assert_string_equal(ahead_err.text, first.text);
	if (status != DPO_OK)
		*err = first;
	return status;
}

void
streams_refused(const void *bytes, size_t n, const char *what, size_t where)
{
	struct dpo_error err = { 0 };
	uint8_t hash[DPO_HASH_BYTES];
	enum dpo_status status = streams_read_bytes(bytes, n, hash, &err);

	if (status / 10 != 3 || !err.text[0] || err.status != status)
		fail_msg("%s at %zu gives status %d \"%s\"", what, where, (int)status, err.text);
}

void
streams_decompress(struct dpo_buffer *out, const void *bytes, size_t n)
{
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	ZSTD_inBuffer in = { bytes, n, 0 };
	uint8_t piece[4096];
	ZSTD_outBuffer to;

	do {
		to = (ZSTD_outBuffer){ piece, sizeof piece, 0 };
		if (ZSTD_isError(ZSTD_decompressStream(zstd, &to, &in)))
			abort();
		dpo_buffer_append(out, piece, to.pos);
	} while (in.pos < in.size || to.pos == to.size);
	ZSTD_freeDCtx(zstd);
}

void
streams_compress(struct dpo_buffer *out, const void *bytes, size_t n, int level)
{
	static ZSTD_CCtx *zstd;
	size_t room = ZSTD_compressBound(n), done;
	uint8_t *to = dpo_buffer_room(out, room);

	if (!zstd)
		zstd = ZSTD_createCCtx();
	done = ZSTD_compressCCtx(zstd, to, room, bytes, n, level);
	if (ZSTD_isError(done))
		abort();
	out->len -= room - done;
}
