#!/usr/bin/env bats
# Adapters: against TRL with peft, the same bytes whatever the company, stopped and resumed, trained further, merged, in and
# out of peft's layout, and what is refused.

load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 24
	head -10 "$story/heldout.jsonl" | "$bin/dpo-tok" -q -m base.dpo | "$bin/dpo-reflogp" -q -m base.dpo -o heldout.ref
	"$bin/dpo-export" -q -f hf -o base base.dpo
	"$bin/dpo-train" -q -j 1 $(settings) --log want.log -o want.dpo pairs.ref
	"$bin/dpo-export" -q -f peft -a want.dpo -o want base.dpo
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	rm -rf work
	mkdir work
}

settings() { # with dropout, and all that an adapter can have; the tiny model's head is tied
	echo "-m base.dpo --lora-r 4 --lora-alpha 8 --lora-dropout 0.2 --lora-target-modules all-linear --lora-rank-pattern up_proj=2
		--lora-modules-to-save model.norm --learning-rate 1e-3 --batch-size 5 --num-train-epochs 2 --logging-steps 1
		--eval heldout.ref --eval-steps 4"
}

rows() {
	"$bin/dpo-cat" "$@" | sed '1d;$d'
}

peers="$BATS_TEST_DIRNAME/../peers"
golden="$BATS_TEST_DIRNAME/../../testdata/golden/trl"

case_of() { # NAME: the case of tests/peers/cases.py against TRL's run with peft
	export PYTHONDONTWRITEBYTECODE=1
	python3 "$peers/cases.py" "$1" - work
	python3 "$peers/cases.py" "$1" --arguments > work/arguments
	"$bin/dpo-tok" -q $(sed -n 1p work/arguments) -m work/model work/train.jsonl | "$bin/dpo-reflogp" -q -m work/model -o work/ref
	"$bin/dpo-train" -q $(sed -n 2p work/arguments) -m work/model --log work/log -o work/policy work/ref
	"$bin/dpo-export" -q -f peft -a work/policy -o work/peft work/model
	python3 "$peers/compare_trl.py" "$golden/$1.json" work/log --weights work/peft/adapter_model.safetensors
}

@test "TRL with peft, rank 8 on all linear maps of a tiny GPT-2: every step and the adapter" {
	case_of M
}

@test "TRL with peft, ranks and alphas by pattern, rank-stabilised, modules to save: every step and the adapter" {
	case_of N
}

@test "the first loss is ln 2 and the first rewards are 0; it learns" {
	grep -m1 '"loss":0.6931471824645996,.*"rewards/chosen":-*0,"rewards/rejected":-*0,' want.log | grep -q '"step":1}'
	"$bin/dpo-train" -q -m base.dpo --lora-r 8 --lora-target-modules all-linear --learning-rate 1e-2 --num-train-epochs 8 \
		--logging-steps 1 --log work/log -o work/a pairs.ref
	grep '"loss"' work/log | tail -1 | python3 -c 'import json, sys; row = json.load(sys.stdin); assert row["loss"] < 0.5, row'
}

@test "other thread counts, a pipe: the same adapter and log" {
	for threads in 2 3; do
		"$bin/dpo-train" -q -j $threads $(settings) --log work/log pairs.ref > work/a
		cmp want.dpo work/a
		cmp want.log work/log
	done
	cat pairs.ref | "$bin/dpo-train" -q $(settings) --log work/log | cat > work/a
	cmp want.dpo work/a
	cmp want.log work/log
}

@test "stopped after any step and gone on with other threads: the same adapter and log" {
	"$bin/dpo-train" -q $(settings) --save-steps 1 --checkpoint work/c --log work/log -o work/a pairs.ref
	cmp want.dpo work/a
	tries=0
	rm work/a
	until [ -e work/a ]; do
		tries=$((tries + 1))
		status=0
		timeout -s KILL "$(printf '0.%03d' $((10 * tries)))" "$bin/dpo-train" -q -j $((1 + tries % 3)) $(settings) --save-steps 1 \
			--checkpoint work/c --log work/log -o work/a pairs.ref || status=$?
		[ $status -eq 0 ] || [ $status -eq 137 ]
		[ $tries -lt 99 ]
	done
	[ $tries -gt 1 ]
	cmp want.dpo work/a
	cmp want.log work/log
}

@test "a checkpoint holds the adapter's tensors alone, and is of that adapter" {
	"$bin/dpo-train" -q $(settings) --max-steps 100000 --save-steps 2 --max-time 0.05 --checkpoint work/c --log work/log \
		-o work/a pairs.ref || status=$?
	[ "$status" -eq 75 ]
	rows work/c | grep -o '"name":"[^"]*"' | cut -d'"' -f4 | grep / > work/names
	grep -q '^params/model.layers.0.mlp.up_proj.lora_A.weight$' work/names
	grep -q '^adam_v/model.norm.weight$' work/names
	! grep -vE 'lora_[AB].weight$|/model.norm.weight$' work/names || return 1
	run "$bin/dpo-train" -q $(settings) --max-steps 100000 --use-rslora --checkpoint work/c --log work/log -o work/a pairs.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *use_rslora* ]]
}

@test "the best adapter of the evaluations, with each optimizer, stopped and gone on" {
	train() { "$bin/dpo-train" -q -m base.dpo --lora-r 4 --lora-target-modules all-linear --learning-rate 3e-3 --batch-size 5 \
		--num-train-epochs 2 --eval heldout.ref --eval-steps 2 --load-best-model-at-end "$@" pairs.ref; }
	for optim in adamw adafactor "sgd --momentum 0.9"; do
		train --optim $optim -o work/want
		for run in 1 2 3; do # one step each: the second has the first evaluation
			status=0
			train --optim $optim -o work/a --checkpoint work/c --max-time 0.000001 || status=$?
			[ $status -eq 75 ]
		done
		train --optim $optim -j 1 -o work/a --checkpoint work/c
		cmp work/want work/a
		"$bin/dpo-cat" -q --check work/a
		rm work/a
	done
}

@test "the stream: kind, base, settings; of another base: exit 4" {
	"$bin/dpo-cat" want.dpo | head -1 | python3 -c 'import json, sys
header = json.load(sys.stdin)["header"]
stage = header["stages"][-1]
assert header["kind"] == "adapter" and stage["base"] == stage["model"] == stage["reference"]
assert stage["settings"]["lora"]["r"] == 4 and stage["settings"]["lora"]["rank_pattern"] == {"up_proj": 2}'
	"$bin/dpo-cat" -z want.dpo | cmp - want.dpo
	"$bin/dpo-cat" --data want.dpo | "$bin/dpo-cat" -z | cmp - want.dpo
	"$bin/dpo-cat" want.dpo | grep -q '"data":{"elements":[1-9]'
	for program in "dpo-reflogp pairs.tok" "dpo-eval heldout.ref" "dpo-train pairs.ref"; do
		set -- $program
		run "$bin/$1" -q -m "$story" -a want.dpo -o work/out $2
		[ "$status" -eq 4 ]
		[[ "$output" == *"an adapter of model"* ]]
		run "$bin/$1" -q -m base.dpo -a base.dpo -o work/out $2
		[ "$status" -eq 3 ]
		[[ "$output" == *"not an adapter"* ]]
		[ ! -e work/out ]
	done
	run "$bin/dpo-export" -q -f peft -o work/out base.dpo
	[ "$status" -eq 3 ]
	[[ "$output" == *"not an adapter"* ]]
	run "$bin/dpo-reflogp" -q -m want.dpo -o work/out pairs.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *"not a model"* ]]
}

@test "dpo-eval of base and adapter is the run's last evaluation" {
	"$bin/dpo-eval" -q -m base.dpo -a want.dpo --format json heldout.ref | python3 -c 'import json, sys
report, last = json.load(sys.stdin), [json.loads(line) for line in open("want.log") if "eval_loss" in line][-1]
common = [key for key in last if key.startswith("eval_")]
assert len(common) == 11
for key in common:
	assert last[key] == report[key], key'
}

