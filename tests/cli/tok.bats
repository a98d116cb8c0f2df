#!/usr/bin/env bats
# dpo-tok: kinds of rows, columns, counts, and what bad input, options and models are told.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	tok="$bin/dpo-tok"
	cat="$bin/dpo-cat"
	cd "$BATS_TEST_TMPDIR"
	mkdir model
	# <s> 0, </s> 1, a 2, b 3, c 4, ab 5; <s> stands in front of every text.
	cat > model/tokenizer.json <<-'JSON'
	{"model":{"type":"BPE","vocab":{"<s>":0,"</s>":1,"a":2,"b":3,"c":4,"ab":5},"merges":["a b"]},
	 "added_tokens":[{"id":0,"content":"<s>","special":true},{"id":1,"content":"</s>","special":true}],
	 "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],
	  "special_tokens":{"<s>":{"ids":[0]}}}}
	JSON
	echo '{"eos_token":"</s>"}' > model/tokenizer_config.json
}

pair='{"prompt":"a","chosen":"c","rejected":"a"}'

# Exit status $1 and exactly the message $2 (without the program's name) from dpo-tok -m model on the rows in $3.
refuses() {
	printf '%s\n' "$3" > rows.jsonl
	rm -f out.dpo
	run "$tok" -m model -o out.dpo rows.jsonl
	echo "$output"
	[ "$status" -eq "$1" ]
	[ "$output" = "dpo-tok: $2" ]
	[ ! -e out.dpo ]
	[ "$(ls -A | grep -c out)" -eq 0 ]
}

@test "tok: pairs have their columns, ids and silent values" {
	printf '%s\n' "$pair" '{"id":"x","prompt":"a","chosen":"b","rejected":"c</s>","weight":0.5,"margin":-2,"label_prob":0}' \
		'{"chosen":"cab","rejected":"cac","id":7}' > rows.jsonl
	"$tok" -m model rows.jsonl 2> notes | "$cat" > got
	cat > wanted <<-'ROWS'
	{"id":"0","prompt":[0,2],"chosen":[4,1],"rejected":[2,1],"weight":1,"margin":0,"label_prob":1}
	{"id":"x","prompt":[0],"chosen":[5,1],"rejected":[2,4,1],"weight":0.5,"margin":-2,"label_prob":0}
	{"id":"7","prompt":[0,4],"chosen":[5,1],"rejected":[2,4,1],"weight":1,"margin":0,"label_prob":1}
	ROWS
	sed '1d;$d' got | diff - wanted
	printf '%s\n' 'dpo-tok: 3 rows read, 3 written, 0 dropped' \
		'dpo-tok: 2 with a token that reaches over the boundary from prompt to answer' | diff - notes
	head -n 1 got | grep -qF '"kind":"pairs","columns":[["id","str"],["prompt","i32[]"],["chosen","i32[]"],["rejected","i32[]"],["weight","f32"],["margin","f32"],["label_prob","f32"]]'
	head -n 1 got | grep -qE '"stages":\[\{"stage":"dpo-tok","version":1,"settings":\{"max_length":1024\},"tokenizer":"[0-9a-f]{64}"\}\]'
}

@test "tok: supervised rows have id, prompt, chosen" {
	printf '%s\n' '{"prompt":"a","completion":"c"}' '{"prompt":"a","completion":"b","id":"k"}' |
		"$tok" -q -m model --keep completion:str | "$cat" > got
	head -n 1 got | grep -qF '"kind":"sft","columns":[["id","str"],["prompt","i32[]"],["chosen","i32[]"],["completion","str"]]'
	sed '1d;$d' got | diff - <(printf '%s\n' '{"id":"0","prompt":[0,2],"chosen":[4,1],"completion":"c"}' \
		'{"id":"k","prompt":[0],"chosen":[5,1],"completion":"b"}')
}

