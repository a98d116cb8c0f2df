#!/usr/bin/env bats
# The supervised stage against the numbers of TRL 1.16.0's SFTTrainer in fp32 (testdata/golden/trl/sft.json).

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export bin=${DPO_BIN:-$root/bin} story="$root/testdata/story" peers="$root/tests/peers" golden="$root/testdata/golden/trl"
	export PYTHONDONTWRITEBYTECODE=1
	cd "$BATS_FILE_TMPDIR"
	python3 "$peers/sft_case.py" --arguments > arguments
	python3 "$peers/sft_case.py" "$story" | "$bin/dpo-tok" -q $(sed -n 1p arguments) -m "$story" -o rows.tok
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

train() { # OPTIONS...
	"$bin/dpo-train" -q $(sed -n 2p arguments) -m "$story" --log log -o policy "$@" rows.tok
	"$bin/dpo-export" -q --force -f safetensors -o weights policy
}

@test "every step and the weights: rows with and without a prompt, cut answers" {
	train
	python3 "$peers/compare_trl.py" "$golden/sft.json" log --weights weights
}

@test "2 x 4 rows divide by the tokens of all 8, as TRL does" {
	train
	cp log whole
	train --batch-size 4 --gradient-accumulation-steps 2
	cmp log whole
}

@test "the comparison sees another learning rate and a step that is missing" {
	train --learning-rate 2.1e-4
	run python3 "$peers/compare_trl.py" "$golden/sft.json" log --weights weights
	[ "$status" -eq 1 ]
	[[ "$output" == *"FAIL loss"* ]]
	[[ "$output" == *"FAIL weights"* ]]
	train --max-steps 9
	run python3 "$peers/compare_trl.py" "$golden/sft.json" log
	[ "$status" -eq 1 ]
	[[ "$output" == *"step 10 is missing"* ]]
}