@test "dpo-eval compares two adapters of one base row by row" {
	"$bin/dpo-train" -q -m base.dpo --lora-r 2 --learning-rate 1e-3 --max-steps 3 -o work/other pairs.ref
	report() { "$bin/dpo-eval" -q -m base.dpo -a want.dpo --baseline base.dpo --format json "$@" heldout.ref; }
	report --baseline-adapter work/other > work/both
	report > work/bare
	for adapter in want.dpo work/other; do
		"$bin/dpo-eval" -q -m base.dpo -a $adapter --format json heldout.ref
	done > work/each
	report --baseline-adapter want.dpo | python3 -c 'import json, sys
both, bare, same = json.load(open("work/both")), json.load(open("work/bare")), json.load(sys.stdin)
ours, theirs = map(json.loads, open("work/each"))
name = "rewards/margins"
assert abs(both["eval_difference/" + name] - (ours["eval_" + name] - theirs["eval_" + name])) < 1e-5
assert both["eval_difference/" + name] != bare["eval_difference/" + name]
assert {v for k, v in same.items() if "difference" in k} == {0}'
	run "$bin/dpo-eval" -q -m base.dpo --baseline-adapter want.dpo heldout.ref
	[ "$status" -eq 2 ]
}

@test "dpo-gen with an adapter: the text of the merged model, and its log-probs are those of dpo-reflogp" {
	"$bin/dpo-train" -q -m base.dpo --lora-r 4 --lora-target-modules all-linear --learning-rate 1e-2 --max-steps 6 -o work/a pairs.ref
	"$bin/dpo-export" -q -f hf --merge -a work/a -o work/merged base.dpo
	head -8 "$story/heldout.jsonl" > work/prompts.jsonl
	generate() { "$bin/dpo-gen" -q --temperature 0 --max-new-tokens 24 "$@" work/prompts.jsonl; }
	generate -m base.dpo -a work/a > work/adapted
	generate -m work/merged > work/merged.jsonl
	generate -m base.dpo > work/base.jsonl
	python3 -c 'import json
def read(name):
	return [json.loads(line) for line in open("work/" + name)]
adapted, merged, base = read("adapted"), read("merged.jsonl"), read("base.jsonl")
text = [key for key in ("completion", "text", "response") if key in adapted[0]][0]
assert [r[text] for r in adapted] == [r[text] for r in merged] != [r[text] for r in base]
for row in adapted:
	print(json.dumps({"id": str(row["id"]), "prompt": row["prompt_ids"], "chosen": row["completion_ids"], "weight": 1}))' > work/rows
	(echo '{"header":{"format":1,"kind":"sft","columns":[["id","str"],["prompt","i32[]"],["chosen","i32[]"],["weight","f32"]],"stages":[]}}'
	cat work/rows) | "$bin/dpo-cat" -q -z --seal -o work/rows.tok
	"$bin/dpo-reflogp" -q -m base.dpo -a work/a -o work/rows.ref work/rows.tok
	"$bin/dpo-reflogp" -q -m base.dpo -o work/base.ref work/rows.tok
	for name in rows base; do rows work/$name.ref > work/$name.scored; done
	python3 -c 'import json
def read(name): return [json.loads(line) for line in open("work/" + name)]
worst, apart = 0, 0
for ours, scored, base in zip(read("adapted"), read("rows.scored"), read("base.scored"), strict=True):
	pairs = list(zip(ours["logps"], scored["ref_chosen_logps"], base["ref_chosen_logps"], strict=True))
	worst = max(worst, *(abs(a - b) for a, b, _ in pairs))
	apart = max(apart, *(abs(a - c) for a, _, c in pairs))
assert worst < 1e-4 < 1e-2 < apart, (worst, apart)'
}

@test "training an adapter further: the reference is base with adapter, and the first reward 0" {
	run "$bin/dpo-train" -q -m base.dpo -a want.dpo -o work/a pairs.ref
	[ "$status" -eq 4 ]
	"$bin/dpo-train" -q -m base.dpo --lora-r 4 --lora-dropout 0.5 --learning-rate 1e-2 --max-steps 4 -o work/a pairs.ref
	"$bin/dpo-reflogp" -q -m base.dpo -a work/a -o work/ref pairs.tok
	"$bin/dpo-train" -q -m base.dpo -a work/a --learning-rate 1e-2 --max-steps 4 --logging-steps 1 --log work/log -o work/b work/ref
	head -1 work/log | grep -q '"loss":0.6931471824645996,.*"rewards/chosen":-*0,"rewards/rejected":-*0,'
	data work/a > work/a.data
	data work/b > work/b.data
	! cmp -s work/a.data work/b.data || return 1
	"$bin/dpo-cat" work/b | head -1 | python3 -c 'import json, sys
stages = json.load(sys.stdin)["header"]["stages"]
assert [s["stage"] for s in stages[-2:]] == ["dpo-train", "dpo-train"] and stages[-1]["base"] == stages[-2]["base"]
assert stages[-1]["model"] != stages[-1]["base"]
assert [s["settings"]["lora"]["lora_dropout"] for s in stages[-2:]] == [0.5, 0]'
	"$bin/dpo-eval" -q -m base.dpo -a work/b work/ref # descends from its reference
	"$bin/dpo-eval" -q -m base.dpo -a work/b heldout.ref # and from the base
}

