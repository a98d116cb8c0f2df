#!/usr/bin/env bats
# dpo-eval beyond the loss: divergence, calibration, slices, comparison, rows as a stream, requirements, the implicit reward,
# generations, and the data alone. Numbers are computed again here from what the rows say.

setup_file() {
	root="$BATS_TEST_DIRNAME/../.."
	export bin=${DPO_BIN:-$root/bin} story="$root/testdata/story"
	cd "$BATS_FILE_TMPDIR"
	head -120 "$story/train.jsonl" | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" -o train.ref
	"$bin/dpo-train" -q -m "$story" --learning-rate 1e-4 --num-train-epochs 1 -o policy.dpo train.ref
	head -40 "$story/heldout.jsonl" | python3 -c 'import json, sys
for n, line in enumerate(sys.stdin):
	print(json.dumps(json.loads(line) | {"source": "ab"[n % 4 == 0], "rank": n % 2}))' > heldout.jsonl
	"$bin/dpo-tok" -q -m "$story" --keep source:str --keep rank:i64 -o heldout.tok heldout.jsonl
	"$bin/dpo-reflogp" -q -m "$story" -o heldout.ref heldout.tok
	python3 -c 'import json
for line in open("heldout.jsonl"):
	print(json.dumps({key: json.loads(line)[key] for key in ("id", "prompt")}))' > prompts.jsonl
	"$bin/dpo-gen" -q -m policy.dpo -r "$story" -n 2 prompts.jsonl > samples.jsonl
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	ln -s "$BATS_FILE_TMPDIR"/* .
}

rows() { # the records of a stream as JSON lines
	"$bin/dpo-cat" "$1" | sed '1d;$d'
}

@test "rows as a stream: the report is their means, calibration and correlation by definition; the reward alone is the same" {
	"$bin/dpo-eval" -q -m policy.dpo --format json --per-pair rows.dpo heldout.ref > report.json
	rows rows.dpo > rows.jsonl
	"$bin/dpo-eval" -q -m policy.dpo --score heldout.ref > scores.jsonl
	python3 -c 'import json, math
report = json.load(open("report.json"))
rows = [json.loads(line) for line in open("rows.jsonl")]
n = len(rows)
assert n == 40
def near(name, value): assert math.isclose(report["eval_" + name], value, rel_tol=2e-5, abs_tol=1e-6), (name, report["eval_" + name], value)
for row in rows:
	for side in ("chosen", "rejected"):
		reward = 0.1 * (row[f"policy_{side}_logp"] - sum(row[f"ref_{side}_logps"]))
		assert abs(reward - row[f"reward_{side}"]) < 1e-5
margins = [row["reward_chosen"] - row["reward_rejected"] for row in rows]
near("rewards/margins", sum(margins) / n)
near("rewards/accuracies", sum(m > 0 for m in margins) / n)
near("logps/chosen", sum(row["policy_chosen_logp"] for row in rows) / n)
p = [1 / (1 + math.exp(-m)) for m in margins]
near("calibration/brier", sum((1 - q) ** 2 for q in p) / n)
bins = {}
for m, q in zip(margins, p):
	bins.setdefault(min(int((max(q, 1 - q) - 0.5) * 20), 9), []).append((m > 0, max(q, 1 - q)))
near("calibration/error", sum(abs(sum(right - sure for right, sure in found)) for found in bins.values()) / n)
x = [row["reward_" + side] for row in rows for side in ("chosen", "rejected")]
y = [len(row[side]) for row in rows for side in ("chosen", "rejected")]
mx, my = sum(x) / len(x), sum(y) / len(y)
near("reward_length_correlation", sum((a - mx) * (b - my) for a, b in zip(x, y)) /
	math.sqrt(sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y)))
for row, score in zip(rows, map(json.loads, open("scores.jsonl")), strict=True):
	assert score["id"] == row["id"] and set(score) == {"id", "reward_chosen", "reward_rejected"}
	assert all(math.isclose(score[k], row[k], rel_tol=1e-6, abs_tol=1e-9) for k in ("reward_chosen", "reward_rejected"))'
	stage() { "$bin/dpo-cat" --header "$1" | sed 's/.*"stage":"dpo-eval",//'; }
	[[ "$(stage rows.dpo)" == '"version":1,"settings":{"beta":0.1,"dtype":"fp32","kernel":"'*'},"tokenizer":'* ]]
	"$bin/dpo-eval" -q -m policy.dpo --ld-alpha 0.5 --reference-free --per-pair other.dpo -o report heldout.ref
	[[ "$(stage other.dpo)" == *'"settings":{"beta":0.1,"ld_alpha":0.5,"reference_free":true,"dtype":"fp32",'* ]]
}

@test "any answer can be scored: best of n by the implicit reward" {
	python3 -c 'import json
for n, line in enumerate(open("samples.jsonl")):
	row = json.loads(line)
	print(json.dumps({"id": str(n), "prompt": row["prompt"], "completion": row["completion"]}))' |
		"$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" | "$bin/dpo-eval" -q -m policy.dpo --beta 0.5 --score > scores
	python3 -c 'import json
near = 0
for n, (row, score) in enumerate(zip(map(json.loads, open("samples.jsonl")), map(json.loads, open("scores")), strict=True)):
	assert score["id"] == str(n)
	near += abs(score["reward"] - 0.5 * (row["logp"] - row["ref_logp"])) < 1e-3 # but where a text has two tokenizations
assert near > 60, near'
}

@test "slices add up to the whole" {
	"$bin/dpo-eval" -q -m policy.dpo --slice source --format json heldout.ref > report.json
	"$bin/dpo-eval" -q -m policy.dpo --slice rank --format json heldout.ref > ranks.json
	python3 -c 'import json
r = json.load(open("report.json"))
assert (r["eval_slice/a/rows"], r["eval_slice/b/rows"]) == (30, 10)
whole = r["eval_slice/a/rewards/accuracies"] * 30 + r["eval_slice/b/rewards/accuracies"] * 10
assert abs(whole - 40 * r["eval_rewards/accuracies"]) < 1e-4
assert r["eval_slice/a/rewards/accuracies/low"] < r["eval_slice/a/rewards/accuracies"]
ranks = json.load(open("ranks.json"))
assert ranks["eval_slice/0/rows"] == ranks["eval_slice/1/rows"] == 20'
	run "$bin/dpo-eval" -q -m policy.dpo --slice nothing heldout.ref
	[ "$status" -eq 3 ]
	[[ "$output" == *'no column "nothing" of type str or i64'* ]]
}

@test "a slice's value is the rows' text: it breaks no format" {
	head -2 heldout.jsonl | python3 -c 'import json, sys
for line in sys.stdin:
	print(json.dumps(json.loads(line) | {"source": "a\"b\tc\nd\\"}))' | "$bin/dpo-tok" -q -m "$story" --keep source:str |
		"$bin/dpo-reflogp" -q -m "$story" -o odd.ref
	"$bin/dpo-eval" -q -m policy.dpo --slice source --format json odd.ref | python3 -c 'import json, sys
assert json.load(sys.stdin)["eval_slice/a\"b\tc\nd\\/rows"] == 2'
	"$bin/dpo-eval" -q -m policy.dpo --slice source --format tsv odd.ref > report
	grep -qxF 'eval_slice/a"b\x09c\nd\\/rows	2' report
	[ "$(awk -F '\t' 'NF != 2' report | wc -l)" -eq 0 ]
	"$bin/dpo-eval" -q -m policy.dpo --slice source --require $'slice/a"b\tc\nd\\/rows>=2' odd.ref > report
	[ "$(grep -c '^slice/a"b\\x09c\\nd\\\\/' report)" -eq 4 ]
}

@test "against a baseline: paired differences with an interval; against itself exactly 0" {
	"$bin/dpo-eval" -q -m policy.dpo --format json heldout.ref > ours.json
	"$bin/dpo-eval" -q -m "$story" --format json heldout.ref > theirs.json 2> /dev/null
	"$bin/dpo-eval" -q -m policy.dpo --baseline "$story" --format json heldout.ref > both.json
	"$bin/dpo-eval" -q -m policy.dpo --baseline "$story" --format json -j 1 heldout.ref | cmp - both.json
	python3 -c 'import json
ours, theirs, both = (json.load(open(name + ".json")) for name in ("ours", "theirs", "both"))
for name in ("rewards/accuracies", "rewards/margins", "logps/chosen"):
	difference = both["eval_difference/" + name]
	assert abs(difference - (ours["eval_" + name] - theirs["eval_" + name])) < 1e-4, name
	assert both[f"eval_difference/{name}/low"] <= difference <= both[f"eval_difference/{name}/high"]
assert both["eval_difference/rewards/margins/low"] > 0 # it did learn'
	"$bin/dpo-eval" -q -m policy.dpo --baseline policy.dpo --format tsv heldout.ref | grep difference > same
	[ "$(cut -f2 same | sort -u)" = 0 ]
	[ "$(wc -l < same)" -eq 9 ]
}

@test "the exact divergence: 0 from itself, positive otherwise; on samples close to the mean log-ratio" {
	"$bin/dpo-eval" -q -m policy.dpo -r policy.dpo --format tsv heldout.ref | awk '/kl\//{n++; if ($2 > 1e-6) bad = 1} END {exit !(n == 2 && !bad)}'
	"$bin/dpo-eval" -q -m policy.dpo -r "$story" --format tsv heldout.ref | awk '/kl\//{n++; if ($2 < 0.1) bad = 1} END {exit !(n == 2 && !bad)}'
	"$bin/dpo-eval" -q --samples -m policy.dpo -r "$story" --format json samples.jsonl > report.json
	"$bin/dpo-eval" -q --samples -m policy.dpo -r "$story" --format json -j 1 samples.jsonl | cmp - report.json
	python3 -c 'import json, math
r = json.load(open("report.json"))
assert r["eval_kl"] > 0 and r["eval_kl/error"] < r["eval_log_ratio/error"]
assert abs(r["eval_kl"] - r["eval_log_ratio"]) < 4 * math.hypot(r["eval_kl/error"], r["eval_log_ratio/error"])'
}

@test "generations: lengths, endings, diversity; collapse is seen" {
	"$bin/dpo-eval" -q --samples --format json samples.jsonl > report.json
	python3 -c 'import json
r = json.load(open("report.json"))
rows = [json.loads(line) for line in open("samples.jsonl")]
lengths = [len(row["completion_ids"]) for row in rows]
assert r["eval_rows"] == len(rows) == 80
assert abs(r["eval_length"] - sum(lengths) / 80) < 1e-4
assert abs(r["eval_ended_in_eos"] - sum(row["finish_reason"] == "eos" for row in rows) / 80) < 1e-6
for n in (1, 2, 3):
	grams = [tuple(row["completion_ids"][i:i + n]) for row in rows for i in range(len(row["completion_ids"]) - n + 1)]
	assert abs(r[f"eval_distinct-{n}"] - len(set(grams)) / len(grams)) < 1e-6
assert "eval_kl" not in r and "eval_entropy" not in r
with open("collapsed.jsonl", "w") as out:
	for row in rows:
		out.write(json.dumps(row | {"completion_ids": rows[0]["completion_ids"]}) + "\n")'
	"$bin/dpo-eval" -q --samples --require 'self_bleu>=0.9999' --require 'distinct-1<0.05' collapsed.jsonl
	run "$bin/dpo-eval" -q --samples --require 'self_bleu>=0.9999' samples.jsonl
	[ "$status" -eq 5 ]
}

@test "supervised rows: perplexity before and after" {
	head -10 heldout.jsonl | python3 -c 'import json, sys
for line in sys.stdin:
	row = json.loads(line)
	print(json.dumps({"prompt": row["prompt"], "completion": row["chosen"]}))' | "$bin/dpo-tok" -q -m "$story" -o text.tok
	"$bin/dpo-eval" -q -m policy.dpo -r "$story" --format json text.tok > both.json
	"$bin/dpo-eval" -q -m "$story" --format json text.tok > before.json
	python3 -c 'import json
both, before = json.load(open("both.json")), json.load(open("before.json"))
assert abs(both["eval_perplexity/reference"] - before["eval_perplexity"]) < 1e-4
assert both["eval_perplexity"] != before["eval_perplexity"]'
}

@test "requirements: met 0, not met 5 with the report, unknown or malformed 2" {
	"$bin/dpo-eval" -q -m policy.dpo --require 'rewards/accuracies>=0.7' --require 'loss<0.7' --require 'rows<=40' heldout.ref > met
	run "$bin/dpo-eval" -q -m policy.dpo --require 'rows>40' heldout.ref
	[ "$status" -eq 5 ]
	[[ "$output" == *"not met: rows>40, it is 40"* ]]
	[[ "$output" == *"rewards/margins"* ]]
	for bad in 'nothing>=1' 'loss>=x' 'loss' '>=1' 'loss=1'; do
		run "$bin/dpo-eval" -q -m policy.dpo --require "$bad" heldout.ref
		[ "$status" -eq 2 ]
	done
	run "$bin/dpo-eval" -q -m policy.dpo --score --require 'loss<1' heldout.ref
	[ "$status" -eq 2 ]
}

@test "requirements: as the text shows the number, 7 of 10 being 0.7; undefined is not met; the report is there in any case" {
	pairs() { # 10, of which in 7 the chosen answer is the longer one
		for i in 1 2 3 4 5 6 7; do echo '{"prompt":"One '$i'","chosen":" a dog ran and ran","rejected":" a cat"}'; done
		for i in 8 9 10; do echo '{"prompt":"One '$i'","chosen":" a cat","rejected":" a dog ran and ran"}'; done
	}
	pairs | "$bin/dpo-tok" -q -m "$story" -o ten.tok
	"$bin/dpo-eval" --data ten.tok > want
	grep -q '^longer_chosen  *0\.7$' want
	for good in 'longer_chosen>=0.7' 'longer_chosen<=0.7' 'longer_chosen>0.6999' 'prompts<=10'; do
		"$bin/dpo-eval" --data --require "$good" ten.tok | cmp - want
	done
	for bad in 'longer_chosen>0.7' 'longer_chosen<0.7' 'longer_chosen>=0.7000001' 'prompts<=9.99999999'; do
		run "$bin/dpo-eval" --data --require "$bad" -o report ten.tok
		echo "$bad: $output"
		[ "$status" -eq 5 ]
		cmp report want
		rm report
	done
	run "$bin/dpo-eval" --data --require 'nothing>=1' --require 'prompts<9' -o report ten.tok
	[ "$status" -eq 2 ]
	[[ "$output" == *'not met: prompts<9, it is 10'* ]]
	[[ "$output" == *'there is no "nothing" in this report'* ]]
	cmp report want
	head -1 heldout.jsonl | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-reflogp" -q -m "$story" -o same.ref
	run "$bin/dpo-eval" -q -m "$story" --require 'reward_length_correlation>=0' -o report same.ref
	echo "$output"
	[ "$status" -eq 5 ]
	[[ "$output" == *'not met: reward_length_correlation>=0, it is not defined'* ]]
	grep -q '^win_rate ' report
}

@test "the data alone: duplicates, contradictions, equal answers, dominating prompts, length, overlap" {
	cat > odd.jsonl <<-'END'
		{"prompt":"One","chosen":" a dog ran","rejected":" a cat"}
		{"prompt":"One","chosen":" a dog ran","rejected":" a cat"}
		{"prompt":"One","chosen":" a cat","rejected":" a dog ran"}
		{"prompt":"Two","chosen":" a dog ran","rejected":" a dog ran"}
	END
	"$bin/dpo-tok" -q -m "$story" -o odd.tok odd.jsonl
	"$bin/dpo-eval" --data --format json odd.tok > report.json
	python3 -c 'import json
r = json.load(open("report.json"))
assert {name: r["eval_" + name] for name in ("rows", "prompts", "duplicates", "contradictions", "same_answers", "dominant_prompt")} == {
	"rows": 4, "prompts": 2, "duplicates": 1, "contradictions": 1, "same_answers": 1, "dominant_prompt": 0.75}, r
assert abs(r["eval_longer_chosen"] - 2 / 3) < 1e-6'
	tail -1 odd.jsonl | "$bin/dpo-tok" -q -m "$story" | "$bin/dpo-eval" --data > equal
	grep -q '^same_answers ' equal
	[ "$(grep -c '^longer_chosen' equal || true)" -eq 0 ]
	head -7 heldout.jsonl | "$bin/dpo-tok" -q -m "$story" -o seen.tok
	"$bin/dpo-eval" --data --against seen.tok --format tsv heldout.tok > report
	grep -qx 'eval_against/shared_rows	7' report
	grep -qx 'eval_against/shared_prompts	7' report
	run "$bin/dpo-eval" --data --require 'against/shared_rows<=0' --against seen.tok heldout.tok
	[ "$status" -eq 5 ]
	"$bin/dpo-cat" seen.tok | sed '1s/"tokenizer":"[0-9a-f]\{8\}/"tokenizer":"00000000/' | "$bin/dpo-cat" -z -o other.tok
	run "$bin/dpo-eval" --data --against other.tok heldout.tok
	[ "$status" -eq 4 ]
	[[ "$output" == "dpo-eval: heldout.tok: made with tokenizer "*", other.tok with 00000000"* ]]
	"$bin/dpo-cat" seen.tok | sed '1s/,"tokenizer":"[0-9a-f]*"//' | "$bin/dpo-cat" -z -o unknown.tok
	run "$bin/dpo-eval" --data --against unknown.tok heldout.tok
	[ "$status" -eq 0 ]
	[[ "$output" == *"warning: heldout.tok: cannot tell whether its tokens are those of unknown.tok"* ]]
	[[ "$output" == *"against/shared_rows "*" 7"* ]]
}

@test "modes that do not go together are usage errors; bad completions are named" {
	while IFS='	' read -r says options; do
		run "$bin/dpo-eval" $options heldout.ref < /dev/null
		echo "$options: $status $output"
		[ "$status" -eq 2 ]
		[[ "${lines[0]}" == "dpo-eval: "*"$says"* ]]
	done <<-'END'
		exclude each other	--data --samples
		--against is for --data	--against x
		-r without -m	--samples -r x
		--baseline-adapter	--score -m x --baseline-adapter y
	END
	while read -r idle mode options; do
		run "$bin/dpo-eval" --$mode $options heldout.ref
		echo "$mode $options: $output"
		[ "$status" -eq 2 ]
		[ "${lines[0]}" = "dpo-eval: --$idle has no effect with --$mode" ]
	done <<-'END'
		model data -m x
		slice data --slice x
		dtype data --dtype fp32
		beta data --beta 3
		loss-type samples --loss-type hinge
		per-pair samples --per-pair x
		baseline score -m x --baseline y
		reference score -m x -r y
		format score -m x --format tsv
		require score -m x --require loss<1
	END
	echo '{"prompt":"x"}' > bad.jsonl
	run "$bin/dpo-eval" --samples bad.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" == 'dpo-eval: bad.jsonl:1: "completion_ids" is not a list of token ids' ]]
	: > empty.jsonl
	run "$bin/dpo-eval" --samples empty.jsonl
	[ "$status" -eq 3 ]
	run "$bin/dpo-eval" -q -m policy.dpo --score heldout.tok
	[ "$status" -eq 3 ]
	run "$bin/dpo-eval" -q -m policy.dpo --per-pair heldout.ref heldout.ref
	[ "$status" -eq 2 ]
	[[ "$output" == *"heldout.ref: is an input"* ]]
}
