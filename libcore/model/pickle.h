/*
 * pickle - the values in a Python pickle, read as data. Layer 4; uses error, size, buffer, bytes, utf8, file.
 *
 * A pickle is a program for a stack machine. This reader knows the opcodes that a state dict of PyTorch is written with
 * (protocol 2, pickletools) and executes nothing: a global is only named, a call is kept as a value with its function and
 * arguments, and setting an attribute (BUILD) is ignored. Any other opcode or global is DPO_UNSUPPORTED naming it. What is
 * read is bounded by what a state dict needs, so that a hostile file costs little memory before it is refused: DPO_LIMIT.
 */
#ifndef DPO_PICKLE_H
#define DPO_PICKLE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DPO_PICKLE_TEXT = 255,		/* bytes of one string */
	DPO_PICKLE_STACK = 1 << 14,	/* values on the stack: Python writes 1000 items of a dict at a time */
	DPO_PICKLE_MARKS = 64,		/* nesting */
	DPO_PICKLE_FREE = 2048,		/* values allowed, and in addition: */
	DPO_PICKLE_EACH = 64,		/* for each persistent id, that is, each tensor */
};

enum dpo_pickle_kind {
	DPO_PICKLE_NONE, DPO_PICKLE_BOOL, DPO_PICKLE_INT, DPO_PICKLE_STRING, DPO_PICKLE_TUPLE, DPO_PICKLE_LIST,
	DPO_PICKLE_DICT, DPO_PICKLE_GLOBAL, DPO_PICKLE_CALL, DPO_PICKLE_PERSISTENT,
};

/* A value; values are named by their index. */
struct dpo_pickle_value {
	uint8_t kind;
	uint32_t count;			/* items of tuple and list, keys and values of a dict, bytes of a string */
	union {
		int64_t integer;	/* int, bool; of a global its index in the table */
		uint32_t text;		/* string: where it begins in `text`, followed by a NUL */
		struct { uint32_t first, last; } items;		/* cells */
		struct { uint32_t function, arguments; } call;	/* values; of a persistent id only the arguments */
	};
};

/* An item of a container and the cell of the next; DPO_PICKLE_NIL ends the list. */
struct dpo_pickle_cell {
	uint32_t value, next;
};

#define DPO_PICKLE_NIL UINT32_MAX

/* A global that may be named: "module name". Calling one that is a dict without arguments makes an empty dict. */
struct dpo_pickle_global {
	const char *name;
	bool dict;
};

/* A pickle being read. Set fd, at, end and globals, the rest 0. Release with dpo_pickle_free. */
struct dpo_pickle {
	int fd;
	size_t at, end;			/* the next byte in the file; the first that is not part of it */
	const struct dpo_pickle_global *globals;	/* borrowed; ends with a NULL name */

	struct dpo_pickle_value *values;
	struct dpo_pickle_cell *cells;
	uint32_t *stack, *memo;
	size_t n_values, n_cells, n_stack, n_memo, values_capacity, cells_capacity, stack_capacity, memo_capacity;
	uint32_t marks[DPO_PICKLE_MARKS];
	size_t n_marks, persistent;
	struct dpo_buffer text;
	uint8_t window[4096];
	size_t window_at, window_n;
};

/* Read one pickle; *root is its value, pickle->at is just after it. Messages name the byte of the file. */
enum dpo_status dpo_pickle_read(struct dpo_pickle *pickle, uint32_t *root, struct dpo_error *err) DPO_MUST_CHECK;
void dpo_pickle_free(struct dpo_pickle *pickle);

/* The text of a string, NUL-terminated. */
const char *dpo_pickle_text(const struct dpo_pickle *pickle, uint32_t string);
/* Up to `most` items of a tuple into items; false if it is no tuple or does not have `least` to `most` items. */
bool dpo_pickle_items(const struct dpo_pickle *pickle, uint32_t tuple, size_t least, size_t most, uint32_t *items);

#endif
