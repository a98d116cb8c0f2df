#!/usr/bin/env bats
# dpo-train: the same bytes whatever the company, what lr 0 shows, log and evaluation, what it refuses.

load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 24
	head -10 "$story/heldout.jsonl" | "$bin/dpo-tok" -q -m base.dpo | "$bin/dpo-reflogp" -q -m base.dpo -o heldout.ref
	"$bin/dpo-train" -q -j 1 -m base.dpo --learning-rate 1e-3 --batch-size 5 --num-train-epochs 2 --logging-steps 3 \
		--eval heldout.ref --eval-steps 4 --log policy.log -o policy.dpo pairs.ref
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	common="-q -m base.dpo --learning-rate 1e-3 --batch-size 5 --num-train-epochs 2 --logging-steps 3 --eval heldout.ref --eval-steps 4"
}

@test "the same command twice, other thread counts, a pipe: the same policy and log" {
	for threads in 1 2 3; do
		"$bin/dpo-train" $common -j $threads --log again.log -o again.dpo pairs.ref
		cmp policy.dpo again.dpo
		cmp policy.log again.log
	done
	cat pairs.ref | "$bin/dpo-train" $common --log again.log | cat > again.dpo
	cmp policy.dpo again.dpo
	cmp policy.log again.log
}

@test "it learns: the loss falls and the policy is another model" {
	"$bin/dpo-train" -q -m base.dpo --learning-rate 1e-2 --num-train-epochs 8 --logging-steps 1 --log l.log -o l.dpo pairs.ref
	python3 -c 'import json
log = [json.loads(line) for line in open("l.log")]
assert log[0]["loss"] == 0.6931471824645996, log[0]
assert log[-1]["loss"] < 0.5 and log[-1]["rewards/accuracies"] == 1, log[-1]'
	data l.dpo > l.data
	data base.dpo > base.data
	! cmp -s l.data base.data || return 1
}

@test "the log: steps, epochs, keys in TRL's names, evaluation lines" {
	python3 -c 'import json
log = [json.loads(line) for line in open("policy.log")]
train, held = [x for x in log if "loss" in x], [x for x in log if "eval_loss" in x]
assert [x["step"] for x in train] == [3, 6, 9, 10], train	# every 3 steps, and the last
assert [x["epoch"] for x in train] == [0.6, 1.2, 1.8, 2]
assert [x["step"] for x in held] == [4, 8, 10] and len(log) == 7
assert list(train[0]) == ["loss", "grad_norm", "learning_rate", "rewards/chosen", "rewards/rejected",
	"rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected",
	"entropy", "mean_token_accuracy", "num_tokens", "epoch", "step"]
assert [round(x["learning_rate"], 12) for x in train] == [0.0008, 0.0005, 0.0002, 0.0001]'
}

@test "shares of all steps, the first step's line, an evaluation before it: when transformers' Trainer has them" {
	shares="--logging-steps 0.25 --eval-steps 0.35"	# of 10: every 3rd, every 4th
	"$bin/dpo-train" $common $shares --log again.log -o again.dpo pairs.ref
	cmp policy.log again.log
	"$bin/dpo-train" $common $shares --logging-first-step --eval-on-start --log again.log -o again.dpo pairs.ref
	python3 -c 'import json
log = [json.loads(line) for line in open("again.log")]
assert [x["step"] for x in log if "loss" in x] == [1, 3, 6, 9, 10]
held = [x for x in log if "eval_loss" in x]
assert [x["step"] for x in held] == [0, 4, 8, 10]
assert log[0] == held[0] and held[0]["epoch"] == 0 and abs(held[0]["eval_loss"] - 0.6931471824645996) < 1e-6'
	diff <("$bin/dpo-cat" --data policy.dpo | grep -v '"header"\|"end"') <("$bin/dpo-cat" --data again.dpo | grep -v '"header"\|"end"')
}

@test "the last evaluation is what dpo-eval prints of the policy" {
	"$bin/dpo-eval" -q -m policy.dpo --format json heldout.ref | python3 -c 'import json, sys
report = json.load(sys.stdin)
last = [json.loads(line) for line in open("policy.log")][-1]
common = [key for key in last if key.startswith("eval_")]
assert len(common) == 11
for key in common:
	assert last[key] == report[key], key'
}

