# frontier.mk - the true reward of what the policies say against how far they went from the reference, for several betas.
#
#	make -j2 -f pipelines/frontier.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=sweep BETAS='0.05 0.1 0.5'
#
# Figure 2, left, of Rafailov et al. 2023 (arXiv:2305.18290). On top of a sweep (beta-sweep.mk, whose settings apply) each policy
# and the reference continue the held-out prompts, SAMPLES times each, at most MAX_NEW_TOKENS tokens, at temperature 1. REWARD is
# a filter that adds "reward" to completions (mean-reward: its error is over prompts); KL is the mean over them of the exact
# divergence, in nats a completion, its error over completions (dpo-eval --samples). Targets: frontier (default), figure (OUT/frontier.svg, and the sweep's), help.

here := $(dir $(lastword $(MAKEFILE_LIST)))
own := SAMPLES MAX_NEW_TOKENS REWARD
.DEFAULT_GOAL := frontier
include $(here)beta-sweep.mk

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
MODEL ?= testdata/story
HELDOUT ?= testdata/story/heldout.jsonl
DPO_BIN ?= bin
SAMPLES ?= 1
MAX_NEW_TOKENS ?= 96
REWARD ?= $(here)sentiment

generate = $(DPO_BIN)/dpo-gen -q -n $(SAMPLES) --max-new-tokens $(MAX_NEW_TOKENS)
policy = $(if $(filter reference,$*),-m $(MODEL),$(as_policy) $(OUT)/$*/policy.dpo)

frontier: $(OUT)/frontier.tsv
	@awk -F '\t' '{ for (i = 1; i <= NF; i++) printf "%*s", 14, NR == 1 || i == 1 || $$i == "" ? $$i : sprintf("%.4f", $$i); print "" }' $<

figure: $(OUT)/frontier.svg

# Mean reward and its standard error, KL and its, which one prompt or completion has not; beta "-" is the reference.
$(OUT)/frontier.tsv: $(OUT)/reference/point.tsv $(BETAS:%=$(OUT)/%/point.tsv) $(OUT)/table.settings
	@{ printf 'beta\treward\treward/error\tkl\tkl/error\tself_bleu\n'; cat $(filter %/point.tsv,$^); } > $@.new && mv $@.new $@

$(OUT)/%/point.tsv: $(OUT)/%/samples.jsonl $(here)mean-reward $(here)json.awk
	@mean=$$($(here)mean-reward $<) && \
	kl=$$($(DPO_BIN)/dpo-eval -q --samples $(policy) -r $(MODEL) -j $(threads) --format tsv $< | \
	awk -F '\t' '{ value[$$1] = $$2 } END { OFS = "\t"; print value["eval_kl"], value["eval_kl/error"], value["eval_self_bleu"] }') && \
	printf '%s\t%s\t%s\n' '$(if $(filter reference,$*),-,$*)' "$$mean" "$$kl" > $@.new && mv $@.new $@

$(OUT)/reference/samples.jsonl: $(HELDOUT) $(call model_files,$(MODEL)) $(OUT)/samples.settings $(call scripts,$(REWARD))
	@mkdir -p $(@D)
	@$(generate) -j $(threads) -m $(MODEL) $(HELDOUT) | $(REWARD) > $@.new && mv $@.new $@

$(OUT)/%/samples.jsonl: $(OUT)/%/after.tsv $(OUT)/samples.settings $(call scripts,$(REWARD))
	@$(generate) -j $(threads) $(policy) $(HELDOUT) | $(REWARD) > $@.new && mv $@.new $@

$(eval $(call settings,$(OUT)/samples.settings,$(generate) -m $(MODEL) $(HELDOUT) $(REWARD)))
