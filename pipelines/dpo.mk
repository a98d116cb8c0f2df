# dpo.mk - a DPO run as cached files: tokens, reference log-probs, policy, reports, export.
#
#	make -f pipelines/dpo.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run
#	make -f pipelines/dpo.mk ... BETA=0.2 LEARNING_RATE=5e-6	another policy, on the same reference log-probs
#	make -f pipelines/dpo.mk ... export				as well as a Hugging Face directory
#	make -f pipelines/dpo.mk ... figure				as well as the curves of the log, OUT/log.svg
#	make -f pipelines/dpo.mk ... report				as well as a page of all that, OUT/report.html
#
# One variable a setting, given to make: an option of dpo-train in capitals, with _ for - (a flag: anything but nothing); what
# settings.mk does not list goes into EXTRA, and any other variable is refused. What is not set is the program's default. MODEL is
# what the programs take, a name in the Hugging Face cache too; DTYPE goes to all that have it. With LORA_R the policy is an
# adapter of MODEL, and the export has it merged. A file is made anew when what it is made from changed, settings, names of files
# and scripts included, and only then: another BETA, loss, LD_ALPHA or LEARNING_RATE trains again on the stored reference;
# another MAX_LENGTH, MODEL or data file, of whatever age, redoes what it must; a checkpoint of other settings is dropped. Any
# number of runs may share TOKENS, the directory of the stages that do not depend on the training settings; TRAIN_REF is another
# set of pairs with reference to train on.

here := $(dir $(lastword $(MAKEFILE_LIST)))
include $(here)settings.mk

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

# The stages as commands: put a program or script of your own in place of any of them. TOK is called with -o OUT FILE; the
# others with -j THREADS, which is no setting, and what else their rules below say.
TOK ?= $(DPO_BIN)/dpo-tok -m $(TOKENIZER) $(call options,MAX_LENGTH)
REFLOGP ?= $(DPO_BIN)/dpo-reflogp -m $(MODEL) $(dtype)
TRAINER ?= $(DPO_BIN)/dpo-train -m $(MODEL) $(dtype) $(loss) $(call options,$(train_options) $(policy_options)) \
	$(call flags,$(train_flags) $(policy_flags)) $(EXTRA)
EVALUATOR ?= $(DPO_BIN)/dpo-eval $(dtype) $(loss)
GEN ?= $(DPO_BIN)/dpo-gen
loss = $(call options,$(loss_options)) $(call flags,$(loss_flags))
dtype = $(call options,DTYPE)

tokenizer := $(call tokenizer_files,$(TOKENIZER))
model := $(call model_files,$(MODEL))

all: $(OUT)/before.tsv $(OUT)/after.tsv
export: $(OUT)/hf
figure: $(OUT)/log.svg
report: $(OUT)/report.html
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

$(TOKENS)/train.tok: $(TRAIN) $(tokenizer) $(TOKENS)/train-tok.settings $(call scripts,$(TOK))
	$(TOK) -o $@ $(TRAIN)

$(TOKENS)/heldout.tok: $(HELDOUT) $(tokenizer) $(TOKENS)/heldout-tok.settings $(call scripts,$(TOK))
	$(TOK) -o $@ $(HELDOUT)

$(TOKENS)/train.ref $(TOKENS)/heldout.ref: $(TOKENS)/%.ref: $(TOKENS)/%.tok $(model) $(TOKENS)/ref.settings $(call scripts,$(REFLOGP))
	$(REFLOGP) -j $(THREADS) -o $@ $<

$(OUT)/policy.dpo: $(TRAIN_REF) $(if $(call given,EVAL),$(EVAL)) $(model) $(OUT)/train.settings $(call scripts,$(TRAINER))
	@$(call fresh,$(OUT)/checkpoint.dpo,$^)
	$(TRAINER) -j $(THREADS) --checkpoint $(OUT)/checkpoint.dpo --save-steps $(SAVE_STEPS) --log $(OUT)/log.jsonl -o $@ $<

$(OUT)/before.tsv: $(HELDOUT_REF) $(model) $(OUT)/eval.settings $(call scripts,$(EVALUATOR))
	$(EVALUATOR) -j $(THREADS) -m $(MODEL) --format tsv -o $@ $<

$(OUT)/after.tsv: $(OUT)/policy.dpo $(HELDOUT_REF) $(OUT)/eval.settings $(call scripts,$(EVALUATOR))
	$(EVALUATOR) -j $(THREADS) $(as_policy) $(OUT)/policy.dpo --format tsv -o $@ $(HELDOUT_REF)

$(OUT)/hf: $(OUT)/policy.dpo
	$(DPO_BIN)/dpo-export -f hf --force -o $@ $(if $(lora),--merge -a $< $(MODEL),$<)

$(OUT)/log.svg: $(OUT)/policy.dpo
	$(here)plot -o $@ $(OUT)/log.jsonl

# The first SHOWN held-out prompts, continued before and after.
$(OUT)/shown.ref: $(HELDOUT_REF) $(OUT)/gen.settings $(call scripts,$(GEN))
	$(DPO_BIN)/dpo-cat -z --limit $(SHOWN) -o $@ $<

$(OUT)/before.jsonl: $(OUT)/shown.ref $(model)
	$(GEN) -j $(THREADS) -m $(MODEL) -o $@ $<

$(OUT)/after.jsonl: $(OUT)/shown.ref $(OUT)/policy.dpo
	$(GEN) -j $(THREADS) $(as_policy) $(OUT)/policy.dpo -r $(MODEL) -o $@ $<

$(OUT)/report.html: $(addprefix $(OUT)/,policy.dpo before.tsv after.tsv before.jsonl after.jsonl) $(TRAIN_REF)
	DPO_BIN=$(DPO_BIN) $(here)report --pairs $(TRAIN_REF) -o $@ $(OUT)

$(eval $(call settings,$(TOKENS)/train-tok.settings,$(TOK) $(TRAIN)))
$(eval $(call settings,$(TOKENS)/heldout-tok.settings,$(TOK) $(HELDOUT)))
$(eval $(call settings,$(TOKENS)/ref.settings,$(REFLOGP)))
$(eval $(call settings,$(OUT)/train.settings,$(TRAINER) $(TRAIN_REF)))
$(eval $(call settings,$(OUT)/eval.settings,$(EVALUATOR) -m $(MODEL) $(HELDOUT_REF)))
$(eval $(call settings,$(OUT)/gen.settings,$(SHOWN) $(GEN) -m $(MODEL) $(HELDOUT_REF)))

.PHONY: all export figure report help
.DELETE_ON_ERROR:
.SECONDARY:
