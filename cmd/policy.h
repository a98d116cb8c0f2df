/*
 * policy - a model to be read, as -m MODEL -a ADAPTER name it, and the precision to compute it in. Part of the programs that
 * have them; like cli it prints and exits.
 */
#ifndef POLICY_H
#define POLICY_H

#include "decoder/model.h"
#include "decoder/score.h"

/*
 * Open the model (dpo_model_open_frozen), and its adapter unless that is NULL. Both are remembered for cli_output, and files
 * that the model lies in for the message if one becomes shorter.
 */
void policy_open(struct dpo_model *model, const char *name, const char *adapter, int threads);

/* A scorer of such a model, its adapter included, forward only. Caller frees. */
struct dpo_scorer *policy_scorer(const struct dpo_model *model, bool bf16, int threads);

/* Before results are final: exit if a file that the model lies in was written to since, so that they may be of another model. */
void policy_same(struct dpo_model *model);

/* The rows of the stream `name` must be of the model's tokenizer: exits if not, warns if that is unknown. */
void policy_same_tokenizer(const struct dpo_header *header, const struct dpo_model *model, const char *name);

/* What --dtype says; exits where this processor cannot. */
bool policy_bf16(const char *dtype);

/* Warn if the reference's log-probs were computed in another precision, or by another kernel. */
void policy_compare_reference(const struct dpo_header *header, bool bf16);

extern const char *const policy_dtypes[];	/* the first is the default */

/* The options' rows, for a program whose options have a field `dtype`, `adapter`. */
#define POLICY_DTYPE(type) \
	{ "dtype", 0, CLI_CHOICE, offsetof(type, dtype), "DTYPE", \
	    "precision of the matrix products' operands", 0, 0, policy_dtypes }
#define POLICY_ADAPTER(type) \
	{ "adapter", 'a', CLI_TEXT, offsetof(type, adapter), "ADAPTER", \
	    "with this adapter: a stream or PEFT directory", 0, 0, NULL }

#endif