@test "modules to save and patterns are in the adapter; the base stays" {
	rows want.dpo | python3 -c 'import json, sys
shapes = {}
for line in sys.stdin:
	row = json.loads(line)
	if row["name"]:
		shapes[row["name"]] = row["shape"]
assert shapes["model.norm.weight"] == [16]
assert shapes["model.layers.0.mlp.up_proj.lora_A.weight"] == [2, 16]
assert shapes["model.layers.0.mlp.down_proj.lora_B.weight"] == [16, 4]
assert shapes["model.layers.0.self_attn.k_proj.lora_B.weight"] == [8, 4]
assert len(shapes) == 15'
}

@test "dropout: seeds differ, evaluation has none" {
	train() { "$bin/dpo-train" -q -m base.dpo --lora-r 4 --order sequential --learning-rate 1e-2 --max-steps 3 "$@" pairs.ref; }
	# the same A: an adapter that is trained further, so that the seed is dropout's alone
	train --lora-dropout 0.3 -o work/a
	"$bin/dpo-reflogp" -q -m base.dpo -a work/a -o work/ref pairs.tok
	for seed in 1 2; do
		"$bin/dpo-train" -q -m base.dpo -a work/a --order sequential --learning-rate 1e-2 --max-steps 3 --seed $seed --lora-dropout 0.3 \
			-o work/$seed work/ref
		data work/$seed > work/$seed.data
	done
	! cmp -s work/1.data work/2.data || return 1
	"$bin/dpo-train" -q -m base.dpo -a work/a --lora-dropout 0.3 --learning-rate 0 --max-steps 1 --logging-steps 1 --eval work/ref \
		--log work/log -o work/b work/ref
	! grep -q '"loss":0.6931471824645996' work/log || return 1
	grep -q '"eval_loss":0.6931471824645996' work/log
}

@test "--merge: the log-probs of the adapter, verified; refused where they move" {
	"$bin/dpo-export" -f hf --merge -a want.dpo -o work/merged base.dpo 2> work/note
	grep -qE 'merged: log-probs of 504 tokens are within [0-9.e-]+ nats' work/note
	"$bin/dpo-reflogp" -q -m base.dpo -a want.dpo -o work/adapted.ref pairs.tok
	"$bin/dpo-reflogp" -q -m work/merged -o work/merged.ref pairs.tok
	"$bin/dpo-reflogp" -q -m base.dpo -o work/base.ref pairs.tok
	for name in adapted merged base; do rows work/$name.ref > work/$name.jsonl; done
	python3 -c 'import json
def logps(name):
	rows = [json.loads(line) for line in open(f"work/{name}.jsonl")]
	return [v for row in rows for key in ("ref_chosen_logps", "ref_rejected_logps") for v in row[key]]
adapted, merged, base = logps("adapted"), logps("merged"), logps("base")
far = max(abs(a - b) for a, b in zip(adapted, base))
near = max(abs(a - b) for a, b in zip(adapted, merged))
print(far, near)
assert far > 1e-3 and near < 2e-6'
	"$bin/dpo-export" -q -f safetensors --merge -a want.dpo base.dpo | cmp - work/merged/model.safetensors

	# Two huge shares that cancel in the adapter do not once they are rounded into the weights.
	PYTHONPATH="$peers" python3 - <<-'END'
	import array, json, pathlib, shutil
	import tensors
	shutil.copytree("want", "work/huge")
	weights = list(tensors.read("want/adapter_model.safetensors"))
	for name, shape, values in weights:
	    if "down_proj.lora_A" in name:
	        values[:] = array.array("f", [1e5 * v for v in values[:32]] + [-1e5 * v for v in values[:32]] + list(values[64:]))
	    if "down_proj.lora_B" in name:
	        values[:] = array.array("f", (1e7 * values[i - i % 4] if i % 4 < 2 else v
	                                      for i, v in enumerate(values)))
	tensors.write("work/huge/adapter_model.safetensors", weights)
	END
	run "$bin/dpo-export" -q -f hf --merge -a work/huge -o work/refused base.dpo
	[ "$status" -eq 1 ]
	[[ "$output" == *"not merged"* ]]
	[ ! -e work/refused ]
}

