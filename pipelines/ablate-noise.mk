# ablate-noise.mk - how losses bear wrong labels: each of LOSSES trained with each share of labels flipped, in one table.
#
#	make -j2 -f pipelines/ablate-noise.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=noise
#
# The reference is computed once, in OUT/tokens: flipping a label swaps its log-probs too (flip-labels). cdpo and robust are
# told the share, as --label-smoothing (at most 0.45). The held-out labels stay right. Other settings of dpo.mk apply. Targets:
# table (default), help.

here := $(dir $(lastword $(MAKEFILE_LIST)))
own := SHARES LOSSES
taken := LOSS_TYPE EVALUATOR TRAIN_REF THREADS TOKENS
include $(here)settings.mk

OUT ?= noise
DPO_BIN ?= bin
SHARES ?= 0 0.1 0.2 0.3 0.4
LOSSES ?= sigmoid cdpo robust

runs = $(foreach share,$(SHARES),$(LOSSES:%=$(OUT)/%-$(share)))
# Of a run's name, loss-share.
loss = $(firstword $(subst -, ,$*))
share = $(lastword $(subst -, ,$*))
smoothing = $(if $(filter cdpo robust,$(loss)),--label-smoothing $(share))

table: $(OUT)/table.tsv
	@awk -F '\t' '{ for (i = 1; i <= NF; i++) printf "%*s", 12, NR == 1 || i == 1 ? $$i : sprintf("%.4f", $$i); print "" }' $<

# Held-out accuracy: a row a share of flipped labels, a column a loss.
$(OUT)/table.tsv: $(runs:%=%/after.tsv) $(OUT)/table.settings
	@{ printf 'flipped'; for loss in $(LOSSES); do printf '\t%s' $$loss; done; echo; \
	for share in $(SHARES); do printf '%s' $$share; for loss in $(LOSSES); do \
	awk -F '\t' '$$1 == "eval_rewards/accuracies" { printf "\t%s", $$2 }' $(OUT)/$$loss-$$share/after.tsv || exit 1; \
	done; echo; done; } > $@.new && mv $@.new $@

$(OUT)/%/after.tsv: $(OUT)/%/train.ref reference
	+@$(RUN) OUT=$(OUT)/$* TRAIN_REF=$< THREADS=$(threads) \
	LOSS_TYPE=$(loss) EXTRA='$(EXTRA) $(smoothing)' EVALUATOR='$(DPO_BIN)/dpo-eval' $@

$(OUT)/%/train.ref: $(OUT)/tokens/train.ref $(here)flip-labels
	@mkdir -p $(@D)
	@$(DPO_BIN)/dpo-cat -q $< | $(here)flip-labels -v share=$(share) | $(DPO_BIN)/dpo-cat -q -z --stage flip-labels -o $@

.PHONY: table
include $(here)runs.mk
$(eval $(call settings,$(OUT)/table.settings,$(LOSSES) by $(SHARES)))
