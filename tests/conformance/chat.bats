#!/usr/bin/env bats
# dpo-chat against what transformers renders from real templates, and its ids against TRL's.

setup_file() {
	export root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin}
	export assets=${DPO_SHARED:-$root/../shared}/assets
	export golden="$root/testdata/golden/chat"
}

setup() {
	for asset in chat-templates prefs/chat-demo.jsonl tokenizers/qwen2; do
		[ -e "$assets/$asset" ] || skip "no asset $asset"
	done
}

@test "the 17 templates on 421 conversations, digest by digest" {
	count=0
	for template in "$assets"/chat-templates/*.jinja; do
		/usr/bin/python3 "$root/tests/chat_cases.py" "$golden/render.json" "$template" "$assets/prefs/chat-demo.jsonl"
		count=$((count + 1))
	done
	[ "$count" -eq 17 ]
}

@test "the ids of 300 conversations are TRL's" {
	"$root/pipelines/dpo-chat" -m "$assets/tokenizers/qwen2" "$assets/prefs/chat-demo.jsonl" |
		"$bin/dpo-tok" -q --max-length 0 -m "$assets/tokenizers/qwen2" | "$bin/dpo-cat" |
		python3 "$root/tests/ids_digest.py" "$golden/ids.json" chat-demo
}