@test "2 x 4 rows are 8 rows; no more than a tree of groups moves bits" {
	args="-q -m base.dpo --learning-rate 1e-3 --num-train-epochs 1 --logging-steps 1"
	"$bin/dpo-train" $args --batch-size 8 --log 8.log -o 8.dpo pairs.ref
	"$bin/dpo-train" $args --batch-size 4 --gradient-accumulation-steps 2 --log 24.log -o 24.dpo pairs.ref
	cmp 8.dpo 24.dpo
	cmp 8.log 24.log
	# groups sum in another order, but to the same within rounding
	"$bin/dpo-train" $args -j 1 --batch-size 8 --grad-slots 3 --log s1.log -o s1.dpo pairs.ref
	"$bin/dpo-train" $args -j 2 --batch-size 8 --grad-slots 3 --log s2.log -o s2.dpo pairs.ref
	cmp s1.dpo s2.dpo
	python3 -c 'import json
for a, b in zip(open("8.log"), open("s1.log")):
	a, b = json.loads(a), json.loads(b)
	assert all(abs(a[k] - b[k]) <= 1e-5 * max(1, abs(a[k])) for k in a), (a, b)'
}

@test "order: shuffled by seed, or as the data come" {
	args="-q -m base.dpo --num-train-epochs 2 --batch-size 1 --logging-steps 1 --learning-rate 0"
	"$bin/dpo-train" $args --order sequential --log seq.log -o o.dpo pairs.ref
	"$bin/dpo-train" $args --seed 1 --log s1.log -o o.dpo pairs.ref
	"$bin/dpo-train" $args --seed 2 --log s2.log -o o.dpo pairs.ref
	logged seq.log logps/chosen > seq; logged s1.log logps/chosen > s1; logged s2.log logps/chosen > s2
	cmp <(head -24 seq) <(tail -24 seq)			# both epochs alike
	! cmp -s <(head -24 s1) <(tail -24 s1) || return 1			# each epoch its own order
	! cmp -s s1 s2 || return 1
	cmp <(head -24 seq | sort) <(head -24 s1 | sort)	# a permutation
	cmp <(head -24 seq | sort) <(tail -24 s1 | sort)
}

@test "learning rate 0: every reward is 0; a stored log-prob moved by 1e-3 moves that pair's reward alone" {
	args="-q -m base.dpo --num-train-epochs 2 --batch-size 1 --logging-steps 1 --learning-rate 0 --order sequential"
	"$bin/dpo-train" $args --log zero.log -o o.dpo pairs.ref
	[ "$(logged zero.log rewards/chosen | sort -u | tr -d -)" = 0 ]
	[ "$(logged zero.log rewards/rejected | sort -u | tr -d -)" = 0 ]
	[ "$(logged zero.log rewards/margins | sort -u | tr -d -)" = 0 ]
	[ "$(logged zero.log loss | sort -u)" = 0.6931471824645996 ]
	"$bin/dpo-cat" pairs.ref | python3 -c 'import json, sys
for number, line in enumerate(sys.stdin):
	row = json.loads(line)
	if number == 7:
		row["ref_chosen_logps"][2] += 1e-3
		line = json.dumps(row) + "\n"
	sys.stdout.write(line)' | "$bin/dpo-cat" -z -o moved.ref
	"$bin/dpo-train" $args --log moved.log -o o.dpo moved.ref
	python3 -c 'import json
for number, row in enumerate(row for row in map(json.loads, open("moved.log")) if "loss" in row):
	if number % 24 == 6:
		assert abs(row["rewards/chosen"] + 1e-4) < 1e-6 and row["loss"] != 0.6931471824645996, row
	else:
		assert row["rewards/chosen"] == row["rewards/rejected"] == 0 and row["loss"] == 0.6931471824645996, row'
}

