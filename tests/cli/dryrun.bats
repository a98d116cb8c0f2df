#!/usr/bin/env bats
# dpo-train --dry-run, --max-memory and the note before a run: the estimate against the peak of real runs.

# NAME/, a random model so large that each copy of its weights is more than peak.py allows for; NAME.ref, eight pairs of it.
make_large() { # NAME WIDTH INNER LAYERS
	mkdir new
	cp "$story/tokenizer.json" "$story/tokenizer_config.json" new
	echo '{"model_type": "llama", "vocab_size": 640, "hidden_size": '$2', "intermediate_size": '$3', "num_hidden_layers": '$4',
		"num_attention_heads": 8, "max_position_embeddings": 4096, "tie_word_embeddings": true}' > new/config.json
	head -n 8 "$story/train.jsonl" | "$bin/dpo-tok" -q -m "$story" -o new.tok
	"$bin/dpo-train" -q --init new/config.json --loss-type sft --learning-rate 0 --max-steps 1 --batch-size 1 -o new.dpo new.tok
	"$bin/dpo-export" -q -f hf -o "$1" new.dpo
	"$bin/dpo-reflogp" -q -m "$1" -o "$1.ref" new.tok
	rm -r new new.dpo
}

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} story="$root/testdata/story" peak="$root/tests/peak.py" PYTHONDONTWRITEBYTECODE=1
	cd "$BATS_FILE_TMPDIR"
	head -n 60 "$story/train.jsonl" | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" -o pairs.ref
	head -n 20 "$story/heldout.jsonl" | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" -o heldout.ref
	make_large wide 1024 1024 2 # 59 MB
	make_large deep 384 1024 6 # 43 MB, in tensors of at most 1.6
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

@test "the estimate is the peak of the run: batches, optimizers, slots, a reference that moves, the best evaluation, an adapter" {
	while read -r rows options; do
		echo "$rows $options"
		python3 "$peak" "$bin/dpo-train" -m ${rows%.*} --max-steps 2 $options $rows
	done <<-'END'
	deep.ref --batch-size 1
	wide.ref --batch-size 1
	wide.ref --batch-size 8
	wide.ref --batch-size 1 --optim sgd
	wide.ref --batch-size 1 --optim sgd --momentum 0.9
	wide.ref --batch-size 1 --optim adafactor
	wide.ref --batch-size 2 --grad-slots 8
	wide.ref --batch-size 1 --sync-ref-model --ref-model-sync-steps 1
	wide.ref --batch-size 1 --eval wide.ref --eval-steps 1 --load-best-model-at-end
	wide.ref --batch-size 1 --lora-r 128 --lora-target-modules all-linear
	END
}

@test "what recomputing spares is what the estimate says" { # with a checkpoint, which is written while the activations are held
	python3 -c 'import json, sys
texts = [json.loads(line)["chosen"] for line in sys.stdin]
print(json.dumps({"prompt": "", "chosen": "".join(texts[:12]), "rejected": "".join(texts[12:])}))' < <(head -n 24 "$story/train.jsonl") |
		"$bin/dpo-tok" -q -m "$story" --max-length 0 | "$bin/dpo-reflogp" -q -m wide -o long.ref
	for recompute in "" --gradient-checkpointing; do
		python3 "$peak" "$bin/dpo-train" -m wide --max-steps 2 --optim sgd --checkpoint c --save-steps 1 $recompute long.ref
	done > sizes
	cat sizes
	awk '{ told[NR] = $2; took[NR] = $5 } END { spared = took[1] - took[2]; off = told[1] - told[2] - spared
		exit !(NR == 2 && spared > 25 && off < 5 && off > -5) }' sizes
}

value() { # NAME: of the estimate
	python3 -c 'import json, sys; d = json.load(open("told.json")); print(d[sys.argv[1]] if sys.argv[1] in d else d["memory"][sys.argv[1]])' "$1"
}

