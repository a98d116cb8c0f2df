#!/usr/bin/env bats
# Training a GPT-2 124M shape: a pair of 1,024 tokens stays under 16 bytes a parameter plus 900 MB; the estimate is the peak.

setup() {
	bin=${DPO_BIN:-$BATS_TEST_DIRNAME/../../bin}
	tokenizer=${DPO_SHARED:-$BATS_TEST_DIRNAME/../../../shared}/assets/tokenizers/gpt2
	[ -e "$tokenizer" ] || skip "no asset tokenizers/gpt2"
	cd "$BATS_FILE_TMPDIR"
	[ -e base.dpo ] || make_base
}

make_base() {
	mkdir gpt2
	cp "$tokenizer"/*.json "$tokenizer"/merges.txt gpt2
	echo '{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
		"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.02}' > gpt2/config.json
	# The first step of learning from nothing makes a model with random weights to start from.
	printf '{"prompt": "a", "completion": " cat"}\n' | "$bin/dpo-tok" -q -m gpt2 -o one.tok
	"$bin/dpo-train" -q --init gpt2/config.json --loss-type sft --max-steps 1 -o base.dpo one.tok
}

words() {
	yes "$1" | head -n "$2" | tr -d '\n'
}

@test "GPT-2 124M, 1,024 tokens: peak memory of dpo-train" {
	printf '{"prompt": "%s", "chosen": "%s", "rejected": "%s"}\n' "a$(words ' cat' 299)" "$(words ' dog' 361)" "$(words ' bird' 361)" > pair.jsonl
	"$bin/dpo-tok" -q -m gpt2 -o pair.tok pair.jsonl
	tokens=$("$bin/dpo-cat" pair.tok | python3 -c 'import json, sys
row = [json.loads(line) for line in sys.stdin][1]
print(sum(len(row[k]) for k in ("prompt", "chosen", "rejected")))')
	[ "$tokens" -eq 1024 ]

	"$bin/dpo-reflogp" -q -m base.dpo -o pair.ref pair.tok
	python3 - "$bin/dpo-train" <<-'END'
	import resource, subprocess, sys
	subprocess.run([sys.argv[1], "-q", "-m", "base.dpo", "--max-steps", "2", "-o", "policy.dpo", "pair.ref"], check=True)
	peak, limit = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, 16 * 124439808 + 900_000_000
	print(f"peak {peak / 1e6:.0f} MB, limit {limit / 1e6:.0f} MB")
	sys.exit(peak > limit)
	END
}

@test "GPT-2 124M: the estimate is the peak: short and long prompts, batches, an adapter, a reference that moves" {
	for lengths in "20 30" "700 100"; do
		printf '{"prompt": "%s", "chosen": "%s", "rejected": "%s"}\n' "a$(words ' cat' ${lengths% *})" "$(words ' dog' ${lengths#* })" \
			"$(words ' bird' ${lengths#* })" | "$bin/dpo-tok" -q -m gpt2 | "$bin/dpo-reflogp" -q -m base.dpo -o "${lengths% *}.ref"
	done
	while read -r options; do
		echo "$options"
		python3 "$BATS_TEST_DIRNAME/../peak.py" "$bin/dpo-train" -m base.dpo --max-steps 1 $options
	done <<-'END'
	20.ref
	--batch-size 64 700.ref
	--lora-r 8 700.ref
	--sync-ref-model --ref-model-sync-steps 1 20.ref
	END
}