@test "weights and wrong labels of rows" {
	rows() { # WEIGHT LABEL_PROB [OPTIONS...]: all pairs with these
		"$bin/dpo-cat" pairs.ref | sed -E "s/\"weight\":1([,}])/\"weight\":$1\\1/; s/\"label_prob\":1([,}])/\"label_prob\":$2\\1/" | "$bin/dpo-cat" -z -o w.ref
		"$bin/dpo-train" -q -m base.dpo --num-train-epochs 1 --batch-size 24 --logging-steps 1 --log w.log -o o.dpo "${@:3}" w.ref
	}
	rows 1 1; norm=$(logged w.log grad_norm)
	rows 2 1
	[ "$(logged w.log loss)" = 1.3862943649291992 ]
	python3 -c "assert abs($(logged w.log grad_norm) / $norm - 2) < 1e-5"
	rows 1 0.5	# as likely right as wrong: nothing to learn
	[ "$(logged w.log loss)" = 0.6931471824645996 ]
	python3 -c "assert $(logged w.log grad_norm) < 1e-6"
	rows 1 0	# all wrong: the same gradient the other way
	python3 -c "assert abs($(logged w.log grad_norm) / $norm - 1) < 1e-5"
	for wrong in 1 0; do
		rows 1 $wrong --learning-rate 1e-3 --num-train-epochs 4
		logged w.log rewards/margins | tail -1 > margin.$wrong
	done
	python3 -c 'assert float(open("margin.1").read()) > 0.01 and float(open("margin.0").read()) < -0.01'
}

@test "sft on pairs and on supervised rows" {
	"$bin/dpo-train" -q -m base.dpo --loss-type sft --max-steps 2 --logging-steps 1 --log s.log -o s.dpo pairs.tok
	[ "$(logged s.log rewards/chosen | sort -u)" = None ]
	[ "$(logged s.log logps/rejected | grep -c None)" -eq 0 ]
	"$bin/dpo-train" -q -m base.dpo --loss-type sft --max-steps 2 --logging-steps 1 --log t.log -o s.dpo text.tok
	[ "$(logged t.log logps/rejected | sort -u)" = None ]
	run "$bin/dpo-train" -q -m base.dpo -o no.dpo text.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *"needs pairs"* ]]
	[ ! -e no.dpo ]
}

@test "--init: the seed makes the weights" {
	for seed in 1 1 2; do
		"$bin/dpo-train" -q --init tiny/config.json --seed $seed --loss-type sft --learning-rate 0 --max-steps 1 -o i.dpo text.tok
		data i.dpo | sha256sum
	done | uniq -c | awk '{ print $1 }' | tr '\n' ' ' | grep -qx '2 1 '
}

@test "refused: no reference, another reference, another tokenizer, and how it is allowed" {
	run "$bin/dpo-train" -q -m base.dpo -o no.dpo pairs.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *"run dpo-reflogp"* ]]
	run "$bin/dpo-train" -q -m policy.dpo -o no.dpo pairs.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *"--other-reference"* ]]
	"$bin/dpo-train" -q -m policy.dpo --other-reference --max-steps 1 -o other.dpo pairs.ref
	"$bin/dpo-cat" pairs.ref | sed '1s/"tokenizer":"[0-9a-f]\{8\}/"tokenizer":"00000000/g' | "$bin/dpo-cat" -z -o t.ref
	run "$bin/dpo-train" -q -m base.dpo --other-reference -o no.dpo t.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *"another tokenizer"* ]]
	[ ! -e no.dpo ]
}

@test "an output that has no place is found before anything is read" {
	mkfifo never
	exec 7<> never	# ends only with this test
	for option in -o --checkpoint --log; do
		run timeout 20 "$bin/dpo-train" -q -m base.dpo -o new.dpo $option nowhere/file <&7
		echo "$output"
		[ "$status" -eq 1 ]
		[ "$output" = "dpo-train: nowhere/file: No such file or directory" ]
	done
	[ ! -e new.dpo ]
	exec 7>&-
	for option in --checkpoint --log; do
		run "$bin/dpo-train" -q -m base.dpo $option - pairs.ref
		[ "$status" -eq 2 ]
		[[ "$output" == *"standard output is for the policy"* ]]
	done
}

@test "without a log an evaluation's loss is told on standard error" {
	args="-m base.dpo --max-steps 3 --eval heldout.ref --eval-steps 2 -o e.dpo"
	"$bin/dpo-train" $args pairs.ref 2> said
	[ "$(grep -cE '^dpo-train: evaluation after step [23]: loss 0\.[0-9]{4}$' said)" -eq 2 ]
	"$bin/dpo-train" $args --log e.log pairs.ref 2> said
	! grep 'evaluation after' said || return 1
}

