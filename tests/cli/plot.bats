#!/usr/bin/env bats
# pipelines/plot: what is drawn is what the file holds; what cannot be drawn is said in one line.

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export root bin=${DPO_BIN:-$root/bin}
	cd "$BATS_FILE_TMPDIR"
	head -80 "$root/testdata/story/train.jsonl" | "$bin/dpo-tok" -q -m "$root/testdata/story" -o pairs.tok
	"$bin/dpo-reflogp" -q -m "$root/testdata/story" -o pairs.ref pairs.tok
	"$bin/dpo-train" -q -m "$root/testdata/story" --learning-rate 1e-4 --num-train-epochs 1 --logging-steps 1 \
		--eval pairs.ref --eval-steps 3 --log log.jsonl -o policy.dpo pairs.ref
	printf 'beta\tloss\trewards/accuracies\trewards/margins\tlog_ratios/chosen\tlog_ratios/rejected\n' > table.tsv
	printf '0.5\t0.3\t0.9\t2\t-2\t-19\n0.05\t0.5\t0.85\t0.5\t-14\t-70\n0.1\t0.42\t0.88\t0.8\t-9\t-50\n' >> table.tsv
	printf 'beta\treward\treward/error\tkl\tkl/error\tself_bleu\n' > frontier.tsv
	printf -- '-\t0.3\t0.05\t0\t0\t0.6\n0.1\t2.6\t0.07\t11\t0.1\t0.7\n0.5\t1.8\t0.08\t4\t0.06\t0.7\n' >> frontier.tsv
}

setup() {
	cd "$BATS_FILE_TMPDIR"
	plot="$root/pipelines/plot"
}

# drawn FIGURE.svg COLOUR "y...": the longest line of that colour has a point for each y, in order, on one scale.
drawn() {
	python3 -c 'import re, sys
import xml.etree.ElementTree as tree
figure, colour, values = sys.argv[1], sys.argv[2], [float(word) for word in sys.argv[3].split()]
rgb = "rgb(%s)" % ", ".join("%3d" % int(colour[i:i + 2], 16) for i in (0, 2, 4))
lines = []
for group in tree.parse(figure).iter("{http://www.w3.org/2000/svg}g"):
	for path in group.findall("{http://www.w3.org/2000/svg}path"):
		if rgb in (path.get("stroke"), group.get("stroke")):
			for stroke in path.get("d").split("M"):
				lines.append([tuple(map(float, point)) for point in re.findall(r"([\d.]+),([\d.]+)", stroke)])
points = max(lines, key=len)
assert len(points) == len(values), (len(points), len(values))
assert [x for x, y in points] == sorted(x for x, y in points)
low, high = min(range(len(values)), key=values.__getitem__), max(range(len(values)), key=values.__getitem__)
scale = (points[high][1] - points[low][1]) / (values[high] - values[low])
assert scale < -1 # up is more, and a unit is seen
worst = max(abs(points[low][1] + scale * (value - values[low]) - y) for value, (x, y) in zip(values, points))
assert worst < 0.2, worst' "$@"
}

column() { # KEY: its values in the log
	python3 -c 'import json, sys
print(*(row[sys.argv[1]] for row in map(json.loads, open("log.jsonl")) if sys.argv[1] in row))' "$1"
}

@test "a log's panels: loss, accuracy, rewards, log-probs, gradient norm, learning rate" {
	[ "$("$plot" -l log.jsonl | tr '\n' ' ')" = "loss accuracies rewards logps grad_norm learning_rate " ]
	"$plot" -o log.svg log.jsonl
	for text in Loss 'Reward accuracy' 'Implicit reward' Log-probability 'Gradient norm' 'Learning rate' training held-out chosen \
		rejected margin 'optimizer step' 'nats an answer' 'share of pairs'; do
		grep -q ">$text<" log.svg
	done
	grep -q '{"loss"' log.jsonl
	grep '"loss"' log.jsonl | sed 's/"rewards[^,]*,//g' | "$plot" -l | grep -qx token_accuracy
}

@test "the curves are the log's numbers, those of the held-out rows too" {
	"$plot" -p loss -o loss.svg log.jsonl
	drawn loss.svg 2f78b7 "$(column loss)"
	drawn loss.svg d0592b "$(column eval_loss)"
	"$plot" -p grad_norm -o norm.svg log.jsonl
	drawn norm.svg 2f78b7 "$(column grad_norm)"
	"$plot" -p rewards -o rewards.svg log.jsonl
	drawn rewards.svg 3a8f5c "$(column rewards/margins)"
	drawn rewards.svg d0592b "$(column rewards/rejected)"
}

