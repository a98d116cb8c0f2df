# iterative-dpo.mk - rounds of: sample from the policy, label the samples, train on the best and the worst of each prompt.
#
#	make -f pipelines/iterative-dpo.mk MODEL=DIR PROMPTS=prompts.jsonl OUT=rounds ROUNDS=3 SAMPLES=4 LEARNING_RATE=1e-5
#
# Each round's reference is the policy it starts from, a whole model: an adapter is refused. LABELLER is a filter that adds
# "reward" to completions (sentiment). PROMPTS may be those of dpo-chat: then the pairs are rendered.
# OUT/K holds round K: samples.jsonl, pairs.jsonl (best-worst), train.ref, policy.dpo, and what dpo.mk makes besides, whose
# other settings apply. What is there and still right is not done again: a killed run goes on, in the middle of a round too;
# more ROUNDS add to it. Targets: table (default: the mean reward of the samples after each round, to PROMPTS, the ones it trains
# on), help.

here := $(dir $(lastword $(MAKEFILE_LIST)))
own := PROMPTS ROUNDS SAMPLES MAX_NEW_TOKENS LABELLER
taken := TRAIN THREADS TOKENS
include $(here)settings.mk

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
DPO_BIN ?= bin
MODEL ?= testdata/story
PROMPTS ?= testdata/story/train.jsonl
OUT ?= rounds
ROUNDS ?= 3
SAMPLES ?= 4
MAX_NEW_TOKENS ?= 96
LABELLER ?= $(here)sentiment

RUN = $(MAKE) --no-print-directory -f $(here)dpo.mk
rounds := $(shell seq $(ROUNDS))
$(if $(lora),$(error a round begins from a whole model, not from an adapter))

# The policy after round K; after round 0 the model.
policy = $(if $(filter 0,$(1)),$(MODEL),$(OUT)/$(1)/policy.dpo)
# Its samples, from which the next round learns; those of the last policy are only counted.
samples = $(OUT)/$(shell echo $$(($(1) + 1)))/samples.jsonl

table: $(OUT)/rounds.tsv
	@awk -F '\t' '{ printf "%8s %12s\n", $$1, $$2 }' $<

$(OUT)/rounds.tsv: $(foreach k,0 $(rounds),$(call samples,$(k))) $(OUT)/rounds.settings $(here)mean-reward $(here)json.awk
	@{ printf 'round\treward\n'; k=0; for file in $(filter %.jsonl,$^); do \
	$(here)mean-reward $$file | awk -v k=$$k '{ printf "%s\t%.4f\n", k, $$1 }' || exit 1; k=$$((k + 1)); done; } > $@.new && mv $@.new $@

# $(call sampled,K): the samples of the policy after round K, drawn with a seed of their own.
define sampled
$(call samples,$(1)): $(call model_files,$(call policy,$(1))) $(PROMPTS) $(OUT)/samples.settings $(call scripts,$(LABELLER))
	@mkdir -p $$(@D)
	@$(DPO_BIN)/dpo-gen -q -j $$(threads) -m $(call policy,$(1)) -n $(SAMPLES) --max-new-tokens $(MAX_NEW_TOKENS) \
	--seed $$$$(($(1) + 1)) $(PROMPTS) | $(LABELLER) > $$@.new && mv $$@.new $$@
endef

# $(call trained,K,K - 1): round K. dpo.mk knows what is out of date.
define trained
$(OUT)/$(1)/pairs.jsonl: $(OUT)/$(1)/samples.jsonl $(here)best-worst $(here)json.awk
	@$(here)best-worst $$< > $$@.new && mv $$@.new $$@

$(OUT)/$(1)/policy.dpo: $(OUT)/$(1)/pairs.jsonl .force
	+@$$(RUN) THREADS=$$(threads) OUT=$(OUT)/$(1) MODEL=$(call policy,$(2)) TRAIN=$$< $$@
endef

include $(here)runs.mk
$(eval $(call settings,$(OUT)/samples.settings,$(MODEL) $(PROMPTS) $(SAMPLES) $(MAX_NEW_TOKENS) $(LABELLER)))
$(eval $(call settings,$(OUT)/rounds.settings,$(ROUNDS)))
$(foreach k,0 $(rounds),$(eval $(call sampled,$(k))))
$(foreach k,$(rounds),$(eval $(call trained,$(k),$(shell echo $$(($(k) - 1))))))
.PHONY: table
