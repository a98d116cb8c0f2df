#!/usr/bin/env bats
# A run that is killed or stopped at any instant and started again with the same command ends in the same bytes, policy and
# log, as one that never was, with other threads too, from a file or a pipe; it repeats at most --save-steps steps.

load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 24
	head -4 "$story/heldout.jsonl" | "$bin/dpo-tok" -q -m base.dpo | "$bin/dpo-reflogp" -q -m base.dpo -o heldout.ref
	"$bin/dpo-train" $(settings) --num-train-epochs 2 --log want.log -o want.dpo pairs.ref
	"$bin/dpo-train" $(settings) --num-train-epochs 40 --log long.log -o long.dpo pairs.ref
	"$bin/dpo-train" $(settings) --num-train-epochs 1.25 --log brief.log -o brief.dpo pairs.ref
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	rm -rf work
	mkdir work
}

settings() { # logging every 2 steps with windows that checkpoints cut; evaluation on the way
	echo "-m base.dpo --learning-rate 1e-3 --lr-scheduler-type cosine --batch-size 3 --logging-steps 2 --eval heldout.ref --eval-steps 5"
}

short() { "$bin/dpo-train" $(settings) --num-train-epochs 2 --save-steps 3 --checkpoint work/c --log work/log -o work/policy "$@"; }

same_as() { # want|long|brief: the finished run in work, and nothing left over
	cmp "$1.dpo" work/policy
	cmp "$1.log" work/log
	[ "$(ls -A work | tr '\n' ' ')" = "log policy " ]
}

@test "a checkpointed run is the run without checkpoints" {
	short pairs.ref
	same_as want
}

@test "SIGKILL at 20 random moments: the same bytes, and no more than save-steps steps repeated" {
	long() { "$bin/dpo-train" $(settings) --num-train-epochs 40 --save-steps 7 --checkpoint work/c --log work/log -o work/policy "$@"; }
	last() { # the last step in the log that is written
		[ -s work/log ] && tail -1 work/log | grep -oE '"step":[0-9]+' | cut -d: -f2 || echo 0
	}
	start=$(date +%s%N)
	long pairs.ref 2> work/note
	took=$((($(date +%s%N) - start) / 1000000))
	killed=0 tries=0
	RANDOM=5
	while [ $killed -lt 20 ] && [ $tries -lt 60 ]; do
		[ -e work/c ] || rm -f work/policy
		tries=$((tries + 1)) before=0
		[ ! -e work/c ] || before=$(last)
		wait=$(printf '0.%03d' $((30 + RANDOM % (1 + (took < 900 ? took : 900)))))
		threads=$((1 + tries % 3))
		if [ $((tries % 2)) -eq 0 ]; then
			mkfifo work/pipe
			cat pairs.ref > work/pipe 3>&- 2> /dev/null &
			input=work/pipe
		else
			input=pairs.ref
		fi
		"$bin/dpo-train" $(settings) --num-train-epochs 40 --save-steps 7 --checkpoint work/c --log work/log \
			-o work/policy -j $threads < $input 2> work/note 3>&- &
		pid=$!
		sleep "$wait"
		kill -KILL $pid 2> /dev/null || true
		status=0
		wait $pid 2> /dev/null || status=$?
		rm -f work/pipe
		from=$(grep -oE 'after step [0-9]+ of' work/note | grep -oE '[0-9]+' || last) # killed before that: the log is as it was
		[ $before -eq 0 ] || [ $((before - from)) -le 7 ]
		[ $status -ne 0 ] || { rm -f work/policy work/log; continue; }
		killed=$((killed + 1))
	done
	echo "killed $killed of $tries"
	[ $killed -eq 20 ]
	long pairs.ref
	rm -f work/note work/.policy.*.tmp	# of an output that was killed
	same_as long
}

