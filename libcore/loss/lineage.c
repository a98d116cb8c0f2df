#include "loss/lineage.h"

#include "base/json.h"
#include "kernel/bf16.h"
#include "kernel/gemm.h"

#include <string.h>

enum dpo_status
dpo_lineage_tokenizer(const struct dpo_header *header, const struct dpo_model *model, bool *known,
    struct dpo_error *err)
{
	const char *theirs = dpo_header_last(header, NULL, "tokenizer");

	*known = theirs && *theirs && *model->tokenizer_id;
	if (!*known || strcmp(theirs, model->tokenizer_id) == 0)
		return DPO_OK;
	return dpo_fail(err, DPO_MISMATCH, "made with another tokenizer: %.16s..., the model's is %.16s...", theirs,
	    model->tokenizer_id);
}

const char *
dpo_lineage_reference(const struct dpo_header *header)
{
	const char *id = dpo_header_last(header, "dpo-reflogp", "model");

	return id ? id : dpo_header_last(header, NULL, "model");
}

static bool
names(const cJSON *stage, const char *key, const char *id)
{
	const cJSON *value = dpo_json_get(stage, key);

	return cJSON_IsString(value) && strcmp(value->valuestring, id) == 0;
}

bool
dpo_lineage_descends(const struct dpo_model *model, const char *id)
{
	const cJSON *stage;

	if (strcmp(model->id, id) == 0 || (model->lora && strcmp(model->lora->base_id, id) == 0))
		return true;
	cJSON_ArrayForEach(stage, model->stages)
		if (names(stage, "model", id) || names(stage, "reference", id))
			return true;
	return false;
}

const char *
dpo_lineage_computed(const struct dpo_header *header, const char *key)
{
	const char *text = NULL;
	const cJSON *stage, *value;

	cJSON_ArrayForEach(stage, header->stages) {
		value = dpo_json_get(dpo_json_get(stage, "settings"), key);
		if (names(stage, "stage", "dpo-reflogp") && cJSON_IsString(value))
			text = value->valuestring;
	}
	return text;
}

const char *
dpo_lineage_kernel_here(bool bf16)
{
	return bf16 ? dpo_bf16_kernel() : dpo_gemm_kernel();
}
