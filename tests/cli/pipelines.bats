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
	! grep -q clang- told
}

@test "the story's tokenizer, text and pairs come out byte for byte" {
	make -s -C "$root/testdata/story" OUT="$PWD/story" BIN="$bin" check-data
}
