/*
 * columns - finds the columns of pairs and sft streams by name, and makes a record an example to score. Layer 11; uses
 * error, size, file, header, stream, objective, score.
 *
 * kind "pairs": id (str), prompt, chosen, rejected (i32[]); kind "sft": id, prompt, chosen. Numbers weight, margin,
 * label_prob (f32) are 1, 0 and 1 where the stream has no such column. dpo-reflogp adds ref_chosen_logps and
 * ref_rejected_logps (f32[], nats, one per answer token).
 */
#ifndef DPO_COLUMNS_H
#define DPO_COLUMNS_H

#include "base/error.h"
#include "decoder/score.h"
#include "loss/objective.h"
#include "stream/header.h"

struct dpo_columns {
	size_t answers;			/* 2 for pairs, 1 for sft */
	bool reference;			/* the reference's columns are there */
	size_t id, prompt, answer[DPO_ANSWERS];
	size_t ref[DPO_ANSWERS];	/* only with `reference` */
	size_t weight, margin, label_prob;	/* n_columns where absent */
	size_t objectives[DPO_OBJECTIVE_COLUMNS], n_objectives;
	size_t n_columns;
};

/* One record. All pointers are borrowed from the values it was read from. */
struct dpo_row {
	const char *id;			/* id_bytes of it, not NUL-terminated */
	size_t id_bytes;
	struct dpo_example example;
	const float *ref[DPO_ANSWERS];	/* n_answer each; NULL without reference */
	double weight, margin, label_prob;
	double objectives[DPO_OBJECTIVE_COLUMNS];	/* n_objectives of the columns */
};

/* The names of the reference's columns, by answer. */
extern const char *const dpo_columns_ref_names[DPO_ANSWERS];

/* Find the columns. Another kind, or a column missing or of another type, is DPO_FORMAT naming it. */
enum dpo_status dpo_columns_find(struct dpo_columns *columns, const struct dpo_header *header, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Find further columns of numbers (f32), which dpo_columns_row then puts into row->objectives in this order. n is at most
 * DPO_OBJECTIVE_COLUMNS. A column missing or of another type is DPO_FORMAT naming it.
 */
enum dpo_status dpo_columns_objectives(struct dpo_columns *columns, const struct dpo_header *header,
	const char *const *names, size_t n, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * One record as a row. DPO_FORMAT, naming the record's id: an empty answer, reference log-probs that are not one per answer
 * token, or a number out of its range (weight below 0, label_prob outside [0, 1], anything not finite).
 */
enum dpo_status dpo_columns_row(const struct dpo_columns *columns, const struct dpo_value *values,
	struct dpo_row *row, struct dpo_error *err) DPO_MUST_CHECK;

/* How many tokens of an answer are scored: all, except the first when the prompt is empty. */
size_t dpo_columns_scored(const struct dpo_example *example, size_t answer);

/*
 * How many records a regular file holds, verifying all of it; 0 where path ("-", a FIFO) can be read only once. So a stage
 * that takes hours knows at the start that its input is whole and how long it will take.
 */
enum dpo_status dpo_columns_count(uint64_t *count, const char *path, struct dpo_error *err) DPO_MUST_CHECK;

/* Prepend "record \"ID\": " to err. */
enum dpo_status dpo_columns_blame(const struct dpo_row *row, struct dpo_error *err);

#endif
