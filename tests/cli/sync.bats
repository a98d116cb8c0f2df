#!/usr/bin/env bats
# TR-DPO: a reference that follows the policy (--sync-ref-model) gives TRL's numbers, the same bytes in any company and
# after a kill across a sync, says what it costs, and is refused where it cannot be.

load tiny

setup_file() {
	export PYTHONDONTWRITEBYTECODE=1
	peers="$BATS_TEST_DIRNAME/../peers"
	cd "$BATS_FILE_TMPDIR"
	python3 "$peers/cases.py" T - .
	for set in train eval; do
		python3 "$peers/cases.py" --stream $set.jsonl | "$bin/dpo-cat" -q -z -o $set.tok
		"$bin/dpo-reflogp" -q -m model -o $set.ref $set.tok
	done
	python3 "$peers/cases.py" T --arguments | sed -n 2p > arguments
	"$bin/dpo-train" -j 1 $(settings) --log want.log -o want.dpo train.ref
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	golden="$BATS_TEST_DIRNAME/../../testdata/golden/trl/T.json"
	compare="$BATS_TEST_DIRNAME/../peers/compare_trl.py"
	rm -rf work
	mkdir work
}

settings() { # case T: the reference moves after steps 2, 4 and 6; evaluation after 3 and 6
	echo "-q -m model --eval eval.ref $(cat arguments)"
}

stage() { # STREAM KEY: of the last stage
	"$bin/dpo-cat" "$1" | python3 -c 'import json, sys
stage = json.loads(next(sys.stdin))["header"]["stages"][-1]
print((stage | stage["settings"]).get(sys.argv[1]))' "$2"
}

identity() { # MODEL: its id
	"$bin/dpo-reflogp" -q -m "$1" eval.tok > work/identity
	stage work/identity model | grep -xE '[0-9a-f]{64}' || echo "no id of $1"
}

@test "steps 2, alpha 0.6, six steps: TRL's metrics, its evaluations and its weights" {
	"$bin/dpo-export" -q -f safetensors -o work/policy.safetensors want.dpo
	python3 "$compare" "$golden" want.log --weights work/policy.safetensors
	for change in "--ref-model-mixup-alpha 0.59" "--ref-model-sync-steps 3"; do	# and the numbers tell
		"$bin/dpo-train" $(settings) $change --log work/log -o work/policy train.ref
		run python3 "$compare" "$golden" work/log
		[ "$status" -eq 1 ]
		[[ "$output" == *"FAIL loss"* ]]
	done
}

@test "other threads, a pipe: the same policy and log" {
	for threads in 2 3; do
		cat train.ref | "$bin/dpo-train" $(settings) -j $threads --log work/log > work/policy
		cmp want.dpo work/policy
		cmp want.log work/log
	done
}

@test "killed at every checkpoint and resumed, across each sync: the same bytes" {
	command -v strace > /dev/null || skip "no strace"
	resumed=
	for n in $(seq 1 20); do
		rm -rf work; mkdir work
		status=0
		strace -f -o /dev/null -e trace=rename -e inject=rename:signal=KILL:when=$n "$bin/dpo-train" -j 1 $(settings) \
			--save-steps 1 --checkpoint work/c --log work/log -o work/policy train.ref || status=$?
		[ $status -ne 0 ] || break
		[ $status -eq 137 ]
		"$bin/dpo-train" $(settings | sed 's/-q//') -j 2 --checkpoint work/c --log work/log -o work/policy train.ref 2> note
		resumed="$resumed $(sed -n 's/.*resuming after step \([0-9]*\) of.*/\1/p' note)"
		rm -f work/.policy.*.tmp
		cmp want.dpo work/policy
		cmp want.log work/log
	done
	echo "resumed after$resumed"
	[[ "$resumed" == *" 1 2 3 4 5 6"* ]]
}

@test "alpha 0: log-probs that are recomputed are the stored ones, to the bit" {
	"$bin/dpo-train" $(settings) --ref-model-mixup-alpha 0 --log work/log -o work/policy train.ref
	"$bin/dpo-train" $(settings | sed 's/--sync-ref-model.*//') --log work/fixed.log -o work/fixed train.ref
	cmp work/log work/fixed.log
	[ "$(stage work/policy synced_reference)" = "$(stage work/policy reference)" ]
	[ "$(identity work/policy)" = "$(identity work/fixed)" ]
	! cmp -s want.log work/log || return 1
}

