#include "stream/frames.h"

#include "base/file.h"
#include "base/size.h"

#include <string.h>
#include <unistd.h>
#include <zstd_errors.h>

enum { WINDOW_LOG = 23 };

enum dpo_status
dpo_frames_open(struct dpo_frames *frames, int fd, const void *head, size_t n_head, const char *name, struct dpo_error *err)
{
	size_t room = ZSTD_DStreamInSize();

	*frames = (struct dpo_frames){ .name = name, .fd = fd, .zstd = ZSTD_createDCtx() };
	if (!frames->zstd || !dpo_buffer_room(&frames->input, n_head > room ? n_head : room) ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(frames->zstd, ZSTD_d_windowLogMax, WINDOW_LOG)))
		return dpo_fail_memory(err);
	frames->input.len = n_head;
	if (n_head)
		memcpy(frames->input.data, head, n_head);
	return DPO_OK;
}

enum dpo_status
dpo_frames_peek(struct dpo_frames *frames, uint8_t *start, size_t n, size_t *got, struct dpo_error *err)
{
	struct dpo_buffer *input = &frames->input;
	enum dpo_status status = DPO_OK;
	size_t some = 1;

	while (input->len < n && some > 0 && status == DPO_OK) {
		status = dpo_file_read_some(frames->fd, input->data + input->len, input->capacity - input->len, &some,
		    frames->name, err);
		input->len += status == DPO_OK ? some : 0;
	}
	*got = dpo_size_least(input->len, n);
	memcpy(start, input->data, *got);
	return status;
}

static enum dpo_status
fill(struct dpo_frames *frames, struct dpo_error *err)
{
	enum dpo_status status;
	size_t got;

	status = dpo_file_read_some(frames->fd, frames->input.data, frames->input.capacity, &got, frames->name, err);
	frames->input.len = got;
	frames->at = 0;
	frames->end_of_file = got == 0;
	return status;
}

static enum dpo_status
failed(size_t code, struct dpo_error *err)
{
	ZSTD_ErrorCode kind = ZSTD_getErrorCode(code);

	if (kind == ZSTD_error_memory_allocation)
		return dpo_fail_memory(err);
	if (kind == ZSTD_error_frameParameter_windowTooLarge)
		return dpo_fail(err, DPO_LIMIT, "zstd window above 8 MiB; recompress with level 19 or less");
	return dpo_fail(err, DPO_CORRUPT, "zstd: %s", ZSTD_getErrorName(code));
}

enum dpo_status
dpo_frames_pull(struct dpo_frames *frames, void *bytes, size_t n, size_t *got, struct dpo_error *err)
{
	ZSTD_outBuffer out = { bytes, n, 0 };
	enum dpo_status status = DPO_OK;

	while (out.pos < n && status == DPO_OK) {
		ZSTD_inBuffer in = { frames->input.data, frames->input.len, frames->at };
		size_t before = out.pos, code = ZSTD_decompressStream(frames->zstd, &out, &in);

		if (ZSTD_isError(code))
			return failed(code, err);
		/* Called with no input between frames, zstd asks for a frame header: that is no frame begun. */
		if (in.pos > frames->at || out.pos > before)
			frames->inside = code != 0;
		frames->at = in.pos;
		if (out.pos < n && in.pos == in.size && out.pos == before) {
			if (frames->end_of_file)
				break;
			status = fill(frames, err);
		}
	}
	*got = out.pos;
	return status == DPO_OK && out.pos < n && frames->inside ? DPO_TRUNCATED : status;
}

void
dpo_frames_close(struct dpo_frames *frames)
{
	close(frames->fd);
	ZSTD_freeDCtx(frames->zstd);
	dpo_buffer_free(&frames->input);
}
