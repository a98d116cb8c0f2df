#!/usr/bin/env bats
# Peak memory of dpo-train on the GPT-2 124M shape, whatever the batch: a number of bytes a parameter, and what one pair needs;
# and the estimate is the peak.

setup_file() {
	export bin=${DPO_BIN:-$BATS_TEST_DIRNAME/../../bin}
	tokenizer=${DPO_SHARED:-$BATS_TEST_DIRNAME/../../../shared}/assets/tokenizers/gpt2
	[ -e "$tokenizer" ] || return 0
	cd "$BATS_FILE_TMPDIR"
	mkdir gpt2
	cp "$tokenizer"/*.json "$tokenizer"/merges.txt gpt2
	echo '{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
		"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.02}' > gpt2/config.json
	# The first step of learning from nothing makes a model with random weights to start from.
	printf '{"prompt": "a", "completion": " cat"}\n' | "$bin/dpo-tok" -q -m gpt2 -o one.tok
	"$bin/dpo-train" -q --init gpt2/config.json --loss-type sft --max-steps 1 -o base.dpo one.tok
	"$bin/dpo-export" -q -f hf -o base base.dpo
	pairs long 1 300 361 361
	pairs middle 8 384 127 127
	pairs short 64 8 4 4
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	[ -e base ] || skip "no asset tokenizers/gpt2"
}

words() { # TEXT N: so many times
	yes "$1" | head -n "$2" | tr -d '\n'
}

pairs() { # NAME ROWS PROMPT CHOSEN REJECTED: so many tokens, with an end to each answer
	yes "$(printf '{"prompt": "%s", "chosen": "%s", "rejected": "%s"}' "a$(words ' cat' $(($3 - 1)))" "$(words ' dog' "$4")" \
		"$(words ' bird' "$5")")" | head -n "$2" > "$1.jsonl"
	"$bin/dpo-tok" -q -m gpt2 -o "$1.tok" "$1.jsonl"
	"$bin/dpo-reflogp" -q -m base -o "$1.ref" "$1.tok"
}

peak() { # BYTES-A-PARAMETER MEGABYTES NAME OPTION...: at most; the peak into $peak, in bytes
	limit=$(($1 * 124439808 + $2 * 1000000)) rows=$3
	shift 3
	peak=$(python3 - "$bin/dpo-train" -q -m base --max-steps 1 -o policy.dpo "$@" "$rows" <<-'END'
	import resource, subprocess, sys
	subprocess.run(sys.argv[1:], check=True)
	print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
	END
	)
	echo "peak $peak, limit $limit bytes"
	[ "$peak" -le "$limit" ]
}

@test "fp32, 1,024 tokens: 16 bytes a parameter and 600 MB; recomputed, 300 MB less" {
	tokens=$("$bin/dpo-cat" long.tok | python3 -c 'import json, sys
row = [json.loads(line) for line in sys.stdin][1]
print(sum(len(row[k]) for k in ("prompt", "chosen", "rejected")))')
	[ "$tokens" -eq 1024 ]
	peak 16 600 long.ref
	peak 16 300 long.ref --gradient-checkpointing
}

@test "bf16, 1,024 tokens: 20 bytes a parameter and 600 MB" {
	"$bin/dpo-reflogp" -q --dtype bf16 -m base -o long.bf16 long.tok 2> err || skip "$(cat err)"
	peak 20 600 long.bf16 --dtype bf16
}

@test "prompt 384, answers 128, 8 pairs a step: 42% of the 6.7 GiB that TRL takes" {
	peak 0 3021 middle.ref
}

@test "the same for 1 and for 64 pairs a step" {
	peak 16 100 short.ref --batch-size 1
	one=$peak
	peak 16 100 short.ref --batch-size 64
	[ "$peak" -le $((one + 8000000)) ] # a huge page more or less; 64 pairs' activations are 600 MB
}

@test "GPT-2 124M: the estimate is the peak: short and long prompts, batches, an adapter, a reference that moves" {
	for lengths in "20 30" "700 100"; do
		printf '{"prompt": "%s", "chosen": "%s", "rejected": "%s"}\n' "a$(words ' cat' ${lengths% *})" "$(words ' dog' ${lengths#* })" \
			"$(words ' bird' ${lengths#* })" | "$bin/dpo-tok" -q -m gpt2 | "$bin/dpo-reflogp" -q -m base.dpo -o "${lengths% *}.ref"
	done
	while read -r options; do
		echo "$options"
		python3 "$BATS_TEST_DIRNAME/../peak.py" "$bin/dpo-train" -m base.dpo --max-steps 2 $options # the first leaves the moments
	done <<-'END'
	20.ref
	--batch-size 64 700.ref
	--lora-r 8 700.ref
	--sync-ref-model --ref-model-sync-steps 1 20.ref
	END
}
