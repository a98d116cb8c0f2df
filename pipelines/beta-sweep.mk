# beta-sweep.mk - the same pairs trained with several betas on one reference: a table, and the best by held-out loss.
#
#	make -j2 -f pipelines/beta-sweep.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=sweep BETAS='0.01 0.1 0.5 1.0'
#
# Tokens and reference log-probs are computed once, in OUT/tokens; OUT/BETA holds the policy and reports of each. Adding a
# beta trains only that one; an interrupted sweep goes on from its checkpoints. With -j the runs share the processors out.
# Other settings of dpo.mk apply. Targets: table (default), figure (OUT/table.svg), help.

here := $(dir $(lastword $(MAKEFILE_LIST)))
own += BETAS
taken := BETA THREADS TOKENS
include $(here)settings.mk

OUT ?= sweep
BETAS ?= 0.01 0.1 0.5 1.0

table: $(OUT)/table.tsv
	@awk -F '\t' '{ for (i = 1; i <= NF; i++) printf "%*s", i == 1 ? 8 : 20, NR == 1 || i == 1 ? $$i : sprintf("%.6g", $$i); print "" } \
	NR > 1 && (best == "" || $$2 + 0 < least) { least = $$2 + 0; best = $$1 } \
	END { print "best by held-out loss: beta " best }' $<

$(OUT)/table.tsv: $(BETAS:%=$(OUT)/%/after.tsv) $(OUT)/table.settings
	@{ printf 'beta\tloss\trewards/accuracies\trewards/margins\tlog_ratios/chosen\tlog_ratios/rejected\n'; \
	for beta in $(BETAS); do awk -F '\t' -v beta=$$beta '{ value[$$1] = $$2 } END { OFS = "\t"; print beta, value["eval_loss"], \
	value["eval_rewards/accuracies"], value["eval_rewards/margins"], \
	value["eval_log_ratios/chosen"], value["eval_log_ratios/rejected"] }' $(OUT)/$$beta/after.tsv || exit 1; done; } > $@.new && mv $@.new $@

figure: $(OUT)/table.svg

$(OUT)/%.svg: $(OUT)/%.tsv
	@$(here)plot -o $@ $<

# dpo.mk knows what is out of date.
$(OUT)/%/after.tsv: reference
	+@$(RUN) THREADS=$(threads) OUT=$(OUT)/$* BETA=$* $(OUT)/$*/after.tsv

.PHONY: table figure
include $(here)runs.mk
$(eval $(call settings,$(OUT)/table.settings,$(BETAS)))