@test "rewards that are measured from another model than the start: a warning where the loss reads no reference" {
	for loss in simpo orpo sft; do
		for options in "" "--max-memory 1GB"; do
			"$bin/dpo-train" -q -m policy.dpo --loss-type $loss $options --max-steps 1 --eval heldout.ref -o w.dpo pairs.ref 2> said
			cat said
			[ "$(grep -c ': the reference is model .*: rewards are measured from it' said)" -eq 2 ]
			grep -q '^dpo-train: warning: pairs.ref: ' said
		done
		"$bin/dpo-train" -q -m base.dpo --loss-type $loss --max-steps 1 -o w.dpo pairs.ref 2> said
		[ ! -s said ]
	done
	"$bin/dpo-train" -q -m policy.dpo --reference-free --max-steps 1 -o w.dpo pairs.ref 2> said
	[ ! -s said ]
}

@test "usage errors" {
	while IFS='	' read -r says options; do
		run "$bin/dpo-train" -q $options pairs.ref < /dev/null
		echo "$options: $status $output"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == "dpo-train: "*"$says"* ]]
	done <<-'END'
		give either -m MODEL or --init CONFIG
		give either -m MODEL or --init CONFIG	-m base.dpo --init tiny/config.json
		--beta: -1 is not within	-m base.dpo --beta -1
		no loss "dpo"	-m base.dpo --loss-type dpo
		--max-steps: 0	-m base.dpo --max-steps 0
		--warmup-steps has no effect	-m base.dpo --lr-scheduler-type constant --warmup-steps 3
		--max-time needs --checkpoint	-m base.dpo --max-time 5
		--restart needs --checkpoint	-m base.dpo --restart
		--save-steps needs --checkpoint	-m base.dpo --save-steps 500
		--eval-steps needs --eval	-m base.dpo --eval-steps 2
		--eval-on-start needs --eval	-m base.dpo --eval-on-start
		--logging-steps needs --log	-m base.dpo --logging-steps 10
		--logging-first-step needs --log	-m base.dpo --logging-first-step
		--logging-steps: 2.5 is neither	-m base.dpo --logging-steps 2.5 --log x
		--ref-model-sync-steps needs --sync-ref-model	-m base.dpo --ref-model-sync-steps 512
		--other-reference: the loss reads no reference	-m base.dpo --loss-type sft --other-reference
		--other-reference: the loss reads no reference	-m base.dpo --reference-free --other-reference
		pairs.ref: is an input	-m base.dpo -o pairs.ref
		base.dpo: is an input	-m base.dpo -o base.dpo
		pairs.ref: is an input	-m base.dpo --log pairs.ref
		heldout.ref: is an input	-m base.dpo --checkpoint heldout.ref --eval heldout.ref
		x: is named for two outputs	-m base.dpo --log x -o x
	END
	"$bin/dpo-cat" --check pairs.ref
}

@test "an option without effect on the schedule or optimizer chosen is a usage error, as is one that is missing" {
	bad() { # OPTIONS...: refused, and what is said names the first option
		run "$bin/dpo-train" -q -m base.dpo "$@" pairs.ref
		echo "$*: $status ${lines[0]}"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == *"$1"* ]]
	}
	bad --power 1
	bad --warmup-steps 0 --lr-scheduler-type constant
	bad --min-lr 0 --lr-scheduler-type cosine
	bad --num-cycles 1 --lr-scheduler-type polynomial
	bad --timescale 5 --lr-scheduler-type constant_with_warmup
	bad --decay-type linear --lr-scheduler-type cosine
	for type in linear 1-sqrt; do
		bad --num-cycles 1 --lr-scheduler-type warmup_stable_decay --num-decay-steps 2 --decay-type $type
	done
	bad --momentum 0
	bad --adam-beta1 0.9 --optim rmsprop
	bad --rmsprop-alpha 0.99 --optim adafactor
	bad --min-lr 1 --lr-scheduler-type cosine_with_min_lr
	bad --lr-end 1 --lr-scheduler-type polynomial
	run "$bin/dpo-train" -q -m base.dpo --lr-scheduler-type cosine_with_min_lr pairs.ref
	[ "$status" -eq 2 ]
	[[ "$output" == *"one of --min-lr and --min-lr-rate"* ]]
	run "$bin/dpo-train" -q -m base.dpo --lr-scheduler-type cosine_with_min_lr --min-lr 0 --min-lr-rate 0 pairs.ref
	[ "$status" -eq 2 ]
	run "$bin/dpo-train" -q -m base.dpo --lr-scheduler-type warmup_stable_decay pairs.ref
	[ "$status" -eq 2 ]
	[[ "$output" == *"--num-decay-steps"* ]]
}

