#!/usr/bin/env bats
# dpo-cat: every form, and what it refuses.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	cat="$bin/dpo-cat"
	cd "$BATS_TEST_TMPDIR"
	rows 1 23 > rows.jsonl
	"$cat" -z rows.jsonl > rows.dpo
}

head_line='{"header":{"format":1,"kind":"pairs","columns":[["id","str"],["n","i64"],["x","f32[]"],["raw","bytes"]],"stages":[],"later":{"k":1}}}'

# Rows from $1 to $2 as JSON Lines.
rows() {
	echo "$head_line"
	awk -v a="$1" -v b="$2" 'BEGIN { for (i = a; i <= b; i++)
		printf "{\"id\":\"%d\",\"n\":%d,\"x\":[0.%d,-0],\"raw\":{\"base64\":\"AAE=\",\"type\":\"bytes\"}}\n", i, i, i }'
	echo '{"end":true}'
}

tip() {
	"$cat" --check "$1" | sed 's/.*tip //'
}

@test "cat: JSON Lines and back are the same bytes, with extremes of every type" {
	cat > all.jsonl <<'LINES'
{"header":{"format":1,"kind":"odd","columns":[["a","str"],["b","bytes"],["c","f32"],["d","i64"],["e","i32[]"],["f","i64[]"],["g","f32[]"],["h","bf16[]"],["i","f16[]"]],"stages":[{"stage":"s","version":1,"settings":{"x":0.1}}]}}
{"a":"\u00e9\"\\\n\ud83d\ude42","b":{"base64":"AP8=","type":"bytes"},"c":1e-45,"d":-9223372036854775808,"e":[-2147483648,2147483647],"f":[9223372036854775807],"g":[3.40282347e+38,-0,0.1],"h":{"base64":"gD8=","type":"bf16[]"},"i":{"base64":"ADw=","type":"f16[]"}}
{"i":{"base64":"","type":"f16[]"},"h":{"base64":"","type":"bf16[]"},"g":[],"f":[],"e":[],"d":9007199254740993,"c":-0.0,"b":{"base64":"","type":"bytes"},"a":""}
{"end":true}
LINES
	"$cat" -z all.jsonl > all.dpo
	"$cat" all.dpo > back.jsonl
	"$cat" -z back.jsonl | cmp - all.dpo
	"$cat" back.jsonl | cmp - back.jsonl
	grep -q '"d":9007199254740993' back.jsonl
	grep -q '"c":1.40129846e-45' back.jsonl
}

@test "cat: JSON Lines behind a byte order mark, in pieces" {
	(printf '\357'; sleep 0.1; printf '\273\277\n'; rows 1 3) | "$cat" -z > marked.dpo
	rows 1 3 | "$cat" -z | cmp - marked.dpo
}

@test "cat: the parent survives the round trip, a stage becomes a child" {
	"$cat" rows.dpo | "$cat" -z --stage mine > child.dpo
	"$cat" child.dpo | tail -n 1 | grep -q "\"parent\":\"$(tip rows.dpo)\""
	"$cat" --header child.dpo | grep -qF '"stages":[{"stage":"mine","version":1,"settings":{}}],"later":{"k":1}}'
	"$cat" child.dpo | "$cat" -z | cmp - child.dpo
	"$cat" -z child.dpo | cmp - child.dpo
	"$cat" -z < child.dpo | cmp - child.dpo
}

@test "cat: several files with equal headers are one table" {
	rows 1 10 | "$cat" -z > a.dpo
	rows 11 23 > b.jsonl
	"$cat" a.dpo b.jsonl | sed '$d' | diff - <("$cat" rows.dpo | sed '$d')
	rows 11 23 | "$cat" -z > b.dpo
	cat a.dpo b.dpo | "$cat" -z > one.dpo
	"$cat" -z a.dpo b.dpo | cmp - one.dpo
	[ "$(tip one.dpo)" = "$(tip rows.dpo)" ]
	"$cat" -z --stage other a.dpo > c.dpo
	run "$cat" a.dpo c.dpo
	[ "$status" -eq 3 ]
	[[ "$output" == *"c.dpo: its header differs"* ]]
}

