/*
 * rows - one line of JSON as a preference pair or a supervised example. Layer 5; uses error, size, buffer, table, utf8,
 * json, header.
 *
 *	{"prompt": "...", "chosen": "...", "rejected": "..."}	a pair
 *	{"chosen": "...", "rejected": "..."}			a pair; the prompt is what both begin with (below)
 *	{"prompt": "...", "completion": "..."}			supervised
 *
 * A row with "completion" and neither "chosen" nor "rejected" is supervised, any other is a pair. Optional: "id" (a string,
 * or an integer), "weight" (at least 0), "margin", "label_prob" (within 0 and 1); null counts as absent. Other keys are
 * kept if asked for, otherwise dropped and counted; so are "completion" in a pair, and the three numbers in a supervised
 * row.
 *
 * "rendered": true marks texts that a chat template made (pipelines/dpo-chat): the prompt, ending with the generation
 * prompt, and prompt and answer together as one whole text per answer, which need not begin with the prompt's. "rendered":
 * "prompt" marks a supervised row whose prompt alone is such a text, special tokens and all: the completion is what follows
 * it, and the string "eos", if there is one, the EOS that ended it (dpo-gen writes such rows).
 *
 * A boolean "label" beside "completion" (an unpaired preference) is refused, as are "image" and "images" unless null, an
 * empty list, or kept: their meaning would be lost.
 *
 * The shared prompt is TRL's (extract_prompt): the longest common prefix in characters, less a space at its end, which goes
 * to the answers; where one text is a prefix of the other, the last character of the shorter goes to them instead. One case
 * differs: where the very first characters differ, TRL looks at the last character of "chosen" and, if that is a space,
 * cuts both texts wrongly; here the prompt is empty and the answers are whole.
 */
#ifndef DPO_ROWS_H
#define DPO_ROWS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/table.h"
#include "stream/header.h"

enum { DPO_ROW_KEPT_MAX = 32, DPO_ROW_DROPPED_MAX = 32 };

/* A column asked for: a key of the row and the type required of it: str, f32, i64, i32[], i64[], f32[]. */
struct dpo_kept {
	char *name;		/* owned */
	enum dpo_type type;
};

/* A key that rows had and nobody asked for. */
struct dpo_dropped {
	char *name;		/* owned */
	uint64_t rows;
};

struct dpo_row_text {
	const char *bytes;
	size_t n;
};

enum dpo_rendered { DPO_RENDERED_NOT, DPO_RENDERED_PROMPT, DPO_RENDERED_WHOLE };

struct dpo_text_row {
	bool supervised;
	bool has_id;
	bool implicit;			/* the prompt was not given but derived */
	enum dpo_rendered rendered;	/* the prompt's text; or all, each answer with the prompt's messages in it */
	struct dpo_row_text id, prompt;
	struct dpo_row_text chosen;		/* supervised: the completion */
	struct dpo_row_text rejected;	/* supervised: not set */
	struct dpo_row_text eos;	/* behind the completion of a rendered prompt, else not set */
	float weight, margin, label_prob;	/* 1, 0, 1 where the row has none */
	struct dpo_value kept[DPO_ROW_KEPT_MAX];	/* in the order asked for */
	struct dpo_buffer text, values;	/* owned; what the pointers above point into */
};

/* Reads rows; {0} asks for nothing. Counts go over all rows read. */
struct dpo_rows {
	struct dpo_kept kept[DPO_ROW_KEPT_MAX];
	size_t n_kept;
	struct dpo_dropped dropped[DPO_ROW_DROPPED_MAX];	/* in the order first seen */
	size_t n_dropped;
	uint64_t dropped_more;		/* further dropped keys, rows times keys */
	struct dpo_buffer text, values;	/* of the row being read */
};

/* Ask for a column, "NAME:TYPE". DPO_USAGE for an invalid form, type or name. */
enum dpo_status dpo_rows_keep(struct dpo_rows *rows, const char *asked, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * Read a line into *row, which is {0} or holds another row, whose memory is reused. Anything that is not such a row is
 * DPO_FORMAT naming the key.
 */
enum dpo_status dpo_rows_read(struct dpo_rows *rows, struct dpo_text_row *row, const char *line, size_t n,
	struct dpo_error *err) DPO_MUST_CHECK;

void dpo_row_free(struct dpo_text_row *row);
void dpo_rows_free(struct dpo_rows *rows);

#endif
