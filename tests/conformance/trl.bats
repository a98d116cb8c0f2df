#!/usr/bin/env bats
# The pipeline on real models and preferences against the numbers TRL 1.16.0 gave in fp32 (testdata/golden/trl).

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} peers="$root/tests/peers" golden="$root/testdata/golden/trl" tests="$root/tests"
	export assets=${DPO_SHARED:-$root/../shared}/assets
}

need() { # an asset, or skip by name
	[ -e "$assets/$1" ] || skip "no asset $1"
}

train() { # CASE [OPTIONS OF DPO-TRAIN]: make its inputs and run the pipeline in the current directory
	python3 "$peers/cases.py" "$1" "$assets" .
	python3 "$peers/cases.py" "$1" --arguments > arguments
	"$bin/dpo-tok" $(sed -n 1p arguments) -m model -o train.tok train.jsonl
	"$bin/dpo-reflogp" -q -m model -o train.ref train.tok
	"$bin/dpo-train" -q $(sed -n 2p arguments) -m model --log log.jsonl $2 \
		-o policy.dpo train.ref
	"$bin/dpo-export" -f safetensors -o policy.safetensors policy.dpo
}

compare() { # CASE
	cd "$BATS_TEST_TMPDIR"
	train "$1"
	python3 "$peers/compare_trl.py" "$golden/$1.json" log.jsonl --weights policy.safetensors
}

@test "A: story model, 256 pairs, linear schedule: every step and the weights" {
	need models/stories260k
	compare A
}

@test "B: warm-up, cosine, weight decay, clipping, cut and dropped rows: every step and the weights" {
	need models/stories260k
	compare B
}

@test "C: GPT-2 with its real tokenizer: every step and the weights" {
	need tokenizers/gpt2
	compare C
}

@test "S: TR-DPO, the reference moved every 2 of 6 steps, evaluated every 3: every line of the log and the weights" {
	need models/stories260k
	cd "$BATS_TEST_TMPDIR"
	python3 "$peers/cases.py" S "$assets" held
	"$bin/dpo-tok" -q --max-length 512 -m held/model held/eval.jsonl | "$bin/dpo-reflogp" -q -m held/model -o eval.ref
	train S "--eval eval.ref"
	python3 "$peers/compare_trl.py" "$golden/S.json" log.jsonl --weights policy.safetensors
}

@test "learning on real weights: eval loss at most 0.44, accuracy at least 0.82" {
	need models/stories260k
	cd "$BATS_TEST_TMPDIR"
	train D
	"$bin/dpo-tok" -q -m model -o eval.tok eval.jsonl
	"$bin/dpo-reflogp" -q -m model -o eval.ref eval.tok
	"$bin/dpo-eval" -q -m policy.dpo --format tsv eval.ref | tee report
	awk -F '\t' '$1 == "eval_loss" { loss = $2 } $1 == "eval_rewards/accuracies" { accuracy = $2 }
		END { exit !(loss > 0 && loss <= 0.44 && accuracy >= 0.82) }' report
}

@test "token ids equal Hugging Face's on pandalm-train, stories-train and hh-harmless" {
	need prefs/hh-harmless.jsonl
	cd "$BATS_TEST_TMPDIR"
	ids() { # DATA TOKENIZER
		for length in 0 128; do
			name=$1$([ $length -eq 0 ] || echo "-$length")
			"$bin/dpo-tok" -q --max-length $length -m "$assets/$2" "$assets/prefs/$1.jsonl" | "$bin/dpo-cat" |
				python3 "$tests/ids_digest.py" "$golden/ids.json" "$name"
		done
	}
	ids pandalm-train tokenizers/gpt2
	ids stories-train models/stories260k
	ids hh-harmless tokenizers/gpt2
}
