#!/usr/bin/env bats
# Streams between programs: what is damaged, cut or half-written makes the consumer fail, under plain sh.

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	bin=${DPO_BIN:-$root/bin}
	stream="$root/tests/stream.py"
	cd "$BATS_TEST_TMPDIR"
	rows 50 > rows.jsonl
	"$bin/dpo-cat" -z rows.jsonl > rows.dpo
}

# JSON Lines of a table with n rows.
rows() {
	echo '{"header":{"format":1,"kind":"pairs","columns":[["id","str"],["prompt","i32[]"],["chosen","i32[]"],["weight","f32"],["mine","i64"]],"stages":[]}}'
	awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++)
		printf "{\"id\":\"row %d\",\"prompt\":[%d,2,3],\"chosen\":[%d],\"weight\":0.%d,\"mine\":%d}\n", i, i, i * i, i, i * 1000003 }'
	echo '{"end":true}'
}

# Python with zstandard, in $python; skips by name without.
need_python() {
	for python in /usr/bin/python3 python3; do
		"$python" -c 'import zstandard' 2>/dev/null && return 0
	done
	skip "no Python with zstandard (apt-get install python3-zstandard)"
}

# Fails with 3, and -o leaves nothing.
refused() {
	run "$bin/dpo-cat" -z -o out.dpo "$1"
	[ "$status" -eq 3 ]
	[ "${#lines[@]}" -eq 1 ]
	[ ! -e out.dpo ]
	[ -z "$(ls -A | grep '\.tmp$')" ]
}

@test "stream: damage, cuts and additions leave no output" {
	size=$(wc -c < rows.dpo)
	for n in 0 1 100 $((size / 2)) $((size - 1)); do
		head -c "$n" rows.dpo > bad.dpo
		refused bad.dpo
	done
	for at in 20 200 $((size / 2)) $((size - 50)); do
		{ head -c "$at" rows.dpo; printf '\377\000\377'; tail -c +$((at + 4)) rows.dpo; } > bad.dpo
		refused bad.dpo
	done
	{ cat rows.dpo; echo garbage; } > bad.dpo
	refused bad.dpo
	{ cat rows.dpo; head -c $((size - 7)) rows.dpo; } > bad.dpo
	refused bad.dpo
	{ cat rows.dpo; "$bin/dpo-cat" -z --stage other rows.dpo; } > bad.dpo
	refused bad.dpo
}

@test "stream: recompressed, in one frame or many, without checksum, it is the same" {
	"$bin/dpo-cat" rows.dpo > expected
	zstd -t -q rows.dpo
	zstdcat rows.dpo | zstd -q -19 --no-check > again.dpo
	"$bin/dpo-cat" again.dpo | diff expected -
	zstdcat rows.dpo > plain
	split -b 777 plain piece.
	for piece in piece.*; do zstd -q -1 -c "$piece"; done > cut.dpo
	"$bin/dpo-cat" cut.dpo | diff expected -
	"$bin/dpo-cat" -z again.dpo | cmp - rows.dpo
}

@test "stream: a flipped bit in an unchecked frame is refused with its place" {
	zstdcat rows.dpo > plain
	size=$(wc -c < plain)
	for at in 9 40 300 $((size / 2)) $((size - 30)); do
		{ head -c "$at" plain; tail -c +$((at + 1)) plain | head -c 1 | tr '\000-\377' '\001-\377\000'; tail -c +$((at + 2)) plain; } |
			zstd -q -19 --no-check > bad.dpo
		[ "$(zstdcat bad.dpo | wc -c)" -eq "$size" ]
		refused bad.dpo
	done
	run "$bin/dpo-cat" --check bad.dpo
	[ "$status" -eq 3 ]
}

@test "stream: a producer killed in the middle makes the consumer fail under plain sh" {
	run sh -c "sh -c 'head -n 20 rows.jsonl; kill -9 \$\$' | '$bin/dpo-cat' -z | '$bin/dpo-cat' > /dev/null"
	[ "$status" -eq 3 ]
	[[ "$output" == *"ends without END"* ]]
	run sh -c "sh -c 'head -c 700 rows.dpo; kill -9 \$\$' | '$bin/dpo-cat' > /dev/null"
	[ "$status" -eq 3 ]
	[[ "$output" == *"ends without END"* ]]
}

