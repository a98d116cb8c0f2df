#!/usr/bin/env bats
# A model that is only read keeps its matrices as they are stored: the bits of the same weights as float, in half the room.

setup_file() {
	export root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} golden="$root/testdata/golden/torch" check="$root/tests/golden_gradients.py"
	export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/tests/peers"
	python3 "$root/tests/peers/make_random.py" "$BATS_FILE_TMPDIR" llama-bf16 llama-f16
	python3 - "$BATS_FILE_TMPDIR/big" <<-'END'
	import array, json, math, pathlib, struct, sys
	import make_random, tensors
	config = make_random.LLAMA | {"tie_word_embeddings": False, "vocab_size": 4096, "hidden_size": 1024, "intermediate_size": 3072,
	    "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2}
	out = pathlib.Path(sys.argv[1])
	out.mkdir()
	(out / "config.json").write_text(json.dumps(config))
	some = tensors.encode("BF16", make_random.noise("big", 1 << 16, 0.02))
	plan, header, at = list(make_random.llama_plan(config)), {}, 0
	for name, shape, _ in plan:
	    end = at + 2 * math.prod(shape)
	    header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
	    at = end
	text = json.dumps(header).encode()
	text += b" " * (-len(text) % 8)
	with open(out / "model.safetensors", "wb") as file:
	    file.write(struct.pack("<Q", len(text)) + text)
	    for left in range(at, 0, -len(some)):
	        file.write(some[:left])
	END
}

as_float() { # NAME: the same weights in F32, as NAME-f32
	mkdir "$1-f32"
	cp "$BATS_FILE_TMPDIR/$1/config.json" "$1-f32"
	"$bin/dpo-export" -q -f safetensors -o "$1-f32/model.safetensors" "$BATS_FILE_TMPDIR/$1"
}

rows() {
	"$bin/dpo-cat" "$@" | sed '1d;$d'
}

same_bits() { # NAME
	cd "$BATS_TEST_TMPDIR"
	as_float "$1"
	python3 "$check" stream "$golden/$1.json" | "$bin/dpo-cat" -q -z > pairs.dpo
	"$bin/dpo-reflogp" -q -m "$1-f32" pairs.dpo > float.ref
	rows float.ref > float.jsonl
	for threads in 1 2 3; do
		"$bin/dpo-reflogp" -q -j $threads -m "$BATS_FILE_TMPDIR/$1" pairs.dpo > stored.ref
		rows stored.ref | cmp float.jsonl -
	done
	# dpo-train opens all as float, dpo-eval keeps: the first reward is 0 for both
	"$bin/dpo-train" -q -m "$BATS_FILE_TMPDIR/$1" --learning-rate 0 --max-steps 1 --log log -o policy stored.ref
	grep -q '"rewards/chosen":-*0,"rewards/rejected":-*0,' log
	"$bin/dpo-eval" -q -m "$BATS_FILE_TMPDIR/$1" --format tsv stored.ref | grep -qE '^eval_rewards/margins	-?0$'
}

@test "BF16: the log-probs of the same weights in F32, bit for bit" {
	same_bits llama-bf16
}

@test "F16: the log-probs of the same weights in F32, bit for bit" {
	same_bits llama-f16
}

