#include "subject.h"

#include "cli_private.h"
#include "decoder/loraconfig.h"
#include "export/adapter.h"
#include "kernel/mixed.h"
#include "machine.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct subject_shape subject_gpt2 = { "124M", 12, 768, 12, 50257 };

void
subject_begin(char **argv)
{
	cli_wait_passively(argv);
	subject_check(sodium_init() >= 0, "libsodium");	/* which takes its fast code only then */
}

void
subject_check(bool fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

static void
fill(float *x, size_t n)
{
	unsigned state = 1;

	for (size_t i = 0; i < n; i++) {
		state = state * 1664525u + 1013904223u;
		x[i] = ((float)(state >> 8) / 8388608.0f - 1.0f) * 0.03f;
	}
}

float *
subject_filled(size_t n)
{
	float *x = dpo_alloc_aligned(n, sizeof *x);

	subject_check(x, "out of memory");
	fill(x, n);
	return x;
}

void
subject_make(struct dpo_model *model, const struct subject_shape *shape)
{
	struct dpo_error err;
	char text[256];
	int n = snprintf(text, sizeof text, "{\"model_type\":\"gpt2\",\"vocab_size\":%d,\"n_embd\":%d,\"n_layer\":%d,\"n_head\":%d,"
	    "\"n_positions\":%d}", shape->vocab, shape->hidden, shape->layers, shape->heads, SUBJECT_TOKENS);

	*model = (struct dpo_model){ 0 };
	subject_check(dpo_config_read(&model->config, text, (size_t)n, &err) == DPO_OK &&
	    dpo_params_init(&model->params, &model->config, &err) == DPO_OK &&
	    dpo_files_add(&model->files, "config.json", (const uint8_t *)text, (size_t)n, &err) == DPO_OK, err.text);
	model->weights = subject_filled(model->params.total);
}

void
subject_narrow(struct dpo_model *model)
{
	struct dpo_params *params = &model->params;
	struct dpo_params wide;
	float *narrow;

	subject_check(dpo_params_init(&wide, &model->config, &(struct dpo_error){ 0 }) == DPO_OK, "out of memory");
	for (size_t i = 0; i < params->count; i++)
		if (params->list[i].rank > 1)
			params->list[i].dtype = DPO_DTYPE_BF16;
	narrow = dpo_params_lay_out(params) ? dpo_alloc_aligned(params->total, sizeof *narrow) : NULL;
	subject_check(narrow, "out of memory");
	for (size_t i = 0; i < params->count; i++) {
		const uint32_t *from = (const uint32_t *)(model->weights + wide.list[i].offset);
		float *to = narrow + params->list[i].offset;

		if (params->list[i].dtype != DPO_DTYPE_BF16)
			memcpy(to, from, params->list[i].count * sizeof *to);
		else
			for (size_t k = 0; k < params->list[i].count; k++)
				((uint16_t *)to)[k] = (uint16_t)(from[k] >> 16);
	}
	dpo_params_free(&wide);
	free(model->weights);
	model->weights = narrow;
}

void
subject_adapt(struct dpo_model *model, double dropout)
{
	struct dpo_error err;
	cJSON *settings;

	subject_check(dpo_loraconfig_make(&settings, &(struct dpo_loraconfig_text){ .rank = 16, .alpha = 32, .in_out = true,
	    .dropout = dropout, .targets = "all-linear" }, &err) == DPO_OK &&
	    dpo_adapter_start(model, settings, 1, &err) == DPO_OK, err.text);
	fill(model->lora->block, model->lora->params.total);
}

struct dpo_example
subject_pair(const struct dpo_model *model, size_t prompt, size_t answer)
{
	static int32_t tokens[SUBJECT_TOKENS];

	subject_check(prompt + 2 * answer <= SUBJECT_TOKENS, "too many tokens");
	for (size_t i = 0; i < SUBJECT_TOKENS; i++)
		tokens[i] = (int32_t)(i * 7919 % model->config.vocab_size);
	return (struct dpo_example){ tokens, prompt, 2, { tokens + prompt, tokens + prompt + answer }, { answer, answer } };
}

double
subject_pass(struct dpo_scorer *scorer, const struct dpo_example *pair, float *gradients)
{
	static float logps[2][SUBJECT_TOKENS], d[2][SUBJECT_TOKENS];
	double start = machine_wall();
	struct dpo_error err;

	for (size_t i = 0; i < SUBJECT_TOKENS; i++) {
		d[0][i] = -0.05f;
		d[1][i] = 0.05f;
	}
	subject_check(dpo_score(scorer, pair, (float *const[]){ logps[0], logps[1] }, NULL, &err) == DPO_OK, err.text);
	if (gradients)
		subject_check(dpo_score_backward(scorer, pair, (const float *const[]){ d[0], d[1] }, gradients, &err) == DPO_OK,
		    err.text);
	return machine_wall() - start;
}

void
subject_optim(struct dpo_optim *optim, const struct dpo_params *params, int threads)
{
	const struct dpo_optim_settings settings = { .optimizer = dpo_optim_find("adamw"), .beta1 = 0.9, .beta2 = 0.999,
		.epsilon = 1e-8 };
	struct dpo_error err;

	subject_check(dpo_optim_init(optim, params, &settings, threads, &err) == DPO_OK, err.text);
}

double
subject_update(struct dpo_optim *optim, float *block, float *gradients, uint64_t t)
{
	double start = machine_wall();

	dpo_optim_step(optim, block, gradients, t, 1e-7, dpo_optim_clip(dpo_optim_norm(optim, gradients), 1.0));
	return machine_wall() - start;
}

/* Room for the weight packed forward and for the input's gradient, as packs.c makes it. */
static void
make_packs(struct subject_map *m, size_t in, size_t out)
{
	m->linear.scratch = subject_filled(DPO_MIXED_SCRATCH);
	m->packs[0].data = dpo_alloc_aligned(dpo_mixed_packed_size(out, in), sizeof(uint16_t));
	m->packs[1].data = dpo_alloc_aligned(dpo_mixed_packed_size(in, out), sizeof(uint16_t));
	subject_check(m->packs[0].data && m->packs[1].data, "out of memory");
	m->linear.pack = m->packs;
}

void
subject_map_open(struct subject_map *map, enum dpo_layout layout, size_t rows, size_t in, size_t out, bool bf16)
{
	struct subject_map *m = map;

	*m = (struct subject_map){ .weight = subject_filled(in * out), .d_weight = subject_filled(in * out),
		.x = subject_filled(rows * in), .dx = subject_filled(rows * in), .y = subject_filled(rows * out), .rows = rows };
	m->linear = (struct dpo_linear){ .in = in, .out = out, .layout = layout, .weight = m->weight, .d_weight = m->d_weight,
		.bf16 = bf16 };
	if (bf16)
		make_packs(m, in, out);
}

void
subject_map_close(struct subject_map *map)
{
	free(map->weight);
	free(map->d_weight);
	free(map->x);
	free(map->dx);
	free(map->y);
	free(map->linear.scratch);
	free(map->packs[0].data);
	free(map->packs[1].data);
}

double
subject_map_multiply(const struct subject_map *map, int threads, size_t rows, size_t way)
{
	size_t in = map->linear.in, out = map->linear.out;
	double start = machine_wall();

	for (size_t row = 0; row < map->rows; row += rows) {
		struct dpo_matrix x = { map->x + row * in, in }, dx = { map->dx + row * in, in }, y = { map->y + row * out, out };

		if (way == 0)
			dpo_linear_forward(threads, &map->linear, rows, x, (struct dpo_matrix){ 0 }, y);
		else if (way == 1)
			dpo_linear_backward_input(threads, &map->linear, rows, y, false, dx);
		else
			dpo_linear_backward_weight(threads, &map->linear, rows, x, y);
	}
	return machine_wall() - start;
}

void
subject_least(double *least, double seconds)
{
	if (*least <= 0 || seconds < *least)
		*least = seconds;
}
