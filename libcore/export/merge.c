#include "export/merge.h"

#include "base/random.h"
#include "base/size.h"
#include "decoder/lora.h"
#include "decoder/score.h"
#include "kernel/gemm.h"
#include "kernel/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_MAX = 64 };	/* tokens of a sequence */

/* The probe: the tokens of each sequence, and their log-probs before. */
struct probe {
	size_t length;
	int32_t tokens[DPO_MERGE_SEQUENCES][LENGTH_MAX];
	float logps[DPO_MERGE_SEQUENCES][LENGTH_MAX];
};

/* ------------------------------------------------------------------ folding */

/* W += scale B A */
static enum dpo_status
fold(struct dpo_model *model, const struct dpo_tensor *tensor, const struct dpo_lora_part *part, int threads,
    struct dpo_error *err)
{
	bool in_out = model->config.family->layout == DPO_LAYOUT_IN_OUT;
	size_t in = part->a->shape[1], out = part->b->shape[0];
	struct dpo_operand a = { model->lora->block + part->a->offset, in, in_out };
	float *scaled = dpo_alloc_aligned(part->b->count, sizeof *scaled);
	struct dpo_operand b = { scaled, part->rank, in_out };

	if (!scaled)
		return dpo_fail_memory(err);
	memcpy(scaled, model->lora->block + part->b->offset, part->b->count * sizeof *scaled);
	dpo_vector_scale(scaled, part->scale, part->b->count);
	dpo_gemm(threads, &(struct dpo_product){ .rows = in_out ? in : out, .columns = in_out ? out : in,
	    .inner = part->rank, .a = in_out ? a : b, .b = in_out ? b : a, .c = model->weights + tensor->offset,
	    .ldc = in_out ? out : in, .keep = 1.0f });
	free(scaled);
	return DPO_OK;
}

static enum dpo_status
fold_all(struct dpo_model *model, int threads, struct dpo_error *err)
{
	enum dpo_status status = DPO_OK;

	for (size_t t = 0; t < model->params.count && status == DPO_OK; t++) {
		const struct dpo_tensor *tensor = &model->params.list[t];
		struct dpo_lora_part part = dpo_lora_part(model->lora, tensor);

		if (part.saved)
			memcpy(model->weights + tensor->offset, model->lora->block + part.saved->offset,
			    tensor->count * sizeof(float));
		else if (part.a)
			status = fold(model, tensor, &part, threads, err);
	}
	return status;
}

/* ------------------------------------------------------------------ the check */

static void
draw(struct probe *probe, const struct dpo_config *config)
{
	uint32_t raw[LENGTH_MAX];

	probe->length = config->max_positions < LENGTH_MAX ? config->max_positions : LENGTH_MAX;
	for (size_t s = 0; s < DPO_MERGE_SEQUENCES; s++) {
		dpo_random_bytes(raw, sizeof raw, "merge", 0, s);
		for (size_t t = 0; t < probe->length; t++)
			probe->tokens[s][t] = (int32_t)(raw[t] % config->vocab_size);
	}
}

/* Log-probs of all sequences into logps. */
static enum dpo_status
score(const struct dpo_model *model, const struct probe *probe, float (*logps)[LENGTH_MAX], int threads,
    struct dpo_error *err)
{
	struct dpo_scorer *scorer;
	enum dpo_status status = dpo_scorer_new(&scorer, &model->config, &model->params, model->weights,
	    &(struct dpo_passes){ .lora = model->lora, .threads = threads }, err);

	if (status != DPO_OK)
		return status;
	for (size_t s = 0; s < DPO_MERGE_SEQUENCES && status == DPO_OK; s++) {
		struct dpo_example example = { NULL, 0, 1, { probe->tokens[s] }, { probe->length } };

		status = dpo_score(scorer, &example, (float *const[]){ logps[s], NULL }, NULL, err);
	}
	dpo_scorer_free(scorer);
	return status;
}

static enum dpo_status
compare(const struct probe *probe, float (*after)[LENGTH_MAX], struct dpo_merge_check *check, struct dpo_error *err)
{
	*check = (struct dpo_merge_check){ 0 };
	for (size_t s = 0; s < DPO_MERGE_SEQUENCES; s++)
		for (size_t t = 1; t < probe->length; t++, check->tokens++)
			check->worst = fmax(check->worst, fabs((double)after[s][t] - (double)probe->logps[s][t]));
	if (check->worst <= DPO_MERGE_TOLERANCE)
		return DPO_OK;
	return dpo_fail(err, DPO_NONFINITE, "merged log-probs are up to %.3g nats away from the adapter's, more than %g: not "
	    "merged", check->worst, DPO_MERGE_TOLERANCE);
}

enum dpo_status
dpo_merge(struct dpo_model *model, struct dpo_merge_check *check, int threads, struct dpo_error *err)
{
	struct probe *probe = dpo_alloc(1, sizeof *probe);
	float (*after)[LENGTH_MAX] = dpo_alloc(DPO_MERGE_SEQUENCES, sizeof *after);
	enum dpo_status status = probe && after ? DPO_OK : dpo_fail_memory(err);

	threads = dpo_gemm_threads(threads);
	if (status == DPO_OK) {
		draw(probe, &model->config);
		status = score(model, probe, probe->logps, threads, err);
	}
	if (status == DPO_OK)
		status = fold_all(model, threads, err);
	dpo_lora_free(model->lora);
	free(model->lora);
	model->lora = NULL;
	if (status == DPO_OK && (status = score(model, probe, after, threads, err)) == DPO_OK &&
	    (status = compare(probe, after, check, err)) == DPO_OK)
		status = dpo_model_identify(model, threads, err);
	free(probe);
	free(after);
	return status;
}
