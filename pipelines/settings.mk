# settings.mk - what the recipes share, and include before their rules: the settings there are, what a run is made from.
#
#	$(eval $(call settings,FILE,TEXT))	FILE holds TEXT and changes only when that does: make sees a setting as it sees a file
#	$(call model_files,MODEL)		what to watch of a model; $(call tokenizer_files,MODEL), of its tokenizer alone
#	$(call scripts,COMMAND)			what to watch of a stage: the files among its words, but for our own programs
#	$(as_policy) OUT/policy.dpo		the options that name a policy, which may be an adapter
#
# `own` are a recipe's variables besides those of dpo.mk, `taken` those of dpo.mk that it sets itself.

# A decimal point, and bytes for characters, in every awk: mawk writes and reads 0,5 where the user's language does.
export LC_ALL := C

# Options of dpo-train, in capitals; tests/cli/pipelines.bats compares them with its --help.
loss_options := BETA LOSS_TYPE LOSS_WEIGHTS LABEL_SMOOTHING F_DIVERGENCE_TYPE F_ALPHA_DIVERGENCE_COEF LD_ALPHA DISCOPOP_TAU DPOP_LAMBDA \
	SIMPO_GAMMA ODPO_ALPHA
loss_flags := USE_WEIGHTING REFERENCE_FREE
train_options := LEARNING_RATE LR_SCHEDULER_TYPE WARMUP_STEPS NUM_CYCLES MIN_LR MIN_LR_RATE LR_END POWER TIMESCALE NUM_DECAY_STEPS \
	DECAY_TYPE MIN_LR_RATIO OPTIM WEIGHT_DECAY ADAM_BETA1 ADAM_BETA2 ADAM_EPSILON RMSPROP_ALPHA RMSPROP_EPSILON MOMENTUM \
	MAX_GRAD_NORM NUM_TRAIN_EPOCHS MAX_STEPS BATCH_SIZE GRADIENT_ACCUMULATION_STEPS GRAD_SLOTS ORDER SEED LOGGING_STEPS EVAL \
	EVAL_STEPS EARLY_STOPPING_PATIENCE EARLY_STOPPING_THRESHOLD METRIC_FOR_BEST_MODEL GREATER_IS_BETTER
train_flags := GRADIENT_CHECKPOINTING LOAD_BEST_MODEL_AT_END LOGGING_FIRST_STEP EVAL_ON_START
policy_options := LORA_R LORA_ALPHA LORA_DROPOUT LORA_TARGET_MODULES LORA_MODULES_TO_SAVE LORA_RANK_PATTERN LORA_ALPHA_PATTERN \
	REF_MODEL_MIXUP_ALPHA REF_MODEL_SYNC_STEPS
policy_flags := USE_RSLORA OTHER_REFERENCE SYNC_REF_MODEL

# A misspelt setting would be a run with another one. What a recipe was given reaches its runs, so the names do too; a Makefile of
# one's own that calls a recipe may export DPO_KNOWN for the same reason.
known := $(sort MODEL TOKENIZER TRAIN HELDOUT OUT TOKENS TRAIN_REF HELDOUT_REF DPO_BIN THREADS SHOWN SAVE_STEPS EXTRA MAX_LENGTH DTYPE \
	TOK REFLOGP TRAINER EVALUATOR GEN $(loss_options) $(loss_flags) $(train_options) $(train_flags) $(policy_options) \
	$(policy_flags) $(own) $(DPO_KNOWN))
asked := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $(v))),$(v)))
unknown := $(filter-out $(known),$(asked)) $(filter $(taken),$(asked))
$(if $(strip $(unknown)),$(error $(firstword $(unknown)) is no setting of $(firstword $(MAKEFILE_LIST)); its target help tells them))
export DPO_KNOWN := $(known)

# $(call options,NAME...): --name VALUE for each of the variables that make was given; $(call flags,NAME...): --name.
lower = $(shell printf '%s' '$(1)' | tr A-Z_ a-z-)
given = $(foreach o,$(1),$(if $(filter-out undefined environment,$(origin $(o))),$(if $($(o)),$(o))))
options = $(foreach o,$(call given,$(1)),--$(call lower,$(o)) $($(o)))
flags = $(foreach o,$(call given,$(1)),--$(call lower,$(o)))

lora = $(if $(filter 0,$(LORA_R)),,$(call given,LORA_R)$(filter --lora-r --lora-r=%,$(EXTRA) $(TRAINER)))
as_policy = $(if $(lora),-m $(MODEL) -a,-m)

# A directory's files, or one stream; of a name in the Hugging Face cache what its revision stands for now (dpo-tok(1)).
model_files = $(call files,$(1),*.json *.txt *.model *.safetensors *.bin)
tokenizer_files = $(call files,$(1),*.json *.txt *.model)
files = $(if $(wildcard $(1)/.),$(wildcard $(2:%=$(1)/%)),$(if $(wildcard $(call cached,$(1))/snapshots/.),$(wildcard \
	$(call cached,$(1))/refs/$(or $(word 2,$(subst @, ,$(1))),main)),$(1)))
cache := $(firstword $(HF_HUB_CACHE) $(HUGGINGFACE_HUB_CACHE) $(HF_HOME:%=%/hub) $(XDG_CACHE_HOME:%=%/huggingface/hub) \
	$(HOME:%=%/.cache/huggingface/hub))
cached = $(cache)/models--$(subst /,--,$(firstword $(subst @, ,$(1))))

scripts = $(foreach word,$(filter-out $(DPO_BIN)/%,$(1)),$(if $(wildcard $(word)/.),,$(wildcard $(word))))

define settings
$(1): .force
	@mkdir -p $$(@D)
	@printf '%s\n' '$(subst ','\'',$(strip $(2)))' | cmp -s - $$@ || printf '%s\n' '$(subst ','\'',$(strip $(2)))' > $$@
endef

# A checkpoint is of another run if what the run is made from is younger: $(call fresh,CHECKPOINT,FILE...).
fresh = [ -z "$$(find -L $(2) -prune -newer $(1) 2> /dev/null)" ] || { echo '$(1) is of a run with other settings; a new one begins'; rm $(1); }

.force:
.PHONY: .force