@test "peft's layout: out, in again with the same bits, and the same files" {
	[ "$(ls want | tr '\n' ' ')" = "adapter_config.json adapter_model.safetensors " ]
	"$bin/dpo-reflogp" -q -m base.dpo -a want.dpo -o work/a.ref pairs.tok
	"$bin/dpo-reflogp" -q -m base.dpo -a want -o work/b.ref pairs.tok
	rows work/a.ref > work/a.jsonl
	rows work/b.ref | cmp work/a.jsonl -
	"$bin/dpo-export" -q -f peft -a want -o work/again base
	diff -r want work/again
	cat want.dpo | "$bin/dpo-export" -q -f peft -a - -o work/piped base.dpo
	diff -r want work/piped
	cat want.dpo | "$bin/dpo-export" -f peft -o work/alone # without its model
	diff -r want work/alone
	PYTHONPATH="$peers" python3 -c 'import tensors
names = [name for name, _, _ in tensors.read("want/adapter_model.safetensors")]
assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names
assert "base_model.model.model.norm.weight" in names and len(names) == 15'
}

@test "a directory of peft that does not fit, or asks for more than there is: refused by name" {
	refuse() { # STATUS TEXT
		run "$bin/dpo-reflogp" -q -m base.dpo -a work/peft -o work/out pairs.tok
		echo "$output"
		[ "$status" -eq "$1" ]
		[[ "$output" == *"$2"* ]]
		[ ! -e work/out ]
	}
	change() { # PYTHON about c, the configuration
		rm -rf work/peft
		cp -r want work/peft
		python3 -c "import json
c = json.load(open('want/adapter_config.json'))
$1
json.dump(c, open('work/peft/adapter_config.json', 'w'))"
	}
	change 'c["use_dora"] = True'; refuse 3 '"use_dora": true is not implemented'
	change 'c["bias"] = "all"'; refuse 3 '"bias": "all" is not implemented'
	change 'c["peft_type"] = "LOHA"'; refuse 3 'peft_type'
	change 'c["init_lora_weights"] = "pissa"'; refuse 3 '"init_lora_weights": "pissa"'
	change 'c["r"] = 5'; refuse 3 'has 2 dimensions of 4, 16'
	change 'c["target_modules"] = ["q_proj"]'; refuse 3 'is superfluous'
	change 'del c["modules_to_save"]'; refuse 3 'tensor "base_model.model.model.norm.weight" is superfluous'
	change 'c["use_dora"] = False; c["layers_to_transform"] = None; c["loftq_config"] = {}'
	"$bin/dpo-reflogp" -q -m base.dpo -a work/peft -o work/out pairs.tok
	rm work/out
	printf '{' > work/peft/adapter_config.json; refuse 3 adapter_config.json
	change ''; head -c 2000 want/adapter_model.safetensors > work/peft/adapter_model.safetensors; refuse 3 adapter_model
	change ''; rm work/peft/adapter_model.safetensors; refuse 1 adapter_model
	change ''; PYTHONPATH="$peers" python3 -c 'import tensors
weights = list(tensors.read("want/adapter_model.safetensors"))
tensors.write("work/peft/adapter_model.safetensors", weights[1:])'; refuse 3 'is missing'
}