@test "tok: rows are dropped and cut at --max-length, and counted by reason; their numbers stay" {
	printf '%s\n' '{"prompt":"ccc","chosen":"c","rejected":"a"}' '{"prompt":"c","chosen":"ccc","rejected":"a"}' "$pair" \
		'{"prompt":"c","chosen":"cb","rejected":"cb"}' > rows.jsonl
	"$tok" -m model --max-length 4 rows.jsonl 2> notes | "$cat" > got
	sed '1d;$d' got | sed 's/,"weight.*//' | diff - <(printf '%s\n' '{"id":"1","prompt":[0,4],"chosen":[4,4],"rejected":[2,1]' \
		'{"id":"2","prompt":[0,2],"chosen":[4,1],"rejected":[2,1]' '{"id":"3","prompt":[0,4],"chosen":[4,3],"rejected":[4,3]')
	printf 'dpo-tok: %s\n' '4 rows read, 3 written, 1 dropped' '1 dropped: the prompt alone fills --max-length' \
		'2 cut to --max-length' '2 with an answer that does not end in the EOS token' \
		'1 with two answers of the same tokens' | diff - notes
	"$tok" -q -m model --max-length 0 rows.jsonl | "$cat" | grep -qF '"prompt":[0,4,4,4],"chosen":[4,1]'
	"$tok" -v -m model --max-length 4 rows.jsonl 2>&1 > /dev/null | grep -qx 'dpo-tok: rows.jsonl:1: dropped: the prompt is too long'
}

@test "tok: all rows dropped is a warning and a whole, empty stream" {
	run bash -c "echo '$pair' | '$tok' -q -m model --max-length 1 -o out.dpo"
	[ "$status" -eq 0 ]
	[ "$output" = "dpo-tok: warning: no row was written" ]
	[ "$("$cat" out.dpo | wc -l)" -eq 2 ]
}

@test "tok: a prompt under another key is a warning, with -q too" {
	printf '%s\n' '{"question":"c","chosen":"a","rejected":"b"}' "$pair" '{"chosen":"ca","rejected":"cb"}' \
		'{"chosen":"b","rejected":"c"}' '{"prompt":"","chosen":"a","rejected":"b"}' > rows.jsonl
	run "$tok" -q -m model -o out.dpo rows.jsonl
	[ "$status" -eq 0 ]
	[ "$output" = 'dpo-tok: warning: 2 rows without a prompt: no "prompt", and the answers share no beginning' ]
}

@test "tok: kept columns come back, other keys are dropped and told" {
	printf '%s\n' '{"src":"x\n","chosen":"a","n":9007199254740993,"rejected":"c","v":[-1,2],"zz":{"q":[]},"yy":1,"\u001b[0m":1}' > rows.jsonl
	"$tok" -m model --keep n:i64 --keep src:str --keep 'v:i32[]' rows.jsonl 2> notes | "$cat" > got
	sed -n 2p got | grep -qF '"label_prob":1,"n":9007199254740993,"src":"x\n","v":[-1,2]}'
	grep -qx 'dpo-tok: key "zz" not kept (1 rows)' notes
	grep -qx 'dpo-tok: key "yy" not kept (1 rows)' notes
	grep -qxF 'dpo-tok: key "\x1b[0m" not kept (1 rows)' notes
	echo '{"prompt":"a","chosen":"b","rejected":"c","completion":"a","weight":2,"margin":null}' | "$tok" -m model 2>&1 > /dev/null |
		grep 'not kept' | diff - <(echo 'dpo-tok: key "completion" not kept (1 rows)')
	echo '{"prompt":"a","completion":"b","weight":2,"margin":null,"label_prob":0.5}' | "$tok" -m model 2>&1 > /dev/null |
		grep 'not kept' | diff - <(printf 'dpo-tok: key "%s" not kept (1 rows)\n' weight label_prob)
	run "$tok" -m model --keep m:f32 -o out.dpo rows.jsonl
	[ "$status" -eq 3 ]
	[ "$output" = 'dpo-tok: rows.jsonl:1: "m" is missing, to be kept as f32' ]
	[ ! -e out.dpo ]
}

@test "tok: several files and standard input are counted through; CR LF, BOM and blank lines are read over" {
	printf '\xef\xbb\xbf%s\r\n\r\n' "$pair" > a.jsonl
	printf '%s' "$pair" > b.jsonl
	echo "$pair" | "$tok" -m model a.jsonl - b.jsonl 2> notes | "$cat" | sed '1d;$d' | cut -d, -f1 | tr -d '\n' > got
	[ "$(< got)" = '{"id":"0"{"id":"1"{"id":"2"' ]
	grep -qx 'dpo-tok: 1 blank lines' notes
}

