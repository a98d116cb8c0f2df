#!/usr/bin/env bats
# --dtype bf16: the products' operands are rounded, the rules of bits hold all the same, and what is learned is the same.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} model="$root/testdata/story"
	"$bin/dpo-reflogp" --version | grep -q 'bf16 none' && export none=1
	cd "$BATS_FILE_TMPDIR"
	"$bin/dpo-tok" -q -m "$model" -o heldout.tok "$model/heldout.jsonl"
	"$bin/dpo-tok" -q -m "$model" -o train.tok "$model/train.jsonl"
	[ -z "${none:-}" ] || return 0
	for dtype in fp32 bf16; do
		"$bin/dpo-reflogp" -q -m "$model" --dtype $dtype -o heldout.$dtype heldout.tok
		"$bin/dpo-reflogp" -q -m "$model" --dtype $dtype -o train.$dtype train.tok
	done
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

needs_bf16() {
	[ -z "${none:-}" ] || skip "this processor has no instructions for bfloat16"
}

rows() { # the records of a stream as JSON lines
	"$bin/dpo-cat" "$@" | sed '1d;$d'
}

value() { # a number of dpo-eval's table
	awk -v name="$1" '$1 == name { print $2 }' "$2"
}

agrees() { # threads, neighbours, and the three programs, by the kernel that the environment asks for
	dir=$(mktemp -d "$BATS_TEST_TMPDIR/XXXXXX")
	"$bin/dpo-reflogp" -q -m "$model" --dtype bf16 -j 1 -o "$dir/1.ref" heldout.tok
	for threads in 2 3; do
		"$bin/dpo-reflogp" -q -m "$model" --dtype bf16 -j $threads -o "$dir/n.ref" heldout.tok
		cmp "$dir/1.ref" "$dir/n.ref"
	done
	rows "$dir/1.ref" | sed -n 7p > "$dir/among"
	"$bin/dpo-cat" -q --shard 7/200 heldout.tok | "$bin/dpo-reflogp" -q -m "$model" --dtype bf16 > "$dir/alone.ref"
	rows "$dir/alone.ref" | cmp - "$dir/among"

	"$bin/dpo-train" -q -m "$model" --dtype bf16 --learning-rate 0 --num-train-epochs 1 --batch-size 5 --logging-steps 1 \
		--log "$dir/log" -o "$dir/policy" "$dir/1.ref"
	grep grad_norm "$dir/log" > "$dir/steps"
	[ "$(wc -l < "$dir/steps")" -eq 40 ]
	[ "$(grep -c '"loss":0.6931471824645996,' "$dir/steps")" -eq 40 ]
	[ "$(grep -c '"rewards/chosen":0,"rewards/rejected":0,' "$dir/steps")" -eq 40 ]
	"$bin/dpo-eval" -q -m "$model" --dtype bf16 --format tsv "$dir/1.ref" > "$dir/eval"
	[ "$(value eval_rewards/chosen "$dir/eval") $(value eval_rewards/rejected "$dir/eval")" = "0 0" ]
}

@test "log-probs in bf16 are those of fp32, rounded on the way" {
	needs_bf16
	for dtype in fp32 bf16; do
		rows heldout.$dtype | python3 -c 'import json, sys
for line in sys.stdin:
    print(*json.loads(line)["ref_chosen_logps"], sep="\n")' > logps.$dtype
	done
	paste logps.fp32 logps.bf16 |
		awk '{ d = $1 - $2; d = d < 0 ? -d : d; sum += d; if (d > most) most = d; n++ }
		END { print n, sum / n, most; exit !(n > 100 && sum / n > 1e-5 && sum / n < 0.02 && most < 0.3) }'
}

@test "bits do not depend on company: AMX" {
	needs_bf16
	"$bin/dpo-reflogp" --version | grep -q 'bf16 AMX' || skip "this processor has no tile registers"
	agrees
}

@test "bits do not depend on company: AVX512-BF16" {
	needs_bf16
	export DPO_KERNEL=vectors
	agrees
}

@test "what is learned is the same: held-out loss within 0.01, accuracy within 0.02" {
	needs_bf16
	for dtype in fp32 bf16; do
		"$bin/dpo-train" -q -m "$model" --dtype $dtype --learning-rate 1e-4 --num-train-epochs 2 -o policy.$dtype train.$dtype
		"$bin/dpo-eval" -q -m policy.$dtype --format tsv heldout.fp32 > $dtype.eval
	done
	echo "$(value eval_loss fp32.eval) $(value eval_loss bf16.eval) $(value eval_rewards/accuracies fp32.eval)" \
		"$(value eval_rewards/accuracies bf16.eval)" | tee told
	awk 'function apart(x, y) { return x > y ? x - y : y - x }
		{ exit !($1 < 0.6 && $1 != $2 && apart($1, $2) <= 0.01 && apart($3, $4) <= 0.02) }' told
}

@test "killed and resumed, a run in bf16 gives the same bytes; a checkpoint in fp32 is another run's" {
	needs_bf16
	set -- --dtype bf16 -m "$model" --learning-rate 1e-4 --max-steps 6 --save-steps 2
	"$bin/dpo-train" -q "$@" -o whole train.bf16
	run "$bin/dpo-train" -q "$@" --checkpoint state --max-time 0.0001 -o halves train.bf16
	[ "$status" -eq 75 ]
	run "$bin/dpo-train" -q -m "$model" --learning-rate 1e-4 --max-steps 6 --checkpoint state -o halves train.fp32
	[ "$status" -eq 4 ]
	"$bin/dpo-train" -q "$@" --checkpoint state -j 1 -o halves train.bf16
	cmp whole halves
}

@test "a reference of another precision gets a warning" {
	needs_bf16
	run "$bin/dpo-train" -m "$model" --dtype bf16 --max-steps 1 -o policy train.fp32
	[ "$status" -eq 0 ]
	[[ "$output" == *"the reference was computed in fp32, this is bf16"* ]]
	run "$bin/dpo-eval" -m "$model" heldout.bf16
	[ "$status" -eq 0 ]
	[[ "$output" == *"the reference was computed in bf16, this is fp32"* ]]
}

@test "an adapter trains on a base in bf16" {
	needs_bf16
	"$bin/dpo-train" -q -m "$model" --dtype bf16 --lora-r 4 --learning-rate 2e-3 --num-train-epochs 1 \
		--logging-steps 1 --log lora.log -o adapter train.bf16
	head -1 lora.log | grep '"loss":0.6931471824645996,'
	"$bin/dpo-eval" -q -m "$model" -a adapter --format tsv heldout.fp32 > lora.eval
	awk '$1 == "eval_loss" { good = $2 < 0.65 } END { exit !good }' lora.eval
}

@test "without the instructions bf16 is refused with a word" {
	for program in dpo-reflogp dpo-train dpo-eval; do
		for kernel in blas AVX2; do
			run env DPO_KERNEL=$kernel "$bin/$program" -m "$model" --dtype bf16 train.tok
			[ "$status" -eq 2 ]
			[[ "$output" == *"--dtype bf16: DPO_KERNEL=$kernel leaves the instructions for bfloat16 out"* ]]
		done
	done
}
