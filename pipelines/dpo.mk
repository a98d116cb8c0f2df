# dpo.mk - a DPO run as cached files: tokens, reference log-probs, policy, reports, export.
#
#	make -f pipelines/dpo.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run
#
# One variable a setting. A file is made anew when what it is made from changed, settings included: another BETA trains
# again on the stored reference; another MAX_LENGTH or MODEL tokenizes and scores again. Any number of runs may share
# TOKENS, the directory of the stages that do not depend on the training settings; TRAIN_REF is another set of pairs with
# reference to train on.

MODEL ?= testdata/story
TRAIN ?= testdata/story/train.jsonl
HELDOUT ?= testdata/story/heldout.jsonl
OUT ?= run
TOKENS ?= $(OUT)
TRAIN_REF ?= $(TOKENS)/train.ref
HELDOUT_REF ?= $(TOKENS)/heldout.ref
DPO_BIN ?= bin

MAX_LENGTH ?= 1024
BETA ?= 0.1
LOSS_TYPE ?= sigmoid
LEARNING_RATE ?= 1e-6
SCHEDULE ?= linear
WARMUP_STEPS ?= 0
WEIGHT_DECAY ?= 0
MAX_GRAD_NORM ?= 1
EPOCHS ?= 3
MAX_STEPS ?= -1
BATCH_SIZE ?= 8
SEED ?= 42
SAVE_STEPS ?= 500
THREADS ?= 0
EXTRA ?=

# The stages as commands: put a program or script of your own in place of any of them.
TOK ?= $(DPO_BIN)/dpo-tok -m $(MODEL) --max-length $(MAX_LENGTH)
REFLOGP ?= $(DPO_BIN)/dpo-reflogp -m $(MODEL) -j $(THREADS)
TRAINER ?= $(DPO_BIN)/dpo-train -m $(MODEL) --beta $(BETA) --loss-type $(LOSS_TYPE) --learning-rate $(LEARNING_RATE) \
	--lr-scheduler-type $(SCHEDULE) --warmup-steps $(WARMUP_STEPS) --weight-decay $(WEIGHT_DECAY) \
	--max-grad-norm $(MAX_GRAD_NORM) --num-train-epochs $(EPOCHS) --max-steps $(MAX_STEPS) --batch-size $(BATCH_SIZE) \
	--seed $(SEED) $(EXTRA)
EVAL ?= $(DPO_BIN)/dpo-eval --beta $(BETA) --loss-type $(LOSS_TYPE) -j $(THREADS)

model = $(if $(wildcard $(MODEL)/.),$(wildcard $(MODEL)/*.json $(MODEL)/*.txt $(MODEL)/*.safetensors $(MODEL)/*.bin),$(MODEL))

all: $(OUT)/before.tsv $(OUT)/after.tsv
export: $(OUT)/hf

$(TOKENS)/train.tok: $(TRAIN) $(model) $(TOKENS)/tok.settings
	$(TOK) -o $@ $(TRAIN)

$(TOKENS)/heldout.tok: $(HELDOUT) $(model) $(TOKENS)/tok.settings
	$(TOK) -o $@ $(HELDOUT)

$(TOKENS)/%.ref: $(TOKENS)/%.tok $(model) $(TOKENS)/ref.settings
	$(REFLOGP) -o $@ $<

$(OUT)/policy.dpo: $(TRAIN_REF) $(model) $(OUT)/train.settings
	$(TRAINER) -j $(THREADS) --checkpoint $(OUT)/checkpoint.dpo --save-steps $(SAVE_STEPS) --log $(OUT)/log.jsonl -o $@ $<

$(OUT)/before.tsv: $(HELDOUT_REF) $(OUT)/eval.settings
	$(EVAL) -m $(MODEL) --format tsv -o $@ $<

$(OUT)/after.tsv: $(OUT)/policy.dpo $(HELDOUT_REF) $(OUT)/eval.settings
	$(EVAL) -m $(OUT)/policy.dpo --format tsv -o $@ $(HELDOUT_REF)

$(OUT)/hf: $(OUT)/policy.dpo
	$(DPO_BIN)/dpo-export -f hf --force -o $@ $<

# A settings file changes only when its text does, so that make sees a setting as it sees a file.
define settings
$(1): force
	@mkdir -p $$(@D)
	@printf '%s\n' '$(subst ','\'',$(2))' | cmp -s - $$@ || printf '%s\n' '$(subst ','\'',$(2))' > $$@
endef
$(eval $(call settings,$(TOKENS)/tok.settings,$(TOK)))
$(eval $(call settings,$(TOKENS)/ref.settings,$(filter-out -j $(THREADS),$(REFLOGP))))
$(eval $(call settings,$(OUT)/train.settings,$(TRAINER)))
$(eval $(call settings,$(OUT)/eval.settings,$(filter-out -j $(THREADS),$(EVAL))))

force:
.PHONY: all export force
.DELETE_ON_ERROR:
.SECONDARY:
