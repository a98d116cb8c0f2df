#!/usr/bin/env bats
# The recipes: cached stages in make, a stage of one's own in place of ours, set-up without root, the story's data.

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	bin=${DPO_BIN:-$root/bin}
	cd "$BATS_TEST_TMPDIR"
	head -24 "$root/testdata/story/train.jsonl" > train.jsonl
	head -8 "$root/testdata/story/heldout.jsonl" > heldout.jsonl
}

run_mk() { # SETTING=VALUE...: the commands that make runs go to `ran`
	make -f "$root/pipelines/dpo.mk" DPO_BIN="$bin" MODEL="$root/testdata/story" TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=out \
		LEARNING_RATE=1e-4 NUM_TRAIN_EPOCHS=1 THREADS=1 "$@" > ran 2>&1 || { cat ran; return 1; }
}

ran() { grep -oE 'bin[^ ]*/dpo-[a-z]+ |^dpo-[a-z]+' ran | grep -oE 'dpo-[a-z]+' | sort -u | tr '\n' ' '; }

@test "dpo.mk: a second call does nothing; a setting redoes what depends on it and nothing else" {
	run_mk
	[ "$(ran)" = "dpo-eval dpo-reflogp dpo-tok dpo-train " ]
	[ -s out/before.tsv ]
	[ -s out/after.tsv ]
	[ -s out/log.jsonl ]
	[ ! -e out/checkpoint.dpo ]
	run_mk
	[ "$(ran)" = "" ]
	run_mk BETA=0.2
	[ "$(ran)" = "dpo-eval dpo-train " ]
	run_mk BETA=0.2 MAX_LENGTH=60
	[ "$(ran)" = "dpo-eval dpo-reflogp dpo-tok dpo-train " ]
	run_mk BETA=0.2 MAX_LENGTH=60 THREADS=2
	[ "$(ran)" = "" ]
}

@test "dpo.mk: a stage that fails leaves no file; export makes a directory, figure the curves" {
	run run_mk REFLOGP=false
	[ "$status" -ne 0 ]
	[ ! -e out/train.ref ]
	[ ! -e out/policy.dpo ]
	run_mk export figure
	grep -q 'Reward accuracy' out/log.svg
	[ -s out/hf/model.safetensors ]
	[ -s out/hf/tokenizer.json ]
}

@test "dpo.mk: a script in place of a stage" {
	cat > mine <<-END
		#!/bin/sh
		# our dpo-tok, then only pairs with short answers
		out=\$2; shift 2
		"$bin/dpo-tok" -m "$root/testdata/story" "\$@" | "$bin/dpo-cat" |
			"$root/pipelines/short-answers" -v max=60 | "$bin/dpo-cat" -z --stage short-answers -o "\$out"
	END
	chmod +x mine
	run_mk TOK=./mine
	"$bin/dpo-cat" --header out/policy.dpo | grep -q '"stage":"dpo-train"'
	"$bin/dpo-cat" --header out/train.ref | grep -q '"stage":"short-answers"'
	[ "$("$bin/dpo-cat" out/train.tok | wc -l)" -lt 26 ]
}

@test "settings: an option of dpo-train is a variable, or left to EXTRA; a variable that is neither is refused" {
	printf 'include %s/pipelines/settings.mk\nlist:\n\t@printf "%%s\\n" $(known)\n' "$root" > list.mk
	make -s -f list.mk list | sort > known
	"$bin/dpo-train" --help | grep -oE '^ +(-[a-z], )?--[a-z0-9-]+' | sed 's/.*--//' | tr a-z- A-Z_ | sort > options
	comm -13 known options | tr '\n' ' ' > left
	[ "$(cat left)" = "ADAPTER CHECKPOINT DRY_RUN FORMULA HELP INIT LOG MAX_MEMORY MAX_TIME OBJECTIVE OUTPUT QUIET RESTART VERBOSE " ]
	refused() { # RECIPE VARIABLE
		run make -f "$root/pipelines/$1" "$2=1" help
		echo "$output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"*** $2 is no setting of "*"/$1; its target help tells them"* ]]
	}
	for recipe in dpo sft-dpo beta-sweep frontier ablate-noise modpo iterative-dpo constitution; do
		refused $recipe.mk LEARNING_RAET
	done
	refused dpo.mk BETAS
	refused sft-dpo.mk MODEL
	refused beta-sweep.mk BETA
	refused frontier.mk TOKENS
	refused ablate-noise.mk LOSS_TYPE
	refused iterative-dpo.mk TRAIN
	DPO_KNOWN=BETAS make -s -f "$root/pipelines/dpo.mk" BETAS=1 help > /dev/null # as a recipe of one's own would call it
	run_mk -n DTYPE=bf16
	[ "$(grep -c '^[^ ]*/dpo-.* --dtype bf16' ran)" -eq 5 ] # both references, the training, both evaluations
}

@test "dpo.mk: a low-rank adapter is trained, evaluated, continued, exported and reported" {
	run_mk LORA_R=4 LORA_TARGET_MODULES=all-linear SHOWN=2 GEN="$bin/dpo-gen --max-new-tokens 8" MAX_STEPS=2 all export report
	"$bin/dpo-cat" --header out/policy.dpo | grep -q '"kind":"adapter"'
	"$bin/dpo-eval" -q -m "$root/testdata/story" -a out/policy.dpo --format tsv out/heldout.ref | cmp - out/after.tsv
	[ -s out/hf/model.safetensors ]
	[ -s out/report.html ]
	run_mk EXTRA='--lora-r 4' MAX_STEPS=2
	[ "$(ran)" = "dpo-eval dpo-train " ]
	run make -s -f "$root/pipelines/iterative-dpo.mk" LORA_R=4
	[ "$status" -eq 2 ]
	[[ "$output" == *"not from an adapter"* ]]
}

@test "dpo.mk: held-out pairs while it trains; a checkpoint of other settings is dropped" {
	run_mk out/heldout.ref
	run run_mk EVAL=out/heldout.ref EVAL_STEPS=1 EXTRA='--max-time 0.000001'
	[ "$status" -ne 0 ]
	[ -s out/checkpoint.dpo ]
	run_mk EVAL=out/heldout.ref EVAL_STEPS=1 BETA=0.2
	grep -q 'checkpoint.dpo is of a run with other settings; a new one begins' ran
	[ "$(grep -c eval_loss out/log.jsonl)" -eq 3 ]
}

@test "a stage swapped for the Python one gives the same result" {
	python=
	for candidate in python3 /usr/bin/python3; do
		"$candidate" -c 'import zstandard' 2>/dev/null && python=$candidate
	done
	[ -n "$python" ] || skip "no Python with zstandard (apt-get install python3-zstandard)"
	"$bin/dpo-tok" -q -m "$root/testdata/story" -o pairs.tok train.jsonl
	policy() { "$bin/dpo-reflogp" -q -m "$root/testdata/story" | "$bin/dpo-train" -q -m "$root/testdata/story" --max-steps 3 \
		--learning-rate 1e-4 --log "$1.log" | "$bin/dpo-export" -q -f safetensors -o "$1.safetensors"; }
	policy ours < pairs.tok
	"$python" "$root/tests/stream.py" copy pairs.tok | policy theirs
	"$python" "$root/tests/stream.py" add pairs.tok extra | policy added
	cmp ours.safetensors theirs.safetensors
	cmp ours.log theirs.log
	cmp ours.safetensors added.safetensors
}

