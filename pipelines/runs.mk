# runs.mk - what the recipes of several runs include at their end: one reference for all, and shares of the processors.
#
# The runs are make's own jobs (-j); each gets its share of the processors, at least one. RUN makes the files of one by dpo.mk.

jobs = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),1)
# A bare -j promises no end of jobs.
threads = $(if $(filter -j,$(MAKEFLAGS)),1,$(shell n=$$(( $$(nproc) / $(jobs) )); echo $$(( n > 0 ? n : 1 ))))
RUN ?= $(MAKE) --no-print-directory -f $(here)dpo.mk TOKENS=$(OUT)/tokens

reference:
	+@$(RUN) OUT=$(OUT)/tokens $(OUT)/tokens/train.ref $(OUT)/tokens/heldout.ref

# Only these files' times count, so that what is made of them is not made again each time.
$(OUT)/tokens/train.ref $(OUT)/tokens/heldout.ref: reference ;

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' $(firstword $(MAKEFILE_LIST))

.PHONY: reference help
.DELETE_ON_ERROR:
.SECONDARY:
