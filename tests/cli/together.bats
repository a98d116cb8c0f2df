#!/usr/bin/env bats
# Two programs beside each other cost about what they cost one after the other: their threads do not fight for the cores.
# Compared are seconds of CPU, which a busy machine spoils less than those of the clock; the best of some tries counts.
# Of a sweep those of the clock are compared too, each with its own best: what else runs can only add to them.

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export root bin=${DPO_BIN:-$root/bin} model="$root/testdata/story"
	cd "$BATS_FILE_TMPDIR"
	"$bin/dpo-tok" -q -m "$model" -o pairs.tok "$model/heldout.jsonl"
	"$bin/dpo-reflogp" -q -m "$model" -o pairs.ref pairs.tok
	unset OMP_WAIT_POLICY GOMP_SPINCOUNT MAKEFLAGS MFLAGS MAKELEVEL
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	set -o pipefail
}

teardown() { # what fails costs little
	[ ! -e "$BATS_FILE_TMPDIR/failed" ]
}

attempt() {
	"$@" > /dev/null || echo "$*" >> failed
}

cpu() { # seconds of CPU of a command, and of all that it starts
	TIMEFORMAT='%U %S'
	{ time attempt "$@"; } 2>&1 | awk '{ print $1 + $2 }'
}

apart() {
	"$bin/dpo-reflogp" -q -j 2 -m "$model" -o apart.ref pairs.tok &&
	"$bin/dpo-eval" -q -j 2 -m "$model" apart.ref
}

piped() {
	"$bin/dpo-reflogp" -q -j 2 -m "$model" pairs.tok | "$bin/dpo-eval" -q -j 2 -m "$model"
}

by_make() {
	printf 'all: a b\na b:\n\t"$(bin)/dpo-reflogp" -q -j 2 -m "$(model)" -o $@.ref pairs.tok\n' > together.mk
	make -s -j2 -f together.mk
}

one_by_one() {
	make -s -j1 -f together.mk
}

sweep() { # JOBS
	rm -rf sweep
	make -s "-j$1" -f "$root/pipelines/beta-sweep.mk" DPO_BIN="$bin" MODEL="$model" TRAIN="$model/train.jsonl" HELDOUT="$model/heldout.jsonl" \
		OUT=sweep BETAS='0.1 0.5' MAX_STEPS=24 2> /dev/null
}

parallel_sweep() {
	sweep 2
}

serial_sweep() {
	sweep 1
}

spinning() {
	OMP_WAIT_POLICY=active make -s -j2 -f together.mk
}

clock() { # seconds until a command has ended
	TIMEFORMAT=%R
	{ time attempt "$@"; } 2>&1
}

costs() { # FACTOR TOGETHER APART: together at most FACTOR times apart, in one of $tries
	for try in $(seq "${tries:-5}"); do
		together=$(cpu "$2") apart=$(cpu "$3")
		echo "$2 $together s, $3 $apart s"
		awk -v t="$together" -v a="$apart" -v f="$1" 'BEGIN { exit !(t <= f * a) }' && return
	done
	return 1
}

@test "dpo-reflogp | dpo-eval costs at most 1.2 times both alone" {
	costs 1.2 piped apart
}

@test "make -j2 costs at most 1.2 times make -j1" {
	by_make
	costs 1.2 by_make one_by_one
}

@test "beta-sweep.mk with make -j2 costs at most 1.2 times the serial run: CPU" {
	costs 1.2 parallel_sweep serial_sweep
}

@test "beta-sweep.mk with make -j2 takes at most 1.2 times the serial run: clock" {
	together=1e9 apart=1e9
	for try in 1 2 3 4 5 6; do
		together=$(printf '%s\n' "$together" "$(clock parallel_sweep)" | sort -g | head -1)
		apart=$(printf '%s\n' "$apart" "$(clock serial_sweep)" | sort -g | head -1)
		echo "-j2 $together s, -j1 $apart s"
		awk -v t="$together" -v a="$apart" 'BEGIN { exit !(t <= 1.2 * a) }' && return
	done
	return 1
}

@test "threads that OpenMP is told to bind have a processor each" {
	[ "$(nproc)" -ge 2 ] || skip "one processor"
	mkfifo rows
	OMP_PROC_BIND=true "$bin/dpo-eval" -q -m "$model" < rows > /dev/null 3>&- &
	pid=$!
	exec 4> rows
	cat pairs.ref >&4
	for try in $(seq 200); do
		sleep 0.05
		grep -h Cpus_allowed_list /proc/$pid/task/*/status | sort -u > bound || true
		[ "$(wc -l < bound)" -lt 2 ] || break
	done
	cat bound
	exec 4>&-
	wait $pid
	[ "$(wc -l < bound)" -ge 2 ]
}

@test "threads that spin are seen by these tests" {
	[ "$(nproc)" -eq 2 ] || skip "on 2 cores, two programs of 2 threads each fight for them"
	by_make
	tries=1
	for run in 1 2 3 4 5; do # two programs may happen to take turns
		costs 1.2 spinning one_by_one || return 0
	done
	return 1
}
