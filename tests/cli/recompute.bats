#!/usr/bin/env bats
# --gradient-checkpointing: activations computed again on the way back are the same bits, in less memory.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} golden="$root/testdata/golden/torch" check="$root/tests/golden_gradients.py" story="$root/testdata/story"
	export PYTHONDONTWRITEBYTECODE=1
	# norms before, after and of heads, parallel residual, gated and plain, rotary and learned positions
	export families="gpt2 neox llama qwen3 gemma2 olmo2 phi3 llama-bf16"
	python3 "$root/tests/peers/make_random.py" "$BATS_FILE_TMPDIR" $families
	cd "$BATS_FILE_TMPDIR"
	head -64 "$story/train.jsonl" | "$bin/dpo-tok" -q -m "$story" -o some.tok
	"$bin/dpo-reflogp" -q -m "$story" -o some.ref some.tok
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

same() { # ARGUMENT...: a run with and without, the same log and policy
	"$bin/dpo-train" -q "$@" --logging-steps 1 --log kept.log -o kept.dpo
	"$bin/dpo-train" -q "$@" --logging-steps 1 --log again.log -o again.dpo --gradient-checkpointing
	cmp kept.log again.log
	cmp kept.dpo again.dpo
}

@test "every family: the same log and policy" {
	for family in $families; do
		echo "$family"
		python3 "$check" stream "$golden/$family.json" | "$bin/dpo-cat" -q -z | "$bin/dpo-reflogp" -q -m "$family" -o "$family.ref"
		same -m "$family" --learning-rate 1e-3 --max-steps 3 --batch-size 2 "$family.ref"
	done
}

@test "other thread counts, evaluations, losses that look at the batch first" {
	same -m "$story" -j 3 --learning-rate 1e-4 --max-steps 3 --eval some.ref --eval-steps 2 some.ref
	same -m "$story" -j 1 --learning-rate 1e-4 --max-steps 2 --loss-type aot some.ref
}

@test "bf16, where this CPU has it" {
	"$bin/dpo-reflogp" -q --dtype bf16 -m "$story" -o some.bf16 some.tok 2> err || skip "$(cat err)"
	same -m "$story" --dtype bf16 --learning-rate 1e-4 --max-steps 3 some.bf16
}

@test "an adapter with dropout, which drops the same again" {
	same -m "$story" --lora-r 4 --lora-target-modules all-linear --lora-dropout 0.3 --learning-rate 1e-3 --max-steps 4 some.ref
}

@test "a run that was stopped goes on with it, or without" {
	"$bin/dpo-train" -q -m "$story" --learning-rate 1e-4 --max-steps 6 -o whole.dpo some.ref
	"$bin/dpo-train" -q -m "$story" --learning-rate 1e-4 --max-steps 6 --gradient-checkpointing --checkpoint half --save-steps 2 \
		--max-time 0.000001 -o half.dpo some.ref || [ $? -eq 75 ]
	[ -e half ]
	"$bin/dpo-train" -q -m "$story" --learning-rate 1e-4 --max-steps 6 --checkpoint half -o half.dpo some.ref
	cmp whole.dpo half.dpo
}
