/*
 * fixture - temporary directories and files for the unit tests. Failures to make them are
 * assertions of cmocka. And the largest of errors.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stddef.h>

/* A new empty directory under $TMPDIR or /tmp; its path into path[256]. */
void fixture_directory(char path[256]);
/* A new empty file there, its path into path[256]; open for reading and writing. */
int fixture_file(char path[256]);
/* Remove a directory with all that is in it. */
void fixture_remove(const char *path);

/* cmocka's set-up and tear-down of a test that works in a directory of its own, fixture_here. */
extern char fixture_here[256];
int fixture_set_up(void **unused);
int fixture_tear_down(void **unused);

/* directory/name into path[512]; returns path. */
const char *fixture_path(char path[512], const char *directory, const char *name);
void fixture_write(const char *directory, const char *name, const void *bytes, size_t n);
void fixture_text(const char *directory, const char *name, const char *text);
/* The whole file, NUL behind it; *n its length. The caller frees. */
char *fixture_read(const char *directory, const char *name, size_t *n);

/* The larger of an error so far and x, which is never lost: infinity if x is not a number. */
double fixture_worst(double so_far, double x);

#endif
