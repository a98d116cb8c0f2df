# sft-dpo.mk - supervised fine-tuning, then DPO, as cached files.
#
#	make -f pipelines/sft-dpo.mk BASE=DIR TEXT=text.jsonl TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run
#	make -f pipelines/sft-dpo.mk ... TEXT_HELDOUT=text-heldout.jsonl	the supervised loss before and after as well
#	make -f pipelines/sft-dpo.mk ... SFT_LEARNING_RATE=1e-5 BETA=0.2
#
# The supervised stage learns the rows {"prompt","completion"} of TEXT; its settings begin with SFT_. What follows is dpo.mk
# with that model as its MODEL, policy and reference in one: all settings of dpo.mk hold, and its files lie in OUT. The
# pairs are tokenized once, by BASE's tokenizer; another SFT_ setting redoes all but that.

BASE ?= testdata/story
TEXT ?= testdata/story/text-heldout.jsonl
OUT ?= run
override MODEL := $(OUT)/sft.dpo
override TOKENIZER := $(BASE)

include $(dir $(lastword $(MAKEFILE_LIST)))dpo.mk

# $(call sft,NAME...): --name VALUE for each SFT_NAME that make was given.
sft = $(foreach o,$(1),$(if $(call given,SFT_$(o)),--$(call lower,$(o)) $(SFT_$(o))))

SFT ?= $(DPO_BIN)/dpo-train -m $(BASE) --loss-type sft $(call sft,LEARNING_RATE LR_SCHEDULER_TYPE WARMUP_STEPS NUM_CYCLES MIN_LR \
	MIN_LR_RATE LR_END POWER TIMESCALE NUM_DECAY_STEPS DECAY_TYPE MIN_LR_RATIO OPTIM WEIGHT_DECAY ADAM_BETA1 ADAM_BETA2 \
	ADAM_EPSILON RMSPROP_ALPHA RMSPROP_EPSILON MOMENTUM MAX_GRAD_NORM NUM_TRAIN_EPOCHS MAX_STEPS BATCH_SIZE ORDER SEED \
	LOGGING_STEPS) $(SFT_EXTRA)
SFT_TOK ?= $(DPO_BIN)/dpo-tok -m $(BASE) $(call sft,MAX_LENGTH)
SFT_EVAL ?= $(DPO_BIN)/dpo-eval --loss-type sft

base = $(if $(wildcard $(BASE)/.),$(wildcard $(BASE)/*.json $(BASE)/*.txt $(BASE)/*.safetensors $(BASE)/*.bin),$(BASE))

all: $(if $(TEXT_HELDOUT),$(OUT)/sft-before.tsv $(OUT)/sft-after.tsv)

$(OUT)/sft.tok: $(TEXT) $(tokenizer) $(OUT)/sft-tok.settings
	$(SFT_TOK) -o $@ $(TEXT)

$(OUT)/sft-heldout.tok: $(TEXT_HELDOUT) $(tokenizer) $(OUT)/sft-heldout-tok.settings
	$(SFT_TOK) -o $@ $(TEXT_HELDOUT)

$(OUT)/sft.dpo: $(OUT)/sft.tok $(base) $(OUT)/sft.settings
	$(SFT) -j $(THREADS) --checkpoint $(OUT)/sft-checkpoint.dpo --save-steps $(SAVE_STEPS) --log $(OUT)/sft-log.jsonl -o $@ $<

$(OUT)/sft-before.tsv: $(OUT)/sft-heldout.tok $(base) $(OUT)/sft-eval.settings
	$(SFT_EVAL) -j $(THREADS) -m $(BASE) --format tsv -o $@ $<

$(OUT)/sft-after.tsv: $(OUT)/sft.dpo $(OUT)/sft-heldout.tok $(OUT)/sft-eval.settings
	$(SFT_EVAL) -j $(THREADS) -m $< --format tsv -o $@ $(OUT)/sft-heldout.tok

$(eval $(call settings,$(OUT)/sft-tok.settings,$(SFT_TOK) $(TEXT)))
$(eval $(call settings,$(OUT)/sft-heldout-tok.settings,$(SFT_TOK) $(TEXT_HELDOUT)))
$(eval $(call settings,$(OUT)/sft-eval.settings,$(SFT_EVAL) -m $(BASE)))
$(eval $(call settings,$(OUT)/sft.settings,$(SFT)))
