#!/usr/bin/env bats
# What all programs have in common beside their options (cli.h): which files an output may be, one standard input, how a signal
# ends them, messages on a terminal.

load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 8
	"$bin/dpo-export" -q -f hf -o model base.dpo
	"$bin/dpo-train" -q -m base.dpo --lora-r 2 --max-steps 1 -o adapter.dpo pairs.ref
	"$bin/dpo-export" -q -f peft -a adapter.dpo -o adapter base.dpo
	echo '{"prompt":"Tom"}' > prompts.jsonl
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

refused() { # TEXT PROGRAM ARGUMENTS...: a usage error that says so
	local text=$1 program=$2
	shift 2
	run "$bin/$program" -q "$@"
	echo "$program $*: $status ${lines[0]}"
	[ "$status" -eq 2 ]
	[[ "${lines[0]}" == "$program: "*$text* ]]
}

@test "no output replaces a file of a model that is read" {
	before=$(cat model/* adapter/* | cksum)
	for file in model.safetensors config.json tokenizer.json; do
		refused "model/$file: is an input" dpo-reflogp -m model -o model/$file pairs.tok
	done
	refused "is an input" dpo-tok -m model -o model/tokenizer_config.json "$story/heldout.jsonl"
	refused "is an input" dpo-gen -m base.dpo -r model -o model/model.safetensors prompts.jsonl
	refused "is an input" dpo-gen -m base.dpo -a adapter -o adapter/adapter_config.json prompts.jsonl
	refused "is an input" dpo-eval -m base.dpo --baseline model -o model/config.json pairs.ref
	refused "is an input" dpo-eval -m model --per-pair model/model.safetensors pairs.ref
	refused "is an input" dpo-cat --explain -m model -o model/tokenizer.json pairs.tok
	for option in -o --log --checkpoint; do
		refused "is an input" dpo-train -m model $option model/config.json pairs.ref
		refused "is an input" dpo-train -m base.dpo -a adapter --other-reference $option adapter/adapter_model.safetensors pairs.ref
		refused "is an input" dpo-train --init tiny/config.json --loss-type sft $option tiny/tokenizer.json text.tok
	done
	[ "$before" = "$(cat model/* adapter/* | cksum)" ]
	mkdir -p cache/models--a--b/{blobs,refs,snapshots/1}
	for file in model/*; do
		cp $file cache/models--a--b/blobs/
		ln -s ../../blobs/${file#*/} cache/models--a--b/snapshots/1/
	done
	printf 1 > cache/models--a--b/refs/main
	HF_HUB_CACHE=$PWD/cache refused "is an input" dpo-reflogp -m a/b -o cache/models--a--b/blobs/model.safetensors pairs.tok
}

@test "what is no file of the model may lie beside it, and be replaced" {
	cp -r model home
	cd home
	for _ in 1 2; do
		"$bin/dpo-reflogp" -q -m . -o pairs.ref ../pairs.tok
	done
	cmp pairs.ref <("$bin/dpo-reflogp" -q -m ../model ../pairs.tok)
}

@test "beyond the limit of a file's size: a failed write by name, and nothing left" {
	mkdir room
	limited() { # NAME PROGRAM ARGUMENTS...: to room/NAME, of at most 1024 bytes
		run bash -c 'ulimit -f 1; "$@"' - "$bin/$2" -q "${@:3}" -o "room/$1"
		echo "$2: $status $output"
		[ "$status" -eq 1 ]
		[[ "$output" == "$2: room/"*": write: File too large" ]]
		[ -z "$(ls -A room)" ]
	}
	limited pairs dpo-tok -m model "$story/heldout.jsonl"
	limited pairs dpo-reflogp -m model pairs.tok
	limited policy dpo-train -m model --max-steps 1 pairs.ref
	limited hf dpo-export -f hf base.dpo
	limited st dpo-export -f safetensors base.dpo
	limited pairs dpo-cat pairs.ref
}