@test "SIGKILL at every write, fsync, rename and unlink: the same bytes" {
	command -v strace > /dev/null || skip "no strace"
	brief() { # [strace...]: 10 steps, a checkpoint after every 4th
		"$@" "$bin/dpo-train" -q -j 1 $(settings) --num-train-epochs 1.25 --save-steps 4 --checkpoint work/c --log work/log -o work/policy pairs.ref
	}
	kills=0
	for call in write fsync rename unlink; do
		for n in $(seq 1 400); do
			rm -rf work; mkdir work
			status=0
			brief strace -f -o /dev/null -e trace=$call -e inject=$call:signal=KILL:when=$n || status=$?
			[ $status -ne 0 ] || break
			kills=$((kills + 1))
			if [ $((n % 2)) -eq 0 ]; then
				brief env
			else
				cat pairs.ref | "$bin/dpo-train" -q -j 2 $(settings) --num-train-epochs 1.25 --save-steps 4 --checkpoint work/c --log work/log -o work/policy
			fi
			rm -f work/.policy.*.tmp	# of the output that was killed; those of checkpoints must be gone
			same_as brief
		done
		[ $status -eq 0 ]
	done
	echo "$kills kills"
	[ $kills -ge 20 ]
}

@test "SIGTERM and SIGXCPU: a checkpoint, no policy, exit 75; again and it goes on" {
	for signal in TERM XCPU; do
		rm -rf work; mkdir work
		"$bin/dpo-train" $(settings) --num-train-epochs 40 --checkpoint work/c --log work/log -o work/policy pairs.ref 2> note 3>&- &
		pid=$!
		while [ ! -s work/log ]; do sleep 0.01; done
		kill -$signal $pid
		status=0
		wait $pid || status=$?
		[ $status -eq 75 ]
		[ -e work/c ]
		[ ! -e work/policy ]
		grep -q 'stopped after step [1-9]' note
		"$bin/dpo-train" $(settings) --num-train-epochs 40 --checkpoint work/c --log work/log -o work/policy pairs.ref
		same_as long
	done
}

# A long run in $pid that SIGINT can end, unlike one that a shell starts beside it; its first step is done.
begin_long() {
	set -m
	env --default-signal=INT "$bin/dpo-train" "$@" $(settings) --num-train-epochs 40 --checkpoint work/c --log work/log \
		-o work/policy pairs.ref 3>&- &
	pid=$!
	set +m
	while [ ! -s work/log ]; do sleep 0.01; done
}

@test "SIGINT: a checkpoint, then death by the signal" {
	begin_long
	kill -INT $pid
	status=0
	wait $pid || status=$?
	[ $status -eq 130 ]
	[ -e work/c ]
	[ ! -e work/policy ]
	"$bin/dpo-train" $(settings) --num-train-epochs 40 --checkpoint work/c --log work/log -o work/policy pairs.ref
	same_as long
}