@test "stream: a script that dies between two dpo-cat makes the last one fail" {
	run sh -c "'$bin/dpo-cat' rows.dpo | sh -c 'head -n 20; exit 1' | '$bin/dpo-cat' -z | '$bin/dpo-cat' > /dev/null"
	[ "$status" -eq 3 ]
	[[ "$output" == *'ends without {"end":true} after line 20'* ]]
	[[ "$output" == *"ends without END"* ]]
	run sh -c "'$bin/dpo-cat' rows.dpo | head -n 20 | '$bin/dpo-cat' -z --seal | '$bin/dpo-cat' | wc -l"
	[ "$status" -eq 0 ]
	[ "$output" -eq 21 ]
}

@test "stream: the first record is visible downstream at once, and a killed dpo-cat is noticed" {
	mkfifo slow between
	"$bin/dpo-cat" -z slow 3>&- > between & writer=$!
	"$bin/dpo-cat" between 3>&- > out 2> err & reader=$!
	exec 9> slow
	head -n 2 rows.jsonl >&9
	for _ in $(seq 200); do
		grep -q '"id":"row 1"' out && break
		sleep 0.05
	done
	grep -q '"id":"row 1"' out
	kill -9 "$writer"
	status=0
	wait "$reader" || status=$?
	exec 9>&-
	[ "$status" -eq 3 ]
	grep -q "ends without END after 1 record:" err
	[ "$(tail -n 1 out | cut -c 1-6)" = '{"id":' ]
}

@test "stream: slow and odd arrival changes nothing" {
	for piece in 1 7 509; do
		dd if=rows.dpo bs="$piece" 2>/dev/null | "$bin/dpo-cat" -z | cmp - rows.dpo
	done
}

@test "stream: Python's reader and writer agree with ours, both ways" {
	need_python
	"$python" "$stream" cat rows.dpo | sed '$d' > theirs
	"$bin/dpo-cat" rows.dpo | sed '$d' > ours
	cmp theirs ours
	"$python" "$stream" copy rows.dpo > copy.dpo
	zstdcat copy.dpo > a
	zstdcat rows.dpo > b
	cmp a b
	"$bin/dpo-cat" -z copy.dpo | cmp - rows.dpo
	cat rows.dpo rows.dpo > two.dpo
	[ "$("$python" "$stream" cat two.dpo | wc -l)" -eq 102 ]
	"$python" "$stream" copy two.dpo | "$bin/dpo-cat" --check
}

@test "stream: the page's example is one, of that length and with that tip" {
	page="$root/libcore/stream/dpo-stream.5"
	sed -n '/^{"header"/,/^{"id":"2"/p' "$page" | "$bin/dpo-cat" -z --seal > example.dpo
	grep -qxF "{\"end\":true,\"tip\":\"$("$bin/dpo-cat" --check example.dpo | sed 's/.*tip \(....\).*\(....\)$/\1...\2/')\"}" "$page"
	[ "$(zstdcat example.dpo | od -An -tu4 -j8 -N4)" -eq "$(sed -n 's/.* \([0-9]*\) bytes of JSON follow/\1/p' "$page")" ]
}

@test "stream: Python's reader refuses what ours refuses" {
	need_python
	zstdcat rows.dpo > plain
	size=$(wc -c < plain)
	for at in 0 9 40 300 $((size / 2)) $((size - 30)); do
		{ head -c "$at" plain; tail -c +$((at + 1)) plain | head -c 1 | tr '\000-\377' '\001-\377\000'; tail -c +$((at + 2)) plain; } |
			zstd -q --no-check > bad.dpo
		run "$python" "$stream" cat bad.dpo
		[ "$status" -eq 3 ]
		head -c "$at" plain | zstd -q > bad.dpo
		run "$python" "$stream" cat bad.dpo
		[ "$status" -eq 3 ]
	done
}

@test "stream: a column nobody knows survives, and a script's column comes through" {
	need_python
	"$python" "$stream" add rows.dpo extra > more.dpo
	[[ "$("$bin/dpo-cat" --header more.dpo)" == *'["mine","i64"],["extra","i64"]'*'"stage":"stream.py"'* ]]
	"$bin/dpo-cat" more.dpo | sed -n '4p' | grep -q '"mine":3000009,"extra":3}'
	# its parent is what it was made from
	tip=$("$bin/dpo-cat" --check rows.dpo | sed 's/.*tip //')
	"$bin/dpo-cat" more.dpo | tail -n 1 | grep -q "\"parent\":\"$tip\""
	"$bin/dpo-cat" more.dpo | "$bin/dpo-cat" -z | cmp - more.dpo || {
		# zstandard may carry another zstd; the content is the same
		"$bin/dpo-cat" more.dpo | "$bin/dpo-cat" -z | zstdcat > a
		zstdcat more.dpo | cmp - a
	}
}