@test "cat: how members are grouped in files makes no difference" {
	rows 1 5 | "$cat" -z > a.dpo
	rows 6 9 | "$cat" -z > b.dpo
	rows 10 23 | "$cat" -z > c.dpo
	"$cat" -z a.dpo b.dpo c.dpo > want.dpo
	"$cat" want.dpo | tail -n 1 | grep -q '"parent":"[0-9a-f]*[1-9a-f]'
	cat a.dpo b.dpo > ab.dpo
	cat b.dpo c.dpo > bc.dpo
	cat a.dpo bc.dpo > abc.dpo
	"$cat" -z ab.dpo c.dpo | cmp - want.dpo
	"$cat" -z a.dpo bc.dpo | cmp - want.dpo
	"$cat" -z abc.dpo | cmp - want.dpo
	"$cat" -z a.dpo b.dpo <("$cat" c.dpo) | cmp - want.dpo
}

@test "cat: shards differ by at most one record and are the whole again" {
	for n in 1 2 3 7 23 40; do
		rm -f shard.*
		for i in $(seq "$n"); do
			"$cat" --shard "$i/$n" -o "shard.$(printf %02d "$i")" rows.dpo
			"$cat" "shard.$(printf %02d "$i")" | tail -n 1 | grep -q "\"parent\":\"$(tip rows.dpo)\""
		done
		cat shard.* | "$cat" | sed '$d' | cmp - <("$cat" rows.dpo | sed '$d')
		sizes=$(for s in shard.*; do "$cat" "$s" | wc -l; done | sort -nu)
		[ $(($(echo "$sizes" | tail -n 1) - $(echo "$sizes" | head -n 1))) -le 1 ]
	done
	[ "$("$cat" -z shard.* | "$cat" --check | sed 's/.*tip //')" = "$(tip rows.dpo)" ]
	for bad in 0/2 3/2 1 a/b 1/2x -1/2; do
		run "$cat" --shard "$bad" rows.dpo
		[ "$status" -eq 2 ]
	done
	run "$cat" --shard 1/2 < rows.dpo
	[ "$status" -eq 2 ]
	[[ "$output" == *"no regular file"* ]]
}

@test "cat --shard: an input that changes between the two readings leaves no output" {
	command -v strace > /dev/null || skip "strace is not installed"
	rows 1 24 | "$cat" -z > other.dpo
	cp rows.dpo work.dpo
	strace -qq -o log -P work.dpo -e trace=openat,close -e inject=openat:delay_enter=3000000:when=2 \
		"$cat" --shard 1/2 -o part work.dpo 2> note &
	for _ in $(seq 200); do
		! grep -q '^close' log 2> /dev/null || break
		sleep 0.05
	done
	mv other.dpo work.dpo
	status=0
	wait $! || status=$?
	[ "$status" -eq 3 ]
	[ "$(tail -n 1 note)" = "dpo-cat: work.dpo: changed while it was read" ]
	[ ! -e part ]
}

@test "cat --check: one line a file, damage with its block and record, and goes on" {
	run "$cat" --check rows.dpo
	[ "$status" -eq 0 ]
	[[ "$output" == "rows.dpo: ok, kind pairs, 23 records in 5 blocks, tip "* ]]
	# JSON Lines prove no tip, whatever they say.
	"$cat" rows.dpo > shown.jsonl
	tail -n 1 shown.jsonl | grep -q '"tip":'
	run "$cat" --check shown.jsonl
	[ "$status" -eq 0 ]
	[ "$output" = "shown.jsonl: ok, kind pairs, 23 records as JSON Lines" ]
	# Block 4 holds records 8 to 15.
	zstdcat rows.dpo > plain
	at=$(LC_ALL=C grep -aboP '\x02\x00\x00\x0010' plain | cut -d: -f1)
	{ head -c $((at + 4)) plain; printf Z; tail -c +$((at + 6)) plain; } | zstd -q > bad.dpo
	run "$cat" --check bad.dpo rows.dpo
	[ "$status" -eq 3 ]
	[[ "${lines[0]}" == "rows.dpo: ok"* ]] || [[ "${lines[1]}" == "rows.dpo: ok"* ]]
	[[ "$output" == *"bad.dpo: record 8: block 4: hash does not match"*"(the 7 records before it are whole)"* ]]
}

