#!/usr/bin/env bats
# What dpo-train warns of at the end, on standard error and in the log: each warning provoked on the story model, and the
# same run without its cause silent.

bats_require_minimum_version 1.5.0

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export bin=${DPO_BIN:-$root/bin} story="$root/testdata/story"
	cd "$BATS_FILE_TMPDIR"
	head -160 "$story/train.jsonl" | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" -o pairs.ref
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

train() { # OPTIONS... FILE: the names of the warnings into `names`, what is said into `said`
	"$bin/dpo-train" -q -m "$story" --num-train-epochs 2 --log log -o policy "$@" 2> said
	sed -n 's/^{"warning":"\([a-z_]*\)".*/\1/p' log > names
	cat said
	[ "$(grep -c 'dpo-train: warning: ' said || true)" -eq "$(wc -l < names)" ]	# each said once, in one line
	python3 -c 'import json
for line in open("log"):
	json.loads(line)'
}

says() { grep -qx "$1" names; }

# Rows changed by a line of Python that has them as `row`, their number as `number`.
changed() { # PYTHON
	"$bin/dpo-cat" pairs.ref | python3 -c 'import json, sys
def swap(row):
	row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
	row["ref_chosen_logps"], row["ref_rejected_logps"] = row["ref_rejected_logps"], row["ref_chosen_logps"]
for number, line in enumerate(sys.stdin, -1):
	row = json.loads(line)
	if "id" in row:
		'"$1"'
	print(json.dumps(row))' | "$bin/dpo-cat" -z
}

@test "an ordinary short run: nothing" {
	train --learning-rate 2e-6 pairs.ref
	[ ! -s names ]
	[ ! -s said ]
}

@test "likelihood displacement: a strong run has it" {
	train --learning-rate 2e-4 pairs.ref
	says likelihood_displacement
	python3 -c 'import json
warning, = [row for row in map(json.loads, open("log")) if row.get("warning") == "likelihood_displacement"]
assert list(warning) == ["warning", "share", "pairs", "epoch", "step"] and 0.5 < warning["share"] <= 1, warning
assert warning["pairs"] == 40 and warning["epoch"] == 2 and warning["step"] == 40, warning'
}

@test "nothing moved: a learning rate of nearly nothing, and not an ordinary one" {
	train --learning-rate 1e-9 pairs.ref
	[ "$(cat names)" = nothing_moved ]
	train --learning-rate 1e-5 pairs.ref
	run ! says nothing_moved
}

@test "beta too small: 0.001 has it, 0.1 has not" {
	train --learning-rate 1e-4 --beta 0.001 pairs.ref
	says beta_too_small
	train --learning-rate 1e-4 --beta 0.1 pairs.ref
	run ! says beta_too_small
}

@test "reward and length: more sentences always chosen; the stories' own pairs have not" {
	python3 -c 'import json
for number, line in enumerate(open("'"$story"'/train.jsonl")):
	row = json.loads(line)
	sentences = [part.strip() + "." for part in (row["chosen"] + row["rejected"]).split(".") if part.strip()]
	short = 1 + number % 2
	row["chosen"], row["rejected"] = (" " + " ".join(sentences[:n]) for n in (short + 1 + number % 6, short))
	print(json.dumps(row))' | head -160 | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" -o longer.ref
	train --learning-rate 1e-4 longer.ref
	says length_correlation
	grep -q 'has a correlation of 0\.[5-9]' said
	train --learning-rate 1e-4 pairs.ref
	run ! says length_correlation
}

@test "margin collapse: labels that turn round in the middle; the same labels throughout have not" {
	changed 'if number >= 80: swap(row)' > turned.ref
	train --learning-rate 1e-4 --lr-scheduler-type constant --order sequential --num-train-epochs 1 turned.ref
	says margin_collapse
	train --learning-rate 1e-4 --lr-scheduler-type constant --order sequential --num-train-epochs 1 pairs.ref
	run ! says margin_collapse
}

@test "a loss without reference or pairs is not judged" {
	train --learning-rate 1e-9 --loss-type sft pairs.ref
	[ "$(cat names)" = nothing_moved ]	# these pairs have a reference
	head -100 "$story/text-heldout.jsonl" | "$bin/dpo-tok" -q -m "$story" -o text.tok
	train --learning-rate 1e-9 --loss-type sft text.tok
	[ ! -s names ]
	train --learning-rate 1e-4 --reference-free pairs.ref
	[ ! -s names ]
}

@test "the log with warnings is read by the comparison with TRL" {
	train --learning-rate 2e-4 --logging-steps 1 pairs.ref
	says likelihood_displacement
	python3 -c 'import json
log = [row for row in map(json.loads, open("log")) if "loss" in row]
print(json.dumps({"log": log}))' > case.json
	python3 "$BATS_TEST_DIRNAME/../peers/compare_trl.py" case.json log
}
