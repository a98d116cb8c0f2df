/*
 * family - the families of decoders, as rows of one table. Layer 3; uses nothing.
 *
 * A row says what the decoder of decoder.h is made of for one "model_type" of config.json: its parts, its tensors' names,
 * the keys of its config.json and what absent keys mean. A part that a family lacks has no name. Adding a family means
 * adding a row.
 */
#ifndef DPO_FAMILY_H
#define DPO_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dpo_norm_kind { DPO_NORM_LAYER, DPO_NORM_RMS, DPO_NORM_RMS_FROM_ONE };	/* norm.h */
enum dpo_position_kind { DPO_POSITION_LEARNED, DPO_POSITION_ROPE };
enum dpo_mlp_kind { DPO_MLP_PLAIN, DPO_MLP_GATED };
enum dpo_activation {
	DPO_ACTIVATION_GELU_TANH, DPO_ACTIVATION_SILU, DPO_ACTIVATION_GELU, DPO_ACTIVATION_RELU,
};
enum dpo_layout { DPO_LAYOUT_OUT_IN, DPO_LAYOUT_IN_OUT };	/* Linear; GPT-2's Conv1D */
enum dpo_qk_norm {
	DPO_QK_NORM_NONE,
	DPO_QK_NORM_HEAD,	/* each head by itself, one weight for all (Qwen3) */
	DPO_QK_NORM_ALL,	/* all heads as one vector (OLMo 2) */
};

enum dpo_rope_kind {
	DPO_ROPE_PLAIN, DPO_ROPE_LINEAR, DPO_ROPE_DYNAMIC, DPO_ROPE_LLAMA3, DPO_ROPE_YARN,
	DPO_ROPE_LONGROPE,
};

enum { DPO_LAYERS_MAX = 4096, DPO_ROPE_FACTORS = 256, DPO_NO_TOKEN = INT32_MIN };

/* Rotary positions and how they are stretched; rope.h has the equations. */
struct dpo_rope {
	enum dpo_rope_kind kind;
	size_t dim;		/* how many first elements of a head are rotated; even */
	double part;		/* dim / head_dim as config.json has it; 0: the family has no such key */
	double theta;
	double factor;
	size_t original;	/* positions before stretching */
	double low_frequency, high_frequency;			/* llama3 */
	double beta_fast, beta_slow, mscale, mscale_all;	/* yarn */
	bool truncate;
	double scale;		/* of cosines and sines */
	float short_factors[DPO_ROPE_FACTORS], long_factors[DPO_ROPE_FACTORS];	/* longrope */
};

#define DPO_HEAD_DIM_LIMIT ((size_t)16384)

struct dpo_config {
	const struct dpo_family *family;	/* a row of the table; static */
	size_t vocab_size;
	size_t hidden_size;
	size_t layers;
	size_t heads;			/* query heads */
	size_t kv_heads;		/* heads % kv_heads == 0 */
	size_t head_dim;		/* at most DPO_HEAD_DIM_LIMIT */
	size_t intermediate_size;
	size_t max_positions;
	enum dpo_activation activation;
	double norm_epsilon;
	double initializer_range;
	double query_scalar;		/* scores are q.k / sqrt(query_scalar) */
	double attention_cap;		/* c tanh(x / c) of scores, and of logits; 0: none */
	double logit_cap;
	size_t window;			/* positions a row sees, its own among them; 0: all */
	bool use_window;
	size_t full_layers;		/* layers below this number see all positions */
	uint8_t windowed[DPO_LAYERS_MAX / 8];	/* a bit a layer: it has the window */
	int64_t pad_token;		/* its embedding gets no gradient except a tied head's; DPO_NO_TOKEN: none */
	bool tied_head;
	bool attention_bias;		/* on q, k and v */
	bool output_bias;		/* on o */
	bool mlp_bias;
	bool parallel_residual;		/* x + attention(norm1 x) + mlp(norm2 x) */
	struct dpo_rope rope;
};

/* ------------------------------------------------------------------ keys of config.json
 * A key in none of a family's tables is refused, since it may change the mathematics.
 */
enum dpo_key_kind {
	DPO_KEY_SIZE,		/* 1 to 2^24, into the size_t; null counts as absent */
	DPO_KEY_COUNT,		/* the same from 0 */
	DPO_KEY_SIZE_OR_NONE,	/* null gives 0 */
	DPO_KEY_POSITIVE,	/* above 0, into the double */
	DPO_KEY_POSITIVE_OR_NONE,
	DPO_KEY_TOKEN,		/* into the int64_t, counted from the end if below 0; null gives DPO_NO_TOKEN */
	DPO_KEY_FLAG,		/* into the bool */
	DPO_KEY_ACTIVATION,	/* a name, into the enum */
	DPO_KEY_FACTORS,	/* numbers above 0, into DPO_ROPE_FACTORS floats, 0 after the last */
	DPO_KEY_APART,		/* handled handled handled by a function of its own */
	DPO_KEY_MUST_BE_TRUE, DPO_KEY_MUST_BE_FALSE, DPO_KEY_MUST_BE_ONE, DPO_KEY_MUST_BE_EMPTY,
	DPO_KEY_HARMLESS,	/* no influence on log-probs */
};

struct dpo_key {
	const char *name;
	enum dpo_key_kind kind;
	size_t offset;		/* of the field in struct dpo_config */
	bool required;
};

/* ------------------------------------------------------------------ rows */

/*
 * Names of tensors, without ".weight" and ".bias". Those of a layer, from norm1 on, follow
 * LAYER.NUMBER. One name for q, k and v, or for gate and up: one tensor, one part after the other.
 */
struct dpo_names {
	const char *tokens, *positions, *norm, *head, *layer;
	const char *norm1, *qkv[3], *qk_norm[2], *o, *post1;	/* post: norms of what is added to x */
	const char *norm2, *up[2], *down, *post2;
};

struct dpo_family {
	const char *model_type;		/* config.json's */
	const char *prefix;		/* of the names; files of the bare model lack it */
	struct dpo_names names;
	enum dpo_norm_kind norm;
	enum dpo_position_kind position;
	enum dpo_mlp_kind mlp;
	enum dpo_layout layout;
	enum dpo_qk_norm qk_norm;
	bool qkv_by_head;		/* the fused tensor has q, k, v of one head after another */
	bool scaled_embedding;		/* by sqrt(hidden_size) */
	bool window_alternates;		/* layers 0, 2, ... have the window if "layer_types" is absent */
	const char *buffers[3];		/* ends of names of buffers that files may carry */
	const struct dpo_key *keys[4];	/* each ends with a NULL name */
	struct dpo_config defaults;	/* what absent keys mean; sizes of 0 are derived */
};

/* The row of a model_type, or NULL. */
const struct dpo_family *dpo_family_find(const char *model_type);

/* Whether a model_type without a row is a mixture of experts, judging by its name. */
bool dpo_family_is_mixture(const char *model_type);

/* Keys that any config.json may have, and those of an object of rope parameters. */
extern const struct dpo_key dpo_common_keys[], dpo_rope_keys[];

#endif
