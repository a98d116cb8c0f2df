#!/usr/bin/env bats
# Which stages run again under make: every program is wrapped by one that counts its calls.

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	bin=${DPO_BIN:-$root/bin}
	cd "$BATS_TEST_TMPDIR"
	head -16 "$root/testdata/story/train.jsonl" > train.jsonl
	head -6 "$root/testdata/story/heldout.jsonl" > heldout.jsonl
	head -6 "$root/testdata/story/text-heldout.jsonl" > text.jsonl
	tail -4 "$root/testdata/story/text-heldout.jsonl" > text-heldout.jsonl
	mkdir model wrapped
	cp "$root"/testdata/story/*.json "$root"/testdata/story/model.safetensors model
	for program in tok reflogp train eval export; do
		printf '#!/bin/sh\necho %s >> "%s/calls"\nexec "%s/dpo-%s" "$@"\n' $program "$PWD" "$bin" $program > wrapped/dpo-$program
	done
	chmod +x wrapped/*
}

run_mk() { # RECIPE SETTING=VALUE...
	recipe=$1
	shift
	: > calls
	make -f "$root/pipelines/$recipe" DPO_BIN=wrapped TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=out THREADS=1 MAX_STEPS=1 "$@" \
		> said 2>&1 || { cat said; return 1; }
}

# How often each program was called: "tok reflogp train eval".
counts() { for program in tok reflogp train eval; do grep -cx $program calls || true; done | tr '\n' ' ' | sed 's/ $//'; }

dpo() { # COUNTS SETTING=VALUE...: make with these settings calls so many; and once more, none
	want=$1
	shift
	run_mk dpo.mk MODEL=model "$@"
	echo "$*: $(counts), want $want"
	[ "$(counts)" = "$want" ]
	run_mk dpo.mk MODEL=model "$@"
	[ "$(counts)" = "0 0 0 0" ]
}

later() { sleep 0.05; touch "$1"; }	# make compares times of files

@test "beta, loss, ld_alpha, learning rate, optimizer: no earlier stage" {
	dpo "2 2 1 2"
	dpo "0 0 1 2" BETA=0.2
	dpo "0 0 1 2" BETA=0.2 LOSS_TYPE=ipo
	dpo "0 0 1 2" BETA=0.2 LOSS_TYPE=sigmoid,sft LOSS_WEIGHTS=1,0.5
	dpo "0 0 1 2" BETA=0.2 LD_ALPHA=0.5
	dpo "0 0 1 2" BETA=0.2 LD_ALPHA=0
	dpo "0 0 1 2" BETA=0.2 USE_WEIGHTING=1
	dpo "0 0 1 2" BETA=0.2
	dpo "0 0 1 1" BETA=0.2 LEARNING_RATE=1e-5
	dpo "0 0 1 1" BETA=0.2 LEARNING_RATE=1e-5 OPTIM=sgd MOMENTUM=0.9 LR_SCHEDULER_TYPE=polynomial POWER=2
	dpo "0 0 1 1" BETA=0.2 NUM_TRAIN_EPOCHS=2 EXTRA=--other-reference
	"$bin/dpo-cat" --header out/policy.dpo | grep -q '"beta":0.2'
}

@test "max_length, model and data: what must run again, and that alone" {
	dpo "2 2 1 2"
	dpo "2 2 1 2" MAX_LENGTH=60
	dpo "2 2 1 2"
	later model/model.safetensors		# other weights: the tokens hold
	dpo "0 2 1 2"
	later model/tokenizer.json
	dpo "2 2 1 2"
	cp -r model other
	dpo "2 2 1 2" MODEL=other
	dpo "2 2 1 2"
	later train.jsonl
	dpo "1 1 1 1"
	later heldout.jsonl
	dpo "1 1 0 2"
}

@test "another file, however old, is another setting" {
	tail -n +2 train.jsonl > other.jsonl
	touch -d yesterday other.jsonl
	dpo "2 2 1 2"
	dpo "1 1 0 2" HELDOUT=other.jsonl
	dpo "2 2 1 2" TRAIN=other.jsonl
	cp out/heldout.ref held.ref
	cp out/train.ref pairs.ref
	touch -d yesterday held.ref pairs.ref
	dpo "0 0 0 2" TRAIN=other.jsonl HELDOUT_REF=held.ref
	dpo "0 0 1 1" TRAIN=other.jsonl HELDOUT_REF=held.ref TRAIN_REF=pairs.ref
	run_mk sft-dpo.mk BASE=model TEXT=text.jsonl OUT=sft SFT_MAX_STEPS=1 TEXT_HELDOUT=text-heldout.jsonl
	touch -d yesterday text.jsonl
	run_mk sft-dpo.mk BASE=model TEXT=text-heldout.jsonl OUT=sft SFT_MAX_STEPS=1 TEXT_HELDOUT=text.jsonl
	[ "$(counts)" = "2 2 2 4" ]
}

@test "a script in a stage's place is part of what the stage makes" {
	printf 'exec wrapped/dpo-tok -m model "$@"\n' > mine
	dpo "2 2 1 2" TOK='sh mine'
	later mine
	dpo "2 2 1 2" TOK='sh mine'
}

@test "a model of the Hugging Face cache, and what its name stands for" {
	mkdir -p hub/models--a--story/refs hub/models--a--story/snapshots
	cp -r model hub/models--a--story/snapshots/123
	printf 123 > hub/models--a--story/refs/main
	export HF_HUB_CACHE=$PWD/hub
	dpo "2 2 1 2" MODEL=a/story
	later hub/models--a--story/refs/main
	dpo "2 2 1 2" MODEL=a/story
	dpo "2 2 1 2" MODEL=a/story@123
}

@test "the number of threads is no setting, but one that equals it is" {
	dpo "2 2 1 2" BETA=1 THREADS=1
	dpo "0 0 1 2" BETA=2 THREADS=2
}

@test "threads and the environment change nothing; runs may share the stages before training" {
	dpo "2 2 1 2"
	dpo "0 0 0 0" THREADS=2
	SEED=7 POWER=2 BETA=0.7 run_mk dpo.mk MODEL=model
	[ "$(counts)" = "0 0 0 0" ]
	dpo "0 0 1 2" OUT=second TOKENS=out BETA=0.5
	dpo "0 0 0 0"
}

@test "supervised fine-tuning, then DPO: stages, and what each setting runs again" {
	sft() { # COUNTS SETTING=VALUE...
		want=$1
		shift
		run_mk sft-dpo.mk BASE=model TEXT=text.jsonl TEXT_HELDOUT=text-heldout.jsonl SFT_MAX_STEPS=4 "$@"
		echo "$*: $(counts), want $want"
		[ "$(counts)" = "$want" ]
		run_mk sft-dpo.mk BASE=model TEXT=text.jsonl TEXT_HELDOUT=text-heldout.jsonl SFT_MAX_STEPS=4 "$@"
		[ "$(counts)" = "0 0 0 0" ]
	}
	sft "4 2 2 4" SFT_LEARNING_RATE=1e-4
	sft "0 0 1 2" SFT_LEARNING_RATE=1e-4 BETA=0.5
	sft "0 2 2 3" SFT_LEARNING_RATE=2e-4 BETA=0.5
	later train.jsonl
	sft "1 1 1 1" SFT_LEARNING_RATE=2e-4 BETA=0.5
	later text.jsonl
	sft "1 2 2 3" SFT_LEARNING_RATE=2e-4 BETA=0.5

	# The policy's chain names both; the reference is the supervised model, so the first reward is 0.
	"$bin/dpo-cat" --header out/policy.dpo | grep -q '"loss_type":"sft".*"loss_type":"sigmoid"'
	head -1 out/log.jsonl | grep -q '"loss":0.6931471824645996.*"rewards/chosen":-\?0,'
	loss() { awk -F '\t' '$1 == "eval_loss" { print $2 }' "$1"; }
	echo "supervised loss $(loss out/sft-before.tsv) before, $(loss out/sft-after.tsv) after"
	awk -v a="$(loss out/sft-before.tsv)" -v b="$(loss out/sft-after.tsv)" 'BEGIN { exit !(b > 0 && a > 0 && b != a) }'
}

@test "the recipes say what they do" {
	for recipe in dpo.mk sft-dpo.mk; do
		run make -s -f "$root/pipelines/$recipe" help
		[ "$status" -eq 0 ]
		[[ "${lines[0]}" == "$recipe - "* ]]
		[ "${#lines[@]}" -gt 6 ]
	done
}
