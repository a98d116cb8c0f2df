#!/usr/bin/env bats
# Tiny models of every family with random weights against what PyTorch gave (testdata/golden/torch): log-probs and gradients
# in float64, three steps of training in fp32. Its sequences were computed one at a time, ours are packed pairs.

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
	pairs=$(python3 "$check" pairs "$golden/$1.json")
	for pair in $pairs; do
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

training() { # NAME: three steps of DPO on all pairs; of the run before, logps
	cd "$BATS_TEST_TMPDIR"
	options=$(python3 "$check" options "$golden/$1.json")
	"$bin/dpo-train" -q -m "$BATS_FILE_TMPDIR/$1" $options --log log.jsonl -o policy.dpo reference.dpo
	"$bin/dpo-export" -q -f safetensors -o policy.safetensors policy.dpo
	python3 "$check" trained "$golden/$1.json" "$BATS_FILE_TMPDIR/$1/config.json" log.jsonl policy.safetensors
}

family() { # NAME: everything
	logps "$1"
	gradients "$1"
	training "$1"
}

@test "GPT-NeoX (parallel residual, rotary in part, q, k, v by head)" {
	family neox
}

@test "GPT-NeoX, serial, ReLU, tied head, no attention biases: log-probs and gradients" {
	logps neox-serial
	gradients neox-serial
}

@test "Mistral, past its window" {
	family mistral
}

@test "Qwen2, one of two layers with a window" {
	family qwen2
}

@test "Qwen3 (norms of query and key heads)" {
	family qwen3
}

@test "Phi-3, fused maps, longrope; answers shorter and longer than the original length" {
	family phi3
}

@test "Gemma 2 (two norms each, soft-caps, alternating windows, scaled embedding)" {
	family gemma2
}

@test "OLMo 2 (norms after, norms of all queries and keys)" {
	family olmo2
}

@test "rope linear" {
	logps rope-linear
	gradients rope-linear
}

@test "rope dynamic, two answers of different lengths past the original" {
	logps rope-dynamic
	gradients rope-dynamic
}

@test "rope llama3" {
	logps rope-llama3
	gradients rope-llama3
}

@test "rope yarn" {
	logps rope-yarn
	gradients rope-yarn
}

@test "rope longrope, two answers past the original length share their prompt" {
	logps rope-longrope
	gradients rope-longrope
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

@test "GPT-2: log-probs and three steps" {
	logps gpt2
	training gpt2
}

@test "Llama, tied head: log-probs" {
	logps llama-tied
}

@test "Llama, untied head, biases, head_dim, rope_theta: log-probs and three steps" {
	logps llama
	training llama
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

	"$bin/dpo-export" -q -f safetensors -o before.safetensors "$BATS_FILE_TMPDIR/llama"
	logps llama
	training llama
	run python3 "$check" trained "$golden/llama.json" "$BATS_FILE_TMPDIR/llama/config.json" log.jsonl before.safetensors
	[ "$status" -eq 1 ]
	sed 's/"loss":0.6/"loss":0.7/' log.jsonl > wrong.jsonl
	run python3 "$check" trained "$golden/llama.json" "$BATS_FILE_TMPDIR/llama/config.json" wrong.jsonl policy.safetensors
	[ "$status" -eq 1 ]
}
