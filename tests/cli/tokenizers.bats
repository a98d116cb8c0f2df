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