@test "a reader that goes away: death by SIGPIPE, and nothing left" {
	mkdir quit
	python3 - "$bin/dpo-tok" -v -m model --max-length 2 -o quit/pairs "$story/heldout.jsonl" <<-'END'
	import os, subprocess, sys
	reader, writer = os.pipe()
	os.close(reader)
	assert subprocess.run(sys.argv[1:], stderr=writer).returncode == -13	# each row dropped is told
	END
	[ -z "$(ls -A quit)" ]
	for program in "dpo-cat pairs.ref" "dpo-reflogp -q -m model pairs.tok" "dpo-train -q -m model --max-steps 1 pairs.ref"; do
		python3 - $bin/$program <<-'END'
		import os, subprocess, sys
		reader, writer = os.pipe()
		os.close(reader)
		assert subprocess.run(sys.argv[1:], stdout=writer).returncode == -13
		END
	done
}

@test "no file is two outputs, by whatever names" {
	mkdir -p two
	ln -s two too
	: > two/there
	ln -sf two/there link
	refused "two outputs" dpo-train -m model --checkpoint two/run --log ./two/run pairs.ref
	refused "two outputs" dpo-train -m model -o two/p --log too/p pairs.ref
	refused "two outputs" dpo-train -m model -o two/there --log link pairs.ref
	refused "two outputs" dpo-train -m model --log /dev/stdout pairs.ref
	refused "two outputs" dpo-train -m model --log /dev/stdout -o - pairs.ref
	refused "is for the policy" dpo-train -m model --checkpoint - pairs.ref
	refused "two outputs" dpo-eval -m model -o two/report --per-pair ./two/report pairs.ref
	refused "two outputs" dpo-eval -m model --per-pair - pairs.ref
	[ "$(ls -A two)" = there ]
	[ ! -s two/there ]
	run bash -c '"$1" -q -m model --max-steps 1 --log two/policy pairs.ref > two/policy' - "$bin/dpo-train"
	[ "$status" -eq 2 ]
	"$bin/dpo-train" -q -m model --max-steps 1 --log /dev/null pairs.ref > /dev/null
	"$bin/dpo-train" -q -m model --max-steps 1 --log two/log -o two/policy pairs.ref
	"$bin/dpo-train" -q -m model --max-steps 1 --log two/log -o two/policy pairs.ref
}

@test "an output named as a descriptor is written to where that stands" {
	"$bin/dpo-cat" pairs.ref > want
	for name in - /dev/stdout /dev/fd/1 /proc/self/fd/1; do
		echo kept > grown
		"$bin/dpo-cat" -o $name pairs.ref >> grown
		cmp grown <(echo kept; cat want)
		{ echo first; "$bin/dpo-cat" -o $name pairs.ref; echo last; } > grown
		cmp grown <(echo first; cat want; echo last)
	done
	echo kept > grown
	"$bin/dpo-cat" -o /dev/fd/5 pairs.ref 5>> grown
	cmp grown <(echo kept; cat want)
	"$bin/dpo-train" -q -m model --max-steps 1 --log log -o policy pairs.ref
	echo kept > grown
	"$bin/dpo-train" -q -m model --max-steps 1 --log /dev/stderr -o policy pairs.ref 2>> grown
	cmp grown <(echo kept; cat log)
	"$bin/dpo-cat" -o >(cat > through) pairs.ref
	wait $!
	cmp want through
	run "$bin/dpo-cat" -o /dev/fd/77 pairs.ref
	[ "$status" -eq 1 ]
	[ "$output" = "dpo-cat: /dev/fd/77: Bad file descriptor" ]
}

@test "a file in /dev/shm is a file like any other" {
	[ -w /dev/shm ] || skip "no /dev/shm"
	room=$(mktemp -d -p /dev/shm)
	"$bin/dpo-cat" pairs.ref > want
	"$bin/dpo-cat" -o "$room/out" pairs.ref
	cmp want "$room/out"
	head -c 1000000 /dev/zero > "$room/out"
	"$bin/dpo-cat" -o "$room/out" pairs.ref
	cmp want "$room/out"
	[ "$(ls -A "$room")" = out ]
	rm -r "$room"
}

