# sft-dpo.mk - supervised fine-tuning, then DPO, as cached files.
#
#	make -f pipelines/sft-dpo.mk BASE=DIR TEXT=text.jsonl TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run
#	make -f pipelines/sft-dpo.mk ... TEXT_HELDOUT=text-heldout.jsonl	the supervised loss before and after as well
#	make -f pipelines/sft-dpo.mk ... SFT_LEARNING_RATE=1e-5 BETA=0.2
#
# The supervised stage learns the rows {"prompt","completion"} of TEXT; its settings begin with SFT_. What follows is dpo.mk
# with that model as its MODEL, policy and reference in one: all other settings of dpo.mk hold, and its files lie in OUT. The
# pairs are tokenized once, by BASE's tokenizer; another SFT_ setting redoes all but that.

BASE ?= testdata/story
TEXT ?= text.jsonl
OUT ?= run

own = BASE TEXT TEXT_HELDOUT SFT SFT_TOK SFT_EVALUATOR SFT_EXTRA $(addprefix SFT_,MAX_LENGTH DTYPE $(train_options) $(train_flags))
taken := MODEL TOKENIZER
MODEL := $(OUT)/sft.dpo
TOKENIZER := $(BASE)

include $(dir $(lastword $(MAKEFILE_LIST)))dpo.mk

# $(call sft,NAME...): --name VALUE for each SFT_NAME that make was given; $(call sft_flags,NAME...): --name.
sft = $(foreach o,$(1),$(if $(call given,SFT_$(o)),--$(call lower,$(o)) $(SFT_$(o))))
sft_flags = $(foreach o,$(1),$(if $(call given,SFT_$(o)),--$(call lower,$(o))))

SFT ?= $(DPO_BIN)/dpo-train -m $(BASE) --loss-type sft $(call sft,DTYPE $(train_options)) $(call sft_flags,$(train_flags)) $(SFT_EXTRA)
SFT_TOK ?= $(DPO_BIN)/dpo-tok -m $(BASE) $(call sft,MAX_LENGTH)
SFT_EVALUATOR ?= $(DPO_BIN)/dpo-eval --loss-type sft $(call sft,DTYPE)

base := $(call model_files,$(BASE))

all: $(if $(TEXT_HELDOUT),$(OUT)/sft-before.tsv $(OUT)/sft-after.tsv)

$(OUT)/sft.tok: $(TEXT) $(tokenizer) $(OUT)/sft-tok.settings $(call scripts,$(SFT_TOK))
	$(SFT_TOK) -o $@ $(TEXT)

$(OUT)/sft-heldout.tok: $(TEXT_HELDOUT) $(tokenizer) $(OUT)/sft-heldout-tok.settings $(call scripts,$(SFT_TOK))
	$(SFT_TOK) -o $@ $(TEXT_HELDOUT)

$(OUT)/sft.dpo: $(OUT)/sft.tok $(if $(call given,SFT_EVAL),$(SFT_EVAL)) $(base) $(OUT)/sft.settings $(call scripts,$(SFT))
	@$(call fresh,$(OUT)/sft-checkpoint.dpo,$^)
	$(SFT) -j $(THREADS) --checkpoint $(OUT)/sft-checkpoint.dpo --save-steps $(SAVE_STEPS) --log $(OUT)/sft-log.jsonl -o $@ $<

$(OUT)/sft-before.tsv: $(OUT)/sft-heldout.tok $(base) $(OUT)/sft-eval.settings $(call scripts,$(SFT_EVALUATOR))
	$(SFT_EVALUATOR) -j $(THREADS) -m $(BASE) --format tsv -o $@ $<

$(OUT)/sft-after.tsv: $(OUT)/sft.dpo $(OUT)/sft-heldout.tok $(OUT)/sft-eval.settings $(call scripts,$(SFT_EVALUATOR))
	$(SFT_EVALUATOR) -j $(THREADS) -m $< --format tsv -o $@ $(OUT)/sft-heldout.tok

$(eval $(call settings,$(OUT)/sft-tok.settings,$(SFT_TOK) $(TEXT)))
$(eval $(call settings,$(OUT)/sft-heldout-tok.settings,$(SFT_TOK) $(TEXT_HELDOUT)))
$(eval $(call settings,$(OUT)/sft-eval.settings,$(SFT_EVALUATOR) -m $(BASE)))
$(eval $(call settings,$(OUT)/sft.settings,$(SFT)))
