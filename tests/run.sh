#!/bin/sh
# Runs tests and counts them: run.sh NAME=COMMAND... Each command prints TAP ("ok", "not ok", "ok # skip"; cmocka's skipped
# tests are "not ok # SKIP").
# A command that prints no result line, or fails without a "not ok", counts as one failure.
# Ends with a line "FAILED NAME: TEST" for each failure and "N passed, N failed, N skipped"; the exit status is the verdict.
set -u
unset MAKEFLAGS	# what the tests were made with is no setting of a recipe under test
passed=0 failed=0 skipped=0 failures= skip='^(ok .*|not ok [0-9]+ )# skip'
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
for one in "$@"; do
	name=${one%%=*} start=$(date +%s)
	env --default-signal sh -c "${one#*=}" >"$out" 2>&1
	status=$?
	s=$(grep -ciE "$skip" "$out")
	p=$(grep -viE "$skip" "$out" | grep -c '^ok ')
	f=$(grep -viE "$skip" "$out" | grep -c '^not ok ')
	[ $((p + s + f)) -eq 0 ] && f=1
	[ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	echo "$name: $p passed, $f failed, $s skipped, $(($(date +%s) - start)) s"
	grep -iE "$skip" "$out" | sed 's/^/    /'
	[ "$f" -eq 0 ] && continue
	sed 's/^/    /' "$out"
	failures="$failures$(grep -viE "$skip" "$out" | grep '^not ok ' | sed "s|^|FAILED $name: |" |
	    grep . || echo "FAILED $name: exit status $status")
"
done
printf %s "$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
