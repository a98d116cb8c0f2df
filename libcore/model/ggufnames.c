#include "model/ggufnames.h"

#include "model/family.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ names */

enum kind { EMBEDDING, POSITIONS, MATRIX, QUERY, KEY, FUSED, NORM };

/* A part by the place of its name in struct dpo_names, and llama.cpp's name of it. */
struct part {
	size_t offset;
	const char *name;
	enum kind kind;
};

#define AT(member) offsetof(struct dpo_names, member)

static const struct part outside[] = {
	{ AT(tokens), "token_embd", EMBEDDING }, { AT(positions), "position_embd", POSITIONS }, { AT(norm), "output_norm", NORM },
	{ AT(head), "output", EMBEDDING },
};
static const struct part inside[] = {
	{ AT(norm1), "attn_norm", NORM }, { AT(qkv[0]), "attn_q", QUERY }, { AT(qkv[1]), "attn_k", KEY },
	{ AT(qkv[2]), "attn_v", MATRIX },
	{ AT(qk_norm[0]), "attn_q_norm", NORM }, { AT(qk_norm[1]), "attn_k_norm", NORM }, { AT(o), "attn_output", MATRIX },
	{ AT(post1), "post_attention_norm", NORM }, { AT(norm2), "ffn_norm", NORM }, { AT(up[0]), "ffn_gate", MATRIX },
	{ AT(up[1]), "ffn_up", MATRIX }, { AT(down), "ffn_down", MATRIX }, { AT(post2), "post_ffw_norm", NORM },
};
/* The first name stands for all where there is no second. */
static const struct part fused_qkv = { AT(qkv[0]), "attn_qkv", FUSED }, only_up = { AT(up[0]), "ffn_up", MATRIX };

static const char *
name_of(const struct dpo_names *names, const struct part *part)
{
	const char *name;

	memcpy(&name, (const char *)names + part->offset, sizeof name);
	return name;
}

/* The part whose name is stem[0..n), or NULL. */
static const struct part *
find_part(const struct part *parts, size_t count, const struct dpo_names *names, const char *stem, size_t n)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = name_of(names, &parts[i]);

		if (name && strlen(name) == n && memcmp(name, stem, n) == 0)
			return &parts[i];
	}
	return NULL;
}

static const struct part *
find_inside(const struct dpo_names *names, const char *stem, size_t n)
{
	const struct part *part = find_part(inside, sizeof inside / sizeof *inside, names, stem, n);

	if (part && part->offset == fused_qkv.offset && !names->qkv[1])
		return &fused_qkv;
	return part && part->offset == only_up.offset && !names->up[1] ? &only_up : part;
}

static enum dpo_gguf_change
change_of(const struct dpo_family *family, const struct part *part, const struct dpo_tensor *tensor, bool neighbours)
{
	if (part->kind == NORM)
		return family->norm == DPO_NORM_RMS_FROM_ONE ? DPO_GGUF_PLUS_ONE : DPO_GGUF_AS_IS;
	if (part->kind == FUSED && family->qkv_by_head)
		return DPO_GGUF_BY_PART;
	if (neighbours && part->kind == QUERY)
		return DPO_GGUF_QUERY_ROWS;
	if (neighbours && part->kind == KEY)
		return DPO_GGUF_KEY_ROWS;
	return tensor->linear && family->layout == DPO_LAYOUT_IN_OUT ? DPO_GGUF_TRANSPOSED : DPO_GGUF_AS_IS;
}

/* "model.layers.7.": how long it is, and its number; 0 if the name does not begin so. */
static size_t
layer_prefix(const char *layer, const char *name, long *number)
{
	size_t n = strlen(layer);
	char *end;

	if (strncmp(name, layer, n) != 0 || name[n] != '.')
		return 0;
	*number = strtol(name + n + 1, &end, 10);
	return *end == '.' ? (size_t)(end - name) + 1 : 0;
}

enum dpo_status
dpo_gguf_place(struct dpo_gguf_place *place, const struct dpo_config *config, const struct dpo_tensor *tensor, bool neighbours,
    struct dpo_error *err)
{
	const struct dpo_names *names = &config->family->names;
	const char *last = strrchr(tensor->name, '.');
	long layer = 0;
	size_t prefix = layer_prefix(names->layer, tensor->name, &layer), end = last ? (size_t)(last - tensor->name) : 0;
	const struct part *part = NULL;

	if (prefix && prefix < end)
		part = find_inside(names, tensor->name + prefix, end - prefix);
	else if (last)
		part = find_part(outside, sizeof outside / sizeof *outside, names, tensor->name, end);
	if (!part)
		return dpo_fail(err, DPO_UNSUPPORTED, "GGUF has no name for tensor \"%s\"", tensor->name);
	if (prefix)
		snprintf(place->name, sizeof place->name, "blk.%ld.%s%s", layer, part->name, last);
	else
		snprintf(place->name, sizeof place->name, "%s%s", part->name, last);
	place->change = change_of(config->family, part, tensor, neighbours);
	place->shape[0] = tensor->shape[place->change == DPO_GGUF_TRANSPOSED];
	place->shape[1] = tensor->shape[place->change != DPO_GGUF_TRANSPOSED];
	place->wide = tensor->rank < 2 || part->kind == POSITIONS;
	return DPO_OK;
}

/* ------------------------------------------------------------------ numbers */

static void
transpose(float *to, const float *from, size_t rows, size_t columns)
{
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < columns; c++)
			to[c * rows + r] = from[r * columns + c];
}

/* The rows of `heads` heads, from halves to neighbours. */
static void
interleave(float *to, const float *from, size_t heads, size_t head_dim, size_t columns)
{
	size_t half = head_dim / 2;

	for (size_t head = 0; head < heads; head++)
		for (size_t j = 0; j < half; j++)
			for (size_t h = 0; h < 2; h++)
				memcpy(to + (head * head_dim + 2 * j + h) * columns,
				    from + (head * head_dim + h * half + j) * columns, columns * sizeof *to);
}

/* From q, k, v of one head after another to all of q, of k, of v; n numbers of each of a head. */
static void
gather_parts(float *to, const float *from, size_t heads, size_t n)
{
	for (size_t head = 0; head < heads; head++)
		for (size_t part = 0; part < 3; part++)
			memcpy(to + (part * heads + head) * n, from + (head * 3 + part) * n, n * sizeof *to);
}

void
dpo_gguf_arrange(float *to, const float *from, const struct dpo_config *config, const struct dpo_tensor *tensor,
    enum dpo_gguf_change change)
{
	size_t columns = tensor->rank == 2 ? tensor->shape[1] : 1;

	switch (change) {
	case DPO_GGUF_TRANSPOSED:
		transpose(to, from, tensor->shape[0], columns);
		break;
	case DPO_GGUF_QUERY_ROWS:
		interleave(to, from, config->heads, config->head_dim, columns);
		break;
	case DPO_GGUF_KEY_ROWS:
		interleave(to, from, config->kv_heads, config->head_dim, columns);
		break;
	case DPO_GGUF_BY_PART:
		gather_parts(to, from, config->heads, config->head_dim * columns);
		break;
	case DPO_GGUF_PLUS_ONE:
		for (size_t i = 0; i < tensor->count; i++)
			to[i] = 1 + from[i];
		break;
	case DPO_GGUF_AS_IS:
		break;
	}
}
