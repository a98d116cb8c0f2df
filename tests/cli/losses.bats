#!/usr/bin/env bats
# dpo-train's losses: number for number against TRL and PyTorch (testdata/golden/losses), and what is refused.

load tiny

setup_file() {
	export golden="$BATS_TEST_DIRNAME/../../testdata/golden/losses" check="$BATS_TEST_DIRNAME/../golden_losses.py"
	export PYTHONDONTWRITEBYTECODE=1
	cd "$BATS_FILE_TMPDIR"
	make_tiny 16
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

@test "every loss, f-divergence, ld_alpha and WPO that TRL runs: its first three steps" {
	python3 "$check" "$golden/trl.json" "$bin" "$story"
}

@test "the losses TRL lacks, margins and kept columns, reference-free: an independent form in PyTorch" {
	python3 "$check" "$golden/more-extra.json" "$bin" "$story"
}

@test "label_prob and weight of each row: an independent form in PyTorch" {
	python3 "$check" "$golden/more-labels.json" "$bin" "$story"
}

@test "a wrong number in a golden log and a run that should have been refused are seen" {
	python3 - "$golden/more-labels.json" <<-'END'
		import json, sys
		golden = json.load(open(sys.argv[1]))
		golden["cases"] = golden["cases"][:1]
		golden["cases"][0]["log"][2]["loss"] += 5e-5
		json.dump(golden, open("wrong.json", "w"))
		golden["cases"][0] = {"arguments": golden["cases"][0]["arguments"], "refused": "no"}
		json.dump(golden, open("refused.json", "w"))
	END
	run python3 "$check" wrong.json "$bin" "$story"
	[ "$status" -eq 1 ]
	[[ "$output" == *"step 3: loss is"* ]]
	run python3 "$check" refused.json "$bin" "$story"
	[ "$status" -eq 1 ]
	[[ "$output" == *"not refused"* ]]
}

@test "accumulation 2 of 4 rows is the bytes of 8, also for losses of the whole batch" {
	for loss in sigmoid sft aot aot_unpaired,sft; do
		args="-q -m base.dpo --loss-type $loss --learning-rate 1e-3 --num-train-epochs 1 --logging-steps 1"
		"$bin/dpo-train" $args --batch-size 8 --log one.log -o one.dpo pairs.ref
		"$bin/dpo-train" $args --batch-size 4 --gradient-accumulation-steps 2 --log two.log -o two.dpo pairs.ref
		cmp one.dpo two.dpo
		cmp one.log two.log
	done
}

@test "losses of the whole batch: any number of threads, and killed and resumed, the same bytes" {
	args="-q -m base.dpo --loss-type aot,sigmoid --learning-rate 1e-3 --batch-size 8 --logging-steps 1"
	"$bin/dpo-train" $args -j 1 --log one.log -o one.dpo pairs.ref
	"$bin/dpo-train" $args -j 3 --log two.log -o two.dpo pairs.ref
	cmp one.dpo two.dpo
	cmp one.log two.log
	run "$bin/dpo-train" $args --checkpoint c.ckpt --max-time 0.0000001 --log two.log -o two.dpo pairs.ref
	[ "$status" -eq 75 ]
	"$bin/dpo-train" $args --checkpoint c.ckpt --log two.log -o two.dpo pairs.ref
	cmp one.dpo two.dpo
	cmp one.log two.log
}

@test "the evaluation at the end is what dpo-eval prints with the same options" {
	for options in "--loss-type ipo,sft --loss-weights 1,0.5" "--loss-type aot --label-smoothing 0.1" "--loss-type dpop --ld-alpha 0.3 --beta 0.2"; do
		"$bin/dpo-train" -q -m base.dpo $options --learning-rate 1e-3 --max-steps 2 --eval pairs.ref --log e.log -o e.dpo pairs.ref
		"$bin/dpo-eval" -q -m e.dpo $options --format json pairs.ref | python3 -c 'import json, sys
report, last = json.load(sys.stdin), [json.loads(line) for line in open("e.log") if "eval_loss" in line][-1]
for key in last:
	assert not key.startswith("eval_") or last[key] == report[key], (key, last[key], report[key])'
	done
}

@test "an option without effect on the loss is a usage error that names both" {
	while read -r loss option; do
		run "$bin/dpo-train" -q -m base.dpo --loss-type $loss $option pairs.ref
		echo "$loss $option: $output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"${option%% *}"* && "$output" == *"$loss"* ]]
	done <<-END
		sigmoid --label-smoothing 0.1
		sigmoid --discopop-tau 1
		sigmoid --simpo-gamma 1
		sft --ld-alpha 0.5
		sft --f-divergence-type js_divergence
		bco_pair --f-divergence-type js_divergence
		aot --use-weighting
		sft --use-weighting
		simpo --reference-free
		ipo --beta 0
		modpo --objective x=1.5
		exo_pair --label-smoothing 0
		robust --label-smoothing 0.5
	END
	while IFS='	' read -r says options; do
		run "$bin/dpo-train" -q -m base.dpo $options pairs.ref < /dev/null
		echo "$options: $status $output"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == "dpo-train: "*"$says"* ]]
	done <<-'END'
		no loss "nope"	--loss-type sigmoid,nope
		--loss-weights: 1 for 2 losses	--loss-type sigmoid,sft --loss-weights 1
		--loss-type: "" is not an item	--loss-type ,
		modpo needs --objective	--loss-type modpo
		--f-alpha-divergence-coef has no effect	--f-alpha-divergence-coef 2
		"x" is not NAME=WEIGHT	--loss-type modpo --objective x
		--formula: there is no loss "nope"	--formula nope
	END
}

