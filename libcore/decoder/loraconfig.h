/*
 * loraconfig - what an adapter is: peft's adapter_config.json, and which modules it applies to. Layer 3; uses error, size,
 * buffer, json, regex.
 *
 * Keys and their meaning are peft's (0.21). It reads r, lora_alpha, use_rslora, lora_dropout, target_modules, rank_pattern,
 * alpha_pattern and modules_to_save. A key that would change the mathematics and is not implemented (use_dora, bias,
 * layers_to_transform, a key of a newer peft) is DPO_UNSUPPORTED naming it, unless it is null, false or empty.
 *
 * A module is named as in the model: "model.layers.0.self_attn.q_proj".
 */
#ifndef DPO_LORACONFIG_H
#define DPO_LORACONFIG_H

#include "base/error.h"
#include "base/json.h"

#define DPO_LORA_RANK_MAX 65536

struct dpo_loraconfig {
	size_t rank;
	double alpha;
	bool rslora;		/* scale alpha / sqrt(rank) instead of alpha / rank */
	double dropout;
	const cJSON *targets;	/* a list of names, or a string: "all-linear" or a regular expression */
	const cJSON *ranks, *alphas;	/* objects of patterns, or NULL */
	const cJSON *save;	/* a list of names, or NULL */
};

/* The same as a user writes it; lists have commas between names, patterns are NAME=NUMBER. Texts may be NULL. */
struct dpo_loraconfig_text {
	int64_t rank;
	double alpha, dropout;
	bool rslora;
	bool in_out;		/* the model's matrices are (in, out): peft's fan_in_fan_out */
	const char *targets;	/* "all-linear" alone stands for itself */
	const char *save, *ranks, *alphas;
};

/*
 * Make the tree of it, which the caller deletes. An empty name, and a duplicate pattern or one without a number, are
 * DPO_USAGE. On error *tree is NULL.
 */
enum dpo_status dpo_loraconfig_make(cJSON **tree, const struct dpo_loraconfig_text *text, struct dpo_error *err)
	DPO_MUST_CHECK;

/* Read and check the tree; the configuration borrows from it. */
enum dpo_status dpo_loraconfig_read(struct dpo_loraconfig *config, const cJSON *tree, struct dpo_error *err)
	DPO_MUST_CHECK;

/*
 * Whether the configuration puts an adapter on the module: its name is in the list or ends with "." and a name in it, or
 * the whole name matches the expression, or, with "all-linear", always. Modules to save never have one.
 */
enum dpo_status dpo_loraconfig_targets(const struct dpo_loraconfig *config, const char *module, bool *is,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Whether the key K of a pattern, a regular expression, speaks of the module: (.*\.)?(K) matches the whole name. */
enum dpo_status dpo_loraconfig_fits(const char *key, const char *module, bool *is, struct dpo_error *err) DPO_MUST_CHECK;

/* The rank and scale of its adapter: from the first key of a pattern that fits, or the general ones. */
enum dpo_status dpo_loraconfig_rank(const struct dpo_loraconfig *config, const char *module, size_t *rank, double *scale,
	struct dpo_error *err) DPO_MUST_CHECK;

/* Whether the module is trained whole: its name, or that of a module containing it, ends with a name in the list. */
bool dpo_loraconfig_saves(const struct dpo_loraconfig *config, const char *module);

#endif