@test "SIGTERM and SIGINT after the last row: a checkpoint all the same" {
	command -v strace > /dev/null || skip "no strace"
	args="-q -j 1 -m base.dpo --max-steps 1 --logging-steps 1 --checkpoint work/c --log work/log"
	"$bin/dpo-train" -q -j 1 -m base.dpo --max-steps 1 --logging-steps 1 --log one.log -o one.dpo pairs.ref
	for signal in TERM:75 INT:130; do
		rm -rf work; mkdir work
		status=0	# the log is written when the step is done
		env --default-signal=INT strace -f -qq -o /dev/null -P "$(pwd -P)/work/log" -e trace=write -e inject=write:signal=${signal%:*}:when=1 \
			"$bin/dpo-train" $args -o work/policy pairs.ref || status=$?
		[ $status -eq ${signal#*:} ]
		[ -e work/c ]
		[ ! -e work/policy ]
		"$bin/dpo-train" $args -o work/policy pairs.ref
		cmp one.dpo work/policy
		cmp one.log work/log
		[ ! -e work/c ]
	done
}

# What status it ends with on a SIGTERM, within ten seconds, while it writes to work/pipe (descriptor 8), which nobody reads.
terminate() { # PID
	kill -TERM $1
	for _ in $(seq 100); do
		kill -0 $1 2> /dev/null || break
		sleep 0.1
	done
	kill -KILL $1 2> /dev/null || true
	status=0
	wait $1 || status=$?
	exec 8>&-
	rm work/pipe
}

@test "SIGTERM while the policy goes to a pipe that nobody reads: ends, and the last checkpoint stays" {
	args="$(settings) --num-train-epochs 2 --save-steps 3 --checkpoint work/c --log work/log"
	mkfifo work/pipe
	exec 8<> work/pipe
	python3 -c "import fcntl; fcntl.fcntl(8, 1031, 4096)"	# F_SETPIPE_SZ: less than the policy
	"$bin/dpo-train" -q $args pairs.ref > work/pipe 3>&- 8>&- &
	pid=$!
	read -r -t 60 -N 1 <&8	# the policy has begun
	terminate $pid
	[ $status -eq 143 ]
	[ -e work/c ]
	short pairs.ref
	same_as want
}

@test "SIGTERM while the log goes to a pipe whose reader stalls: a checkpoint, exit 75" {
	mkfifo work/pipe
	exec 8<> work/pipe
	python3 -c "import fcntl; fcntl.fcntl(8, 1031, 4096)"	# F_SETPIPE_SZ: less than the log
	"$bin/dpo-train" -q $(settings) --num-train-epochs 40 --checkpoint work/c --log work/pipe -o work/policy pairs.ref 3>&- 8>&- &
	pid=$!
	read -r -t 60 -N 1 <&8	# the log has begun
	before=
	until [ "$before" = "$(cut -d' ' -f14,15 /proc/$pid/stat)" ]; do	# no time is used any more: the pipe is full
		before=$(cut -d' ' -f14,15 /proc/$pid/stat)
		sleep 0.5
	done
	terminate $pid
	[ $status -eq 75 ]
	[ -e work/c ]
	"$bin/dpo-train" -q $(settings) --num-train-epochs 40 --checkpoint work/c --log work/log -o work/policy pairs.ref
	same_as long
}

@test "a second SIGINT ends at once, with no checkpoint" {
	command -v strace > /dev/null || skip "no strace"
	set -m # the checkpoint takes two seconds, in which the second one comes
	env --default-signal=INT strace -D -f -qq -o /dev/null -e trace=fsync -e inject=fsync:delay_enter=2000000:when=1 \
		"$bin/dpo-train" -q -j 1 $(settings) --num-train-epochs 40 --checkpoint work/c --log work/log -o work/policy pairs.ref 3>&- &
	pid=$!
	set +m
	while [ ! -s work/log ]; do sleep 0.01; done
	before=$(ls -A work)
	kill -INT $pid
	while [ "$(ls -A work)" = "$before" ]; do sleep 0.01; done # the checkpoint to be
	kill -INT $pid
	status=0
	wait $pid || status=$?
	[ $status -eq 130 ]
	[ "$(ls -A work)" = "$before" ]
}

@test "a first SIGINT after SIGTERM is no second one: a checkpoint, then death by the signal" {
	begin_long -q -j 1
	kill -STOP $pid
	kill -TERM $pid
	kill -INT $pid
	kill -CONT $pid
	status=0
	wait $pid || status=$?
	[ $status -eq 130 ]
	[ -e work/c ]
	[ ! -e work/policy ]
}

@test "SIGTERM without --checkpoint: ends, and leaves nothing" {
	"$bin/dpo-train" $(settings) --num-train-epochs 40 --log log -o work/policy pairs.ref 3>&- &
	pid=$!
	while [ ! -s log ]; do sleep 0.01; done
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ $status -eq 143 ]
	[ -z "$(ls -A work)" ]
}

@test "--max-time: as many runs as it takes" {
	slice=40 in_slices true -q $(settings) --num-train-epochs 40
	[ $runs -gt 2 ]
	rm work/said
	same_as long
}

@test "--max-time shorter than a step: each run does one, or an evaluation, all the same" {
	status=75 runs=0
	while [ $status -eq 75 ] && [ $runs -lt 40 ]; do
		status=0 runs=$((runs + 1))
		short -q --max-time 0.000001 pairs.ref || status=$?
	done
	[ $status -eq 0 ]
	[ $runs -eq 20 ]	# 16 steps, and evaluations after 5, 10, 15 and the last
	same_as want
}

@test "an evaluation before the first step and that step's line are there once, stopped after either" {
	args="-q $(settings) --num-train-epochs 1 --eval-on-start --logging-first-step"
	"$bin/dpo-train" $args --log one.log -o one.dpo pairs.ref
	[ "$(logged one.log step | head -3 | tr '\n' ' ')" = "0 1 2 " ]
	status=75
	for _ in $(seq 20); do
		[ $status -eq 75 ]
		status=0
		"$bin/dpo-train" $args --max-time 0.000001 --save-steps 0.3 --checkpoint work/c --log work/log -o work/policy pairs.ref || status=$?
		[ $status -ne 0 ] || break
	done
	cmp one.dpo work/policy
	cmp one.log work/log
}

@test "every optimizer: stopped and resumed, the same bytes; the checkpoint holds its states and no others" {
	for optim in "adamw params/ adam_m/ adam_v/" "rmsprop params/ rmsprop_v/" "sgd params/" "sgd --momentum 0.5 params/ momentum/" \
		"adafactor params/ adafactor/"; do
		options=$(echo "$optim" | sed 's| *params/.*||') states=$(echo "$optim" | sed 's|^.* params/|params/|')
		args="-q $(settings) --optim $options --num-train-epochs 2"
		rm -rf work; mkdir work
		"$bin/dpo-train" $args --log one.log -o one.dpo pairs.ref
		run "$bin/dpo-train" $args --max-time 0.000001 --checkpoint work/c --log work/log -o work/policy pairs.ref
		[ "$status" -eq 75 ]
		"$bin/dpo-cat" work/c | grep -oE '"name":"[a-z_]+/' | cut -d'"' -f4 | uniq | tr '\n' ' ' > names
		echo "$options: $(cat names)"
		[ "$(cat names)" = "$states " ]
		"$bin/dpo-train" $args --save-steps 3 --checkpoint work/c --log work/log -o work/policy pairs.ref
		cmp one.dpo work/policy
		cmp one.log work/log
	done
}

holds_best() {
	"$bin/dpo-cat" work/c | grep -q '"name":"best/'
}

# in_slices CHECK ARGUMENTS...: run until it is done, stopped again and again; $runs counts. Slices begin at $slice or 8 ms and
# grow, so that a fast machine is stopped and a slow one gets on. CHECK is run after each stop.
in_slices() {
	local check=$1 status=75 limit=${slice:-8}
	shift
	runs=0
	while [ $status -eq 75 ] && [ $runs -lt 400 ]; do
		status=0 runs=$((runs + 1))
		"$bin/dpo-train" "$@" --max-time "$(printf '0.%03d' $limit)" --checkpoint work/c --log work/log -o work/policy \
			pairs.ref 2> work/said || status=$?
		[ $status -eq 75 ] || continue
		$check
		limit=$((limit * 9 / 8))
	done
	[ $status -eq 0 ]
}

@test "evaluations that decide: stopped again and again and resumed, the same bytes" {
	args="-q $(settings) --early-stopping-patience 2 --early-stopping-threshold 0.02 --load-best-model-at-end --num-train-epochs 40"
	"$bin/dpo-train" $args --log one.log -o one.dpo pairs.ref
	grep -q '"best_step"' one.log
	steps=$(tail -1 one.log | grep -oE '"step":[0-9]+' | cut -d: -f2)
	[ "$steps" -lt 320 ]	# stopped early
	in_slices holds_best --save-steps 3 $args
	echo "$runs runs of $steps steps"
	[ $runs -gt 2 ]
	cmp one.dpo work/policy
	cmp one.log work/log
}

@test "what a run is warned of is the same after stops" {
	args="$(settings) --learning-rate 1e-7 --num-train-epochs 20"
	"$bin/dpo-train" $args --log one.log -o one.dpo pairs.ref
	grep -q '"warning"' one.log
	in_slices true $args
	[ $runs -gt 2 ]
	grep -q 'dpo-train: warning: the policy hardly moved' work/said
	cmp one.dpo work/policy
	cmp one.log work/log
}

@test "a checkpoint of another run is refused by name, and --restart discards it" {
	short --max-time 0.000001 pairs.ref || [ $? -eq 75 ]
	[ -e work/c ]
	for change in '--beta 0.2:"beta"' '--seed 7:"seed"' '--logging-steps 3:"logging_steps"' '--batch-size 4:"batch_size"'; do
		run short ${change%%:*} pairs.ref
		[ "$status" -eq 4 ]
		[[ "$output" == *"work/c: a checkpoint of another run: ${change#*:}"* ]]
	done
	"$bin/dpo-cat" --shard 1/2 -o half.ref pairs.ref
	run short half.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *'"data"'* ]]
	cp pairs.ref work/other
	run "$bin/dpo-train" $(settings) --num-train-epochs 2 --checkpoint work/other --log work/log -o work/policy pairs.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *'not a checkpoint'* ]]
	rm work/other
	[ -e work/c ]
	short --restart pairs.ref
	same_as want
}