@test "an adapter stream that is malformed: refused, with its model and alone" {
	refuse() { # TEXT WITH_MODEL TEXT ALONE (or -: accepted): about rows, the records
		"$bin/dpo-cat" --data want.dpo | python3 -c "import json, sys
lines = sys.stdin.read().splitlines()
rows = [json.loads(line) for line in lines[1:-1]]
$1
print(lines[0], *map(json.dumps, rows), lines[-1].split(',')[0].rstrip('}') + '}', sep='\n')" | "$bin/dpo-cat" -q -z > work/bad.dpo
		run "$bin/dpo-reflogp" -q -m base.dpo -a work/bad.dpo -o work/out pairs.tok
		echo "$output"
		[ "$status" -eq 3 ]
		[[ "$output" == *"$2"* ]]
		[ ! -e work/out ]
		run "$bin/dpo-export" -q -f peft -o work/out work/bad.dpo
		echo "$output"
		if [ "$3" != - ]; then
			[ "$status" -eq 3 ]
			[[ "$output" == *"$3"* ]]
			[ ! -e work/out ]
		else
			[ "$status" -eq 0 ]
			rm -r work/out
		fi
	}
	refuse 'rows.pop()' 'ends before tensor "model.norm.weight"' -
	refuse 'rows[3], rows[4] = rows[4], rows[3]' 'is expected' -
	refuse 'rows.insert(3, rows[3])' 'is expected' 'elements at offset 0'
	refuse 'rows.append(rows[3])' 'after the last tensor' 'comes twice'
	refuse 'rows[3]["data"].pop()' 'is expected' 'are missing'
	refuse 'rows[-1]["data"].pop()' 'ends before' 'before its tensors are complete'
	refuse 'rows[3]["shape"] = [0, 16]' 'not that of the configuration' 'is not one'
	refuse 'rows[3]["name"] = "x" * 96' 'is expected' 'name of 96 bytes'
	refuse 'del rows[0]' 'there is no adapter_config.json' 'there is no adapter_config.json'
	refuse 'rows.append(rows[0])' 'a file after the first tensor' 'a file after the first tensor'
	refuse 'del rows[1:]' 'ends before' 'before its tensors are complete'
}

@test "usage" {
	refuse() { # TEXT COMMAND...
		text=$1
		shift
		run "$bin/$@"
		echo "$output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"$text"* ]]
	}
	for option in "--use-rslora" "--lora-alpha 32" "--lora-dropout 0" "--lora-target-modules q_proj" "--lora-rank-pattern q_proj=2"; do
		refuse "${option%% *} needs --lora-r" dpo-train -m base.dpo $option pairs.ref
	done
	for option in "--lora-r 8" "--lora-alpha 32" "--use-rslora"; do
		refuse "${option%% *}: -a ADAPTER brings its own" dpo-train -m base.dpo -a want.dpo $option pairs.ref
	done
	refuse "moves a whole model" dpo-train -m base.dpo --lora-r 8 --sync-ref-model pairs.ref
	refuse "needs a model that was trained" dpo-train --init tiny/config.json --lora-r 8 pairs.ref
	refuse "not NAME=NUMBER" dpo-train -m base.dpo --lora-r 8 --lora-rank-pattern q_proj pairs.ref
	refuse '"q_proj" appears twice' dpo-train -m base.dpo --lora-r 8 --lora-rank-pattern q_proj=2,q_proj=8 pairs.ref
	refuse '"q_proj" appears twice' dpo-train -m base.dpo --lora-r 8 --lora-alpha-pattern q_proj=2,v_proj=1,q_proj=2 pairs.ref
	refuse "is not below 2^53" dpo-train -m base.dpo --lora-r 8 --lora-alpha-pattern q_proj=12345678901234567 pairs.ref
	refuse "an empty name" dpo-train -m base.dpo --lora-r 8 --lora-target-modules q_proj,,v_proj pairs.ref
	refuse "makes a model" dpo-export -f peft --merge -a want.dpo -o work/x base.dpo
	refuse "fold it in with --merge" dpo-export -f hf -a want.dpo -o work/x base.dpo
	refuse "without -a" dpo-export -f hf --merge -o work/x base.dpo
	refuse "writes a directory" dpo-export -f peft -a want.dpo base.dpo
	run "$bin/dpo-train" -q -m base.dpo --lora-r 8 --lora-target-modules c_attn -o work/a pairs.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *'the model has no module "c_attn"'* ]]
	for key in rank alpha; do
		run "$bin/dpo-train" -q -m base.dpo --lora-r 8 --lora-$key-pattern q_proj=4,up_proj=2 -o work/a pairs.ref
		[ "$status" -eq 3 ]
		[[ "$output" == *"\"${key}_pattern\": no module with an adapter is a \"up_proj\""* ]]
	done
	run "$bin/dpo-train" -q -m base.dpo --lora-r 8 --lora-modules-to-save embed_tokens -o work/a pairs.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *'is tied to the head'* ]]
}