@test "tok: a bad row names file, line and fact, exit 3, no output" {
	refuses 3 'rows.jsonl:2: "chosen" is not a string' "$pair"$'\n''{"prompt":"a","chosen":3,"rejected":"b"}'
	refuses 3 'rows.jsonl:1: "rejected" is missing' '{"prompt":"a","chosen":"b"}'
	refuses 3 'rows.jsonl:1: "prompt" is missing' '{"completion":"b"}'
	refuses 3 'rows.jsonl:1: "prompt" is a list, not a string; chat messages go first through pipelines/dpo-chat' \
		'{"prompt":[{"role":"user","content":"a"}],"chosen":"a","rejected":"b"}'
	refuses 3 'rows.jsonl:1: JSON, byte 12: invalid UTF-8' $'{"chosen":"a\xff","rejected":"b"}'
	refuses 3 'rows.jsonl:1: JSON, byte 11: bad \u escape or lone surrogate' '{"chosen":"\ud800","rejected":"b"}'
	refuses 3 'rows.jsonl:1: JSON, byte 11: \u0000 in a string' '{"chosen":"\u0000","rejected":"b"}'
	refuses 3 'rows.jsonl:1: "\x1b[31m\x9b\n" appears twice' '{"\u001b[31m\u009b\n":1,"\u001b[31m\u009b\n":2}'
	refuses 3 'rows.jsonl:1: "chosen" appears twice' '{"chosen":"a","chosen":"a","rejected":"b"}'
	refuses 3 'rows.jsonl:3: "label_prob" is 2, not within 0 and 1' "$pair"$'\n\n''{"chosen":"a","rejected":"b","label_prob":2}'
	refuses 3 "rows.jsonl:1: a list, not an object; each line is one object (jq -c '.[]')" "[$pair]"
	refuses 3 'rows.jsonl:2: a supervised row among preference rows' "$pair"$'\n''{"prompt":"a","completion":"b"}'
	refuses 3 'rows.jsonl:2: a preference row among supervised rows' '{"prompt":"a","completion":"b"}'$'\n'"$pair"
	refuses 3 'rows.jsonl:1: the tokenizer has neither U+0078 nor an unknown token' '{"chosen":"x","rejected":"b"}'
	refuses 3 'the input has no rows' ''
}

@test "tok: a stream on standard output that failed has no END" {
	printf '%s\n' "$pair" '{' > rows.jsonl
	"$tok" -m model rows.jsonl > out.dpo 2> /dev/null && false
	run "$cat" --check out.dpo
	[ "$status" -eq 3 ]
}

@test "tok: what is not JSON Lines is named" {
	for kind in 'gzip:\x1f\x8b\x08' 'zstd:\x28\xb5\x2f\xfd' 'Parquet:PAR1' 'UTF-16:\xff\xfe{\x00'; do
		printf "${kind#*:}" > rows.jsonl
		run "$tok" -m model -o out.dpo rows.jsonl
		[ "$status" -eq 3 ]
		[[ "$output" == "dpo-tok: rows.jsonl: "*"${kind%%:*}"* ]]
		[ ! -e out.dpo ]
	done
}

@test "tok: usage errors exit 2" {
	echo "$pair" > rows.jsonl
	while IFS='	' read -r says options; do
		run "$tok" $options rows.jsonl < /dev/null
		echo "$options: $status $output"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == "dpo-tok: "*"$says"* ]]
	done <<-'END'
		-m MODEL is missing
		--truncation-mode	-m model --truncation-mode middle
		--max-length: -1 is not within	-m model --max-length -1
		"x" is not NAME:TYPE	-m model --keep x
		"id" is a column already	-m model --keep id:str
		"x:i8" is not NAME:TYPE	-m model --keep x:i8
		only one input can be standard input	-m - -
		rows.jsonl: is an input	-m model -o rows.jsonl
	END
	run "$tok" -m model --truncation-mode keep_end rows.jsonl
	[ "${lines[0]}" = "dpo-tok: --truncation-mode keep_end: it cuts the prompts of the two answers at different places, so they share none; use keep_start" ]
	[ "$(< rows.jsonl)" = "$pair" ]
}