@test "a directory that cannot be synced is no failure, one that fails is" {
	command -v strace > /dev/null || skip "strace is not installed"
	"$bin/dpo-cat" pairs.ref > want
	written() { # INJECTION STATUS
		rm -rf synced
		mkdir synced
		run strace -f -qq -o /dev/null -P "$PWD/synced" -e trace=openat,fsync -e inject=$1 "$bin/dpo-cat" -o synced/out pairs.ref
		echo "$1: $status $output"
		[ "$status" -eq "$2" ]
		cmp want synced/out
		[ "$(ls -A synced)" = out ]
	}
	written openat:error=EACCES 0
	written fsync:error=EINVAL 0
	written fsync:error=EROFS 0
	written fsync:error=EIO 1
	[[ "$output" == *"synced: fsync: Input/output error" ]]
}

@test "standard input is one input" {
	once() { # PROGRAM ARGUMENTS...
		refused "only one input can be standard input" "$@" < pairs.ref
	}
	once dpo-tok -m -
	once dpo-tok -m - "$story/heldout.jsonl" -
	once dpo-reflogp -m - -
	once dpo-reflogp -m base.dpo -a - -
	once dpo-reflogp -m - -a - pairs.tok
	once dpo-gen -m - -
	once dpo-gen -m base.dpo -r - -
	once dpo-gen -m base.dpo -a -
	once dpo-gen -m - -r - prompts.jsonl
	once dpo-train -m -
	once dpo-train -m base.dpo -a -
	once dpo-train --init - --loss-type sft
	once dpo-train -m base.dpo --eval - -
	once dpo-train -m - --eval - pairs.ref
	once dpo-eval -m base.dpo --baseline -
	once dpo-eval --data --against -
	once dpo-export -f hf --merge -a - -o none
	once dpo-cat --explain -m - pairs.tok -
	once dpo-cat - pairs.tok -
	once dpo-tok -m model - "$story/heldout.jsonl" -
	"$bin/dpo-train" -q -m base.dpo --max-steps 1 --log log --eval pairs.ref -o want pairs.ref
	"$bin/dpo-train" -q -m base.dpo --max-steps 1 --log log2 --eval - -o policy pairs.ref < pairs.ref
	cmp want policy
	cmp log log2
}

@test "an estimate ahead reads the model twice: no pipe, by whatever name" {
	twice="read a model twice"
	for option in "--dry-run" "--max-memory 1GB"; do
		refused "standard input: --dry-run and --max-memory $twice" dpo-train -m - $option pairs.ref < base.dpo
		refused "/dev/fd/"*"$twice" dpo-train -m <(cat base.dpo) $option pairs.ref
		refused "/dev/stdin: "*"$twice" dpo-train -m base.dpo -a /dev/stdin $option pairs.ref < <(cat adapter.dpo)
		refused "/dev/fd/"*"$twice" dpo-train --init <(cat tiny/config.json) --loss-type sft $option pairs.ref
	done
}

@test "rows as a stream go to standard output where the report does not, but not to a terminal" {
	"$bin/dpo-eval" -q -m model --per-pair rows.dpo -o report pairs.ref
	"$bin/dpo-eval" -q -m model --per-pair - -o again pairs.ref | cmp - rows.dpo
	cmp report again
	cat > onscreen.py <<-'END'
	# onscreen.py PROGRAM...: with a terminal as standard output; what it got, and the status.
	import os, pty, subprocess, sys
	ours, terminal = pty.openpty()
	run = subprocess.run(sys.argv[1:], stdout=terminal)
	os.write(terminal, b"|")
	sys.stdout.buffer.write(os.read(ours, 1 << 16))
	sys.exit(run.returncode)
	END
	run python3 onscreen.py "$bin/dpo-eval" -q -m model --per-pair - -o none pairs.ref
	echo "$output"
	[ "$status" -eq 2 ]
	[[ "$output" == *"binary output to a terminal"* ]]
	[[ "$output" == *"|" ]]
	[ ! -e none ]
	for command in "dpo-tok -m model $story/heldout.jsonl" "dpo-reflogp -m model pairs.tok" "dpo-train -m model --max-steps 1 pairs.ref" \
		"dpo-cat -z pairs.ref" "dpo-cat --shard 1/2 pairs.ref" "dpo-export -f safetensors base.dpo" "dpo-export -f gguf base.dpo"; do
		run python3 onscreen.py "$bin"/$command
		echo "$command: $status $output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"binary output to a terminal"* ]]
		[[ "$output" == *"|" ]]
	done
}