@test "every schedule moves the learning rate as its formula says" {
	rates() { # OPTIONS...: of eight steps
		"$bin/dpo-train" -q -m base.dpo --learning-rate 1e-3 --batch-size 3 --num-train-epochs 1 --logging-steps 1 --log r.log \
			-o r.dpo "$@" pairs.ref
		python3 -c 'import json
print(*(format(1e3 * json.loads(line)["learning_rate"], ".4f") for line in open("r.log")))'
	}
	[ "$(rates --lr-scheduler-type warmup_stable_decay --num-decay-steps 4 --decay-type linear --min-lr-ratio 0.2)" = \
		"1.0000 1.0000 1.0000 1.0000 1.0000 0.8000 0.6000 0.4000" ]
	[ "$(rates --lr-scheduler-type linear)" = "1.0000 0.8750 0.7500 0.6250 0.5000 0.3750 0.2500 0.1250" ]
	[ "$(rates --lr-scheduler-type constant)" = "1.0000 1.0000 1.0000 1.0000 1.0000 1.0000 1.0000 1.0000" ]
	[ "$(rates --lr-scheduler-type constant_with_warmup --warmup-steps 2)" = "0.0000 0.5000 1.0000 1.0000 1.0000 1.0000 1.0000 1.0000" ]
	[ "$(rates --lr-scheduler-type cosine)" = "1.0000 0.9619 0.8536 0.6913 0.5000 0.3087 0.1464 0.0381" ]
	[ "$(rates --lr-scheduler-type cosine --num-cycles 1)" = "1.0000 0.8536 0.5000 0.1464 0.0000 0.1464 0.5000 0.8536" ]
	[ "$(rates --lr-scheduler-type cosine_with_restarts --num-cycles 2)" = "1.0000 0.8536 0.5000 0.1464 1.0000 0.8536 0.5000 0.1464" ]
	[ "$(rates --lr-scheduler-type cosine_with_min_lr --min-lr-rate 0.2)" = "1.0000 0.9696 0.8828 0.7531 0.6000 0.4469 0.3172 0.2304" ]
	[ "$(rates --lr-scheduler-type inverse_sqrt --timescale 4)" = "1.0000 0.8944 0.8165 0.7559 0.7071 0.6667 0.6325 0.6030" ]
	[ "$(rates --lr-scheduler-type cosine_with_min_lr --min-lr 2e-4)" = "1.0000 0.9696 0.8828 0.7531 0.6000 0.4469 0.3172 0.2304" ]
	[ "$(rates --lr-scheduler-type polynomial --power 2 --lr-end 1e-4)" = "1.0000 0.7891 0.6063 0.4516 0.3250 0.2266 0.1562 0.1141" ]
	[ "$(rates --lr-scheduler-type inverse_sqrt --warmup-steps 2)" = "0.0000 0.5000 1.0000 0.8165 0.7071 0.6325 0.5774 0.5345" ]
	[ "$(rates --lr-scheduler-type warmup_stable_decay --num-decay-steps 4 --decay-type linear)" = \
		"1.0000 1.0000 1.0000 1.0000 1.0000 0.7500 0.5000 0.2500" ]
	"$bin/dpo-cat" --header r.dpo | grep -q '"lr_scheduler_type":"warmup_stable_decay".*"num_decay_steps":4.*"decay_type":"linear"'
}

@test "--formula prints optimizers and schedules" {
	[ "$("$bin/dpo-train" --formula optim | grep -c '^  source')" -eq 4 ]
	"$bin/dpo-train" --formula rmsprop | grep -qx -- '  options     --weight-decay --rmsprop-alpha --rmsprop-epsilon'
	[ "$("$bin/dpo-train" --formula lr-scheduler-type | grep -c '^  factor')" -eq 9 ]
	"$bin/dpo-train" --formula polynomial | grep -qx -- '  options     --warmup-steps --lr-end --power'
}