@test "what it counts: parameters, 4 bytes each of weights and gradients, 8 of moments; steps, rows, tokens; nothing is written" {
	"$bin/dpo-train" -m "$story" --dry-run --batch-size 8 --num-train-epochs 2.5 --log log.jsonl --checkpoint c -o policy pairs.ref > told.json
	[ ! -e policy ]
	[ ! -e log.jsonl ]
	[ ! -e c ]
	[ "$(value parameters)" -eq 525184 ]
	[ "$(value trained_parameters)" -eq 525184 ]
	[ "$(value weights)" -ge $((4 * 525184)) ]
	[ "$(value weights)" -lt $((4 * 525184 + 65536)) ]
	[ "$(value gradients)" -eq "$(value weights)" ]
	[ "$(value moments)" -eq $((2 * $(value weights))) ]
	[ "$(value steps)" -eq 20 ] # of 8 in the first two passes, the last of them 4 rows each
	[ "$(value rows)" -eq $((2 * 60 + 4 * 8)) ]
	tokens=$("$bin/dpo-cat" pairs.ref | python3 -c 'import json, sys
print(sum(len(row.get(key, [])) for row in map(json.loads, sys.stdin) for key in ("prompt", "chosen", "rejected")))')
	"$bin/dpo-train" -m "$story" --dry-run --num-train-epochs 3 pairs.ref > told.json
	[ "$(value tokens)" -eq $((3 * tokens)) ]
	"$bin/dpo-train" -m "$story" --dry-run --num-train-epochs 3 pairs.ref | grep -v seconds > again.json
	[ "$(grep operations again.json)" = "$(grep operations told.json)" ]
	"$bin/dpo-train" -q --init "$story/config.json" --loss-type sft --dry-run pairs.ref > told.json
	[ "$(value parameters)" -eq 525184 ]
}

@test "a reference that moves: the weights, working memory, and its log-probs of both sets" {
	"$bin/dpo-train" -m "$story" --dry-run --sync-ref-model --eval pairs.ref pairs.ref > told.json
	both=$(value reference)
	"$bin/dpo-train" -m "$story" --dry-run --sync-ref-model pairs.ref > told.json
	answers=$("$bin/dpo-cat" pairs.ref | python3 -c 'import json, sys
print(sum(len(row.get(key, [])) for row in map(json.loads, sys.stdin) for key in ("chosen", "rejected")))')
	[ $((both - $(value reference))) -eq $((4 * answers)) ]
}

@test "memory follows the longest row, not the batch nor the number of rows" {
	"$bin/dpo-train" -m "$story" --dry-run --batch-size 1 pairs.ref > told.json
	one=$(value activations)
	"$bin/dpo-train" -m "$story" --dry-run --batch-size 60 pairs.ref > told.json
	[ "$(value activations)" -eq "$one" ]
	"$bin/dpo-cat" pairs.ref | awk 'NR < 5 || /^{"end"/' | "$bin/dpo-cat" -q -z > few.ref
	"$bin/dpo-train" -m "$story" --dry-run few.ref > told.json
	[ "$(value activations)" -lt "$one" ]
}

@test "what a token takes of GPT-2 124M is what the manual page says, with --gradient-checkpointing and without" {
	echo '{"model_type": "gpt2", "vocab_size": 50257, "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 2048}' > gpt2.json
	activations() { # PROMPT ANSWER OPTIONS...: of a pair with so many tokens
		python3 -c 'import json, sys
names = ("prompt", "chosen", "rejected")
print(json.dumps({"header": {"format": 1, "kind": "pairs", "stages": [], "columns": [["id", "str"], *([name, "i32[]"] for name in names)]}}))
print(json.dumps({"id": "1"} | {name: [7] * int(n) for name, n in zip(names, sys.argv[1:] + sys.argv[2:])}))
print(json.dumps({"end": True}))' $1 $2 | "$bin/dpo-cat" -q -z > one.tok
		"$bin/dpo-train" -q --init gpt2.json --reference-free --dry-run "${@:3}" one.tok > told.json 2> /dev/null
		value activations
	}
	for option in --gradient-checkpointing ""; do
		before=$(activations 512 128 $option)
		echo $((($(activations 1024 128 $option) - before + 256000) / 512000))
		echo $((($(activations 512 384 $option) - before + 256000) / 512000))
	done > measured
	grep -A1 'GPT-2 124M then needs' "$BATS_TEST_DIRNAME/../../cmd/dpo-train.1" | grep -oE '[0-9]+ kB' | cut -d' ' -f1 > said
	cat measured said
	diff <(sort -n measured) <(sort -n said)
}

@test "--max-memory: refused with status 1 in one line, before the weights are read; a run with enough goes on" {
	"$bin/dpo-train" -m "$story" --dry-run pairs.ref > told.json
	run "$bin/dpo-train" -m "$story" --max-memory 15MB -o policy pairs.ref
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" =~ ^dpo-train:\ the\ run\ needs\ [0-9]+\ bytes\ of\ memory,\ more\ than\ --max-memory\ 15000000$ ]]
	[ ! -e policy ]
	"$bin/dpo-train" -q -m "$story" --max-memory 1GB --max-steps 2 -o limited pairs.ref
	"$bin/dpo-train" -q -m "$story" --max-steps 2 -o policy pairs.ref
	cmp limited policy
	rm policy limited
	run "$bin/dpo-train" -m - --max-memory 1GB pairs.ref
	[ "$status" -eq 2 ]

	# The weights of 7 billion parameters that are not there: the estimate needs none of them.
	mkdir -p big
	echo '{"model_type": "llama", "vocab_size": 640, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
		"num_attention_heads": 32, "max_position_embeddings": 4096}' > big/config.json
	cp "$story/tokenizer.json" "$story/tokenizer_config.json" big
	(ulimit -v 1000000; "$bin/dpo-train" --init big/config.json --loss-type sft --dry-run pairs.ref > told.json)
	[ "$(value parameters)" -eq 6481514496 ]
	run bash -c 'ulimit -v 4000000; "$@"' - "$bin/dpo-train" -q --init big/config.json --loss-type sft -o policy pairs.ref
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" == "dpo-train: "*"out of memory"* ]]
	[ ! -e policy ]
	run "$bin/dpo-train" --init big/config.json --loss-type sft --max-memory 16GB -o policy pairs.ref
	[ "$status" -eq 1 ]
	# what a run says first, in figures without exponents; then it has no memory
	(ulimit -v 1000000; ! "$bin/dpo-train" --init big/config.json --loss-type sft --num-train-epochs 1000 --max-memory 999GB -o policy \
		pairs.ref 2> note)
	grep -qE 'estimate: 10[0-9] GB of memory \(weights 25.9, gradients 25.9, moments 51.9, activations [0-9.]+\), [0-9]+ steps, [0-9.e+]+ operations, about [0-9]{2,} hours$' note
}

@test "--dry-run does not read the weights" {
	cp -r "$story" spoilt
	python3 -c 'file = open("spoilt/model.safetensors", "r+b"); file.seek(-4096, 2); file.write(b"\xff" * 4096)' # not a number
	"$bin/dpo-train" -m spoilt --dry-run pairs.ref > told.json
	[ "$(value parameters)" -eq 525184 ]
	run "$bin/dpo-train" -q -m spoilt --max-steps 1 -o policy pairs.ref
	echo "$output"
	[ "$status" -ne 0 ]
	[[ "$output" == "dpo-train: spoilt/model.safetensors: "* ]]
	[ ! -e policy ]
}

@test "a reference of another model is found after the estimate, too; and a run says its estimate unless -q" {
	"$bin/dpo-train" -q --init "$story/config.json" --loss-type sft --max-steps 1 -o other.dpo pairs.ref
	run "$bin/dpo-train" -m other.dpo --max-memory 1GB -o policy pairs.ref
	echo "$output"
	[ "$status" -eq 4 ]
	[ ! -e policy ]
	"$bin/dpo-train" -m "$story" --max-steps 1 -o policy pairs.ref 2> note
	grep -qE '^dpo-train: estimate: [0-9.]+ MB of memory \(weights 2.1, gradients 2.1, moments 4.2, activations [0-9.]+\), 1 steps, [0-9.e+]+ operations, about' note
	"$bin/dpo-train" -q -m "$story" --max-steps 1 -o policy pairs.ref 2> note
	[ ! -s note ]
}

@test "what cannot be told of the rows is said once for each file, with an estimate ahead too" {
	"$bin/dpo-cat" pairs.ref | sed '1s/"tokenizer":/"other":/g' | "$bin/dpo-cat" -z -o nameless.ref
	cp nameless.ref heldout.ref
	for options in "" "--max-memory 1GB"; do
		"$bin/dpo-train" -m "$story" --max-steps 1 $options --eval heldout.ref -o policy nameless.ref 2> note
		[ "$(grep -c 'no tokenizer id' note)" -eq 2 ]
		[ "$(grep -c 'heldout.ref: cannot tell' note)" -eq 1 ]
	done
}
