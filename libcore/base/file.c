#define _GNU_SOURCE	/* sync_file_range */
#include "base/file.h"

#include "base/random.h"
#include "base/bytes.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sodium.h>

enum { CHUNK = 1 << 16, RESTING = 8 << 20 };	/* bytes */

enum dpo_status
dpo_file_open(int *fd, const char *path, struct dpo_error *err)
{
	struct stat about;

	*fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return dpo_fail_errno(err, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
	if (fstat(*fd, &about) == 0 && S_ISDIR(about.st_mode)) {
		close(*fd);
		*fd = -1;
		return dpo_fail(err, DPO_IO, "%s: is a directory", path);
	}
	return DPO_OK;
}

enum dpo_status
dpo_file_read_some(int fd, void *bytes, size_t n, size_t *got, const char *name, struct dpo_error *err)
{
	ssize_t r;

	do
		r = read(fd, bytes, n);
	while (r < 0 && errno == EINTR);
	*got = r > 0 ? (size_t)r : 0;
	return r < 0 ? dpo_fail_errno(err, "%s: read", name) : DPO_OK;
}

enum dpo_status
dpo_file_read_at(int fd, size_t position, void *bytes, size_t n, struct dpo_error *err)
{
	uint8_t *to = bytes;

	while (n > 0) {
		ssize_t got = pread(fd, to, n, (off_t)position);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dpo_fail_errno(err, "read");
		if (got == 0)
			return dpo_fail(err, DPO_TRUNCATED, "the file ends at byte %zu, before its data do", position);
		to += got;
		position += (size_t)got;
		n -= (size_t)got;
	}
	return DPO_OK;
}

enum dpo_status
dpo_file_read(struct dpo_buffer *buffer, const char *path, size_t limit, struct dpo_error *err)
{
	size_t before = buffer->len, got;
	enum dpo_status status;
	uint8_t *room;
	int fd;

	if ((status = dpo_file_open(&fd, path, err)) != DPO_OK)
		return status;
	do {
		if (!(room = dpo_buffer_room(buffer, CHUNK))) {
			status = dpo_fail_memory(err);
			break;
		}
		status = dpo_file_read_some(fd, room, CHUNK, &got, path, err);
		buffer->len -= CHUNK - got;
		if (status == DPO_OK && buffer->len - before > limit)
			status = dpo_fail(err, DPO_LIMIT, "%s: more than %zu bytes", path, limit);
	} while (status == DPO_OK && got > 0);
	close(fd);
	return status;
}

char *
dpo_file_join(const char *directory, const char *name)
{
	struct dpo_buffer path = { 0 };
	char *copy;

	dpo_buffer_string(&path, directory);
	if (path.len && path.data[path.len - 1] != '/')
		dpo_buffer_byte(&path, '/');
	dpo_buffer_string(&path, name);
	copy = path.failed ? NULL : dpo_size_copy(path.data, path.len);
	dpo_buffer_free(&path);
	return copy;
}

/* ------------------------------------------------------------------ output */

int
dpo_file_descriptor(const char *path)
{
	static const char *const folders[] = { "/dev/fd/", "/proc/self/fd/" };

	if (strcmp(path, "/dev/stdout") == 0)
		return STDOUT_FILENO;
	if (strcmp(path, "/dev/stderr") == 0)
		return STDERR_FILENO;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		size_t n = strlen(folders[i]);

		if (strncmp(path, folders[i], n) == 0 && path[n] && strspn(path + n, "0123456789") == strlen(path + n))
			return (int)dpo_size_least(strtoul(path + n, NULL, 10), INT_MAX);
	}
	return -1;
}

static bool
writes_through(const char *path)
{
	struct stat about;

	return stat(path, &about) == 0 && !S_ISREG(about.st_mode);
}

/* Where path lies. Caller frees. */
static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !slash ? dpo_size_copy(".", 1) : dpo_size_copy(path, slash == path ? 1 : (size_t)(slash - path));
}

enum dpo_status
dpo_file_place(const char *path, struct dpo_error *err)
{
	char *directory = directory_of(path), *inside = directory ? dpo_file_join(directory, ".") : NULL;
	enum dpo_status status = DPO_OK;

	if (!inside)
		status = dpo_fail_memory(err);
	else if (access(inside, W_OK | X_OK) != 0)
		status = dpo_fail_errno(err, "%s", path);
	free(directory);
	free(inside);
	return status;
}

/* The temporary name would be short enough, and only the rename would fail. */
static bool
is_too_long(const char *path)
{
	return access(path, F_OK) != 0 && errno == ENAMETOOLONG;
}

enum dpo_status
dpo_out_place(const char *path, struct dpo_error *err)
{
	struct stat about;

	if (!path || strcmp(path, "-") == 0)
		return DPO_OK;
	if (is_too_long(path))
		return dpo_fail_errno(err, "%s", path);
	if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
		return dpo_fail(err, DPO_IO, "%s: is a directory", path);
	return writes_through(path) ? DPO_OK : dpo_file_place(path, err);
}

