/*
 * lora - a low-rank adapter of a model: the table of its tensors, and the block they lie in. Layer 6; uses error, size,
 * buffer, random, vector, header, params, config, leaves, loraconfig.
 *
 * A linear map of a layer whose module is a target has two tensors, MODULE.lora_A.weight [rank][in] and
 * MODULE.lora_B.weight [out][rank], both as Linear stores them whatever the map's own layout (lowrank.h has the equation).
 * Modules to save are trained whole: their tensors are here under their own names, and replace the base's.
 *
 * This table and block are what is trained, has gradients, moments and checkpoints, and fills an adapter file; the base is
 * only read.
 */
#ifndef DPO_LORA_H
#define DPO_LORA_H

#include "base/error.h"
#include "decoder/loraconfig.h"
#include "model/config.h"
#include "model/params.h"
#include "stream/header.h"

/* What the adapter has for one tensor of the base; tensors are of the adapter's table, NULL if it has none. */
struct dpo_lora_part {
	const struct dpo_tensor *a, *b, *saved;
	size_t rank;
	float scale;
};

struct dpo_lora {
	cJSON *settings;		/* owned; as adapter_config.json */
	struct dpo_loraconfig config;	/* borrows from settings */
	const struct dpo_params *base;	/* borrowed */
	struct dpo_params params;	/* of the adapter, in the base's order, A before B; all float */
	float *block;			/* owned; params.total, 64 byte aligned */
	struct dpo_lora_part *parts;	/* owned; base->count */
	size_t rank_max;
	char base_id[DPO_HEX_BYTES];	/* the model it is an adapter of */
};

/*
 * The target modules that peft uses for such a model by default: "q_proj,v_proj", or the fused map of query, key and value,
 * also of families (phi3, olmo2) of which peft knows no default; "all-linear" where it has neither.
 */
const char *dpo_lora_usual_targets(const struct dpo_params *base);

/*
 * Make the table for a base, with all tensors zero. Takes ownership of settings, even on error. DPO_FORMAT: no module of
 * the base is a target, or a name in the lists matches none; DPO_UNSUPPORTED: a tied embedding or head among the modules to
 * save, a target that is no linear map of a layer, or what loraconfig refuses. On error *lora is {0}.
 */
enum dpo_status dpo_lora_init(struct dpo_lora *lora, cJSON *settings, const struct dpo_config *config,
	const struct dpo_params *base, const char *base_id, struct dpo_error *err) DPO_MUST_CHECK;

/* DPO_FORMAT if a key of the patterns fits no module that has an adapter: a misspelling, in settings that a person wrote. */
enum dpo_status dpo_lora_check_patterns(const struct dpo_lora *lora, struct dpo_error *err) DPO_MUST_CHECK;

/*
 * The state before the first step, as in peft: A uniform in +-1/sqrt(in) (kaiming_uniform_ with a = sqrt(5)), keyed by
 * (seed, tensor name), B zero, saved tensors as in the base, whose block is `weights`. false if out of memory.
 */
bool dpo_lora_start(struct dpo_lora *lora, const float *weights, uint64_t seed);

/* Another dropout from here on, and in the settings. false if out of memory. */
bool dpo_lora_set_dropout(struct dpo_lora *lora, double p);

/* What the adapter has for a tensor of the base's table; lora may be NULL. */
struct dpo_lora_part dpo_lora_part(const struct dpo_lora *lora, const struct dpo_tensor *tensor);

/*
 * The id of the base with this adapter: identity.h over the adapter's tensors and the text "adapter BASE_ID\n" and
 * "MODULE.lora_A.weight SCALE\n" (hexadecimal) for each map. On at most
 * `threads` threads.
 */
enum dpo_status dpo_lora_identify(char id[DPO_HEX_BYTES], const struct dpo_lora *lora, int threads,
	struct dpo_error *err) DPO_MUST_CHECK;

void dpo_lora_free(struct dpo_lora *lora);

#endif