@test "a label_prob is for losses of a difference alone, a weight not for those that sort" {
	for column in label_prob:0.7 weight:2; do
		"$bin/dpo-cat" pairs.ref | sed -E "2,\$s/\"${column%:*}\":1([,}])/\"${column%:*}\":${column#*:}\\1/" | "$bin/dpo-cat" -q -z -o ${column%:*}.ref
	done
	takes() { # COLUMN LOSS OPTIONS...
		"$bin/dpo-train" -q -m base.dpo --loss-type "${@:2}" --max-steps 1 -o taken.dpo $1.ref
	}
	refuses() { # COLUMN TEXT LOSS OPTIONS...
		run "$bin/dpo-train" -q -m base.dpo --loss-type "${@:3}" --max-steps 1 -o refused.dpo $1.ref
		echo "${*:3}: $status $output"
		[ "$status" -eq 3 ]
		[[ "$output" == "dpo-train: $1.ref: record "*"$2"* ]]
		[ ! -e refused.dpo ]
	}
	difference="sigmoid hinge ipo robust discopop sigmoid_norm cdpo ipo_sum"
	other="apo_down apo_zero aot aot_unpaired bco_pair dpop nca_pair odpo orpo sft simpo sppo_hard"
	[ "$(printf '%s\n' $difference $other exo_pair modpo | sort)" = "$("$bin/dpo-train" --formula all | grep -oE '^[a-z_]+$' | sort)" ]
	for loss in $difference; do takes label_prob $loss; done
	takes label_prob exo_pair --label-smoothing 0.1
	for loss in $other; do refuses label_prob '"label_prob" is 0.7, which the loss cannot use' $loss; done
	refuses label_prob '"label_prob" is 0.7' modpo --objective margin=0.1
	refuses label_prob '"label_prob" is 0.7' sigmoid,sft
	takes weight sft
	for loss in aot aot_unpaired sigmoid,aot; do refuses weight '"weight" is 2, but the loss sorts' $loss; done
}

@test "an objective named twice is a usage error: the policy's header could not hold it" {
	"$bin/dpo-cat" pairs.ref | sed '1s/\["label_prob"/["m","f32"],&/; 2,$s/"label_prob"/"m":1,&/' | "$bin/dpo-cat" -q -z -o kept.ref
	"$bin/dpo-train" -q -m base.dpo --loss-type modpo --objective m=0.2 --max-steps 1 -o kept.dpo kept.ref
	run "$bin/dpo-train" -q -m base.dpo --loss-type modpo --objective m=0.2 --objective m=0.3 -o twice.dpo kept.ref
	[ "$status" -eq 2 ]
	[[ "$output" == *'--objective: "m" appears twice'* ]]
	[ ! -e twice.dpo ]
}

