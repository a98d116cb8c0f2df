#!/usr/bin/env bats
# Early stopping and the policy of the best evaluation, by Hugging Face's rules and names.

bats_require_minimum_version 1.5.0
load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 24
	# Held-out pairs of other stories: the model learns its 24 pairs by heart, and these get worse again.
	tail -12 "$story/heldout.jsonl" | "$bin/dpo-tok" -q -m base.dpo | "$bin/dpo-reflogp" -q -m base.dpo -o heldout.ref
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

train() { # OPTIONS...
	"$bin/dpo-train" -q -m base.dpo --learning-rate 5e-3 --lr-scheduler-type constant --batch-size 6 --num-train-epochs 30 \
		--eval heldout.ref --eval-steps 4 --logging-steps 3 --log log -o policy "$@" pairs.ref
}

# The log judged by the rules, written anew: the last step, and the best one.
judge() { # METRIC GREATER PATIENCE THRESHOLD
	python3 -c 'import json, math, sys
name, greater, patience, threshold = "eval_" + sys.argv[1], sys.argv[2] == "true", int(sys.argv[3]), float(sys.argv[4])
log = [json.loads(line) for line in open("log")]
best, at, worse, last = None, None, 0, None
for row in log:
	if name not in row:
		continue
	assert not (patience and worse >= patience), "went on after %d" % last
	value, last = row[name], row["step"]
	better = best is None or (value > best if greater else value < best)
	worse = 0 if best is None or better and abs(value - best) > threshold else worse + 1
	if better:
		best, at = value, row["step"]
stopped = bool(patience and worse >= patience)
assert stopped == (last < 120), (stopped, last)
line, = [row for row in log if "best_metric" in row]
assert line == {"metric_for_best_model": name, "best_metric": best, "best_step": at, "epoch": last / 4, "step": last}, (line, best, at)
steps = [row["step"] for row in log if "loss" in row]
assert steps == sorted(set(steps)) and steps[-1] == last, steps	# what remained of the window is logged at the stop
print(last, at)' "$@"
}

@test "it stops when patience is out, and the last window is logged" {
	train --early-stopping-patience 3
	read -r last at < <(judge loss false 3 0)
	echo "stopped after $last, best $at"
	[ "$last" -lt 120 ]
	[ "$at" -lt "$last" ]
	[ "$("$bin/dpo-cat" --header policy | grep -c '"settings":{.*"eval_steps":4,"early_stopping_patience":3')" -eq 1 ]
}

@test "a threshold stops earlier or at once; a metric where more is better" {
	train --early-stopping-patience 2 --early-stopping-threshold 10
	[ "$(judge loss false 2 10 | cut -d' ' -f1)" -eq 12 ]
	train --early-stopping-patience 3 --metric-for-best-model rewards/margins
	judge rewards/margins true 3 0
	train --early-stopping-patience 3 --metric-for-best-model eval_logps/chosen --greater-is-better false
	judge logps/chosen false 3 0
}

@test "the policy is that of the best evaluation, to the byte" {
	train --load-best-model-at-end
	read -r last at < <(judge loss false 0 0)
	echo "best $at of $last"
	[ "$at" -lt "$last" ]
	grep -v best_metric log > whole.log
	"$bin/dpo-eval" -q -m policy --format json heldout.ref | python3 -c 'import json, sys
report = json.load(sys.stdin)
line, = [row for row in map(json.loads, open("log")) if "best_metric" in row]
assert report["eval_loss"] == line["best_metric"], (report, line)'
	data policy > best
	train --max-steps "$at"		# the run up to there ends in the same weights
	data policy | cmp - best
	train				# and without the option the policy is the last one
	data policy > last
	run ! cmp -s last best
	cmp log whole.log
}

@test "both: stopped early, and the best written" {
	train --early-stopping-patience 2 --load-best-model-at-end
	read -r last at < <(judge loss false 2 0)
	[ "$last" -lt 120 ]
	best=$(sed -n 's/.*"best_metric":\([^,]*\),.*/\1/p' log)
	[ -n "$best" ]
	"$bin/dpo-eval" -q -m policy --format json heldout.ref | grep -q "\"eval_loss\":$best,"
}

# What --dry-run counts for it, of an adapter the adapter's part alone.
@test "the memory that it takes is said before the run" {
	for adapter in "" "--lora-r 32 --lora-target-modules all-linear"; do
		options="-m base.dpo --max-steps 1 --eval heldout.ref --eval-steps 1 --load-best-model-at-end $adapter"
		best=$("$bin/dpo-train" $options --dry-run pairs.ref | sed -n 's/.*"best": \([0-9]*\),.*/\1/p')
		run "$bin/dpo-train" $options -o policy pairs.ref
		echo "$output"
		[ "$status" -eq 0 ]
		[ "${lines[1]}" = "dpo-train: --load-best-model-at-end keeps a second copy of the trained weights: $(awk "BEGIN { printf \"%.1f\", $best / 1e6 }") MB" ]
	done
}

@test "usage errors: nothing to decide on, nothing to decide, an unknown metric" {
	bad() { # SAYS OPTIONS...
		says=$1; shift
		run "$bin/dpo-train" -q -m base.dpo "$@" -o no.dpo pairs.ref
		echo "$*: $status $output"
		[ "$status" -eq 2 ]
		[[ "$output" == *"$says"* ]]
		[ ! -e no.dpo ]
	}
	bad "need --eval FILE" --early-stopping-patience 2
	bad "need --eval FILE" --load-best-model-at-end --eval heldout.ref
	bad "without --early-stopping-patience" --early-stopping-threshold 1 --load-best-model-at-end --eval heldout.ref --eval-steps 2
	bad "without --early-stopping-patience" --metric-for-best-model loss --eval heldout.ref --eval-steps 2
	bad "without --early-stopping-patience" --greater-is-better true --eval heldout.ref --eval-steps 2
	bad 'no metric "eval_margins"' --metric-for-best-model margins --load-best-model-at-end --eval heldout.ref --eval-steps 2
	bad 'no metric "eval_grad_norm"' --metric-for-best-model grad_norm --load-best-model-at-end --eval heldout.ref --eval-steps 2
}
