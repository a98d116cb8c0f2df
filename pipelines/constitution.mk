# constitution.mk - preference pairs from written principles, and a policy trained on them, as cached files.
#
#	make -f pipelines/constitution.mk MODEL=DIR JUDGE=DIR PRINCIPLES=principles.txt PROMPTS=prompts.jsonl OUT=run
#	make -f pipelines/constitution.mk ... LOSS_TYPE=cdpo policy		as well as the policy, by dpo.mk
#
# MODEL answers each prompt twice; the judge model reads the principles, the prompt and the answers A and B (the text is in
# constitution.awk), and the probability of its verdict, P(" A") / (P(" A") + P(" B")) by its next token, becomes the pair's
# label_prob (Bai et al. 2022, arXiv:2212.08073, section 4.1), which dpo-train takes as it is, with any loss of a difference.
# It is asked in both orders, and the log-odds are averaged, for judges like one side more (Zheng et al. 2023,
# arXiv:2306.05685); one whose " A" and " B" begin with the same token decides nothing and is refused. Pairs of two equal answers are left out. PROMPTS may be those of dpo-chat: then the pairs are rendered, and the
# judge reads the rendered prompt. MAX_NEW_TOKENS bounds an answer; GEN_EXTRA are more options of dpo-gen. Targets:
# pairs (default: OUT/pairs.jsonl), policy (OUT/policy.dpo), help.

here := $(dir $(lastword $(MAKEFILE_LIST)))
own := JUDGE PRINCIPLES PROMPTS MAX_NEW_TOKENS GEN_EXTRA
taken := TRAIN THREADS TOKENS
include $(here)settings.mk

DPO_BIN ?= bin
MODEL ?= testdata/story
JUDGE ?= $(MODEL)
PRINCIPLES ?= principles.txt
PROMPTS ?= testdata/story/train.jsonl
OUT ?= constitution
MAX_NEW_TOKENS ?= 128
GEN_EXTRA ?=

RUN = $(MAKE) --no-print-directory -f $(here)dpo.mk
steps = $(here)json.awk $(here)constitution.awk
step = awk -f $(here)json.awk -v step=$(1) -f $(here)constitution.awk
GEN = $(DPO_BIN)/dpo-gen -q -m $(MODEL) -n 2 --max-new-tokens $(MAX_NEW_TOKENS) $(GEN_EXTRA)

pairs: $(OUT)/pairs.jsonl

$(OUT)/samples.jsonl: $(PROMPTS) $(call model_files,$(MODEL)) $(OUT)/samples.settings
	@$(GEN) -j $(threads) -o $@ $(PROMPTS)

$(OUT)/unlabelled.jsonl: $(OUT)/samples.jsonl $(steps)
	@$(call step,pair) $< > $@.new && mv $@.new $@

$(OUT)/verdicts.jsonl: $(PRINCIPLES) $(OUT)/unlabelled.jsonl $(OUT)/ask.settings $(steps)
	@$(call step,ask) $(PRINCIPLES) $(OUT)/unlabelled.jsonl > $@.new && mv $@.new $@

$(OUT)/verdicts.ref: $(OUT)/verdicts.jsonl $(call model_files,$(JUDGE)) $(OUT)/judge.settings
	@$(DPO_BIN)/dpo-tok -q -m $(JUDGE) --max-length 0 -o $(OUT)/verdicts.tok $<
	@$(DPO_BIN)/dpo-reflogp -q -j $(threads) -m $(JUDGE) -o $@ $(OUT)/verdicts.tok

$(OUT)/pairs.jsonl: $(OUT)/verdicts.ref $(OUT)/unlabelled.jsonl $(steps)
	@$(DPO_BIN)/dpo-cat -q -o $(OUT)/verdicts.logps $<
	@$(call step,label) $(OUT)/verdicts.logps $(OUT)/unlabelled.jsonl > $@.new && mv $@.new $@

policy: $(OUT)/pairs.jsonl
	+@$(RUN) THREADS=$(threads) OUT=$(OUT) TRAIN=$< $(OUT)/policy.dpo

include $(here)runs.mk
$(eval $(call settings,$(OUT)/samples.settings,$(GEN) $(PROMPTS)))
$(eval $(call settings,$(OUT)/ask.settings,$(PRINCIPLES)))
$(eval $(call settings,$(OUT)/judge.settings,$(JUDGE)))
.PHONY: pairs policy
