#!/usr/bin/env bats
# dpo-chat: rows of messages become the texts that dpo-tok takes as they are; what cannot be is named with file and line.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	chat="$root/pipelines/dpo-chat"
	cd "$BATS_TEST_TMPDIR"
	mkdir model
	# <s> 0, </s> 1, a 2, b 3, c 4, ab 5, [ 6, ] 7; <s> stands in front of every text that is not rendered.
	cat > model/tokenizer.json <<-'JSON'
	{"model":{"type":"BPE","vocab":{"<s>":0,"</s>":1,"a":2,"b":3,"c":4,"ab":5,"[":6,"]":7},"merges":["a b"]},
	 "added_tokens":[{"id":0,"content":"<s>","special":true},{"id":1,"content":"</s>","special":true}],
	 "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],
	  "special_tokens":{"<s>":{"ids":[0]}}}}
	JSON
	cat > model/tokenizer_config.json <<-'JSON'
	{"bos_token":"<s>","eos_token":{"content":"</s>"},"chat_template":"{{ bos_token }}{% for m in messages %}[{{ m.role[0] }}{{ m.content }}]{% endfor %}{% if add_generation_prompt %}[a{% endif %}"}
	JSON
}

u='{"role":"user","content":"a"}'
b='{"role":"assistant","content":"b"}'
c='{"role":"assistant","content":"c"}'
pair="{\"prompt\":[$u],\"chosen\":[$b],\"rejected\":[$c]}"

# From the rows in $1, the texts: prompt|chosen|rejected.
texts() {
	printf '%s\n' "$1" | "$chat" -m model | python3 -c 'import json, sys
for line in sys.stdin:
    row = json.loads(line)
    assert row["rendered"] is True
    print("|".join(row[key] for key in ("prompt", "chosen", "rejected", "completion") if key in row))'
}

# Exit status 3 and exactly the message $1 on the row $2; the next stage does not take what was written for whole.
refuses() {
	printf '%s\n\n%s\n' "$pair" "$2" > rows.jsonl
	run sh -c "'$chat' -m model rows.jsonl > out"
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-chat: rows.jsonl:3: $1" ]
	run "$bin/dpo-tok" -q -m model -o out.dpo out
	[ "$status" -eq 3 ]
	[ ! -e out.dpo ]
}

@test "chat: the three texts of a pair, and the ids dpo-tok makes of them: nothing added, the prompt found by ids" {
	[ "$(texts "$pair")" = "<s>[ua][a|<s>[ua][ab]|<s>[ua][ac]" ]
	sed -i 's/\[0\] }}/[0:0] }}/; s/\[a{/[{/' model/tokenizer_config.json
	printf '%s\n' "$pair" '{"prompt":"a","chosen":"c","rejected":"a"}' | "$chat" -m model | "$bin/dpo-tok" -q -m model | "$bin/dpo-cat" |
		sed '1d;$d' > got
	cat > wanted <<-'ROWS'
	{"id":"0","prompt":[0,6,2,7,6],"chosen":[3,7],"rejected":[4,7],"weight":1,"margin":0,"label_prob":1}
	{"id":"1","prompt":[0,2],"chosen":[4,1],"rejected":[2,1],"weight":1,"margin":0,"label_prob":1}
	ROWS
	diff wanted got
}

@test "chat: other keys stay, tools and template arguments go, plain rows pass byte for byte" {
	plain='{"prompt":"a",  "chosen":"\u0041","rejected":"a","weight":1.50}'
	printf '%s\n' "$plain" "{\"id\":7,\"tools\":null,\"prompt\":[$u],\"weight\":0.5,\"chosen\":[$b],\"chat_template_kwargs\":{\"bos_token\":\"B\"},\"rejected\":[$c],\"odd\":[1,{}],\"rendered\":false}" |
		"$chat" -m model > got
	[ "$(head -1 got)" = "$plain" ]
	[ "$(tail -1 got)" = '{"prompt": "B[ua][a", "chosen": "B[ua][ab]", "rejected": "B[ua][ac]", "rendered": true, "id": 7, "weight": 0.5, "odd": [1, {}]}' ]
}

@test "chat: a blank line stays one, so that the next stage names lines by the same numbers" {
	printf '%s\n\n \n%s\n' '{"prompt":"a","chosen":"c","rejected":"a"}' '{"prompt":"a","chosen":3,"rejected":"b"}' > rows.jsonl
	run sh -c "'$chat' -m model rows.jsonl | '$bin/dpo-tok' -q -m model -o out.dpo"
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = 'dpo-tok: standard input:4: "chosen" is not a string' ]
}

@test "chat: implicit prompts, UltraFeedback's shape, a string as the user's message, supervised rows, prompts alone" {
	[ "$(texts "{\"chosen\":[$u,$b],\"rejected\":[$u,$c]}")" = "<s>[ua][a|<s>[ua][ab]|<s>[ua][ac]" ]
	[ "$(texts "{\"chosen\":[$u,$b,$u,$b],\"rejected\":[$u,$b]}")" = "<s>[ua][a|<s>[ua][ab][ua][ab]|<s>[ua][ab]" ]
	[ "$(texts "{\"prompt\":\"a\",\"chosen\":[$u,$b],\"rejected\":[$u,$c]}")" = "<s>[ua][a|<s>[ua][ab]|<s>[ua][ac]" ]
	[ "$(texts "{\"prompt\":\"a\",\"chosen\":[$b],\"rejected\":[$c]}")" = "<s>[ua][a|<s>[ua][ab]|<s>[ua][ac]" ]
	[ "$(texts "{\"prompt\":[$u],\"completion\":[$b]}")" = "<s>[ua][a|<s>[ua][ab]" ]
	[ "$(texts "{\"prompt\":[$u]}")" = "<s>[ua][a" ]
}

@test "chat: which template: --chat-template, chat_template.jinja, a named one, tool_use where there are tools" {
	echo '{{ messages[0].content }}' > model/chat_template.jinja
	[ "$(texts "{\"prompt\":[$u]}")" = a ]
	mkdir model/additional_chat_templates
	echo 'T{{ tools | tojson }}' > model/additional_chat_templates/tool_use.jinja
	[ "$(texts "{\"prompt\":[$u],\"tools\":\"[{\\\"n\\\":\\\"é<\\\"}]\"}")" = 'T[{"n": "é<"}]' ]
	echo "{\"prompt\":[$u]}" | "$chat" -m model --chat-template tool_use | grep -qF '{"prompt": "Tnull"'
	printf 'F{%% generation %%}{{ eos_token }}{%% endgeneration %%}' > other.jinja
	echo "{\"prompt\":[$u]}" | "$chat" -m model --chat-template other.jinja | grep -qF '{"prompt": "F</s>"'
	rm -r model/chat_template.jinja model/additional_chat_templates
	printf '{"tokenizer_class":"GPT2Tokenizer","chat_template":[{"name":"default","template":"{{ eos_token }}"}]}' > model/tokenizer_config.json
	[ "$(texts "{\"prompt\":[$u]}")" = "<|endoftext|>" ]
	rm model/tokenizer_config.json
	run "$chat" -m model
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-chat: model: has no chat template; give one with --chat-template
dpo-chat stopped here" ]
}

@test "chat: without Jinja it says what is missing, and nothing passes for all rows" {
	mkdir without
	echo 'raise ImportError' > without/jinja2.py
	run sh -c "echo '$pair' | PYTHONPATH=without '$chat' -m model 2>&1 > out"
	[ "$status" -eq 1 ]
	[ "$output" = "dpo-chat: Jinja is missing (Debian: apt-get install python3-jinja2)" ]
	not_whole
}

@test "chat: a model of the Hugging Face cache" {
	mkdir -p hub/models--a--b/refs hub/models--a--b/snapshots
	mv model hub/models--a--b/snapshots/123
	printf 123 > hub/models--a--b/refs/main
	echo "$pair" | HF_HUB_CACHE=hub "$chat" -m a/b | grep -qF '"prompt": "<s>[ua][a"'
	echo "$pair" | HF_HUB_CACHE=hub "$chat" -m a/b@123 | grep -qF '"prompt": "<s>[ua][a"'
	echo "$pair" | HUGGINGFACE_HUB_CACHE=hub "$chat" -m a/b | grep -qF '"prompt": "<s>[ua][a"'
	echo "$pair" | HF_HUB_CACHE=hub HUGGINGFACE_HUB_CACHE=absent "$chat" -m a/b | grep -qF '"prompt": "<s>[ua][a"'
	mkdir home && mv hub home/hub
	echo "$pair" | HF_HOME=home "$chat" -m a/b | grep -qF '"prompt": "<s>[ua][a"'
}

@test "chat: the date is an option, no clock is read" {
	echo '{{ strftime_now("%d %b %Y") }}' > t.jinja
	echo "$pair" | "$chat" --chat-template t.jinja --now 2026-03-01 | grep -qF '"prompt": "01 Mar 2026"'
	run sh -c "echo '$pair' | '$chat' --chat-template t.jinja 2>&1 > out"
	[ "$output" = "dpo-chat: standard input:1: the chat template: it asks for the date; give one with --now" ]
}

@test "chat: bad rows are named with file and line" {
	refuses '"rejected" is missing' "{\"prompt\":[$u],\"chosen\":[$b]}"
	refuses '"chosen" is an empty list' "{\"prompt\":[$u],\"chosen\":[],\"rejected\":[$b]}"
	refuses "\"rejected\" is not a list of messages, as others of the row's texts are" "{\"prompt\":[$u],\"chosen\":[$b],\"rejected\":\"x\"}"
	refuses '"prompt" holds something that is not a message with a "role"' "{\"prompt\":[3],\"chosen\":[$b],\"rejected\":[$c]}"
	refuses '"prompt": a message'"'"'s "content" is neither a string nor a list' '{"prompt":[{"role":"user","content":3}]}'
	no_text='"prompt": a message'"'"'s "content" has a part that is no text'
	for part in '{"type":"image"}' '{"type":"image_url","image_url":"x","text":"x"}' '{"image":"x"}' '{"type":"text"}' '{"type":["text"]}' 3; do
		refuses "$no_text" "{\"prompt\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},$part]}]}"
	done
	refuses '"rendered" in a row of messages, which no template has seen' "{\"prompt\":[$u],\"rendered\":true}"
	refuses '"chosen" and "rejected" share no message to be the prompt' "{\"chosen\":[$b],\"rejected\":[$c]}"
	refuses '"prompt" is a string that is none of the messages the dialogues share' "{\"prompt\":\"x\",\"chosen\":[$u,$b],\"rejected\":[$u,$c]}"
	refuses '"tools" is a string that is no JSON' "{\"prompt\":[$u],\"tools\":\"x\"}"
	refuses '"tools" is not a list of objects' "{\"prompt\":[$u],\"tools\":[1]}"
	refuses '"chat_template_kwargs": "tokenize" is not for the template' "{\"prompt\":[$u],\"chat_template_kwargs\":{\"tokenize\":false}}"
	refuses '"chat_template_kwargs": "messages" is not for the template' "{\"prompt\":[$u],\"chat_template_kwargs\":{\"messages\":[]}}"
	refuses '"chat_template_kwargs": "chat_template" is not a string' "{\"prompt\":[$u],\"chat_template_kwargs\":{\"chat_template\":[1]}}"
	refuses 'JSON: "a" appears twice' '{"a":1,"a":2}'
	refuses 'JSON: "\x1b[31m\x9b" appears twice' '{"\u001b[31m\u009b":1,"\u001b[31m\u009b":2}'
	refuses 'JSON: NaN is not a number' '{"a":NaN}'
	refuses 'not an object; each line is one object' '[]'
	refuses 'a lone surrogate is not text' '{"prompt":[{"role":"user","content":"\ud800"}]}'
}

@test "chat: hostile templates are refused: syntax, escapes from the sandbox, time, memory" {
	hostile() { # TEMPLATE and the beginning of the message
		printf '%s' "$1" > t.jinja
		run sh -c "echo '$pair' | '$chat' --chat-template t.jinja 2>&1 > out"
		echo "$output"
		[ "$status" -eq 3 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ "$output" == "dpo-chat: standard input:1: $2"* ]]
	}
	hostile '{% if %}' "t.jinja: chat template, line 1: "
	hostile $'\n{% include "x" %}' "the chat template: "
	hostile '{{ messages.__class__.__mro__ }}' "the chat template: "
	hostile '{{ messages.append(1) }}' "the chat template: "
	hostile '{{ dict.__globals__ }}{{ dict.__globals__.x }}' "the chat template: "
	hostile '{% set n = namespace(_x=1) %}' "the chat template: "
	hostile '{{ raise_exception("no system role") }}' "the chat template: no system role"
	hostile '{% for i in range(1000000000) %}{% endfor %}' "the chat template: "
	hostile '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}' "the chat template: it takes more than 3 seconds"
	hostile '{% set n = namespace(s="x") %}{% for i in range(64) %}{% set n.s = n.s ~ n.s %}{% endfor %}' "the chat template: it takes too much memory"
	hostile "$(python3 -c 'print("{% if 1 %}" * 9999 + "{% endif %}" * 9999)')" "the chat template: "
	hostile '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}' "the chat template: "
}

@test "chat: usage and files that are not there" {
	run "$chat"
	[ "$status" -eq 2 ]
	run "$chat" -m model absent.jsonl
	[ "$status" -eq 1 ]
	[[ "$output" == "dpo-chat: absent.jsonl: No such file or directory"* ]]
	run "$chat" -m no/model
	[ "$status" -eq 3 ]
	[[ "$output" == "dpo-chat: no/model: neither a directory nor in "*" (pipelines/fetch-model no/model)"* ]]
	"$chat" --help | grep -q -- --chat-template
}

# The next stage does not take what dpo-chat wrote to the file out for whole.
not_whole() {
	run "$bin/dpo-tok" -q -m model -o out.dpo out
	[ "$status" -eq 3 ]
	[ ! -e out.dpo ]
}

@test "chat: a signal, or a mistake of dpo-chat itself, after a row leaves no prefix that passes for all" {
	mkfifo rows
	for signal in TERM INT HUP; do
		python3 -c 'import os, signal, sys
for n in signal.SIGTERM, signal.SIGINT, signal.SIGHUP: # a job behind the shell ignores SIGINT
	signal.signal(n, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$chat" -m model rows > out 2> told 3>&- &
		exec 7> rows
		echo "$pair" >&7
		for _ in $(seq 100); do
			[ ! -s out ] || break
			sleep 0.05
		done
		kill -$signal $!
		status=0
		wait $! || status=$?
		exec 7>&-
		[ "$status" -eq $((128 + $(kill -l $signal))) ]
		[ "$(wc -l < out)" -eq 2 ]
		[ ! -s told ]
		not_whole
	done
	sed 's/^def render_row.*/&\n    assert "id" not in row/' "$chat" > mistaken
	run sh -c "printf '%s\n' '$pair' '{\"id\":1,\"prompt\":[$u]}' | python3 mistaken -m model 2> told > out"
	[ "$status" -eq 1 ]
	grep -q AssertionError told
	not_whole
}

@test "chat: a line that is too long is refused before all of it is read, and so is one that takes too much memory" {
	run sh -c "(echo '$pair'; head -c 3000000000 /dev/zero 2> /dev/null) | '$chat' -m model 2>&1 > out"
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-chat: standard input:2: a line of more than 67108864 bytes" ]
	not_whole
	sed 's/2 << 30/96 << 20/' "$chat" > poor
	(echo "$pair"; printf '{"a":['; head -c 2000000 /dev/zero | sed 's/\x00/[],/g'; echo '1]}') > rows.jsonl
	run sh -c "python3 poor -m model rows.jsonl 2>&1 > out"
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-chat: rows.jsonl:2: it takes too much memory" ]
	not_whole
}

@test "chat: an output that cannot be written is told in one line" {
	run sh -c "echo '$pair' | '$chat' -m model 2>&1 > /dev/full"
	echo "$output"
	[ "$status" -eq 1 ]
	[ "$output" = "dpo-chat: standard output: No space left on device" ]
	run sh -c "echo [] | '$chat' -m model 2>&1 > /dev/full"
	[ "$status" -eq 3 ]
	[ "$output" = "dpo-chat: standard input:1: not an object; each line is one object" ]
	long=$(printf '%09999d' 0)
	run bash -c "ulimit -f 4; echo '${pair/\"a\"/\"$long\"}' | PYTHONUNBUFFERED=1 '$chat' -m model 2>&1 > out"
	[ "$status" -eq 1 ]
	[ "$output" = "dpo-chat: standard output: File too large" ]
}
