/*
 * header - what a stream is: kind, columns, and the chain of stages that made it. Layer 4; uses error, size, buffer, json,
 * random.
 *
 * The header of a stream is one JSON object (dpo-stream(5)):
 *
 *	{"format":1,"kind":"pairs","columns":[["id","str"],["prompt","i32[]"]],"stages":[{...},{...}]}
 *
 * It holds only what is known before the first record and equal for all shards: no time, host, path or thread count.
 * Keys this version does not know are kept. A stage is an object
 *
 *	{"stage":"dpo-tok","version":1,"settings":{...},"tokenizer":"HEX","model":"HEX"}
 *
 * with exactly the settings that shape the content; "tokenizer" and "model" are present where the stage used one.
 */
#ifndef DPO_HEADER_H
#define DPO_HEADER_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/random.h"

#include <cjson/cJSON.h>

#define DPO_FORMAT_VERSION 1
#define DPO_HEX_BYTES (2 * DPO_HASH_BYTES + 1)	/* a hash as text, with its NUL */

enum dpo_type { DPO_STR, DPO_BYTES, DPO_F32, DPO_I64, DPO_I32S, DPO_I64S, DPO_F32S, DPO_BF16S, DPO_F16S, DPO_TYPES };

/* "str" "bytes" "f32" "i64" "i32[]" "i64[]" "f32[]" "bf16[]" "f16[]". */
const char *dpo_type_name(enum dpo_type type);
/* The type of that name, or DPO_TYPES. */
enum dpo_type dpo_type_find(const char *name);
/* Bytes of one element: 1 for str and bytes, 8 for i64 and i64[], 2 for bf16[] and f16[], else 4. */
size_t dpo_type_size(enum dpo_type type);
/* One number per record (f32, i64) rather than a run of elements. */
bool dpo_type_scalar(enum dpo_type type);

struct dpo_column {
	char *name;		/* owned by the header */
	enum dpo_type type;
};

struct dpo_header {
	char *kind;			/* owned */
	struct dpo_column *columns;	/* owned, n_columns of them, names distinct */
	size_t n_columns;
	cJSON *stages;			/* owned; an array of objects */
	cJSON *other;			/* owned; an object of the keys this version does not know */
};

/* One value of a record. data points to count elements (bytes for str and bytes), aligned to 8; scalars are in f32 or i64. */
struct dpo_value {
	const void *data;
	size_t count;
	float f32;
	int64_t i64;
};

enum dpo_status dpo_header_init(struct dpo_header *header, const char *kind, struct dpo_error *err) DPO_MUST_CHECK;
enum dpo_status dpo_header_copy(struct dpo_header *to, const struct dpo_header *from, struct dpo_error *err)
	DPO_MUST_CHECK;
void dpo_header_free(struct dpo_header *header);

/* Add a column at the end; a name already there is DPO_FORMAT. */
enum dpo_status dpo_header_add(struct dpo_header *header, const char *name, enum dpo_type type,
	struct dpo_error *err) DPO_MUST_CHECK;

/* The index of the column of that name and type, into *index. Absent or of another type: DPO_FORMAT naming it. */
enum dpo_status dpo_header_need(const struct dpo_header *header, const char *name, enum dpo_type type, size_t *index,
	struct dpo_error *err) DPO_MUST_CHECK;
/* The index of the column of that name, or n_columns. */
size_t dpo_header_find(const struct dpo_header *header, const char *name);

/*
 * Append a stage. settings: an object, whose ownership passes to the header, even on error; NULL for none. tokenizer and
 * model: hex ids; NULL where not used.
 */
enum dpo_status dpo_header_stage(struct dpo_header *header, const char *stage, cJSON *settings, const char *tokenizer,
	const char *model, struct dpo_error *err) DPO_MUST_CHECK;

/* The string `key` of the last stage that has it, only of stages named `stage` unless that is NULL; NULL if none. Borrowed. */
const char *dpo_header_last(const struct dpo_header *header, const char *stage, const char *key);

/*
 * Canonical text of the header into out (cleared first): keys in the order shown above, unknown keys last. Whatever
 * dpo_header_read would refuse (a duplicate name, invalid UTF-8, an integer beyond 2^53) is refused here, so that no stream
 * begins with it.
 */
enum dpo_status dpo_header_write(const struct dpo_header *header, struct dpo_buffer *out, struct dpo_error *err)
	DPO_MUST_CHECK;
/* Read that text. Unknown major format is DPO_VERSION naming both. On error *header is {0}. */
enum dpo_status dpo_header_read(struct dpo_header *header, const char *text, size_t len, struct dpo_error *err)
	DPO_MUST_CHECK;

#endif
