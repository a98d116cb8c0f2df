/*
 * cat - what the parts of dpo-cat share: its options, and its input, all files as one table. Like cli they print and exit.
 */
#ifndef CAT_H
#define CAT_H

#include "base/buffer.h"
#include "cli.h"
#include "stream/source.h"

struct options {
	struct cli_common common;
	bool compress, seal, check, header, data, explain;
	const char *stage, *shard, *model;
	int64_t limit;
};

struct input {
	char **paths;
	size_t n, at;
	struct dpo_source *source;
	struct dpo_value *values;	/* of the current record */
};

/* Open the first of n paths; waive: JSON Lines without an end count as whole. */
void cat_open(struct input *input, char **paths, size_t n, bool waive);
void cat_close(struct input *input);

/* The next record of all files; false after the verified end of the last. */
bool cat_next(struct input *input);

/* NaN and infinity have no place in a stream, whoever wrote it: DPO_FORMAT names the record. */
enum dpo_status cat_check_values(const struct input *input, struct dpo_error *err);

/* Write out the text, and empty it. */
void cat_drain(struct dpo_out *out, struct dpo_buffer *text);

/* --explain: the pairs as text; an exit code. */
int cat_explain(struct input *input, const struct options *options);

#endif
