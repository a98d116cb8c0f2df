#include "model/zip.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum { END_BYTES = 22, END64_BYTES = 56, LOCATOR_BYTES = 20, CENTRAL_BYTES = 46, LOCAL_BYTES = 30 };
enum { EXTRA_MAX = 1024, FLAG_ENCRYPTED = 1 };
enum { COMMENT_MAX = 65535 };

static const uint8_t end_mark[4] = "PK\5\6", end64_mark[4] = "PK\6\6", locator_mark[4] = "PK\6\7",
	central_mark[4] = "PK\1\2", local_mark[4] = "PK\3\4";

static size_t
load16(const uint8_t *p)
{
	return (size_t)(p[0] | p[1] << 8);
}

static enum dpo_status
damaged(struct dpo_error *err, const char *what)
{
	return dpo_fail(err, DPO_FORMAT, "a zip archive whose %s", what);
}

/* n bytes at `at`, which must lie within the file. */
static enum dpo_status
load(int fd, size_t size, size_t at, void *bytes, size_t n, struct dpo_error *err)
{
	if (at > size || n > size - at)
		return dpo_fail(err, DPO_TRUNCATED, "a zip archive that ends too early");
	return dpo_file_read_at(fd, at, bytes, n, err);
}

/* ------------------------------------------------------------------ the end of the archive */

/* The directory: where it begins, its bytes and its members. */
struct directory {
	size_t at, bytes, members;
};

/* Where the end record begins: the last place with its mark that a comment of its length fills to the end of the file. */
static enum dpo_status
find_end(int fd, size_t size, size_t *at, struct dpo_error *err)
{
	uint8_t block[1024 + END_BYTES];
	enum dpo_status status;

	for (size_t behind = 0; behind <= COMMENT_MAX && behind + END_BYTES <= size; behind += 1024) {
		size_t from = size - END_BYTES - behind, n = END_BYTES;

		/* Records that begin in [from - 1023, from]. */
		if (from >= 1023) {
			from -= 1023;
			n += 1023;
		} else {
			n += from;
			from = 0;
		}
		if ((status = load(fd, size, from, block, n, err)) != DPO_OK)
			return status;
		for (size_t i = n - END_BYTES + 1; i-- > 0;)
			if (memcmp(block + i, end_mark, 4) == 0 && from + i + END_BYTES + load16(block + i + 20) == size) {
				*at = from + i;
				return DPO_OK;
			}
	}
	return dpo_fail(err, DPO_TRUNCATED, "a zip archive without its end: it was cut short");
}

/* The 64-bit end record, which PyTorch always writes before the other. */
static enum dpo_status
read_end64(int fd, size_t size, size_t end, struct directory *directory, bool *found, struct dpo_error *err)
{
	uint8_t locator[LOCATOR_BYTES], record[END64_BYTES];
	enum dpo_status status;

	*found = false;
	if (end < LOCATOR_BYTES)
		return DPO_OK;
	if ((status = load(fd, size, end - LOCATOR_BYTES, locator, sizeof locator, err)) != DPO_OK)
		return status;
	if (memcmp(locator, locator_mark, 4) != 0)
		return DPO_OK;
	if ((status = load(fd, size, dpo_bytes_load64(locator + 8), record, sizeof record, err)) != DPO_OK)
		return status;
	if (memcmp(record, end64_mark, 4) != 0 || dpo_bytes_load32(record + 16) != 0 || dpo_bytes_load32(record + 20) != 0 ||
	    dpo_bytes_load64(record + 24) != dpo_bytes_load64(record + 32))
		return damaged(err, "64-bit end record is wrong");
	*directory = (struct directory){ dpo_bytes_load64(record + 48), dpo_bytes_load64(record + 40),
		dpo_bytes_load64(record + 32) };
	*found = true;
	return DPO_OK;
}

