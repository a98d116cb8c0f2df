/*
 * error - how libcore reports failure. Layer 0; uses nothing.
 *
 * A function that deals with the outside (files, streams, JSON, memory) returns an enum dpo_status and fills a caller-owned
 * struct dpo_error. The text is one line, "place: fact": lower case, no full stop, the offending value shown. A caller that
 * knows a better name for the place prepends it with dpo_error_prefix(), once. Pure arithmetic returns its value; wrong
 * sizes there are programmer errors and assert.
 *
 * The tens digit of a status is the exit code, so that cmd needs no second table:
 *	1x  failure of this machine   exit 1
 *	2x  usage                     exit 2
 *	3x  the input is bad          exit 3
 *	4x  the input does not belong exit 4
 */
#ifndef DPO_ERROR_H
#define DPO_ERROR_H

#include <stdarg.h>

enum dpo_status {
	DPO_OK = 0,
	DPO_END = 1,		/* a reader has no further record; not an error */
	DPO_IO = 10,		/* a system call failed */
	DPO_NOMEM = 11,
	DPO_NONFINITE = 12,	/* a NaN or infinity where a number must be */
	DPO_USAGE = 20,
	DPO_CORRUPT = 30,	/* a hash does not match: bytes were damaged */
	DPO_TRUNCATED = 31,	/* the input ends before its END */
	DPO_FORMAT = 32,	/* malformed */
	DPO_VERSION = 33,	/* a format version this program does not know */
	DPO_UNSUPPORTED = 34,	/* well-formed, but not implemented here */
	DPO_LIMIT = 35,		/* a size beyond a stated limit */
	DPO_MISMATCH = 40,	/* input of another model, tokenizer or run */
};

struct dpo_error {
	enum dpo_status status;
	char text[1024];
};

#define DPO_MUST_CHECK __attribute__((warn_unused_result))
#define DPO_PRINTF(text, first) __attribute__((format(__printf__, text, first)))

/* Fill err (may be NULL) with status and text; returns status, so that `return dpo_fail(...)` reads well. */
enum dpo_status dpo_fail(struct dpo_error *err, enum dpo_status status, const char *format, ...)
	DPO_PRINTF(3, 4);

/* Like dpo_fail with DPO_IO, followed by ": " and the text of errno. */
enum dpo_status dpo_fail_errno(struct dpo_error *err, const char *format, ...) DPO_PRINTF(2, 3);

/* "out of memory"; returns DPO_NOMEM. */
enum dpo_status dpo_fail_memory(struct dpo_error *err);

/* Prepend "PLACE: " to err's text; returns err's status. */
enum dpo_status dpo_error_prefix(struct dpo_error *err, const char *format, ...) DPO_PRINTF(2, 3);

#endif