@test "every number of an optimizer reaches it" {
	train() { # OPTIONS...: the records of three steps' policy, into `weights`
		"$bin/dpo-train" -q -m base.dpo --learning-rate 1e-3 --max-steps 3 -o n.dpo "$@" pairs.ref
		data n.dpo > weights
	}
	while read -r optim option value; do
		train --optim $optim
		mv weights usual
		train --optim $optim --$option $value
		echo "$optim --$option $value"
		! cmp -s usual weights || return 1
		"$bin/dpo-cat" --header n.dpo | grep -q "\"${option//-/_}\":$value[,}]"
	done <<-'END'
		adamw adam-beta1 0.5
		adamw adam-beta2 0.9
		adamw adam-epsilon 0.01
		rmsprop rmsprop-alpha 0.5
		rmsprop rmsprop-epsilon 0.01
		sgd momentum 0.5
		sgd weight-decay 0.5
	END
}

@test "rows that are cut or damaged, to train on or to evaluate on: no policy, no log" {
	size=$(stat -c %s pairs.ref)
	head -c $((size - 3)) pairs.ref > cut.ref
	head -c $((size / 2)) pairs.ref > half.ref
	(head -c $((size / 2)) pairs.ref; printf 'x'; tail -c +$((size / 2 + 2)) pairs.ref) > spoilt.ref
	mkdir none
	for bad in cut half spoilt; do
		for rows in "$bad.ref" "--eval $bad.ref pairs.ref"; do
			run "$bin/dpo-train" -q -m base.dpo --max-steps 2 --log none/log --checkpoint none/c -o none/policy $rows
			echo "$rows: $status $output"
			[ "$status" -eq 3 ]
			[[ "$output" == "dpo-train: $bad.ref: "* ]]
			[ -z "$(ls -A none)" ]
		done
		run "$bin/dpo-train" -q -m base.dpo --max-steps 2 --log none/log -o none/policy < $bad.ref
		[ "$status" -eq 3 ]
		[ -z "$(ls -A none)" ]
	done
}

@test "every optimizer learns" {
	for optim in "adamw --learning-rate 1e-2" "rmsprop --learning-rate 1e-2" "sgd --learning-rate 1" \
		"sgd --momentum 0.9 --learning-rate 0.3" "adafactor --learning-rate 1e-2"; do
		"$bin/dpo-train" -q -m base.dpo --optim $optim --num-train-epochs 8 --log l.log -o l.dpo pairs.ref
		echo "$optim: $(tail -1 l.log)"
		python3 -c 'import json
last = [row for row in map(json.loads, open("l.log")) if "loss" in row][-1]
assert last["loss"] < 0.6 and last["rewards/accuracies"] > 0.9, last'
		"$bin/dpo-cat" --header l.dpo | grep -q "\"optim\":\"${optim%% *}\""
	done
	[ "$("$bin/dpo-cat" --header l.dpo | sed 's/.*"optim"//' | grep -c adam_beta1)" -eq 0 ]	# in the last stage
}

@test "a run that diverges stops, names the step, and leaves no policy" {
	run "$bin/dpo-train" -q -m base.dpo --learning-rate 1e6 --weight-decay 1 --max-grad-norm 0 -o no.dpo pairs.ref
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" == *": step "[2-9]": "*'record "'* ]]
	[ ! -e no.dpo ]
}

@test "an unknown column changes no weight" {
	"$bin/dpo-cat" pairs.ref | python3 -c 'import json, sys
for line in sys.stdin:
	row = json.loads(line)
	if "header" in row:
		row["header"]["columns"].append(["score", "f32"])
	elif "end" not in row:
		row["score"] = 0.5
	print(json.dumps(row))' | "$bin/dpo-cat" -z -o more.ref
	"$bin/dpo-train" $common --log again.log -o again.dpo more.ref
	data policy.dpo > policy.data
	data again.dpo | cmp - policy.data
	cmp policy.log again.log
}

@test "a sanitized build gives the same bits: log-probs, log and policy" {
	[ -x "$bin/asan/dpo-train" ] || skip "not built: make sanitized"
	for build in "$bin" "$bin/asan"; do
		"$build/dpo-reflogp" -q -m base.dpo -o again.ref pairs.tok
		cmp pairs.ref again.ref
		"$build/dpo-train" $common --log again.log -o again.dpo pairs.ref
		cmp policy.log again.log
		cmp policy.dpo again.dpo
	done
}
