# modpo.mk - two objectives: a preference and a second reward, traded by its weight (Zhou et al. 2023, arXiv:2310.03708).
#
#	make -j2 -f pipelines/modpo.mk MODEL=DIR TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=modpo COLUMN=shorter WEIGHTS='0 0.3 0.6'
#
# COLUMN is a key of the rows: by how much the chosen answer is better than the rejected one in the second objective. Each weight
# is a run with --loss-type modpo on one shared reference (weight 0: the preference alone). The table has, held out, the accuracy
# of the implicit reward on the preference, and on the second objective: the share of pairs where it prefers the answer that
# COLUMN does. Other settings of dpo.mk apply. Targets: table (default), help.

here := $(dir $(lastword $(MAKEFILE_LIST)))
own := COLUMN WEIGHTS
taken := LOSS_TYPE TOK THREADS TOKENS
include $(here)settings.mk

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
OUT ?= modpo
DPO_BIN ?= bin
MODEL ?= testdata/story
COLUMN ?= second
WEIGHTS ?= 0 0.25 0.5 0.75
MAX_LENGTH ?= 1024

tok = $(DPO_BIN)/dpo-tok -m $(MODEL) --max-length $(MAX_LENGTH) --keep $(COLUMN):f32
RUN = $(MAKE) --no-print-directory -f $(here)dpo.mk TOKENS=$(OUT)/tokens TOK='$(tok)'
# Weight 0 needs no objective and no other loss.
loss = $(if $(filter-out 0,$*),LOSS_TYPE=modpo EXTRA='$(EXTRA) --objective $(COLUMN)=$*')

table: $(OUT)/table.tsv
	@awk -F '\t' '{ for (i = 1; i <= NF; i++) printf "%*s", 14, NR == 1 || i == 1 ? $$i : sprintf("%.4f", $$i); print "" }' $<

$(OUT)/table.tsv: $(WEIGHTS:%=$(OUT)/%/point.tsv) $(OUT)/table.settings
	@{ printf 'weight\tpreference\tsecond\n'; cat $(filter %/point.tsv,$^); } > $@.new && mv $@.new $@

# Accuracies from the rewards of each pair.
$(OUT)/%/point.tsv: $(OUT)/%/policy.dpo $(OUT)/tokens/heldout.ref
	@$(DPO_BIN)/dpo-eval -q -j $(threads) $(as_policy) $< --per-pair $(OUT)/$*/pairs.dpo -o $(OUT)/$*/report.txt $(OUT)/tokens/heldout.ref
	@$(DPO_BIN)/dpo-cat $(OUT)/$*/pairs.dpo | awk -v weight=$* -v column=$(COLUMN) 'function number(key) { \
	match($$0, "\"" key "\":[^,}]*"); return substr($$0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0 } \
	/^\{"header"/ || /^\{"end"/ { next } \
	{ d = number("reward_chosen") - number("reward_rejected"); m = number(column); n++; first += d > 0; \
	if (m != 0) { pairs++; second += d * m > 0 } } \
	END { printf "%s\t%.6g\t%.6g\n", weight, first / n, pairs ? second / pairs : 0 }' > $@.new && mv $@.new $@

$(OUT)/%/policy.dpo: reference
	+@$(RUN) OUT=$(OUT)/$* THREADS=$(threads) $(loss) $@

.PHONY: table
include $(here)runs.mk
$(eval $(call settings,$(OUT)/table.settings,$(WEIGHTS)))