@test "-o writes through to a FIFO, to /dev/stdout, to a process" {
	mkdir ways
	through() { # PROGRAM ARGUMENTS...
		"$bin/$1" -q "${@:2}" -o ways/want
		"$bin/$1" -q "${@:2}" -o /dev/stdout | cmp - ways/want
		mkfifo ways/fifo
		cat ways/fifo > ways/got 3>&- &
		"$bin/$1" -q "${@:2}" -o ways/fifo
		wait $!
		[ -p ways/fifo ]
		cmp ways/want ways/got
		rm ways/fifo
		"$bin/$1" -q "${@:2}" -o >(cat > ways/other)
		wait $!
		cmp ways/want ways/other
	}
	through dpo-tok -m model "$story/heldout.jsonl"
	through dpo-reflogp -m model pairs.tok
	through dpo-train -m model --max-steps 1 pairs.ref
	through dpo-eval -m model pairs.ref
	through dpo-gen -m model --max-new-tokens 4 prompts.jsonl
	through dpo-cat -z pairs.ref
	through dpo-cat pairs.ref
	through dpo-export -f safetensors base.dpo
}

@test "a file is synced, renamed, and its directory synced after it" {
	command -v strace > /dev/null || skip "strace is not installed"
	mkdir onto
	synced() { # TIMES PROGRAM ARGUMENTS...: so many outputs one after the other
		strace -f -qq -y -o trace -e trace=fsync,fdatasync,rename,renameat,renameat2 "$bin/$2" -q "${@:3}"
		python3 - "$1" <<-'END'
		import os, re, sys
		calls = [re.match(r'(?:\d+ +)?(\w+)\((.*)', line).groups() for line in open("trace") if "(" in line]
		assert len(calls) == 3 * int(sys.argv[1]), calls
		for (first, file), (second, names), (third, place) in zip(*[iter(calls)] * 3):
		    made, name = (os.path.realpath(x) for x in re.findall(r'"([^"]*)"', names))
		    assert (first, second[:6], third) == ("fsync", "rename", "fsync"), calls
		    assert f"<{made}>" in file and f"<{os.path.dirname(name)}>" in place, calls
		END
	}
	synced 1 dpo-tok -m model -o onto/a "$story/heldout.jsonl"
	synced 1 dpo-reflogp -m model -o onto/a pairs.tok
	synced 1 dpo-train -m model --max-steps 1 -o onto/a pairs.ref
	synced 4 dpo-train -m model --max-steps 3 --save-steps 1 --checkpoint onto/c -o onto/a pairs.ref
	synced 1 dpo-cat -z -o onto/a pairs.ref
	synced 1 dpo-export -f gguf -o onto/b base.dpo
}