@test "a sweep by beta, least loss marked; a frontier in order of KL, its points named" {
	[ "$("$plot" -l table.tsv | tr '\n' ' ')" = "loss accuracies margins log_ratios " ]
	"$plot" -p loss -o sweep.svg table.tsv
	drawn sweep.svg 2f78b7 "0.5 0.42 0.3"
	grep -q '>least loss<' sweep.svg
	"$plot" -p log_ratios -o ratios.svg table.tsv
	drawn ratios.svg 2f78b7 "-14 -9 -2"
	drawn ratios.svg d0592b "-70 -50 -19"
	"$plot" -o frontier.svg frontier.tsv
	drawn frontier.svg 2f78b7 "0.3 1.8 2.6"
	for name in reference 'β 0.1' 'β 0.5'; do grep -q ">$name<" frontier.svg; done
	"$plot" table.tsv > shown # all of it, in characters
	[ "$(grep -c 'Held-out' shown)" -eq 4 ]
}

@test "SVG and PNG by the name, the same bytes each time, from a pipe too; characters without one" {
	"$plot" -o one.svg log.jsonl
	"$plot" -o two.svg < log.jsonl
	cmp one.svg two.svg
	"$plot" -o one.png log.jsonl
	"$plot" -o two.png log.jsonl
	cmp one.png two.png
	[ "$(head -c 8 one.png | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]
	COLUMNS=60 "$plot" -p loss log.jsonl > shown
	grep -q Loss shown
	grep -qF '**' shown
	[ "$(wc -L < shown)" -eq 60 ]
	"$plot" -t "it's a \"title\" \`touch made\` <b>" -o title.svg log.jsonl
	python3 -c 'import sys, xml.etree.ElementTree as tree
assert "it\x27s a \"title\" `touch made` <b>" in [text for text in tree.parse("title.svg").getroot().itertext()]'
	[ ! -e made ]
}

@test "one step alone, a constant, an evaluation alone: drawn" {
	grep '"loss"' log.jsonl | head -1 > single.jsonl
	"$plot" -o single.svg single.jsonl
	grep '"eval_loss"' log.jsonl | head -1 | "$plot" -o evaluation.svg
	sed 's/"loss":[^,]*/"loss":0.5/' log.jsonl | "$plot" -o constant.svg
	head -2 table.tsv | "$plot" -o table.svg
	sed 's/^0.05/0/' table.tsv | "$plot" -o zero.svg
	python3 -c 'import sys, xml.etree.ElementTree as tree
for name in sys.argv[1:]:
	tree.parse(name)' single.svg evaluation.svg constant.svg table.svg zero.svg
}

# refused STATUS MESSAGE ARGUMENT...: one line, and no figure.
refused() {
	wanted=$1 message=$2
	shift 2
	rm -f refused.svg
	run "$plot" -o refused.svg "$@"
	echo "$output"
	[ "$status" -eq "$wanted" ]
	[ "$output" = "plot: $message" ]
	[ ! -e refused.svg ]
}

@test "what cannot be drawn: one line naming file and line, and the exit code" {
	: > empty
	refused 3 'empty:1: empty' empty
	refused 3 'standard input:1: empty' < empty
	{ head -2 log.jsonl; echo '{"loss":0.1,"step":'; } > cut.jsonl
	refused 3 'cut.jsonl:3: no number or string behind "step"' cut.jsonl
	{ head -2 log.jsonl; echo 'Traceback'; } > words.jsonl
	refused 3 'words.jsonl:3: not a JSON object' words.jsonl
	echo '{"loss":nan,"step":1}' > nan.jsonl
	refused 3 'nan.jsonl:1: no number or string behind "loss"' nan.jsonl
	echo '{"warning":"x","step":1}' > no-step.jsonl
	refused 3 'no-step.jsonl:1: no step in it' no-step.jsonl
	sed '3s/0.85/-/' table.tsv > hole.tsv
	refused 3 'hole.tsv:3: no number in column "rewards/accuracies"' hole.tsv
	head -1 frontier.tsv > header.tsv
	refused 3 'header.tsv:1: no row in it' header.tsv
	refused 3 "$root/README.md:1: neither a log nor the table of a sweep or a frontier" "$root/README.md"
	refused 1 'nowhere.jsonl: no such file' nowhere.jsonl
	refused 2 'log.jsonl has no panel kl; it has loss accuracies rewards logps grad_norm learning_rate ' -p kl log.jsonl
	refused 2 'there is no option --nonsense; see --help' --nonsense
	run "$plot" -o figure.jpg log.jsonl
	[ "$status" -eq 2 ]
	run "$plot" -o /nowhere/figure.svg log.jsonl
	[ "$status" -eq 1 ]
}

@test "without gnuplot: one line that names the package" {
	mkdir -p some
	for tool in sh sed awk cat mktemp rm sort cut wc printf tr; do ln -sf "$(command -v $tool)" some; done
	PATH="$PWD/some" run "$plot" -o none.svg log.jsonl
	[ "$status" -eq 1 ]
	[ "$output" = "plot: gnuplot is not installed (Debian: gnuplot-nox)" ]
	[ ! -e none.svg ]
}
