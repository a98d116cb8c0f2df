/*
 * training - one run of dpo-train: its model and rows, its log, its checkpoints, and the policy it writes. Part of
 * dpo-train; like cli it prints and exits.
 *
 * In the order of a run: training_open, training_begin, training_run, training_finish, training_close.
 */
#ifndef TRAINING_H
#define TRAINING_H

#include "base/file.h"
#include "cli.h"
#include "lossopts.h"
#include "stream/spool.h"
#include "train/train.h"

/* What the command line says. */
struct training_options {
	struct cli_common common;
	const char *model, *init, *adapter, *dtype;
	const char *lora_targets, *lora_save, *lora_ranks, *lora_alphas;
	int64_t lora_r;
	double lora_alpha, lora_dropout;
	bool rslora;
	struct loss_options loss;
	const char *schedule, *decay_type, *optim, *order;
	double learning_rate, warmup_steps, num_cycles, min_lr, min_lr_rate, lr_end, power, timescale, min_lr_ratio;
	double weight_decay, beta1, beta2, epsilon, rms_alpha, rms_epsilon, momentum, max_grad_norm, epochs, max_time;
	int64_t max_steps, batch_size, accumulation, grad_slots, seed;
	double logging_steps, eval_steps, save_steps;	/* below 1: shares of all steps */
	int64_t num_decay_steps;
	const char *log, *eval, *checkpoint, *best_metric, *greater_is_better;
	int64_t patience, sync_steps;
	double patience_threshold, mixup_alpha;
	int64_t max_memory;
	bool logging_first, eval_first, restart, other_reference, sync_ref, load_best, recompute, dry_run;
};

/* A stream of rows held in memory. */
struct data {
	struct dpo_reader *reader;
	struct dpo_spool *spool;
	struct dpo_rowset rows;
};

struct training {
	const struct training_options *options;
	struct dpo_recipe recipe;
	struct dpo_model model;
	struct data data, eval;
	struct dpo_train *train;
	cJSON *run;		/* what a checkpoint must agree with */
	int log;		/* a descriptor; -1: there is no log */
	size_t logged;		/* bytes of the log that are in the file */
	uint64_t save_steps;
	uint64_t saved;		/* the step of the last checkpoint */
	struct cli_progress progress;
	double deadline;	/* 0: none; waits until this process has `advanced`, or runs shorter than a step would never end */
	bool advanced;
	bool evaluating;	/* what goes on, or was done last, is an evaluation */
};

/*
 * Open model, rows and held-out rows, and check that they belong together. `path` is that of the rows. Then the estimate
 * (dryrun.h), which may end the program; where that is asked for the weights are opened after it.
 */
void training_open(struct training *training, const char *path);
/* Make the run, going on from its checkpoint if there is one, and open the log. */
void training_begin(struct training *training);
/* All steps. Ends the program where a signal or --max-time asks for it, after a checkpoint. From then on a signal just ends it. */
void training_run(struct training *training);
/* Write the policy to out, which cli_output may have opened already; then the checkpoint is of no more use. */
void training_finish(struct training *training, struct dpo_out *out);
void training_close(struct training *training);

#endif
