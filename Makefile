# Build, test and set up the DPO filters. `make help` lists the targets.

BIN ?= bin
CC ?= cc
PREFIX ?= /usr/local
OPT ?= -O2

STRICT = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wconversion -Wsign-conversion \
	-Wdouble-promotion -Werror
FLAGS = -std=c11 -D_POSIX_C_SOURCE=200809L $(STRICT) $(OPT) -g -ffp-contract=off -fno-math-errno -fopenmp -fstack-protector-strong \
	-MMD -MP -Ilibcore -Icmd $(SANITIZE) $(CFLAGS)
LIBS = -lopenblas -lcjson -lzstd -lsodium -lpcre2-8 -lutf8proc -lsleef -lm

# The same numbers and messages whatever the user's language.
export LC_ALL := C

# A command with $(MAKE) in it would run under make -n too.
make := $(MAKE)

# V=1 shows the commands.
say = $(if $(V),,@echo '  $(1)' $@ && )

core = $(patsubst %.c,$(BIN)/obj/%.o,$(notdir $(wildcard libcore/*/*.c)))
cli = $(BIN)/obj/cli.o $(BIN)/obj/inputs.o $(BIN)/obj/options.o $(BIN)/obj/policy.o
programs = $(patsubst cmd/%.c,$(BIN)/%,$(wildcard cmd/dpo-*.c))
unit = $(patsubst tests/unit/%.c,$(BIN)/tests/%,$(wildcard tests/unit/test_*.c))
tools = $(patsubst tests/tools/%.c,$(BIN)/tests/%,$(wildcard tests/tools/*.c))
helpers = $(patsubst tests/unit/%.c,$(BIN)/obj/tests/%.o,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

all: $(programs) ## build the programs into bin/

$(BIN)/dpo-train: $(BIN)/obj/training.o $(BIN)/obj/lossopts.o $(BIN)/obj/stepopts.o $(BIN)/obj/dryrun.o
$(BIN)/dpo-cat: $(patsubst cmd/%.c,$(BIN)/obj/%.o,$(wildcard cmd/cat-*.c))
$(BIN)/dpo-eval: $(patsubst cmd/%.c,$(BIN)/obj/%.o,cmd/lossopts.c cmd/report.c $(wildcard cmd/eval-*.c))

$(BIN)/dpo-%: $(BIN)/obj/dpo-%.o $(cli) $(BIN)/libdpo.a
	$(call say,LINK)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BIN)/libdpo.a $(LIBS)

# Files that change with their text: what was compiled with other flags, or is no longer there, is out of date.
$(BIN)/flags: text = $(CC) $(FLAGS) $(LDFLAGS)
$(BIN)/sources: text = $(core)
$(BIN)/flags $(BIN)/sources: .force
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(text))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(text))' > $@

$(BIN)/libdpo.a: $(core) $(BIN)/sources
	$(call say,AR)rm -f $@ && $(AR) rcs $@ $(core)

vpath %.c $(wildcard libcore/*/) cmd

# One that was moved, which older lists of dependencies still name.
libcore/%.c: ;

$(BIN)/obj/%.o: %.c $(BIN)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(FLAGS) -c -o $@ $<

$(BIN)/obj/tests/%.o: tests/unit/%.c $(BIN)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(FLAGS) -c -o $@ $<

$(BIN)/obj/tests/%.o: tests/tools/%.c $(BIN)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(FLAGS) -c -o $@ $<

$(BIN)/tests/%: $(BIN)/obj/tests/%.o $(helpers) $(BIN)/libdpo.a
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

# Products that not every processor has, seen from where they are called; rows of no stream; and what is reserved for them.
$(BIN)/tests/test_estimate: private override LDFLAGS += -Wl,--wrap=dpo_mixed_product,--wrap=dpo_spool_get,--wrap=dpo_arena_reserve
# A processor that has less.
$(BIN)/tests/test_base: private override LDFLAGS += -Wl,--wrap=dpo_cpu
# Memory that runs out where a test says.
$(BIN)/tests/test_rows: private override LDFLAGS += -Wl,--wrap=dpo_size_grow

shared = machine subject
benches = $(patsubst tests/bench/%.c,$(BIN)/bench/%,$(filter-out $(shared:%=tests/bench/%.c),$(wildcard tests/bench/*.c)))

units: $(unit) $(tools) $(benches) # the benches too, so that they build with what they measure

$(BIN)/obj/bench/%.o: tests/bench/%.c $(BIN)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(FLAGS) -c -o $@ $<

$(BIN)/bench/%: $(BIN)/obj/bench/%.o $(shared:%=$(BIN)/obj/bench/%.o) $(cli) $(BIN)/libdpo.a
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

bench: all $(benches) ## where a training step's time goes (GPT-2 124M shape), tokens a second; history in bin/bench
	@$(BIN)/bench/step 0 5 $(BIN)/bench/history.jsonl fp32
	@if $(BIN)/dpo-reflogp --version | grep -q 'bf16 none'; then echo 'bf16: not on this processor'; \
	else $(BIN)/bench/step 0 5 $(BIN)/bench/history.jsonl bf16; fi
	@$(BIN)/bench/gen

# Needs a clang and its OpenMP (make setup fuzz). FUZZ_SECONDS each; what was found lies in bin/fuzz.
FUZZ_CC ?= clang-14
FUZZ_SECONDS ?= 60
fuzzed = $(patsubst tests/fuzz/%.c,$(BIN)/fuzz/%,$(wildcard tests/fuzz/*.c))
readers = $(foreach folder,base hash stream model tokenizer rows,$(wildcard libcore/$(folder)/*.c)) # the kernels take minutes
found_by = -fsanitize=$(1),address,undefined -fno-sanitize-recover=all

$(BIN)/fuzz/libdpo.a: .force
	@$(MAKE) --no-print-directory BIN=$(@D) CC=$(FUZZ_CC) OPT=-O1 CFLAGS=-Wno-error SANITIZE='$(call found_by,fuzzer-no-link)' \
	    core='$(patsubst %.c,$(@D)/obj/%.o,$(notdir $(readers)))' $@

$(BIN)/fuzz/%: tests/fuzz/%.c $(BIN)/fuzz/libdpo.a
	$(call say,FUZZ)$(FUZZ_CC) -std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g -fopenmp $(call found_by,fuzzer) -Ilibcore -o $@ $^ $(LIBS)

fuzz: $(fuzzed) ## feed the readers of foreign files with what libFuzzer thinks up
	@sh tests/fuzz/seeds $(BIN)/fuzz
	@for one in $(fuzzed); do $$one -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$$one. -max_len=4096 $$one.corpus || exit 1; done

# ---------------------------------------------------------------- set-up
# With setup among the goals nothing is compiled before the packages are there, whatever -j says.

setup: ## install the Debian packages that are missing (root), or print the line that does
	@sh pipelines/setup build $(if $(filter test conformance bench asan,$(MAKECMDGOALS)),test) $(filter conformance fuzz,$(MAKECMDGOALS))

ifneq ($(filter setup,$(MAKECMDGOALS)),)
$(core) $(helpers) $(patsubst cmd/%.c,$(BIN)/obj/%.o,$(wildcard cmd/*.c)) \
$(patsubst tests/unit/%.c,$(BIN)/obj/tests/%.o,$(wildcard tests/unit/*.c)) \
$(patsubst tests/tools/%.c,$(BIN)/obj/tests/%.o,$(wildcard tests/tools/*.c)) \
$(patsubst tests/bench/%.c,$(BIN)/obj/bench/%.o,$(wildcard tests/bench/*.c)): | setup
$(BIN)/fuzz/libdpo.a demo test: | setup
endif

# ---------------------------------------------------------------- demo and tests

demo: all ## train the story model on preferences: before and after, side by side (under a minute)
	@sh pipelines/demo $(BIN) $(make)

bats = $(foreach f,$(wildcard tests/$(1)/*.bats),'$(1)/$(notdir $(f))=DPO_BIN=$(abspath $(BIN)) bats --tap $(f)')
asan = -fsanitize=address,undefined -fno-sanitize-recover=all

test: all units sanitized ## build and run all tests that need nothing from outside
	@sh tests/run.sh 'layers=BIN=$(BIN) sh tests/layers.sh' \
	    $(foreach t,$(unit),'unit/$(notdir $(t))=CMOCKA_MESSAGE_OUTPUT=TAP $(t)') \
	    $(foreach t,$(unit),'sanitized/$(notdir $(t))=ASAN_OPTIONS=allocator_may_return_null=1 CMOCKA_MESSAGE_OUTPUT=TAP $(t:$(BIN)/%=$(BIN)/asan/%)') \
	    $(foreach f,cat stream,'sanitized/$(f)=ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=4 DPO_BIN=$(abspath $(BIN))/asan bats --tap tests/cli/$(f).bats') \
	    $(call bats,cli)

sanitized: | all
	@$(MAKE) --no-print-directory BIN=$(BIN)/asan OPT=-O1 SANITIZE='$(asan)' all units

conformance: all units ## compare with real models, data and the peers' numbers in $DPO_SHARED (default ../shared)
	@sh tests/run.sh $(call bats,conformance)

asan: sanitized ## build everything with the address and undefined-behaviour sanitizers into bin/asan

install: all ## install programs and manual pages under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5
	install $(programs) $(DESTDIR)$(PREFIX)/bin
	install -m 644 cmd/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 libcore/*/*.5 $(DESTDIR)$(PREFIX)/share/man/man5

clean: ## remove everything built
	rm -rf $(BIN)

layers: $(BIN)/libdpo.a ## check that libcore's layers point one way and that it neither prints nor exits
	@BIN=$(BIN) sh tests/layers.sh

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

.PHONY: .force all units bench fuzz setup demo test sanitized conformance asan install clean layers help
.SECONDARY:
-include $(wildcard $(BIN)/obj/*.d $(BIN)/obj/tests/*.d $(BIN)/obj/bench/*.d)
