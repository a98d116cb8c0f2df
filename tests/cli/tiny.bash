# tiny - a very small model with the story tokenizer, pairs and reference log-probs, for tests of the command line.
# make_tiny ROWS: in the current directory tiny/ (config and tokenizer), base.dpo, pairs.tok, pairs.ref.

bin=${DPO_BIN:-$BATS_TEST_DIRNAME/../../bin}
story="$BATS_TEST_DIRNAME/../../testdata/story"

make_tiny() {
	mkdir tiny
	cp "$story"/tokenizer.json "$story"/tokenizer_config.json tiny
	cat > tiny/config.json <<-END
		{"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
		"num_key_value_heads": 1, "max_position_embeddings": 256, "vocab_size": 640, "rms_norm_eps": 1e-05,
		"rope_theta": 10000.0, "hidden_act": "silu", "initializer_range": 0.05, "tie_word_embeddings": true}
	END
	head -40 "$story/text-heldout.jsonl" | "$bin/dpo-tok" -q -m tiny -o text.tok
	"$bin/dpo-train" -q --init tiny/config.json --loss-type sft --learning-rate 1e-2 --num-train-epochs 1 -o base.dpo text.tok
	head -"$1" "$story/train.jsonl" | "$bin/dpo-tok" -q -m base.dpo -o pairs.tok
	"$bin/dpo-reflogp" -q -m base.dpo -o pairs.ref pairs.tok
}

data() { # STREAM: its records alone; header and end differ where any setting does
	"$bin/dpo-cat" --data "$1" | sed '1d;$d'
}

column() { # STREAM KEY: one value a record
	"$bin/dpo-cat" "$1" | python3 -c 'import json, sys
for line in sys.stdin:
	row = json.loads(line)
	if "header" not in row and "end" not in row:
		print(json.dumps(row[sys.argv[1]]))' "$2"
}

logged() { # LOG KEY: one value a step or evaluation
	python3 -c 'import json, sys
for row in map(json.loads, open(sys.argv[1])):
	if "loss" in row or "eval_loss" in row:
		print(row.get(sys.argv[2]))' "$1" "$2"
}