@test "a BF16 model of 100 MB takes 100 MB in memory, not 200" {
	cd "$BATS_TEST_TMPDIR"
	ln -s "$BATS_FILE_TMPDIR/big" big
	size=$(stat -c %s big/model.safetensors)
	[ "$size" -gt 98000000 ]
	python3 "$check" stream "$golden/llama.json" | "$bin/dpo-cat" -q -z > pairs.dpo
	python3 - "$size" "$bin/dpo-reflogp" -q -j 2 -m big -o big.ref pairs.dpo <<-'END'
	import resource, subprocess, sys
	subprocess.run(sys.argv[2:], check=True)
	peak, size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, int(sys.argv[1])
	print(f"peak {peak / 1e6:.0f} MB of which the model {size / 1e6:.0f}")
	sys.exit(peak > 1.2 * size + 40e6)
	END
	"$bin/dpo-cat" -q --check big.ref
	# and so is the base of an adapter that is trained
	python3 - "$size" "$bin/dpo-train" -q -j 2 -m big --lora-r 4 --lora-target-modules all-linear --max-steps 2 -o adapter big.ref <<-'END'
	import resource, subprocess, sys
	subprocess.run(sys.argv[2:], check=True)
	peak, size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, int(sys.argv[1])
	print(f"peak {peak / 1e6:.0f} MB of which the model {size / 1e6:.0f}")
	sys.exit(peak > 1.2 * size + 60e6)
	END
	# and the line that tells so before the run has the program and the rows in it
	python3 - "$bin/dpo-train" -m big --lora-r 4 --lora-target-modules all-linear --max-steps 1 -o adapter big.ref <<-'END'
	import json, re, subprocess, sys
	note = subprocess.run(sys.argv[1:], check=True, text=True, stderr=subprocess.PIPE).stderr
	told = json.loads(subprocess.run(sys.argv[1:] + ["--dry-run"], check=True, stdout=subprocess.PIPE).stdout)["memory"]
	total = float(re.search("estimate: ([0-9.e+]+) MB", note)[1]) * 1e6
	print(f"told {total / 1e6:.0f} MB, with --dry-run {told['total'] / 1e6:.1f}, the program {told['program_and_rows'] / 1e6:.1f} of them")
	sys.exit(abs(total - told["total"]) > 3e6)
	END
}

# The rows come through a FIFO whose last byte is held back: the program has scored them and is still there.
held_open() { # NAME MODEL: $pid is it
	mkfifo "$1.fifo"
	"$bin/dpo-reflogp" -q -j 1 -m "$2" -o "$1.ref" "$1.fifo" 2> "$1.err" 3>&- &
	pid=$!
	{ head -c -1 pairs.dpo; until_true [ -e "$1.go" ]; tail -c 1 pairs.dpo; } > "$1.fifo" 3>&- &
}

until_true() { # COMMAND...: within 20 seconds
	for _ in $(seq 400); do
		"$@" && return
		sleep 0.05
	done
	return 1
}

shared() { # PID BYTES: so many bytes of the model are in its memory, and in another's too
	awk -v least="$2" '/^[0-9a-f]+-/ { model = /model.safetensors/ }
		model && /^Shared_(Clean|Dirty):/ { shared += 1024 * $2 }
		END { exit !(shared > least) }' "/proc/$1/smaps"
}

@test "two programs that read one model share its pages" {
	cd "$BATS_TEST_TMPDIR"
	python3 "$check" stream "$golden/llama.json" | "$bin/dpo-cat" -q -z > pairs.dpo
	size=$(stat -c %s "$BATS_FILE_TMPDIR/big/model.safetensors")
	held_open a "$BATS_FILE_TMPDIR/big"
	a=$pid
	held_open b "$BATS_FILE_TMPDIR/big"
	b=$pid
	# all but the rows of the embedding that no token asks for
	until_true shared "$a" $((size * 8 / 10))
	until_true shared "$b" $((size * 8 / 10))
	anonymous=$(awk '/^RssAnon:/ { print 1024 * $2 }' "/proc/$a/status")
	echo "$anonymous bytes of its own"
	[ "$anonymous" -lt 40000000 ]
	touch a.go b.go
	wait "$a"
	wait "$b"
	cmp a.ref b.ref
}