@test "a signal ends a program by its number, and what it was writing is gone" {
	mkdir ended
	mkfifo in
	for signal in HUP INT TERM XCPU; do
		for program in "dpo-tok -m model" "dpo-reflogp -m model" "dpo-cat -z" "dpo-gen -m model"; do
			set -m
			env --default-signal=$signal "$bin"/$program -q -o ended/out in 2> said 3>&- &
			pid=$!
			set +m
			exec 7> in
			case $program in *tok*) head -3 "$story/heldout.jsonl" ;; *gen*) cat prompts.jsonl ;; *reflogp*) head -c 900 pairs.tok ;; *) head -c 900 pairs.ref ;; esac >&7
			until [ -n "$(ls -A ended)" ]; do
				kill -0 $pid
				sleep 0.01
			done
			kill -$signal $pid
			status=0
			wait $pid || status=$?
			exec 7>&-
			echo "$program $signal: $status $(cat said)"
			[ "$status" -eq $((128 + $(kill -l $signal))) ]
			[ -z "$(ls -A ended)" ]
		done
	done
	rm in
}

@test "memory does not grow with the rows" {
	peak() { # PROGRAM ARGUMENTS...: its largest resident size, in KiB, when it has read 800 and 8000 rows
		for rows in few many; do
			mkfifo rows
			"$bin/$1" -q "${@:2}" < rows > /dev/null 3>&- &
			exec 7> rows
			cat $rows${suffix:-.ref} >&7
			sleep 0.3
			sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$!/status
			exec 7>&-
			wait $!
			rm rows
		done > sizes
		echo "$*: $(paste -sd ' ' sizes)"
		awk '{ n[NR] = $1 } END { exit !(NR == 2 && n[2] < n[1] + 2048) }' sizes
	}
	"$bin/dpo-reflogp" -q -m model -o eight.ref pairs.tok
	"$bin/dpo-cat" -q eight.ref | python3 -c 'import json, sys
lines = sys.stdin.read().splitlines()
for name, times in (("few", 100), ("many", 1000)):
	rows = [json.loads(line) for line in lines[1:-1]] * times
	for n, row in enumerate(rows):
		row["id"] = str(n)
	with open(name + ".jsonl", "w") as file:
		print(lines[0], *map(json.dumps, rows), "{\"end\":true}", sep="\n", file=file)
	with open(name + ".prompts", "w") as file:
		for row in rows:
			print(json.dumps({"id": row["id"], "prompt": row["prompt"]}), file=file)'
	for rows in few many; do
		"$bin/dpo-cat" -q -z -o $rows.ref $rows.jsonl
		"$bin/dpo-cat" -q $rows.ref | sed '1s/,\["ref[a-z_]*","f32\[\]"\]//g; s/,"ref_[a-z]*_logps":\[[^]]*\]//g; $s/.*/{"end":true}/' |
			"$bin/dpo-cat" -q -z -o $rows.tok
	done
	suffix=.tok peak dpo-reflogp -m model
	peak dpo-eval -m model
	peak dpo-cat
	peak dpo-cat -z
	peak dpo-cat --check
	suffix=.prompts peak dpo-gen -m model --max-new-tokens 2
}

@test "on a terminal a message takes the place of the progress line" {
	cat > terminal.py <<-'END'
	# terminal.py PROGRAM...: rows with pauses, so that progress is drawn, and then a bad one; what the terminal got.
	import os, pty, subprocess, sys, time
	ours, terminal = pty.openpty()
	run = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=terminal)
	os.close(terminal)
	for row in [b'{"prompt":"Tom","chosen":" ran.","rejected":" sat."}'] * 2 + [b'{"prompt":"Tom"}']:
	    time.sleep(0.3)
	    run.stdin.write(row + b"\n")
	    run.stdin.flush()
	run.stdin.close()
	text = b""
	try:
	    while part := os.read(ours, 4096):
	        text += part
	except OSError:	# its end on Linux
	    pass
	run.wait()
	sys.stdout.buffer.write(text)
	END
	python3 terminal.py "$bin/dpo-tok" -m model > said
	cat -v said
	grep -q $'\rdpo-tok: 2 rows, .*\033\[K\r\033\[Kdpo-tok: standard input:3: ' said
	python3 terminal.py "$bin/dpo-tok" -v -m model --max-length 1 > said
	cat -v said
	grep -q $'\rdpo-tok: 1 rows, .*\033\[K\r\033\[Kdpo-tok: standard input:2: dropped' said
}
