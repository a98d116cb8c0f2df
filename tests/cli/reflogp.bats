#!/usr/bin/env bats
# dpo-reflogp: what it adds, what it leaves alone, what it refuses.

load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 24
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

@test "one number per answer token, and every other column unchanged" {
	for key in id prompt chosen rejected weight margin label_prob; do
		diff <(column pairs.tok $key) <(column pairs.ref $key)
	done
	paste <(column pairs.ref chosen) <(column pairs.ref ref_chosen_logps) <(column pairs.ref rejected) <(column pairs.ref ref_rejected_logps) |
		python3 -c 'import json, sys
rows = [[json.loads(x) for x in line.split("\t")] for line in sys.stdin]
assert len(rows) == 24
for c, lc, r, lr in rows:
	assert len(c) == len(lc) and len(r) == len(lr)
	assert all(x < 0 for x in lc + lr)'
}

@test "the header names stage, precision, kernel, tokenizer and model" {
	"$bin/dpo-cat" pairs.ref | head -1 | python3 -c 'import json, sys
stages = json.load(sys.stdin)["header"]["stages"]
tok, ref = stages
assert ref["stage"] == "dpo-reflogp" and ref["settings"]["dtype"] == "fp32" and ref["settings"]["kernel"]
assert len(ref["model"]) == 64 and ref["tokenizer"] == tok["tokenizer"]'
}

@test "the ids are those that dpo-stream(5) tells how to make, of a model and of one with an adapter" {
	ids() { # STREAM: of its last stage
		"$bin/dpo-cat" --header "$1" | sed 's/.*"tokenizer":"\([0-9a-f]*\)","model":"\([0-9a-f]*\)".*/\1 \2/'
	}
	"$bin/dpo-export" -q -f hf -o model base.dpo
	"$bin/dpo-train" -q -m model --lora-r 3 --lora-alpha 7 --max-steps 1 -o adapter.dpo pairs.ref
	"$bin/dpo-export" -q -f peft -o adapter -a adapter.dpo model
	[ "$(ids pairs.ref)" = "$(python3 "$BATS_TEST_DIRNAME/../ids.py" model)" ]
	"$bin/dpo-reflogp" -q -m model -a adapter.dpo -o adapted.ref pairs.tok
	[ "$(ids adapted.ref)" = "$(python3 "$BATS_TEST_DIRNAME/../ids.py" model adapter)" ]
	[ "$(ids adapted.ref)" != "$(ids pairs.ref)" ]
}

@test "any thread count, pipe or file: the same bytes" {
	for threads in 2 3; do
		"$bin/dpo-reflogp" -q -j $threads -m base.dpo pairs.tok | cmp - pairs.ref
	done
	cat pairs.tok | "$bin/dpo-reflogp" -q -m base.dpo | cmp - pairs.ref
}

@test "a column it does not know passes through" {
	"$bin/dpo-cat" pairs.tok | python3 -c 'import json, sys
for line in sys.stdin:
	row = json.loads(line)
	if "header" in row:
		row["header"]["columns"].insert(1, ["source", "str"])
	elif "end" not in row:
		row["source"] = "row " + row["id"]
	print(json.dumps(row))' | "$bin/dpo-cat" -z -o more.tok
	"$bin/dpo-reflogp" -q -m base.dpo -o more.ref more.tok
	diff <(column more.tok source) <(column more.ref source)
	diff <(column pairs.ref ref_chosen_logps) <(column more.ref ref_chosen_logps)
}

@test "supervised rows get one column" {
	"$bin/dpo-reflogp" -q -m base.dpo -o text.ref text.tok
	[ "$(column text.ref ref_chosen_logps | wc -l)" -eq 40 ]
	! "$bin/dpo-cat" text.ref | head -1 | grep -q ref_rejected || return 1
}

@test "an empty prompt: the first token is not scored" {
	printf '{"prompt": "", "chosen": "Mia has a dog.", "rejected": "Mia"}\n' | "$bin/dpo-tok" -q -m base.dpo -o empty.tok
	"$bin/dpo-reflogp" -q -m base.dpo -o empty.ref empty.tok
	column empty.ref ref_chosen_logps | grep -qE '^\[-?0(\.0)?,'
}

@test "refused: log-probs that are there, another tokenizer, no model, the wrong kind" {
	run "$bin/dpo-reflogp" -q -m base.dpo -o no.ref pairs.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *'has "ref_chosen_logps" already'* ]]

	"$bin/dpo-cat" pairs.tok | sed '1s/"tokenizer":"[0-9a-f]\{8\}/"tokenizer":"00000000/' | "$bin/dpo-cat" -z -o other.tok
	run "$bin/dpo-reflogp" -q -m base.dpo -o no.ref other.tok
	[ "$status" -eq 4 ]
	[[ "$output" == *"another tokenizer"* ]]

	run "$bin/dpo-reflogp" -q pairs.tok
	[ "$status" -eq 2 ]
	run "$bin/dpo-reflogp" -q -m base.dpo -o no.ref base.dpo
	[ "$status" -eq 3 ]
	[[ "$output" == *'kind "model"'* ]]
	run "$bin/dpo-reflogp" -q -m base.dpo -o pairs.tok pairs.tok
	[ "$status" -eq 2 ]
	[ ! -e no.ref ]
}

@test "refused with the record's id: a token outside the vocabulary, a sequence too long" {
	"$bin/dpo-cat" pairs.tok | sed '4s/"chosen":\[/"chosen":[640,/' | "$bin/dpo-cat" -z -o bad.tok
	run "$bin/dpo-reflogp" -q -m base.dpo -o no.ref bad.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *'bad.tok: record "train-3": '*640* ]]
	long=$(yes 5, | head -300 | tr -d '\n')
	"$bin/dpo-cat" pairs.tok | sed "2s/\"prompt\":\\[/\"prompt\":[$long/" | "$bin/dpo-cat" -z -o bad.tok
	run "$bin/dpo-reflogp" -q -m base.dpo -o no.ref bad.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *'bad.tok: record "train-1": '*256* ]]
	[ ! -e no.ref ]
}

@test "a producer that dies leaves no output and a failure" {
	size=$(stat -c %s pairs.tok)
	run bash -c "head -c $((size - 20)) pairs.tok | '$bin/dpo-reflogp' -q -m base.dpo -o no.ref"
	[ "$status" -eq 3 ]
	[ ! -e no.ref ]
	head -c $((size - 20)) pairs.tok | "$bin/dpo-reflogp" -q -m base.dpo > cut.ref || true
	run "$bin/dpo-cat" --check cut.ref
	[ "$status" -eq 3 ]
}