@test "cat --check: each bad file is told, a missing one too, and the first gives the exit code" {
	head -c 400 rows.dpo > cut.dpo
	echo "$PWD" > junk
	run "$cat" --check cut.dpo missing rows.dpo junk
	[ "$status" -eq 3 ]
	[ "${#lines[@]}" -eq 4 ]
	[[ "$output" == *"dpo-cat: cut.dpo: "* ]]
	[[ "$output" == *"dpo-cat: missing: No such file"* ]]
	[[ "$output" == *"dpo-cat: junk: "* ]]
	[[ "$output" == *"rows.dpo: ok"* ]]
	run "$cat" --check missing cut.dpo
	[ "$status" -eq 1 ]
	run "$cat" --check -o report rows.dpo cut.dpo
	[ "$status" -eq 3 ]
	[ ! -e report ]
	[ -z "$(ls -A | grep report)" ]
}

@test "cat: wrong rows name file, line and key, and leave no output" {
	check_row() {
		{ echo "$head_line"; rows 1 1 | sed -n 2p; echo "$1"; echo '{"end":true}'; } > bad.jsonl
		run "$cat" -z -o out.dpo bad.jsonl
		[ "$status" -eq 3 ]
		[ "$output" = "dpo-cat: bad.jsonl:3: $2" ]
		[ ! -e out.dpo ]
	}
	raw='"raw":{"base64":"","type":"bytes"}'
	check_row "{\"id\":\"2\",\"n\":1,$raw}" '"x" is missing'
	check_row "{\"id\":\"2\",\"n\":1,\"x\":[],$raw,\"y\":1}" '"y" is not a column of the header'
	check_row "{\"id\":2,\"n\":1,\"x\":[],$raw}" '"id" is not of type str'
	check_row "{\"id\":\"2\",\"n\":1.5,\"x\":[],$raw}" '"n" is not of type i64'
	check_row "{\"id\":\"2\",\"n\":1,\"x\":[1,\"a\"],$raw}" '"x": element 2 does not fit f32[]'
	check_row "{\"id\":\"2\",\"n\":1,\"x\":[1e99],$raw}" '"x": element 1 does not fit f32[]'
}

@test "cat: preference rows and other files are told apart kindly" {
	echo '{"prompt":"a","chosen":"b","rejected":"c"}' > prefs.jsonl
	run "$cat" prefs.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" == *'prefs.jsonl:1: the first line is not {"header":{...}}'* ]]
	printf 'PK\003\004' > x.zip
	run "$cat" x.zip
	[ "$status" -eq 3 ]
	[[ "$output" == *"x.zip: not a stream"* ]]
	run "$cat" none.dpo
	[ "$status" -eq 1 ]
	run "$cat" .
	[ "$status" -eq 1 ]
	run "$cat" -z /dev/null
	[ "$status" -eq 3 ]
}

@test "cat: model data only with --data" {
	cat > model.jsonl <<'LINES'
{"header":{"format":1,"kind":"model","columns":[["file","str"],["name","str"],["shape","i64[]"],["offset","i64"],["data","f32[]"],["bytes","bytes"]],"stages":[]}}
{"file":"config.json","name":"","shape":[],"offset":0,"data":[],"bytes":{"base64":"e30=","type":"bytes"}}
{"file":"","name":"w","shape":[2,2],"offset":0,"data":[0.5,-0,3,4],"bytes":{"base64":"","type":"bytes"}}
{"end":true}
LINES
	"$cat" -z model.jsonl > model.dpo
	"$cat" model.dpo > short.jsonl
	grep -q '"data":{"elements":4},"bytes":{"elements":0}' short.jsonl
	run "$cat" -z short.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" == *"short.jsonl:2: "*"--data"* ]]
	"$cat" --data model.dpo | "$cat" -z | cmp - model.dpo
}

@test "cat --limit: fewer records, but all are read and verified" {
	[ "$("$cat" --limit 3 rows.dpo | wc -l)" -eq 5 ]
	"$cat" -z --limit 3 rows.dpo > three.dpo
	[[ "$("$cat" --check three.dpo)" == *" 3 records "* ]]
	"$cat" three.dpo | tail -n 1 | grep -q "\"parent\":\"$(tip rows.dpo)\""
	"$cat" --limit 3 rows.dpo | "$cat" -z | cmp - three.dpo
	head -c $(($(wc -c < rows.dpo) - 3)) rows.dpo > cut.dpo
	run "$cat" -z --limit 3 -o out.dpo cut.dpo
	[ "$status" -eq 3 ]
	[ ! -e out.dpo ]
}