@test "a model's file that becomes shorter is one line and exit 1, and leaves nothing" {
	cd "$BATS_TEST_TMPDIR"
	cp -r "$root/testdata/story" shrinking
	"$bin/dpo-tok" -q -m shrinking -o pairs.dpo shrinking/heldout.jsonl
	mkfifo pairs.fifo
	"$bin/dpo-reflogp" -q -j 2 -m shrinking -o out.ref pairs.fifo 2> err 3>&- &
	pid=$!
	exec 4> pairs.fifo
	head -c 4000 pairs.dpo >&4
	until_true grep -q shrinking/model.safetensors "/proc/$pid/maps"
	until_true [ -n "$(ls .out.ref* out.ref?* 2> /dev/null)" ]
	truncate -s 8192 shrinking/model.safetensors
	tail -c +4001 pairs.dpo >&4 || true
	exec 4>&-
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 1 ]
	cat err
	[ "$(cat err)" = "dpo-reflogp: shrinking/model.safetensors: became shorter while it was read" ]
	[ -z "$(ls -A | grep ref)" ]
}

# The rows of FILE, the last of them held back until the model was written to in place.
written_to() { # PROGRAM FILE OPTIONS...
	program=$1 rows=$2
	shift 2
	rm -rf other rows.fifo made
	cp -r "$root/testdata/story" other
	mkfifo rows.fifo
	mkdir made
	"$bin/$program" -q -j 2 "$@" -o made/out rows.fifo 2> err 3>&- &
	pid=$!
	exec 4> rows.fifo
	head -c -100 "$rows" >&4
	until_true grep -q other/model.safetensors "/proc/$pid/maps"
	sleep 0.3 # it is hashed, and the file system's clock goes on
	dd if="$BATS_TEST_TMPDIR/noise" of=other/model.safetensors seek=100 bs=4096 conv=notrunc status=none
	tail -c 100 "$rows" >&4
	exec 4>&-
	status=0
	wait "$pid" || status=$?
	echo "$program: exit $status, $(cat err)"
	[ "$status" -eq 1 ]
	[ "$(tail -n 1 err)" = "$program: other/model.safetensors: changed while it was read" ]
	[ -z "$(ls -A made)" ]
}

@test "a model's file that is written to is one line and exit 1 in every program that maps it, and leaves nothing" {
	cd "$BATS_TEST_TMPDIR"
	story="$root/testdata/story"
	head -n 20 "$story/heldout.jsonl" > prompts.jsonl
	"$bin/dpo-tok" -q -m "$story" -o pairs.dpo prompts.jsonl
	"$bin/dpo-reflogp" -q -m "$story" -o pairs.ref pairs.dpo
	"$bin/dpo-gen" -q -m "$story" --max-new-tokens 4 -o samples.jsonl pairs.dpo
	head -c 4096 /dev/zero | tr '\0' '\1' > noise
	written_to dpo-reflogp pairs.dpo -m other
	written_to dpo-eval pairs.ref -m other --per-pair made/pairs
	written_to dpo-eval pairs.ref -m "$story" --baseline other
	written_to dpo-eval pairs.ref -m other --score
	written_to dpo-eval samples.jsonl -m other --samples
	written_to dpo-gen pairs.dpo -m other --max-new-tokens 4
	written_to dpo-gen pairs.dpo -m "$story" -r other --max-new-tokens 4
	written_to dpo-train pairs.ref -m other --lora-r 4 --max-steps 1000000 --logging-steps 1 --log log
	[ ! -s log ]
	written_to dpo-train pairs.ref -m other --lora-r 4 --max-steps 2 --checkpoint made/checkpoint --save-steps 1
}

@test "a model's file that is replaced by rename stays as it was for those who read it" {
	cd "$BATS_TEST_TMPDIR"
	cp -r "$root/testdata/story" other
	"$bin/dpo-tok" -q -m other -o pairs.dpo other/heldout.jsonl
	held_open out other
	until_true grep -q other/model.safetensors "/proc/$pid/maps"
	head -c 100000 /dev/zero > other/new
	mv other/new other/model.safetensors
	touch out.go
	wait "$pid"
	"$bin/dpo-reflogp" -q -j 1 -m "$root/testdata/story" -o same.ref pairs.dpo
	cmp out.ref same.ref
}
