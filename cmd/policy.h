/*
 * policy - a model to be read, as -m MODEL -a ADAPTER name it. Part of the programs that have both; like cli it prints and
 * exits.
 */
#ifndef POLICY_H
#define POLICY_H

#include "model.h"

/* Open the model (dpo_model_open_frozen), and its adapter unless that is NULL. Both are remembered for cli_output. */
void policy_open(struct dpo_model *model, const char *name, const char *adapter, int threads);

/* The option's row, for a program whose options have a field `adapter`. */
#define POLICY_ADAPTER(type) \
	{ "adapter", 'a', CLI_TEXT, offsetof(type, adapter), "ADAPTER", "with this adapter: a stream or PEFT directory", 0, 0, NULL }

#endif