static enum dpo_status
read_end(int fd, size_t size, struct directory *directory, struct dpo_error *err)
{
	uint8_t record[END_BYTES];
	enum dpo_status status;
	size_t at = 0;
	bool found;

	if ((status = find_end(fd, size, &at, err)) != DPO_OK ||
	    (status = load(fd, size, at, record, sizeof record, err)) != DPO_OK ||
	    (status = read_end64(fd, size, at, directory, &found, err)) != DPO_OK)
		return status;
	if (!found) {
		if (load16(record + 4) != 0 || load16(record + 6) != 0 || load16(record + 8) != load16(record + 10))
			return damaged(err, "parts lie on several disks");
		*directory = (struct directory){ dpo_bytes_load32(record + 16), dpo_bytes_load32(record + 12),
			load16(record + 10) };
	}
	if (directory->at > at || directory->bytes > at - directory->at ||
	    directory->members > directory->bytes / CENTRAL_BYTES)
		return damaged(err, "directory does not lie before its end record");
	return DPO_OK;
}

/* ------------------------------------------------------------------ members */

/* Sizes and position that do not fit 32 bits are in the extra field of id 1, in this order. */
static bool
widen(const uint8_t *extra, size_t n, size_t *const *values, size_t count)
{
	const uint8_t *found = NULL, *field = extra;
	size_t bytes = 0;

	while (n >= 4 && !found) {
		bytes = load16(field + 2);
		if (bytes > n - 4)
			return false;
		if (load16(field) == 1)
			found = field + 4;
		field += 4 + bytes;
		n -= 4 + bytes;
	}
	for (size_t i = 0; i < count; i++) {
		if (*values[i] != UINT32_MAX)
			continue;
		if (!found || bytes < 8)
			return false;
		*values[i] = dpo_bytes_load64(found);
		found += 8;
		bytes -= 8;
	}
	return true;
}

/* The data follow the local header, whose name and extra field have lengths of their own. */
static enum dpo_status
read_local(int fd, size_t size, struct dpo_zip_member *member, const char *name, size_t n, struct dpo_error *err)
{
	uint8_t local[LOCAL_BYTES], again[DPO_ZIP_NAME];
	enum dpo_status status;

	if ((status = load(fd, size, member->header, local, sizeof local, err)) != DPO_OK)
		return status;
	if (memcmp(local, local_mark, 4) != 0 || load16(local + 26) != n)
		return damaged(err, "directory and members disagree");
	if ((status = load(fd, size, member->header + LOCAL_BYTES, again, n, err)) != DPO_OK)
		return status;
	if (memcmp(again, name, n) != 0)
		return damaged(err, "directory and members disagree");
	member->at = member->header + LOCAL_BYTES + n + load16(local + 28);
	if (member->at > size || member->bytes > size - member->at)
		return damaged(err, "members reach beyond the end of the file");
	return DPO_OK;
}

static enum dpo_status
add_member(struct dpo_zip *zip, const char *name, size_t n, struct dpo_zip_member member, struct dpo_error *err)
{
	void *members = zip->members;
	int added = dpo_table_add(&zip->names, name, n, (int64_t)zip->n_members);

	if (added == 0)
		return damaged(err, "member names are not all different");
	if (added < 0 || !dpo_size_grow(&members, &zip->capacity, zip->n_members + 1, sizeof member))
		return dpo_fail_memory(err);
	zip->members = members;
	zip->members[zip->n_members++] = member;
	return DPO_OK;
}

