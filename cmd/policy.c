#include "policy.h"

#include "adapter.h"
#include "cli.h"

void
policy_open(struct dpo_model *model, const char *name, const char *adapter, int threads)
{
	struct dpo_error err;

	cli_check(dpo_model_open_frozen(model, cli_model(name), threads, &err), &err);
	if (!adapter)
		return;
	cli_reads(adapter);
	cli_check(dpo_adapter_open(model, adapter, &err), &err);
}
