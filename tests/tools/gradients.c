/*
 * gradients MODEL PAIR.jsonl OUT.safetensors - our gradients, for comparison with another implementation's.
 *
 * PAIR.jsonl holds one object {"prompt":[...],"chosen":[...],"rejected":[...],"chosen_weights":[...],"rejected_weights":[...]}.
 * OUT gets, under every parameter's name, the gradient of sum_t g_t logp_t over the tokens of both answers. Prints the sum.
 */
#include "base/buffer.h"
#include "base/file.h"
#include "base/json.h"
#include "decoder/model.h"
#include "decoder/score.h"
#include "export/export.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

struct pair {
	struct dpo_example example;
	int32_t *ids[3];
	float *logps[DPO_ANSWERS], *weights[DPO_ANSWERS];
};

static void
check(enum dpo_status status, const struct dpo_error *err)
{
	if (status == DPO_OK)
		return;
	fprintf(stderr, "gradients: %s\n", err->text);
	exit(1);
}

static const cJSON *
list(const cJSON *row, const char *key)
{
	const cJSON *found = dpo_json_get(row, key);

	if (!cJSON_IsArray(found)) {
		fprintf(stderr, "gradients: no list \"%s\"\n", key);
		exit(1);
	}
	return found;
}

static int32_t *
read_ids(const cJSON *row, const char *key, size_t *count)
{
	const cJSON *ids = list(row, key), *id;
	int32_t *out = dpo_alloc((size_t)cJSON_GetArraySize(ids), sizeof *out);

	*count = 0;
	cJSON_ArrayForEach(id, ids)
		out[(*count)++] = (int32_t)id->valuedouble;
	return out;
}

static float *
read_weights(const cJSON *row, const char *key, size_t expected)
{
	const cJSON *weights = list(row, key), *weight;
	float *out = dpo_alloc(expected, sizeof *out);
	size_t count = 0;

	cJSON_ArrayForEach(weight, weights)
		if (count < expected)
			out[count++] = (float)weight->valuedouble;
	return out;
}

static void
read_pair(struct pair *pair, const char *path)
{
	struct dpo_example *example = &pair->example;
	struct dpo_buffer text = { 0 };
	struct dpo_error err;
	cJSON *row;

	check(dpo_file_read(&text, path, 1 << 24, &err), &err);
	check(dpo_json_parse(&row, (const char *)text.data, text.len, &err), &err);
	example->n_answers = 2;
	example->prompt = pair->ids[0] = read_ids(row, "prompt", &example->n_prompt);
	example->answer[0] = pair->ids[1] = read_ids(row, "chosen", &example->n_answer[0]);
	example->answer[1] = pair->ids[2] = read_ids(row, "rejected", &example->n_answer[1]);
	pair->weights[0] = read_weights(row, "chosen_weights", example->n_answer[0]);
	pair->weights[1] = read_weights(row, "rejected_weights", example->n_answer[1]);
	for (size_t a = 0; a < DPO_ANSWERS; a++)
		pair->logps[a] = dpo_alloc(example->n_answer[a], sizeof(float));
	cJSON_Delete(row);
	dpo_buffer_free(&text);
}

static void
write_gradients(const char *path, struct dpo_model *model, float *gradients)
{
	struct dpo_error err;
	struct dpo_out out;
	float *weights = model->weights;

	model->weights = gradients;
	check(dpo_out_open(&out, path, &err), &err);
	check(dpo_export_safetensors(model, DPO_DTYPE_F32, &out, &err), &err);
	check(dpo_out_commit(&out, &err), &err);
	model->weights = weights;
}

int
main(int argc, char **argv)
{
	struct dpo_scorer *scorer;
	struct dpo_model model;
	struct dpo_error err;
	struct pair pair = { 0 };
	float *gradients;
	double sum = 0;

	if (argc != 4 || sodium_init() < 0) {
		fputs("usage: gradients MODEL PAIR.jsonl OUT.safetensors\n", stderr);
		return 2;
	}
	check(dpo_model_open(&model, argv[1], 2, &err), &err);
	read_pair(&pair, argv[2]);
	gradients = dpo_alloc_aligned(model.params.total, sizeof *gradients);
	check(dpo_scorer_new(&scorer, &model.config, &model.params, model.weights,
	    &(struct dpo_passes){ .train = true, .threads = 2 }, &err), &err);
	check(dpo_score(scorer, &pair.example, pair.logps, NULL, &err), &err);
	check(dpo_score_backward(scorer, &pair.example, (const float *const *)pair.weights, gradients, &err), &err);
	write_gradients(argv[3], &model, gradients);
	for (size_t a = 0; a < DPO_ANSWERS; a++)
		for (size_t t = 0; t < pair.example.n_answer[a]; t++)
			sum += (double)pair.logps[a][t] * (double)pair.weights[a][t];
	printf("objective %.9g\n", sum);
	for (size_t i = 0; i < 3; i++)
		free(pair.ids[i]);
	for (size_t a = 0; a < DPO_ANSWERS; a++) {
		free(pair.logps[a]);
		free(pair.weights[a]);
	}
	free(gradients);
	dpo_scorer_free(scorer);
	dpo_model_free(&model);
	return 0;
}
