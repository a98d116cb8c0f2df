#!/usr/bin/env bats
# dpo-gen on a really trained model against transformers (testdata/golden/generate).

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	check="$root/tests/golden_generate.py" numbers="$root/testdata/golden/generate/stories260k.json"
	model=${DPO_SHARED:-$root/../shared}/assets/models/stories260k
	[ -e "$model" ] || skip "no asset models/stories260k"
	cd "$BATS_TEST_TMPDIR"
	python3 "$check" prompts "$numbers" > prompts
}

@test "stories260k: greedy is transformers' token by token, and the text" {
	"$bin/dpo-gen" -q -m "$model" --temperature 0 --max-new-tokens "$(python3 "$check" option "$numbers" max_new_tokens)" prompts |
		python3 "$check" greedy "$numbers" greedy
}

@test "stories260k: greedy with a repetition penalty is transformers' token by token" {
	"$bin/dpo-gen" -q -m "$model" --temperature 0 --max-new-tokens "$(python3 "$check" option "$numbers" max_new_tokens)" \
		--repetition-penalty "$(python3 "$check" option "$numbers" penalty)" prompts |
		python3 "$check" greedy "$numbers" penalized
}

@test "stories260k: log-probs of long samples are within 1e-4 of the scorer's" {
	"$bin/dpo-gen" -q -m "$model" -r "$model" -n 4 --max-new-tokens 400 prompts > out
	python3 -c 'import json
worst = max(abs(a - b) for row in map(json.loads, open("out")) for a, b in zip(row["logps"], row["ref_logps"], strict=True))
print("largest difference", worst)
assert 0 < worst < 1e-4'
}
