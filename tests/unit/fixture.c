#define _XOPEN_SOURCE 700	/* nftw */
#include "fixture.h"

#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
name_new(char path[256])
{
	const char *root = getenv("TMPDIR");

	snprintf(path, 256, "%.200s/dpo-test.XXXXXX", root && *root ? root : "/tmp");
}

void
fixture_directory(char path[256])
{
	name_new(path);
	assert_non_null(mkdtemp(path));
}

int
fixture_file(char path[256])
{
	int fd;

	name_new(path);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	return fd;
}

static int
remove_one(const char *path, const struct stat *about, int kind, struct FTW *at)
{
	(void)about;
	(void)kind;
	(void)at;
	return remove(path);
}

void
fixture_remove(const char *path)
{
	assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

double
fixture_worst(double so_far, double x)
{
	return isnan(x) ? (double)INFINITY : fmax(so_far, x);
}

char fixture_here[256];

int
fixture_set_up(void **unused)
{
	(void)unused;
	fixture_directory(fixture_here);
	return 0;
}

int
fixture_tear_down(void **unused)
{
	(void)unused;
	fixture_remove(fixture_here);
	return 0;
}

const char *
fixture_path(char path[512], const char *directory, const char *name)
{
	assert_true(snprintf(path, 512, "%s/%s", directory, name) < 512);
	return path;
}

void
fixture_write(const char *directory, const char *name, const void *bytes, size_t n)
{
	char path[512];
	FILE *file = fopen(fixture_path(path, directory, name), "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

void
fixture_text(const char *directory, const char *name, const char *text)
{
	fixture_write(directory, name, text, strlen(text));
}

char *
fixture_read(const char *directory, const char *name, size_t *n)
{
	char path[512], *bytes;
	FILE *file = fopen(fixture_path(path, directory, name), "rb");
	long length;

	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	assert_true((length = ftell(file)) >= 0);
	rewind(file);
	*n = (size_t)length;
	assert_non_null(bytes = calloc(*n + 1, 1));
	assert_int_equal(fread(bytes, 1, *n, file), *n);
	fclose(file);
	return bytes;
}