/* One entry of the directory at *at, which moves past it. */
static enum dpo_status
read_member(struct dpo_zip *zip, int fd, size_t size, size_t *at, struct dpo_error *err)
{
	uint8_t central[CENTRAL_BYTES], extra[EXTRA_MAX];
	struct dpo_zip_member member = { 0 };
	char name[DPO_ZIP_NAME + 1];
	size_t n, n_extra, packed, *const wide[] = { &member.bytes, &packed, &member.header };
	enum dpo_status status;

	if ((status = load(fd, size, *at, central, sizeof central, err)) != DPO_OK)
		return status;
	n = load16(central + 28);
	n_extra = load16(central + 30);
	if (memcmp(central, central_mark, 4) != 0)
		return damaged(err, "directory is damaged");
	if (n == 0 || n > DPO_ZIP_NAME || n_extra > EXTRA_MAX)
		return dpo_fail(err, DPO_LIMIT, "a zip archive with a name of %zu bytes, or much beside it", n);
	if ((status = load(fd, size, *at + CENTRAL_BYTES, name, n, err)) != DPO_OK ||
	    (status = load(fd, size, *at + CENTRAL_BYTES + n, extra, n_extra, err)) != DPO_OK)
		return status;
	name[n] = '\0';
	packed = dpo_bytes_load32(central + 20);
	member.bytes = dpo_bytes_load32(central + 24);
	member.header = dpo_bytes_load32(central + 42);
	if (!widen(extra, n_extra, wide, 3))
		return damaged(err, "64-bit sizes are missing");
	if (load16(central + 10) != 0 || load16(central + 8) & FLAG_ENCRYPTED || packed != member.bytes)
		return dpo_fail(err, DPO_UNSUPPORTED, "a zip archive with compressed or encrypted members");
	if (memchr(name, 0, n))
		return damaged(err, "names hold a NUL");
	if (zip->n_members == 0)
		memcpy(zip->first, name, n + 1);
	*at += CENTRAL_BYTES + n + n_extra + load16(central + 32);
	status = read_local(fd, size, &member, name, n, err);
	return status == DPO_OK ? add_member(zip, name, n, member, err) : status;
}

static int
by_header(const void *a, const void *b)
{
	const struct dpo_zip_member *x = a, *y = b;

	return x->header < y->header ? -1 : x->header > y->header;
}

/* No member begins before the one before it has ended, and all end before the directory. */
static enum dpo_status
check_overlap(const struct dpo_zip *zip, size_t directory, struct dpo_error *err)
{
	struct dpo_zip_member *sorted = dpo_alloc(zip->n_members, sizeof *sorted);
	size_t end = 0;
	bool good = true;

	if (!sorted)
		return dpo_fail_memory(err);
	memcpy(sorted, zip->members, zip->n_members * sizeof *sorted);
	qsort(sorted, zip->n_members, sizeof *sorted, by_header);
	for (size_t i = 0; i < zip->n_members; i++) {
		good = good && sorted[i].header >= end;
		end = sorted[i].at + sorted[i].bytes;
	}
	free(sorted);
	return good && end <= directory ? DPO_OK : damaged(err, "members overlap");
}

static enum dpo_status
read_directory(struct dpo_zip *zip, int fd, size_t size, struct dpo_error *err)
{
	struct directory directory = { 0 };
	enum dpo_status status = read_end(fd, size, &directory, err);
	size_t at = directory.at;

	for (size_t i = 0; status == DPO_OK && i < directory.members; i++)
		status = read_member(zip, fd, directory.at + directory.bytes, &at, err);
	if (status == DPO_OK && zip->n_members == 0)
		status = damaged(err, "directory is empty");
	return status == DPO_OK ? check_overlap(zip, directory.at, err) : status;
}

enum dpo_status
dpo_zip_open(struct dpo_zip *zip, int fd, size_t size, struct dpo_error *err)
{
	enum dpo_status status;

	*zip = (struct dpo_zip){ 0 };
	if ((status = read_directory(zip, fd, size, err)) != DPO_OK)
		dpo_zip_close(zip);
	return status;
}

const struct dpo_zip_member *
dpo_zip_find(const struct dpo_zip *zip, const char *name)
{
	int64_t index = dpo_table_get(&zip->names, name, strlen(name), -1);

	return index < 0 ? NULL : &zip->members[index];
}

void
dpo_zip_close(struct dpo_zip *zip)
{
	free(zip->members);
	dpo_table_free(&zip->names);
	*zip = (struct dpo_zip){ 0 };
}
