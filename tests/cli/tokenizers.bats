#!/usr/bin/env bats
# Every component of a tokenizer, in small tokenizers made for it: the ids of Hugging Face's tokenizers and of SentencePiece.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	export DPO_BIN=${DPO_BIN:-$root/bin}
}

@test "tokenizers: each part has the ids of the libraries that defined it" {
	run python3 "$root/tests/tokenizer_check.py" "$root/testdata/golden/tokenizers/parts.json"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c 'texts, same ids' <<< "$output")" -eq "$(python3 "$root/tests/tokenizer_parts.py" --list | wc -l)" ]
}

@test "tokenizers: the bytes do not depend on threads, pipe or file; the first bad row is told, whatever comes later" {
	cd "$BATS_TEST_TMPDIR"
	python3 "$root/tests/tokenizer_parts.py" rules model
	python3 "$root/tests/tokenizer_texts.py" 1500 > rows.jsonl
	"$DPO_BIN/dpo-tok" -q -j 1 --max-length 0 -m model rows.jsonl > one.dpo
	for threads in 2 3 8; do
		"$DPO_BIN/dpo-tok" -q -j $threads --max-length 0 -m model rows.jsonl | cmp - one.dpo
	done
	cat rows.jsonl | "$DPO_BIN/dpo-tok" -q -j 2 --max-length 0 -m model | cmp - one.dpo
	# Row 700 cannot be tokenized, row 701 not be read.
	python3 "$root/tests/tokenizer_parts.py" byte-level-whole whole
	python3 - <<-'END'
	import json
	spec = json.load(open("whole/tokenizer.json"))
	spec["pre_tokenizer"] = None
	json.dump(spec, open("whole/tokenizer.json", "w"))
	END
	{ yes '{"prompt":"","completion":"a"}' | head -n 699; echo '{"prompt":"","completion":"\u2603"}'; echo '{'; } > bad.jsonl
	for threads in 1 2 8; do
		run "$DPO_BIN/dpo-tok" -q -j $threads -m whole -o out.dpo bad.jsonl
		[ "$status" -eq 3 ]
		[ "$output" = 'dpo-tok: bad.jsonl:700: the tokenizer has neither U+2603 nor an unknown token' ]
	done
}

# Each refused in one line, with no more than 1 MiB beyond what the process had before it read anything.
@test "tokenizers: hostile files are refused by name, before anything large is allocated" {
	cd "$BATS_TEST_TMPDIR"
	export OPENBLAS_NUM_THREADS=1	# a thread of its own may ask for memory when there is no more, for ever
	python3 "$root/tests/hostile_tokenizers.py" cases
	for folder in cases/*/; do
		case=$(basename "$folder")
		run timeout 60 "$DPO_BIN/tests/token_ids" "cases/$case" 1024 < /dev/null
		echo "$case: $output"
		if [ "$case" = least ]; then
			[ "$status" -eq 0 ]
		else
			[ "$status" -eq 1 ]
			[ "$output" = "token_ids: $(< "cases/$case/message")" ]
		fi
	done
	# The limit is one: a vocabulary that needs more is told so.
	python3 "$root/tests/tokenizer_parts.py" unigram-bytes large
	run "$DPO_BIN/tests/token_ids" large 100 < /dev/null
	[ "$status" -eq 1 ]
	[ "$output" = "token_ids: out of memory" ]
}

@test "tokenizers: a text on which the regular expression runs wild is an error of its row" {
	cd "$BATS_TEST_TMPDIR"
	mkdir wild
	python3 - <<-'END'
	import json
	spec = {"model": {"type": "BPE", "vocab": {"a": 0, "!": 1}, "merges": []}, "added_tokens": [{"id": 2, "content": "</s>"}],
	        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}}
	json.dump(spec, open("wild/tokenizer.json", "w"))
	json.dump({"eos_token": "</s>"}, open("wild/tokenizer_config.json", "w"))
	END
	printf '%s\n' '{"prompt":"","completion":"aa"}' "{\"prompt\":\"\",\"completion\":\"$(printf 'a%.0s' {1..60})!\"}" > rows.jsonl
	run timeout 60 "$DPO_BIN/dpo-tok" -q -m wild -o out.dpo rows.jsonl
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-tok: rows.jsonl:2: the tokenizer's regular expression takes more than 10000000 steps at byte 0" ]
	[ ! -e out.dpo ]
}