/* DIR/.NAME.XXXXXXXX.tmp; the random part needs no seed: the file is gone when we are. */
static bool
name_temporary(struct dpo_out *out)
{
	const char *slash = strrchr(out->path, '/'), *name = slash ? slash + 1 : out->path;
	struct dpo_buffer temp = { 0 };
	uint8_t raw[8];
	char hex[17];

	if (!(out->directory = directory_of(out->path)))
		return false;
	randombytes_buf(raw, sizeof raw);
	dpo_bytes_hex(hex, raw, sizeof raw);
	dpo_buffer_printf(&temp, "%.*s.%.200s.%s.tmp", (int)(name - out->path), out->path, name, hex);
	out->temp = temp.failed ? NULL : dpo_size_copy(temp.data, temp.len);
	dpo_buffer_free(&temp);
	return out->temp != NULL;
}

static enum dpo_status
open_temporary(struct dpo_out *out, struct dpo_error *err)
{
	mode_t mask = umask(0);

	umask(mask);
	if (is_too_long(out->path))
		return dpo_fail_errno(err, "%s", out->path);
	if (!name_temporary(out))
		return dpo_fail_memory(err);
	out->fd = open(out->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out->fd < 0) {
		free(out->temp);
		out->temp = NULL;
		return dpo_fail_errno(err, "%s", out->path);
	}
	if (fchmod(out->fd, 0666 & ~mask) != 0)
		return dpo_fail_errno(err, "%s", out->path);
	return DPO_OK;
}

enum dpo_status
dpo_out_open(struct dpo_out *out, const char *path, struct dpo_error *err)
{
	bool standard = !path || strcmp(path, "-") == 0;
	const char *name = standard ? "standard output" : path;
	int descriptor = standard ? STDOUT_FILENO : dpo_file_descriptor(path);
	enum dpo_status status = DPO_OK;

	*out = (struct dpo_out){ .fd = -1 };
	if (!(out->path = dpo_size_copy(name, strlen(name))))
		return dpo_fail_memory(err);
	if (descriptor >= 0)
		out->fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
	else if (writes_through(path))
		out->fd = open(path, O_WRONLY | O_CLOEXEC);
	else
		status = open_temporary(out, err);
	if (status == DPO_OK && out->fd < 0)
		status = dpo_fail_errno(err, "%s", out->path);
	if (status != DPO_OK)
		dpo_out_abort(out);
	return status;
}

/* Ask the system to start writing back what was written: fsync then has less to wait for. Failures are fsync's to report. */
static void
begin_sync(struct dpo_out *out)
{
#if defined(__linux__) && defined(SYNC_FILE_RANGE_WRITE)
	(void)sync_file_range(out->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#endif
	out->resting = 0;
}

enum dpo_status
dpo_out_write(struct dpo_out *out, const void *bytes, size_t n, struct dpo_error *err)
{
	const uint8_t *at = bytes;

	while (n > 0) {
		ssize_t done = write(out->fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return dpo_fail_errno(err, "%s: write", out->path);
		at += done;
		n -= (size_t)done;
		out->resting += (size_t)done;
	}
	if (out->temp && out->resting >= RESTING)
		begin_sync(out);
	return DPO_OK;
}

enum dpo_status
dpo_file_sync_directory(const char *path, struct dpo_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum dpo_status status = DPO_OK;

	if (fd < 0)
		return errno == EACCES ? DPO_OK : dpo_fail_errno(err, "%s", path);
	if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
		status = dpo_fail_errno(err, "%s: fsync", path);
	close(fd);
	return status;
}

enum dpo_status
dpo_out_commit(struct dpo_out *out, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;
	int fd = out->fd;

	if (out->temp && fsync(fd) != 0)
		status = dpo_fail_errno(err, "%s: fsync", out->path);
	out->fd = -1;
	if (close(fd) != 0 && status == DPO_OK)
		status = dpo_fail_errno(err, "%s: close", out->path);
	if (status == DPO_OK && out->temp) {
		if (rename(out->temp, out->path) != 0) {
			status = dpo_fail_errno(err, "%s: rename", out->path);
		} else {
			free(out->temp);
			out->temp = NULL;
			status = dpo_file_sync_directory(out->directory, err);
		}
	}
	dpo_out_abort(out);
	return status;
}

void
dpo_out_abort(struct dpo_out *out)
{
	if (out->fd >= 0 && out->path)
		close(out->fd);
	if (out->temp)
		unlink(out->temp);
	free(out->path);
	free(out->temp);
	free(out->directory);
	*out = (struct dpo_out){ .fd = -1 };
}

enum dpo_status
dpo_file_write(const char *path, const void *bytes, size_t n, struct dpo_error *err)
{
	struct dpo_out out;
	enum dpo_status status = dpo_out_open(&out, path, err);

	if (status == DPO_OK)
		status = dpo_out_write(&out, bytes, n, err);
	if (status == DPO_OK)
		return dpo_out_commit(&out, err);
	dpo_out_abort(&out);
	return status;
}