@test "another kernel is a warning, of a reference and of a checkpoint" {
	[ "$("$bin/dpo-train" --version)" != "$(DPO_KERNEL=blas "$bin/dpo-train" --version)" ] || skip "this processor has no kernel of ours"
	DPO_KERNEL=blas "$bin/dpo-reflogp" -q -m base.dpo -o blas.ref pairs.tok
	"$bin/dpo-train" -m base.dpo --max-steps 1 -o work/policy blas.ref 2> work/said
	grep -q 'warning: the reference was computed with BLAS kernel ' work/said
	"$bin/dpo-eval" -m base.dpo blas.ref 2>&1 > /dev/null | grep -q 'warning: the reference was computed with BLAS kernel '
	! "$bin/dpo-train" -m base.dpo --max-steps 1 -o work/policy pairs.ref 2>&1 | grep kernel || return 1
	rm work/*
	DPO_KERNEL=blas short --max-time 0.000001 pairs.ref || [ $? -eq 75 ]
	short pairs.ref 2> work/said
	grep -q 'work/c: written with another BLAS kernel' work/said
	[ -s work/policy ]
}

@test "a damaged checkpoint is refused, not trained on" {
	short --max-time 0.000001 pairs.ref || [ $? -eq 75 ]
	head -c $(($(stat -c %s work/c) - 11)) work/c > work/d
	mv work/d work/c
	run short pairs.ref
	[ "$status" -eq 3 ]
	[ ! -e work/policy ]
}

@test "a checkpoint that cannot be written leaves the old one, and no policy" {
	short --max-time 0.000001 pairs.ref || [ $? -eq 75 ]
	sum=$(sha256sum work/c)
	run bash -c "ulimit -f 8; '$bin/dpo-train' $(settings) --num-train-epochs 2 --save-steps 3 --checkpoint work/c --log work/log -o work/policy pairs.ref"
	[ "$status" -eq 1 ]
	[[ "$output" == *"work/c: write: File too large"* ]]
	[ "$sum" = "$(sha256sum work/c)" ]
	[ "$(ls -A work | tr '\n' ' ')" = "c log " ]
	short pairs.ref
	same_as want
}