@test "cat --explain: prompt, what is scored token by token, last ids, EOS; another tokenizer is refused" {
	story="$root/testdata/story"
	echo '{"id":"q1","prompt":"There was a","chosen":" big | race.","rejected":" cat."}' > row.jsonl
	"$bin/dpo-tok" -q -m "$story" row.jsonl > pairs.dpo
	"$cat" --explain -m "$story" pairs.dpo > text
	"$cat" pairs.dpo | sed -n 2p > record
	grep -q '^record 1, id q1$' text
	grep -q '^prompt: [0-9]* tokens, not scored$' text
	# the tokens, put together, are the text; a bar of the text is escaped
	sed -n 3p text | sed 's/^  |//; s/|//g' | grep -qx 'There was a'
	sed -n 5p text | sed 's/^  |//; s/\\|/@/g; s/|//g; s/@/|/g' | grep -q '^ big | race\.<|endoftext|>$'
	chosen=$(sed 's/.*"chosen":\[//; s/\].*//' record)
	n=$(echo "$chosen" | tr ',' '\n' | wc -l)
	last=$(echo "$chosen" | tr ',' '\n' | tail -n 4 | paste -sd ' ')
	grep -qx "chosen: $n tokens, $n scored, ends in EOS; last ids $last" text
	# a backslash is escaped too, and what a terminal would obey
	printf '{"id":"q2","prompt":"a","chosen":" \\\\x\\u001b[31m\\ty","rejected":"b"}\n' | "$bin/dpo-tok" -q -m "$story" | "$cat" --explain -m "$story" > odd
	sed -n 5p odd | grep -qxF '  | |\\|x|\x1b|[|3|1|m|\x09|y|<\|endoftext\|>|'
	# cut the EOS off
	"$cat" pairs.dpo | sed '2s/,[0-9]*\],"rejected"/],"rejected"/' | "$cat" -z > cut.dpo
	"$cat" --explain -m "$story" cut.dpo | grep -q '^chosen: .* does not end in EOS'
	# with reference log-probs, their sum
	"$cat" pairs.dpo | sed '1s/\]\],"stages"/],["ref_chosen_logps","f32[]"]],"stages"/; 2s/}$/,"ref_chosen_logps":[-1.5,-2]}/' |
		"$cat" --explain -m "$story" | grep -q 'reference log-prob -3.5 nats$'
	mkdir other
	cp "$story"/*.json other/
	sed -i 's/"There"/"Their"/' other/tokenizer.json
	run "$cat" --explain -m other pairs.dpo
	[ "$status" -eq 4 ]
	run "$cat" --explain -m "$story" rows.dpo
	[ "$status" -eq 3 ]
	[[ "$output" == *'without a column "prompt"'* ]]
}

@test "cat: options that do not go together are usage errors" {
	while IFS='	' read -r says options; do
		run "$cat" $options rows.dpo < /dev/null
		echo "$options: $status $output"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == "dpo-cat: "*"$says"* ]]
	done <<-'END'
		exclude each other	-z --check
		exclude each other	--header --check
		exclude each other	--shard 1/2 -z
		need -z	--seal
		need -z	--stage x
		--stage: the name is empty	--stage= -z
		--explain and -m go together	--explain
		--explain and -m go together	-m x
		--limit	--limit 2 --check
		--limit	--limit 2 --header
		--limit	--limit 2 --shard 1/2
		--limit: -1 is not within	--limit -1
		--data	-z --data
		--data	--check --data
		--data	--header --data
	END
	run "$cat" -z --data rows.dpo
	[ "${lines[0]}" = "dpo-cat: --data has no effect with --compress" ]
	run "$cat" -z --stage $'a\xffb' -o bad.dpo rows.dpo
	[ "$status" -eq 2 ]
	[[ "$output" == *"not UTF-8"* ]]
	[ ! -e bad.dpo ]
	run "$cat" -z -o rows.dpo rows.dpo
	[ "$status" -eq 2 ]
	[[ "$output" == *"is an input"* ]]
}
