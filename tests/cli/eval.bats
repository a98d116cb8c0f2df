#!/usr/bin/env bats
# dpo-eval: its numbers against the streams they come from, its formats, and whose reference it takes.

load tiny

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	make_tiny 24
	"$bin/dpo-train" -q -m base.dpo --learning-rate 3e-3 --num-train-epochs 2 -o policy.dpo pairs.ref
}

setup() {
	cd "$BATS_FILE_TMPDIR"
}

value() { # NAME, of a tsv report on standard input
	awk -F '\t' -v name="$1" '$1 == name { print $2 }'
}

@test "every number is what the log-probs of policy and reference say" {
	"$bin/dpo-reflogp" -q -m policy.dpo -o policy.ref pairs.tok
	"$bin/dpo-eval" -q -m policy.dpo --beta 0.3 --format json pairs.ref > report.json
	for name in pairs policy; do
		paste <(column $name.ref ref_chosen_logps) <(column $name.ref ref_rejected_logps) > $name.logps
	done
	python3 -c 'import json, math
read = lambda name: [[sum(json.loads(x)) for x in line.split("\t")] for line in open(name)]
ref, policy, beta = read("pairs.logps"), read("policy.logps"), 0.3
ratios = [(p[0] - r[0], p[1] - r[1]) for p, r in zip(policy, ref)]
mean = lambda values: sum(values) / len(values)
wins, n = sum(p[0] > p[1] for p in policy), len(policy)
p, z = wins / n, 1.959963984540054
centre, half = (p + z * z / 2 / n), z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
want = {"eval_rows": n, "eval_loss": mean([math.log1p(math.exp(-beta * (c - r))) for c, r in ratios]),
	"eval_rewards/chosen": beta * mean([c for c, r in ratios]), "eval_rewards/rejected": beta * mean([r for c, r in ratios]),
	"eval_rewards/margins": beta * mean([c - r for c, r in ratios]), "eval_rewards/accuracies": mean([c > r for c, r in ratios]),
	"eval_logps/chosen": mean([x[0] for x in policy]), "eval_logps/rejected": mean([x[1] for x in policy]),
	"eval_log_ratios/chosen": mean([c for c, r in ratios]), "eval_log_ratios/rejected": mean([r for c, r in ratios]),
	"eval_win_rate": p, "eval_win_rate/low": (centre - half) / (1 + z * z / n), "eval_win_rate/high": (centre + half) / (1 + z * z / n)}
report = json.load(open("report.json"))
for name, value in want.items():
	assert abs(report[name] - value) <= 1e-5 * max(1, abs(value)), (name, report[name], value)
assert report["eval_rewards/accuracies"] > 0.7 and 0 < report["eval_entropy"] < math.log(640) and "eval_perplexity" not in report'
}

@test "the reference on itself: every reward is 0" {
	"$bin/dpo-eval" -q -m base.dpo --format tsv pairs.ref > report
	[ "$(value eval_loss < report)" = 0.6931471824645996 ]
	[ "$(value eval_rewards/margins < report | tr -d -)" = 0 ]
	[ "$(value eval_rewards/accuracies < report)" = 0 ]
}

@test "threads, pipe and file: the same report; text shows the same numbers" {
	"$bin/dpo-eval" -q -j 1 -m policy.dpo --format tsv pairs.ref > one
	"$bin/dpo-eval" -q -j 3 -m policy.dpo --format tsv -o three pairs.ref
	cat pairs.ref | "$bin/dpo-eval" -q -m policy.dpo --format tsv > pipe
	cmp one three
	cmp one pipe
	"$bin/dpo-eval" -q -m policy.dpo pairs.ref > text
	[ "$(wc -l < text)" -eq "$(wc -l < one)" ]
	paste one text | awk '!("eval_" $3 == $1 && ($2 - $4)^2 <= 1e-8 * (1 + $2^2)) { bad = 1 } END { exit bad || NR < 15 }'
}

@test "supervised rows: loss per token and perplexity" {
	"$bin/dpo-eval" -q -m base.dpo --format tsv text.tok > report
	python3 -c "import math; assert abs(math.exp($(value eval_loss < report)) / $(value eval_perplexity < report) - 1) < 1e-6"
	[ -z "$(value eval_win_rate < report)" ]
	run "$bin/dpo-eval" -q -m base.dpo --loss-type sigmoid text.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *"needs pairs"* ]]
	"$bin/dpo-eval" -q -m base.dpo --loss-type sft --format tsv pairs.tok | grep -q '^eval_win_rate	'
}

@test "the reference must be in the policy's chain; a bare directory has none" {
	"$bin/dpo-train" -q --init tiny/config.json --seed 7 --loss-type sft --max-steps 1 -o stranger.dpo text.tok
	run "$bin/dpo-eval" -q -m stranger.dpo pairs.ref
	[ "$status" -eq 4 ]
	[[ "$output" == *"does not descend"* ]]
	"$bin/dpo-train" -q -m policy.dpo --other-reference --max-steps 1 -o grandchild.dpo pairs.ref
	"$bin/dpo-eval" -q -m grandchild.dpo pairs.ref
	"$bin/dpo-export" -f hf -o exported policy.dpo
	run "$bin/dpo-eval" -q -m exported pairs.ref
	[ "$status" -eq 0 ]
	[[ "$output" == *"warning: cannot tell whether the policy descends"* ]]
}

@test "refused: no reference, cut input, no rows, no model" {
	run "$bin/dpo-eval" -q -m policy.dpo pairs.tok
	[ "$status" -eq 3 ]
	[[ "$output" == *"run dpo-reflogp"* ]]
	head -c $(($(stat -c %s pairs.ref) - 9)) pairs.ref > cut.ref
	run "$bin/dpo-eval" -q -m policy.dpo -o no.txt cut.ref
	[ "$status" -eq 3 ]
	[ ! -e no.txt ]
	"$bin/dpo-cat" pairs.ref | sed -n '1p;$p' | "$bin/dpo-cat" -z -o none.ref
	run "$bin/dpo-eval" -q -m policy.dpo none.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *"no rows"* ]]
	run "$bin/dpo-eval" -q pairs.ref
	[ "$status" -eq 2 ]
}
