#!/usr/bin/env bats
# What training converges to, in a world small enough to know it: with exact Bradley-Terry probabilities of a reward r as
# label_prob, pi(y|x) ~ pi_ref(y|x) exp(r(y)/beta) over the listed answers.

bin=${DPO_BIN:-$BATS_TEST_DIRNAME/../../bin}
world="python3 $BATS_TEST_DIRNAME/../toy_world.py"

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	mkdir tiny
	$world config > tiny/config.json
	$world sft | "$bin/dpo-cat" -q -z | "$bin/dpo-train" -q --init tiny/config.json --loss-type sft --learning-rate 1e-2 \
		--batch-size 64 --max-steps 40 -o reference.dpo
	$world pairs | "$bin/dpo-cat" -q -z | "$bin/dpo-reflogp" -q -m reference.dpo -o pairs.ref
	"$bin/dpo-cat" pairs.ref > reference.jsonl
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

converge() { # BETA PAIRS: to policy.jsonl, its log-probs of the listed answers, and log; a batch is all pairs
	"$bin/dpo-train" -q -m reference.dpo --beta "$1" --learning-rate 5e-3 --lr-scheduler-type cosine --max-grad-norm 0 \
		--batch-size 64 --max-steps 600 --logging-steps 1 --log log -o policy.dpo "$2"
	$world pairs | "$bin/dpo-cat" -q -z | "$bin/dpo-reflogp" -q -m policy.dpo | "$bin/dpo-cat" > policy.jsonl
}

variation() { # BETA: of the policy from the target for this beta
	$world check "$1" reference.jsonl policy.jsonl | tee -a /dev/stderr | sed -n 's/^largest //p'
}

is() { # a condition on numbers
	awk "BEGIN { exit !($1) }"
}

@test "three betas: total variation from pi_ref exp(r/beta) at most 0.005, and far from the other betas' targets" {
	for beta in 0.1 0.5 1; do
		converge $beta pairs.ref
		is "$(variation $beta) <= 0.005"
		for other in 0.1 0.5 1; do
			[ $other = $beta ] || is "$(variation $other) > 0.1"
		done
	done
}

@test "the loss falls to the entropy of the labels, whatever beta, and no further" {
	floor=$($world floor)
	for beta in 0.1 1; do
		converge $beta pairs.ref
		python3 -c 'import json, sys
losses, floor = [json.loads(line)["loss"] for line in open("log")], float(sys.argv[1])
print(losses[-1], floor)
assert losses[0] > floor + 0.01 and min(losses) > floor - 1e-6 and losses[-1] < floor + 1e-5' "$floor"
	done
}

@test "labels that are always right lead elsewhere" {
	$world pairs hard | "$bin/dpo-cat" -q -z | "$bin/dpo-reflogp" -q -m reference.dpo -o hard.ref
	converge 0.5 hard.ref
	is "$(variation 0.5) > 0.1"
}
