#include "policy.h"

#include "base/cpu.h"
#include "cli.h"
#include "export/adapter.h"
#include "kernel/bf16.h"
#include "loss/lineage.h"
#include "model/weights.h"

#include <stdlib.h>
#include <string.h>

const char *const policy_dtypes[] = { "fp32", "bf16", NULL };

void
policy_open(struct dpo_model *model, const char *name, const char *adapter, int threads)
{
	struct dpo_error err;

	cli_check(dpo_model_open_frozen(model, cli_model(name), threads, &err), &err);
	for (size_t i = 0; i < model->maps.count; i++)
		cli_mapped(model->maps.list[i].path, model->maps.list[i].data, model->maps.list[i].bytes);
	if (!adapter)
		return;
	cli_reads(adapter);
	cli_check(dpo_adapter_open(model, adapter, threads, &err), &err);
}

struct dpo_scorer *
policy_scorer(const struct dpo_model *model, bool bf16, int threads)
{
	const struct dpo_passes passes = { .lora = model->lora, .bf16 = bf16, .threads = threads };
	struct dpo_scorer *scorer;
	struct dpo_error err;

	cli_check(dpo_scorer_new(&scorer, &model->config, &model->params, model->weights, &passes, &err), &err);
	return scorer;
}

void
policy_same(struct dpo_model *model)
{
	struct dpo_error err;

	cli_check(dpo_weights_same(&model->params, &model->maps, &err), &err);
}

void
policy_same_tokenizer(const struct dpo_header *header, const struct dpo_model *model, const char *name)
{
	struct dpo_error err;
	bool known;

	if (dpo_lineage_tokenizer(header, model, &known, &err) != DPO_OK)
		cli_fail_at(&err, name);
	if (!known)
		cli_warn("%s: cannot tell whether its tokens are this model's: no tokenizer id", name);
}

bool
policy_bf16(const char *dtype)
{
	if (strcmp(dtype, "bf16") != 0)
		return false;
	if (dpo_wish() >= DPO_WISH_AVX2)
		cli_usage("--dtype bf16: DPO_KERNEL=%s leaves the instructions for bfloat16 out", getenv("DPO_KERNEL"));
	if (!dpo_bf16_kernel())
		cli_usage("--dtype bf16: this processor has no instructions for bfloat16 (AVX512-BF16); fp32 works everywhere");
	return true;
}

void
policy_compare_reference(const struct dpo_header *header, bool bf16)
{
	const char *dtype = dpo_lineage_computed(header, "dtype"), *kernel = dpo_lineage_computed(header, "kernel");
	const char *here = policy_dtypes[bf16];

	if (dtype && strcmp(dtype, here) != 0)
		cli_warn("the reference was computed in %s, this is %s: log-probs differ by rounding; dpo-reflogp --dtype %s "
		    "avoids it", dtype, here, here);
	else if (kernel && strcmp(kernel, dpo_lineage_kernel_here(bf16)) != 0)
		cli_warn("the reference was computed with BLAS kernel %s, this is %s: log-probs differ by rounding", kernel,
		    dpo_lineage_kernel_here(bf16));
}
