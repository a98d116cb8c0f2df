# dpo.mk - a DPO run as cached files: tokens, reference log-probs, policy, reports, export.
#
#	make -f pipelines/dpo.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run
#	make -f pipelines/dpo.mk ... BETA=0.2 LEARNING_RATE=5e-6	another policy, on the same reference log-probs
#	make -f pipelines/dpo.mk ... export				as well as a Hugging Face directory
#	make -f pipelines/dpo.mk ... figure				as well as the curves of the log, OUT/log.svg
#	make -f pipelines/dpo.mk ... report				as well as a page of all that, OUT/report.html
#
# One variable a setting, given to make: an option of dpo-train in capitals, with _ for - (a flag: anything but nothing); what
# has none goes into EXTRA. What is not set is the program's default. A file is made anew when what it is made from
# changed, settings and names of files included, and only then: another BETA, loss, LD_ALPHA or LEARNING_RATE trains again on
# the stored reference; another MAX_LENGTH, MODEL or data file, of whatever age, redoes what it must. Any number of runs may share TOKENS, the
# directory of the stages that do not depend on the training settings; TRAIN_REF is another set of pairs with reference to
# train on.

here := $(dir $(lastword $(MAKEFILE_LIST)))
MODEL ?= testdata/story
TOKENIZER ?= $(MODEL)
TRAIN ?= testdata/story/train.jsonl
HELDOUT ?= testdata/story/heldout.jsonl
OUT ?= run
TOKENS ?= $(OUT)
TRAIN_REF ?= $(TOKENS)/train.ref
HELDOUT_REF ?= $(TOKENS)/heldout.ref
DPO_BIN ?= bin

THREADS ?= 0
SHOWN ?= 8
SAVE_STEPS ?= 500
EXTRA ?=

# $(call options,NAME...): --name VALUE for each of the variables that make was given; $(call flags,NAME...): --name.
lower = $(shell printf '%s' '$(1)' | tr A-Z_ a-z-)
given = $(foreach o,$(1),$(if $(filter-out undefined environment,$(origin $(o))),$(if $($(o)),$(o))))
options = $(foreach o,$(call given,$(1)),--$(call lower,$(o)) $($(o)))
flags = $(foreach o,$(call given,$(1)),--$(call lower,$(o)))

loss_options = $(call options,BETA LOSS_TYPE LOSS_WEIGHTS LABEL_SMOOTHING F_DIVERGENCE_TYPE F_ALPHA_DIVERGENCE_COEF LD_ALPHA \
	DISCOPOP_TAU DPOP_LAMBDA SIMPO_GAMMA ODPO_ALPHA) $(call flags,USE_WEIGHTING REFERENCE_FREE)
train_options = $(call options,LEARNING_RATE LR_SCHEDULER_TYPE WARMUP_STEPS NUM_CYCLES MIN_LR MIN_LR_RATE LR_END POWER TIMESCALE \
	NUM_DECAY_STEPS DECAY_TYPE MIN_LR_RATIO OPTIM WEIGHT_DECAY ADAM_BETA1 ADAM_BETA2 ADAM_EPSILON RMSPROP_ALPHA \
	RMSPROP_EPSILON MOMENTUM MAX_GRAD_NORM NUM_TRAIN_EPOCHS MAX_STEPS BATCH_SIZE ORDER SEED LOGGING_STEPS)

# The stages as commands: put a program or script of your own in place of any of them. TOK is called with -o OUT FILE; the
# others with -j THREADS, which is no setting, and what else their rules below say.
TOK ?= $(DPO_BIN)/dpo-tok -m $(TOKENIZER) $(call options,MAX_LENGTH)
REFLOGP ?= $(DPO_BIN)/dpo-reflogp -m $(MODEL)
TRAINER ?= $(DPO_BIN)/dpo-train -m $(MODEL) $(loss_options) $(train_options) $(EXTRA)
EVAL ?= $(DPO_BIN)/dpo-eval $(loss_options)
GEN ?= $(DPO_BIN)/dpo-gen

