#!/usr/bin/env bats
# Tiny models with random weights against the log-probs and gradients that PyTorch gave in float64 (testdata/golden/torch).

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} golden="$root/testdata/golden/torch" check="$root/tests/golden_gradients.py"
	export PYTHONDONTWRITEBYTECODE=1
	python3 "$root/tests/peers/make_random.py" "$BATS_FILE_TMPDIR"
	cd "$BATS_FILE_TMPDIR"
	[ "$(ls | sort)" = "$(cd "$golden" && ls *.json | sed 's/\.json$//' | sort)" ] # each model has its numbers
}

gradients() { # NAME: of every parameter, for each pair
	cd "$BATS_TEST_TMPDIR"
	for pair in 0 1 2; do
		python3 "$check" pair "$golden/$1.json" $pair > pair.json
		"$bin/tests/gradients" "$BATS_FILE_TMPDIR/$1" pair.json ours.safetensors
		python3 "$check" compare "$golden/$1.json" $pair ours.safetensors
	done
}

logps() { # NAME: of every answer token of all pairs, by dpo-reflogp
	cd "$BATS_TEST_TMPDIR"
	python3 "$check" stream "$golden/$1.json" | "$bin/dpo-cat" -q -z > pairs.dpo
	"$bin/dpo-reflogp" -q -m "$BATS_FILE_TMPDIR/$1" -o reference.dpo pairs.dpo
	"$bin/dpo-cat" reference.dpo > reference.jsonl
	python3 "$check" logps "$golden/$1.json" < reference.jsonl
}

@test "GPT-2: gradients of all parameters" {
	gradients gpt2
}

@test "Llama, tied head: gradients of all parameters" {
	gradients llama-tied
}

@test "Llama, untied head, biases, head_dim, rope_theta: gradients of all parameters" {
	gradients llama
}

@test "GPT-2: log-probs" {
	logps gpt2
}

@test "Llama, tied head: log-probs" {
	logps llama-tied
}

@test "Llama, untied head, biases, head_dim, rope_theta: log-probs" {
	logps llama
}

@test "Llama stored as BF16: log-probs" {
	logps llama-bf16
}

@test "Llama stored as F16: log-probs" {
	logps llama-f16
}

@test "Llama in two shards: log-probs" {
	logps llama-shards
}

@test "a wrong gradient, a wrong log-prob, a missing tensor and a missing pair are seen" {
	cd "$BATS_TEST_TMPDIR"
	logps llama-tied
	python3 "$check" pair "$golden/llama-tied.json" 0 > pair.json
	"$bin/tests/gradients" "$BATS_FILE_TMPDIR/llama-tied" pair.json ours.safetensors
	python3 "$check" compare "$golden/llama-tied.json" 0 ours.safetensors

	run python3 "$check" compare "$golden/llama-tied.json" 1 ours.safetensors
	[ "$status" -eq 1 ]
	run python3 "$check" compare "$golden/llama.json" 0 ours.safetensors
	[ "$status" -eq 1 ]
	[[ "$output" == *"FAIL lm_head.weight is missing"* ]]
	run python3 "$check" logps "$golden/llama-bf16.json" < reference.jsonl
	[ "$status" -eq 1 ]
	sed 3d reference.jsonl > short.jsonl
	run python3 "$check" logps "$golden/llama-tied.json" < short.jsonl
	[ "$status" -eq 1 ]
}