@test "alpha 1 after every step: the reference is the policy, and every reward 0" {
	"$bin/dpo-train" $(settings) --ref-model-mixup-alpha 1 --ref-model-sync-steps 1 --log work/log -o work/policy train.ref
	[ "$(logged work/log loss | sort -u | tr '\n' ' ')" = "0.6931471824645996 None " ]
	for metric in rewards/chosen rewards/rejected eval_rewards/chosen eval_rewards/rejected; do
		[ "$(logged work/log $metric | tr -d - | sort -u | tr '\n' ' ')" = "0 None " ]
	done
	[ "$(stage work/policy synced_reference)" = "$(identity work/policy)" ]
	[ "$(identity work/policy)" != "$(identity model)" ]
}

@test "alpha 1 on a model of many spans: the reference is the whole policy" {
	head -2 "$story/train.jsonl" | "$bin/dpo-tok" -q -m "$story" -o work/tok
	"$bin/dpo-reflogp" -q -m "$story" -o work/ref work/tok
	"$bin/dpo-train" -q -m "$story" --sync-ref-model --ref-model-mixup-alpha 1 --ref-model-sync-steps 1 --max-steps 1 \
		--learning-rate 1e-3 -o work/policy work/ref
	"$bin/dpo-reflogp" -q -m work/policy -o work/identity work/tok
	[ "$(stage work/policy synced_reference)" = "$(stage work/identity model)" ]
	[ "$(stage work/policy synced_reference)" != "$(stage work/policy reference)" ]
}

@test "the policy names the settings, the reference it began with and the one it ended with" {
	[ "$(stage want.dpo sync_ref_model)" = True ]
	[ "$(stage want.dpo ref_model_mixup_alpha)" = 0.6 ]
	[ "$(stage want.dpo ref_model_sync_steps)" = 2 ]
	[ "$(stage want.dpo reference)" = "$(identity model)" ]
	ended=$(stage want.dpo synced_reference)
	[ ${#ended} -eq 64 ]
	[ "$ended" != "$(identity model)" ]
	[ "$ended" != "$(identity want.dpo)" ]
	"$bin/dpo-train" -q -m model -o work/policy train.ref
	[ "$(stage work/policy sync_ref_model) $(stage work/policy synced_reference)" = "None None" ]
	"$bin/dpo-eval" -q -m want.dpo eval.ref > work/report	# the stored reference is in its chain
}

@test "said beforehand: the memory it takes, and that a run ends before its first sync" {
	run "$bin/dpo-train" $(settings | sed 's/-q//') --ref-model-sync-steps 7 --log work/log -o work/policy train.ref
	[ "$status" -eq 0 ]
	[[ "$output" == *"the reference takes 0.0"*" MB of it"* ]]
	[[ "$output" == *"warning: --ref-model-sync-steps 7: the run ends after 6 steps"* ]]
	[ "$(stage work/policy synced_reference)" = "$(identity model)" ]
}

@test "refused: another reference, whatever is allowed; a checkpoint of other settings; options that have no effect" {
	for allowed in "" --other-reference; do
		run "$bin/dpo-train" -q -m want.dpo --sync-ref-model $allowed -o work/policy train.ref
		[ "$status" -eq 4 ]
		[[ "$output" == *"train.ref: the reference is model "*"--sync-ref-model"* ]]
	done
	"$bin/dpo-train" $(settings) --max-time 0.000001 --checkpoint work/c --log work/log -o work/policy train.ref || [ $? -eq 75 ]
	run "$bin/dpo-train" $(settings) --ref-model-mixup-alpha 0.5 --checkpoint work/c --log work/log -o work/policy train.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *'"ref_model_mixup_alpha" is 0.5 here, 0.6'* ]]
	run "$bin/dpo-train" $(settings | sed 's/--sync-ref-model.*//') --checkpoint work/c --log work/log -o work/policy train.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *'"sync_ref_model" is absent here, true there'* ]]
	for args in "--ref-model-mixup-alpha 0.5" "--ref-model-sync-steps 4" "--sync-ref-model --loss-type sft" \
		"--sync-ref-model --ref-model-mixup-alpha 1.1" "--sync-ref-model --ref-model-sync-steps 0"; do
		run "$bin/dpo-train" -q -m model $args -o work/policy train.ref
		[ "$status" -eq 2 ]
	done
	[ ! -e work/policy ]
}