@test "set-up: nothing missing is silent; without root the line is printed and nothing is installed" {
	mkdir fake
	printf '#!/bin/sh\necho 1000\n' > fake/id
	printf '#!/bin/sh\nfor last; do :; done\n[ "$last" = libzstd-dev ] || printf installed\n' > fake/dpkg-query
	printf '#!/bin/sh\ntouch "%s/called"\n' "$PWD" > fake/apt-get
	cp fake/apt-get fake/sudo
	chmod +x fake/*
	PATH="$PWD/fake:$PATH" run sh "$root/pipelines/setup" build
	[ "$status" -eq 1 ]
	[ "${lines[1]}" = "apt-get update && apt-get install -y --no-install-recommends libzstd-dev" ]
	[ ! -e called ]
	printf '#!/bin/sh\nprintf installed\n' > fake/dpkg-query
	PATH="$PWD/fake:$PATH" run sh "$root/pipelines/setup" build test
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	printf '#!/bin/sh\nprintf installedinstalled\n' > fake/dpkg-query # for two architectures
	PATH="$PWD/fake:$PATH" run sh "$root/pipelines/setup" build
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[ ! -e called ]
}

@test "set-up: the set fuzz has the compiler that make fuzz calls, unless FUZZ_CC is another" {
	mkdir fake
	printf '#!/bin/sh\necho 1000\n' > fake/id
	printf '#!/bin/sh\nfor last; do :; done\ncase $last in clang-*) ;; *) printf installed ;; esac\n' > fake/dpkg-query
	chmod +x fake/*
	compiler=$(make -C "$root" -n BIN="$PWD/none" fuzz | grep -o 'clang-[0-9]*' | sort -u)
	run make -C "$root" -s -n BIN="$PWD/none" setup fuzz
	[[ "$output" == *"pipelines/setup build "*"fuzz"* ]]
	PATH="$PWD/fake:$PATH" run sh "$root/pipelines/setup" build fuzz
	[ "$status" -eq 1 ]
	[ "${lines[1]}" = "apt-get update && apt-get install -y --no-install-recommends $compiler" ]
	make -C "$root" -n BIN="$PWD/none" FUZZ_CC=cc-of-mine fuzz > told
	grep -q 'cc-of-mine -std' told
	! grep -q clang- told || return 1
}

@test "compare and report: a name with = is a name; a row ends at its line's end alone" {
	printf 'eval_loss\t0.5\n' > a=1.tsv
	"$root/pipelines/compare" a=1.tsv a=1.tsv | grep -qE '^loss +0.5 +0.5$'
	run_mk SHOWN=1 GEN="$bin/dpo-gen --max-new-tokens 8" report
	python3 - <<-'END'
		import json
		for name in ("out/before.jsonl", "out/after.jsonl"):
		    row = json.loads(open(name).readline()) | {"completion": "so\u2028 it\u0085 goes"}
		    open(name, "w").write(json.dumps(row, ensure_ascii=False) + "\n")
	END
	"$root/pipelines/report" -o again.html out
	grep -q 'it' again.html
}

@test "make: other flags compile anew, and the same do not; a source that is gone leaves the library; -n does nothing" {
	mkdir tree
	cp -r "$root"/Makefile "$root"/libcore "$root"/cmd "$root"/pipelines tree
	built() { make -s -C tree BIN="$PWD/built" "$@" "$PWD/built/libdpo.a"; }
	printf '#!/bin/sh\necho compiled >> "%s/compiled"\nwhile [ $# -gt 0 ]; do [ "$1" != -o ] || : > "$2"; shift; done\n' "$PWD" > cc
	chmod +x cc
	built CC="$PWD/cc"
	all=$(wc -l < compiled)
	built CC="$PWD/cc"
	[ "$(wc -l < compiled)" -eq "$all" ]
	built CC="$PWD/cc" CFLAGS=-DOTHER
	[ "$(wc -l < compiled)" -eq $((2 * all)) ]
	rm tree/libcore/base/random.c
	built CC="$PWD/cc" CFLAGS=-DOTHER
	[ -z "$(ar t built/libdpo.a | grep random)" ]
	make -C tree -n BIN="$PWD/built" CC="$PWD/cc" demo > told
	grep -q 'sh pipelines/demo' told
}

@test "the story's tokenizer, text and pairs come out byte for byte" {
	make -s -C "$root/testdata/story" OUT="$PWD/story" BIN="$bin" check-data
}