@test "ld_alpha acts on orpo alone as in a sum, and on both of its terms" {
	"$bin/dpo-eval" -q -m base.dpo --loss-type orpo --ld-alpha 0.5 --format json pairs.ref > alone.json
	"$bin/dpo-eval" -q -m base.dpo --loss-type orpo,sigmoid --loss-weights 1,0 --ld-alpha 0.5 --format json pairs.ref > sum.json
	"$bin/dpo-cat" pairs.ref | sed '1d;$d' | python3 -c 'import json, math, sys
total, rows = 0, list(map(json.loads, sys.stdin))
def odds(mean): return mean - math.log1p(-math.exp(mean))
for row in rows:
	logps = [row["ref_chosen_logps"], row["ref_rejected_logps"]]
	shared = min(map(len, logps))
	c, r = ((sum(l[:shared]) + 0.5 * sum(l[shared:])) / len(l) for l in logps)
	total += -c + 0.1 * math.log1p(math.exp(-(odds(c) - odds(r))))
for name in ("alone", "sum"):
	loss = json.load(open(name + ".json"))["eval_loss"]
	assert math.isclose(loss, total / len(rows), rel_tol=1e-5), (name, loss, total / len(rows))'
}

@test "--formula prints a loss, all of them with all" {
	"$bin/dpo-train" --formula robust | grep -q -- '--label-smoothing'
	[ "$("$bin/dpo-train" --formula all | grep -c '^  source')" -eq 22 ]
}

@test "a divergence out of range stops the run, naming step and record" {
	"$bin/dpo-cat" pairs.ref | python3 -c 'import json, sys
for line in sys.stdin:
	row = json.loads(line)
	if "ref_chosen_logps" in row and row["id"] == "train-3":
		row["ref_chosen_logps"] = [x + 40 for x in row["ref_chosen_logps"]]
	print(json.dumps(row))' | "$bin/dpo-cat" -q -z -o far.ref
	run "$bin/dpo-train" -q -m base.dpo --f-divergence-type forward_kl --order sequential --batch-size 2 -o far.dpo far.ref
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" == *'step 2: record "train-3": forward_kl of log-ratio'* ]]
	[ ! -e far.dpo ]
	"$bin/dpo-train" -q -m base.dpo --f-divergence-type js_divergence --order sequential --batch-size 2 -o far.dpo far.ref
}

@test "what the rows lack is said: reference, margins, kept columns, pairs; weights where pairs are sorted" {
	run "$bin/dpo-train" -q -m base.dpo pairs.tok
	[ "$status" -eq 3 ]
	"$bin/dpo-train" -q -m base.dpo --reference-free --max-steps 1 -o free.dpo pairs.tok
	"$bin/dpo-train" -q -m base.dpo --loss-type simpo --max-steps 1 -o free.dpo pairs.tok
	run "$bin/dpo-train" -q -m base.dpo --loss-type odpo pairs.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *margin* ]]
	run "$bin/dpo-train" -q -m base.dpo --loss-type modpo --objective kind=0.5 pairs.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *"--keep kind:f32"* ]]
	run "$bin/dpo-train" -q -m base.dpo --loss-type orpo text.tok
	[ "$status" -eq 3 ]
	head -4 "$story/train.jsonl" | sed 's/^{/{"weight":2,/' | "$bin/dpo-tok" -q -m base.dpo |
		"$bin/dpo-reflogp" -q -m base.dpo -o heavy.ref
	run "$bin/dpo-train" -q -m base.dpo --loss-type aot heavy.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *'record "train-1": "weight" is 2'* ]]
	run "$bin/dpo-eval" -q -m base.dpo --loss-type aot heavy.ref
	[ "$status" -eq 3 ]
}