@test "tok: a model without tokenizer or EOS, or with an unknown part, is refused by name" {
	mkdir empty noeos odd
	cp model/tokenizer.json noeos
	sed 's/"added_tokens"/"normalizer":{"type":"Nmt"},&/' model/tokenizer.json > odd/tokenizer.json
	echo "$pair" > rows.jsonl
	says() { # STATUS MODEL TEXT
		run "$tok" -m "$2" -o out.dpo rows.jsonl
		echo "$output"
		[ "$status" -eq "$1" ]
		[ "$output" = "dpo-tok: $3" ]
		[ ! -e out.dpo ]
	}
	says 3 empty 'empty: the model has neither tokenizer.json, vocab.json nor tokenizer.model'
	says 3 noeos 'rows.jsonl:1: the tokenizer names no EOS token, which ends every answer'
	says 3 odd 'odd: tokenizer.json: normalizer Nmt'
	says 1 ./absent './absent: No such file or directory'
}

@test "tok: a model stream gives the same bytes as its directory" {
	python3 - <<-'END'
	import base64, json
	def record(name, offset, data):
	    return json.dumps({"file": name, "name": "", "shape": [], "offset": offset, "data": [], "bytes": {"base64": base64.b64encode(data).decode(), "type": "bytes"}})
	with open("model.jsonl", "w") as out:
	    columns = [["file", "str"], ["name", "str"], ["shape", "i64[]"], ["offset", "i64"], ["data", "f32[]"], ["bytes", "bytes"]]
	    print(json.dumps({"header": {"format": 1, "kind": "model", "columns": columns, "stages": []}}), file=out)
	    for name in "tokenizer.json", "tokenizer_config.json":
	        data = open("model/" + name, "rb").read()
	        half = len(data) // 2
	        print(record(name, 0, data[:half]), record(name, half, data[half:]), sep="\n", file=out)
	    print(json.dumps({"file": "", "name": "t", "shape": [1], "offset": 0, "data": [1], "bytes": {"base64": "", "type": "bytes"}}), file=out)
	    print('{"end":true}', file=out)
	END
	"$cat" -z model.jsonl > model.dpo
	echo "$pair" > rows.jsonl
	"$tok" -q -m model rows.jsonl > one.dpo
	"$tok" -q -m model.dpo rows.jsonl | cmp - one.dpo
	"$tok" -q -m - rows.jsonl < model.dpo | cmp - one.dpo
	run "$tok" -q -m one.dpo rows.jsonl
	[ "$status" -eq 3 ]
	[ "$output" = 'dpo-tok: one.dpo: a stream of kind "pairs", not a model' ]
	sed 's/"offset": [1-9][0-9]*/"offset": 1/' model.jsonl | "$cat" -z > bad.dpo
	run "$tok" -q -m bad.dpo rows.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" == 'dpo-tok: bad.dpo: record 2: file "tokenizer.json": offset 1 where '*' is expected' ]]
}

@test "tok: the first record is visible before the input ends, and memory does not grow with it" {
	mkfifo in
	"$tok" -q -m model < in > out.dpo &
	exec 7> in
	echo "$pair" >&7
	for _ in $(seq 100); do
		[ "$("$cat" out.dpo 2> /dev/null | grep -c '"prompt"')" -eq 2 ] && break	# the header and one record
		sleep 0.1
	done
	[ "$("$cat" out.dpo 2> /dev/null | grep -c '"prompt"')" -eq 2 ]
	exec 7>&-
	wait
	"$cat" --check out.dpo
	peak() { # the largest resident size, in KiB, of dpo-tok on $1 rows
		yes "$pair" | head -n "$1" | python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$tok" -q -m model
	}
	small=$(peak 3000) large=$(peak 600000)
	echo "$small KiB, $large KiB"
	[ "$large" -lt $((small + 8192)) ]
}