# What a MODEL consists of: the files of a directory, those of its tokenizer alone, or one stream.
tokenizer = $(if $(wildcard $(TOKENIZER)/.),$(wildcard $(TOKENIZER)/*.json $(TOKENIZER)/*.txt $(TOKENIZER)/*.model),$(TOKENIZER))
model = $(if $(wildcard $(MODEL)/.),$(wildcard $(MODEL)/*.json $(MODEL)/*.txt $(MODEL)/*.safetensors $(MODEL)/*.bin),$(MODEL))

all: $(OUT)/before.tsv $(OUT)/after.tsv
export: $(OUT)/hf
figure: $(OUT)/log.svg
report: $(OUT)/report.html
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

$(TOKENS)/train.tok: $(TRAIN) $(tokenizer) $(TOKENS)/train-tok.settings
	$(TOK) -o $@ $(TRAIN)

$(TOKENS)/heldout.tok: $(HELDOUT) $(tokenizer) $(TOKENS)/heldout-tok.settings
	$(TOK) -o $@ $(HELDOUT)

$(TOKENS)/train.ref $(TOKENS)/heldout.ref: $(TOKENS)/%.ref: $(TOKENS)/%.tok $(model) $(TOKENS)/ref.settings
	$(REFLOGP) -j $(THREADS) -o $@ $<

$(OUT)/policy.dpo: $(TRAIN_REF) $(model) $(OUT)/train.settings
	$(TRAINER) -j $(THREADS) --checkpoint $(OUT)/checkpoint.dpo --save-steps $(SAVE_STEPS) --log $(OUT)/log.jsonl -o $@ $<

$(OUT)/before.tsv: $(HELDOUT_REF) $(model) $(OUT)/eval.settings
	$(EVAL) -j $(THREADS) -m $(MODEL) --format tsv -o $@ $<

$(OUT)/after.tsv: $(OUT)/policy.dpo $(HELDOUT_REF) $(OUT)/eval.settings
	$(EVAL) -j $(THREADS) -m $(OUT)/policy.dpo --format tsv -o $@ $(HELDOUT_REF)

$(OUT)/hf: $(OUT)/policy.dpo
	$(DPO_BIN)/dpo-export -f hf --force -o $@ $<

$(OUT)/log.svg: $(OUT)/policy.dpo
	$(here)plot -o $@ $(OUT)/log.jsonl

# The first SHOWN held-out prompts, continued before and after.
$(OUT)/shown.ref: $(HELDOUT_REF) $(OUT)/gen.settings
	$(DPO_BIN)/dpo-cat -z --limit $(SHOWN) -o $@ $<

$(OUT)/before.jsonl: $(OUT)/shown.ref $(model)
	$(GEN) -j $(THREADS) -m $(MODEL) -o $@ $<

$(OUT)/after.jsonl: $(OUT)/shown.ref $(OUT)/policy.dpo
	$(GEN) -j $(THREADS) -m $(OUT)/policy.dpo -r $(MODEL) -o $@ $<

$(OUT)/report.html: $(addprefix $(OUT)/,policy.dpo before.tsv after.tsv before.jsonl after.jsonl) $(TRAIN_REF)
	DPO_BIN=$(DPO_BIN) $(here)report --pairs $(TRAIN_REF) -o $@ $(OUT)

include $(here)settings.mk
$(eval $(call settings,$(TOKENS)/train-tok.settings,$(TOK) $(TRAIN)))
$(eval $(call settings,$(TOKENS)/heldout-tok.settings,$(TOK) $(HELDOUT)))
$(eval $(call settings,$(TOKENS)/ref.settings,$(REFLOGP)))
$(eval $(call settings,$(OUT)/train.settings,$(TRAINER) $(TRAIN_REF)))
$(eval $(call settings,$(OUT)/eval.settings,$(EVAL) -m $(MODEL) $(HELDOUT_REF)))
$(eval $(call settings,$(OUT)/gen.settings,$(SHOWN) $(GEN) -m $(MODEL) $(HELDOUT_REF)))

.PHONY: all export figure report help
.DELETE_ON_ERROR:
.SECONDARY:
