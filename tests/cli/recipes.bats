#!/usr/bin/env bats
# The recipes people run, each on a few rows of the story model.

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	bin=${DPO_BIN:-$root/bin} story="$root/testdata/story" pipelines="$root/pipelines"
	export DPO_BIN=$bin
	cd "$BATS_TEST_TMPDIR"
	head -16 "$story/train.jsonl" > train.jsonl
	head -6 "$story/heldout.jsonl" > heldout.jsonl
	# Each call of dpo-reflogp and dpo-train is counted.
	mkdir counting
	cp "$bin"/dpo-* counting
	for program in dpo-reflogp dpo-train; do
		printf '#!/bin/sh\necho %s >> "%s/calls"\nexec "%s/%s" "$@"\n' $program "$PWD" "$bin" $program > counting/$program
	done
	: > calls
}

recipe() { # FILE.mk [OPTION or SETTING=VALUE...]
	file=$1
	shift
	make -f "$pipelines/$file" DPO_BIN="$PWD/counting" MODEL="$story" TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=out \
		LEARNING_RATE=1e-4 NUM_TRAIN_EPOCHS=1 MAX_STEPS=1 "$@"
}

calls() { # PROGRAM: how often it was called
	grep -c "^$1$" calls || :
}

kill_at() { # FILE COMMAND...: killed, with all that it started, once FILE is there
	setsid "${@:2}" > /dev/null 2>&1 3>&- &
	until [ -e "$1" ]; do
		kill -0 $! || return 1
		sleep 0.01
	done
	kill -KILL -- -$!
	status=0
	wait $! || status=$?
	[ "$status" -eq 137 ]
}

@test "every recipe has its help, and is in the README" {
	for file in "$pipelines"/*.mk; do
		case $file in */dpo.mk | */runs.mk | */settings.mk) continue ;; esac
		run make -s -f "$file" help
		[ "$status" -eq 0 ]
		[[ "$output" == "$(basename "$file") - "* ]]
		grep -q "$(basename "$file")" "$root/README.md"
	done
	for script in best-of-n win-rate plot report to-tensorboard; do
		run "$pipelines/$script" --help
		[ "$status" -eq 0 ]
		[[ "$output" == *"$script - "* ]]
		run "$pipelines/$script" --nonsense
		[ "$status" -eq 2 ]
		grep -q "$script" "$root/README.md"
	done
}

@test "beta-sweep: one reference for all; again does nothing; another beta trains only that one; the best is the least loss" {
	recipe beta-sweep.mk -j2 BETAS='0.1 0.5' > first
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 2" ] # training and held-out pairs
	[ "$(wc -l < out/table.tsv)" -eq 3 ]
	recipe beta-sweep.mk BETAS='0.1 0.5'
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 2" ]
	recipe beta-sweep.mk BETAS='0.1 0.5 1.0' > third
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 3" ]
	best=$(sed 1d out/table.tsv | sort -t "$(printf '\t')" -k2,2g | head -1 | cut -f1)
	grep -qx "best by held-out loss: beta $best" third
	recipe beta-sweep.mk BETAS='0.5 0.1'
	[ "$(cut -f1 out/table.tsv | tr '\n' ' ')" = "beta 0.5 0.1 " ]
	[ "$(calls dpo-train)" = 3 ]
}

@test "beta-sweep: killed in any stage it goes on to the same table; the policies that are there are not trained again" {
	recipe beta-sweep.mk OUT=whole BETAS='0.1 0.5' NUM_TRAIN_EPOCHS=4 MAX_STEPS=-1 > /dev/null
	: > calls
	export -f recipe
	export pipelines story
	for file in tokens/heldout.tok 0.1/log.jsonl 0.5/log.jsonl; do # in the reference, in each training
		kill_at out/$file bash -c 'recipe beta-sweep.mk BETAS="0.1 0.5" NUM_TRAIN_EPOCHS=4 MAX_STEPS=-1 SAVE_STEPS=1'
		[ ! -e out/table.tsv ]
	done
	recipe beta-sweep.mk BETAS='0.1 0.5' NUM_TRAIN_EPOCHS=4 MAX_STEPS=-1 SAVE_STEPS=1
	cmp whole/table.tsv out/table.tsv
	for beta in 0.1 0.5; do cmp whole/$beta/policy.dpo out/$beta/policy.dpo; done
	finished=$(calls dpo-train)
	rm out/0.5/after.tsv out/0.5/policy.dpo
	recipe beta-sweep.mk BETAS='0.1 0.5' NUM_TRAIN_EPOCHS=4 MAX_STEPS=-1 SAVE_STEPS=1
	[ "$(calls dpo-train)" -eq $((finished + 1)) ]
	cmp whole/0.5/policy.dpo out/0.5/policy.dpo
}

@test "beta-sweep: with make -j the runs share the processors out, at least one each" {
	mkdir many
	printf '#!/bin/sh\necho 4\n' > many/nproc
	chmod +x many/nproc
	printf '#!/bin/sh\necho "$*" | grep -oE -- "-j [0-9]+" >> "%s/threads"\nexec "%s/dpo-train" "$@"\n' "$PWD" "$bin" > counting/dpo-train
	for jobs in 1 2 8 ''; do # -j alone: so many as it likes
		rm -rf out threads
		PATH="$PWD/many:$PATH" recipe beta-sweep.mk -j$jobs BETAS='0.1 0.5'
		echo "$jobs: $(cat threads)"
		[ "$(sort -u threads)" = "-j $((4 / ${jobs:-4} > 1 ? 4 / ${jobs:-4} : 1))" ]
		[ "$(wc -l < threads)" -eq 2 ]
	done
}

@test "beta-sweep: a smaller beta goes further from the reference; the sweep is drawn" {
	make -j2 -f "$pipelines/beta-sweep.mk" DPO_BIN="$bin" MODEL="$story" TRAIN="$story/train.jsonl" HELDOUT="$story/heldout.jsonl" \
		OUT=far BETAS='0.1 0.5' LEARNING_RATE=1e-4 NUM_TRAIN_EPOCHS=1 SEED=1 figure
	cat far/table.tsv
	awk -F '\t' 'NR > 1 { beta[NR] = $1; rejected[NR] = $6 } END { exit !(NR == 3 && beta[2] < beta[3] && rejected[2] < 2 * rejected[3] && rejected[3] < -5) }' far/table.tsv
	grep -q 'Held-out loss' far/table.svg
}

@test "beta-sweep: a run that fails fails the sweep" {
	run recipe beta-sweep.mk BETAS='0.1 nonsense'
	[ "$status" -ne 0 ]
	[ ! -e out/table.tsv ]
}

@test "frontier: reward and divergence of each policy, the reference at 0; a failing stage is no point" {
	recipe frontier.mk BETAS='0.1 0.5' MAX_NEW_TOKENS=24 figure > shown
	grep -q 'Reward against divergence' out/frontier.svg
	grep -q 'Held-out loss' out/table.svg
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 2" ]
	awk -F '\t' 'NR == 2 { exit !($1 == "-" && $4 < 1e-9) }' out/frontier.tsv
	awk -F '\t' 'NR > 2 && !($4 > 0 && $5 > 0) { bad = 1 } END { exit bad || NR != 4 }' out/frontier.tsv
	python3 -c 'import json
rows = [json.loads(line) for line in open("out/0.5/samples.jsonl")]
mean = sum(row["reward"] for row in rows) / len(rows)
point = open("out/0.5/point.tsv").read().split("\t")
assert len(rows) == 6 and abs(mean - float(point[1])) < 1e-5'
	cp out/0.5/policy.dpo other.dpo
	touch -d '2001-01-01' other.dpo
	cp out/reference/samples.jsonl before.jsonl
	recipe frontier.mk BETAS='0.1 0.5' MAX_NEW_TOKENS=24 MODEL=other.dpo out/reference/samples.jsonl
	cmp out/reference/samples.jsonl out/0.5/samples.jsonl
	touch other.dpo
	recipe frontier.mk BETAS='0.1 0.5' MAX_NEW_TOKENS=24 MODEL=other.dpo out/reference/samples.jsonl
	[ out/reference/samples.jsonl -nt other.dpo ]
	recipe frontier.mk BETAS='0.1 0.5' MAX_NEW_TOKENS=24 out/reference/samples.jsonl
	cmp out/reference/samples.jsonl before.jsonl
	recipe frontier.mk BETAS='0.1 0.5' MAX_NEW_TOKENS=24 SAMPLES=2 > shown
	[ "$(calls dpo-reflogp) $(calls dpo-train) $(wc -l < out/0.1/samples.jsonl)" = "2 2 12" ]
	recipe frontier.mk BETAS=0.5 MAX_NEW_TOKENS=24 SAMPLES=2 > shown
	[ "$(cut -f1 out/frontier.tsv | tr '\n' ' ')" = "beta - 0.5 " ]
	rm out/*/samples.jsonl
	run recipe frontier.mk BETAS='0.1 0.5' MAX_NEW_TOKENS=0
	[ "$status" -ne 0 ]
	[ ! -e out/0.1/samples.jsonl ]
}

@test "frontier: a reward's standard error is of its deviation, not of differences of large numbers, and one completion has none" {
	cat > reward <<-'END'
		#!/bin/sh
		awk '{ sub(/}$/, ",\"reward\":" 1e9 + NR % 2 "}"); print }'
	END
	chmod +x reward
	recipe frontier.mk BETAS=0.5 MAX_NEW_TOKENS=8 REWARD=./reward > shown
	awk -F '\t' 'NR > 1 && !($3 > 0.2236 && $3 < 0.2237) { bad = 1 } END { exit bad || NR != 3 }' out/frontier.tsv # sqrt(0.3 / 6)
	sed -i 's/1e9/2e9/' reward # another reward, as a stage that was edited is another stage
	recipe frontier.mk BETAS=0.5 MAX_NEW_TOKENS=8 REWARD=./reward > shown
	awk -F '\t' 'NR > 1 && $2 < 2e9 { bad = 1 } END { exit bad || NR != 3 }' out/frontier.tsv
	head -1 heldout.jsonl > one.jsonl
	recipe frontier.mk BETAS=0.5 MAX_NEW_TOKENS=8 HELDOUT=one.jsonl REWARD=./reward figure > shown
	awk -F '\t' 'NR > 1 && !($2 > 0 && $3 == "" && $5 == "") { bad = 1 } END { exit bad || NR != 3 }' out/frontier.tsv
	grep -q 'Reward against divergence' out/frontier.svg
}

@test "frontier: of adapters; with no word about betas and place it has those of a sweep" {
	recipe frontier.mk BETAS=0.5 MAX_NEW_TOKENS=8 LORA_R=2 > shown
	[ "$(wc -l < out/frontier.tsv)" -eq 3 ]
	run make -q -f "$pipelines/frontier.mk" MODEL="$story" TRAIN=train.jsonl HELDOUT=heldout.jsonl DPO_BIN="$bin" sweep/0.01/point.tsv sweep/frontier.tsv
	echo "$output"
	[ "$status" -eq 1 ]
}

@test "ablate-noise: a table from one reference; flipped rows are their mirror, their share as asked" {
	recipe ablate-noise.mk SHARES='0 0.4' LOSSES='sigmoid robust' > shown
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 4" ]
	recipe ablate-noise.mk SHARES='0 0.4' LOSSES='sigmoid robust'
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 4" ]
	head -1 out/table.tsv | grep -qx "$(printf 'flipped\tsigmoid\trobust')"
	recipe ablate-noise.mk SHARES='0.4 0' LOSSES=robust
	[ "$(cut -f1 out/table.tsv | tr '\n' ' ')" = "flipped 0.4 0 " ]
	head -1 out/table.tsv | grep -qx "$(printf 'flipped\trobust')"
	[ "$(calls dpo-train)" = 4 ]
	"$bin/dpo-cat" --header out/robust-0.4/policy.dpo | grep -q '"label_smoothing":0.4'
	for run in sigmoid-0 sigmoid-0.4; do
		"$bin/dpo-cat" out/$run/train.ref | sed '1d;$d' > $run.jsonl
	done
	python3 -c 'import json
flips = 0
for plain, noisy in zip(map(json.loads, open("sigmoid-0.jsonl")), map(json.loads, open("sigmoid-0.4.jsonl")), strict=True):
	sides = ("chosen", "rejected")
	mirror = plain | {name % side: plain[name % other] for side, other in (sides, sides[::-1]) for name in ("%s", "ref_%s_logps")}
	assert noisy in (plain, mirror) and plain != mirror
	flips += noisy == mirror
assert flips in (6, 7), flips # of 16'
	cmp <("$bin/dpo-cat" out/sigmoid-0/train.ref | sed '1d;$d') <("$bin/dpo-cat" out/tokens/train.ref | sed '1d;$d')
}

@test "sentiment: words are counted as in a plain loop" {
	printf '%s\n' '{"a":1,"completion":"I'"'"'m so HAPPY, happy\nbad \"glad\" day."}' '{"completion":""}' \
		'{"completion":"no words of it","x":"sad"}' | "$pipelines/sentiment" > out
	python3 -c 'import json
rewards = [json.loads(line)["reward"] for line in open("out")]
assert abs(rewards[0] - 20 * (3 - 1) / 7) < 1e-4 and rewards[1] == 0 and rewards[2] == -5, rewards'
}

@test "members of a row are its own: not those of a member, wherever they stand, nor those that a text speaks of" {
	cat > samples.jsonl <<-'END'
		{"meta":{"sample":1,"reward":[9,{"completion":"no"}]},"id":"7","prompt":"say \"reward\":9}","sample": 0, "completion" : "so happy"}
		{"id":"7","prompt":"say","sample":1,"completion":"\"completion\":\"glad\"","eos":"x","odd":[{}]}
		{"id":"8","prompt":"p","sample":0,"completion":"sad"}
		{"id":"8","prompt":"p","sample":1,"completion":"no \\"}
	END
	"$pipelines/sentiment" samples.jsonl > rewarded.jsonl
	python3 -c 'import json
rows = [json.loads(line, object_pairs_hook=lambda pairs: pairs) for line in open("rewarded.jsonl")]
assert [dict(row)["reward"] for row in rows] == [10, 10, -20, -20] and all(row[-1][0] == "reward" for row in rows), rows'
	sed -i 's/"reward":-20/"reward" : -1e1/; 2s/"reward":10/"reward":2.5/' rewarded.jsonl
	"$pipelines/best-worst" rewarded.jsonl > pairs.jsonl
	python3 -c 'import json
assert [json.loads(line) for line in open("pairs.jsonl")] == [{"id": "7", "prompt": "say \"reward\":9}", "chosen": "so happy",
	"rejected": "\"completion\":\"glad\"", "margin": 7.5}]'
	[ "$("$pipelines/mean-reward" rewarded.jsonl)" = "$(printf -- '-1.875\t8.125')" ] # of 6.25 and -10
	refused() { # STAGE MESSAGE, of the rows on standard input
		run "$pipelines/$1"
		echo "$output"
		[ "$status" -eq 3 ]
		[ "$output" = "$1: $2" ]
	}
	refused sentiment 'line 1: a "reward" already' < rewarded.jsonl
	refused sentiment 'line 1: not a JSON object' <<< '{"completion":"cut'
	refused best-worst 'line 1: no "reward"' < samples.jsonl
	refused mean-reward 'line 1: no "reward"' < samples.jsonl
	refused mean-reward 'no completions' < /dev/null
	tail -1 rewarded.jsonl > rest.jsonl
	refused best-worst 'line 1: a sample without the first of its prompt' < rest.jsonl
	: > empty.jsonl
	run "$pipelines/best-worst" empty.jsonl
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "best-of-n: the sample with the largest log-ratio of each prompt" {
	recipe beta-sweep.mk BETAS=0.1 > /dev/null
	"$pipelines/best-of-n" -m out/0.1/policy.dpo -r "$story" -n 4 --max-new-tokens 16 heldout.jsonl > best
	"$bin/dpo-gen" -q -m "$story" -r out/0.1/policy.dpo -n 4 --max-new-tokens 16 heldout.jsonl > all
	python3 -c 'import json
rows = [json.loads(line) for line in open("all")]
best = [json.loads(line) for line in open("best")]
assert len(best) == 6
for i, row in enumerate(best):
	rewards = [r["ref_logp"] - r["logp"] for r in rows[4 * i:4 * i + 4]]
	assert row["sample"] == rewards.index(max(rewards)) and abs(row["implicit_reward"] - max(rewards)) < 1e-4'
	run "$pipelines/best-of-n" -m out/0.1/policy.dpo -r "$story" nowhere.jsonl
	[ "$status" -ne 0 ]
	run "$pipelines/best-of-n" -r "$story" -m
	[ "$status" -eq 2 ]
	[ "$output" = "best-of-n: -m needs a value" ]
}

rounds() { # OUT [SETTING=VALUE...]
	make -s -f "$pipelines/iterative-dpo.mk" DPO_BIN="${programs:-$bin}" MODEL="$story" PROMPTS=prompts.jsonl OUT="$1" LEARNING_RATE=2e-4 \
		NUM_TRAIN_EPOCHS=1 "${@:2}"
}

@test "iterative-dpo: the word-list reward rises in each of 3 rounds; a run killed in any of them goes on to the same bytes" {
	head -60 "$story/heldout.jsonl" > prompts.jsonl
	rounds whole > told
	cat told
	sed 1d whole/rounds.tsv | cut -f2 > means
	[ "$(wc -l < means)" -eq 4 ]
	sort -gu means | cmp - means
	python3 -c 'import json
rows = [json.loads(line) for line in open("whole/2/samples.jsonl")]
pairs = {row["id"]: row for row in map(json.loads, open("whole/2/pairs.jsonl"))}
for i in range(0, len(rows), 4):
	four = rows[i:i + 4]
	rewards = [row["reward"] for row in four]
	pair = pairs.pop(four[0]["id"], None)
	assert (pair is None) == (max(rewards) == min(rewards))
	if pair:
		assert pair["chosen"] == four[rewards.index(max(rewards))]["completion"]
		assert pair["rejected"] == four[rewards.index(min(rewards))]["completion"]
		assert pair["prompt"] == four[0]["prompt"] and abs(pair["margin"] - (max(rewards) - min(rewards))) < 1e-4
assert not pairs
mean = sum(json.loads(line)["reward"] for line in open("whole/4/samples.jsonl")) / len(rows)
assert abs(mean - float(open("means").readlines()[3])) < 1e-3'
	"$bin/dpo-cat" --header whole/3/policy.dpo | grep -o '"stage":"dpo-train"' | wc -l | grep -qx 3
	export -f rounds
	export bin pipelines story
	for file in 1/samples.jsonl.new 1/log.jsonl 2/samples.jsonl.new 3/log.jsonl; do # sampling or training
		kill_at killed/$file bash -c 'rounds killed SAVE_STEPS=1'
		[ ! -e killed/rounds.tsv ]
	done
	rounds killed SAVE_STEPS=1
	cmp whole/3/policy.dpo killed/3/policy.dpo
	cmp whole/rounds.tsv killed/rounds.tsv
}

@test "iterative-dpo: what is there is not done again; a round more is one training; another number of samples redoes all" {
	head -6 "$story/heldout.jsonl" > prompts.jsonl
	programs=counting
	rounds out ROUNDS=1 MAX_NEW_TOKENS=16
	[ "$(calls dpo-train)" = 1 ]
	rounds out ROUNDS=1 MAX_NEW_TOKENS=16
	rounds out ROUNDS=2 MAX_NEW_TOKENS=16
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 2" ]
	rounds out ROUNDS=1 MAX_NEW_TOKENS=16
	[ "$(wc -l < out/rounds.tsv)" = 3 ]
	rounds out ROUNDS=2 MAX_NEW_TOKENS=16 SAMPLES=5
	[ "$(calls dpo-train)" = 4 ]
	head -5 prompts.jsonl > fewer.jsonl
	touch -d yesterday fewer.jsonl
	rounds out ROUNDS=1 MAX_NEW_TOKENS=16 PROMPTS=fewer.jsonl
	[ "$(wc -l < out/1/samples.jsonl)" = 20 ]
	run rounds out ROUNDS=1 MAX_NEW_TOKENS=16 LABELLER=false
	[ "$status" -ne 0 ]
}

@test "constitution: label_prob is the judge's verdict probability; cached; the policy follows" {
	printf '%s\n' 'Stories "end" well.' 'Nobody \cries\.' > principles.txt
	constitution() {
		make -s -f "$pipelines/constitution.mk" DPO_BIN="$PWD/counting" MODEL="$story" JUDGE="$story" PRINCIPLES=principles.txt \
			PROMPTS=heldout.jsonl OUT=out MAX_NEW_TOKENS=16 MAX_STEPS=1 "$@"
	}
	constitution
	[ "$(wc -l < out/pairs.jsonl)" -ge 5 ]
	python3 -c 'import json
samples = [json.loads(line) for line in open("out/samples.jsonl")]
pairs = {row["id"]: row for row in map(json.loads, open("out/pairs.jsonl"))}
for first, second in zip(samples[::2], samples[1::2]):
	pair = pairs.pop(first["id"], None)
	assert (pair is None) == (first["completion"] == second["completion"])
	assert pair is None or [pair["prompt"], pair["chosen"], pair["rejected"]] == [first["prompt"], first["completion"], second["completion"]]
assert not pairs
for line in open("out/pairs.jsonl"):
	row = json.loads(line)
	text = ("Stories \"end\" well.\nNobody \\cries\\.\n\nQuestion: " + row["prompt"] + "\n\nAnswer A:" + row["chosen"] + "\n\nAnswer B:" +
		row["rejected"] + "\n\nThe better answer is")
	swapped = text.replace("Answer A:" + row["chosen"] + "\n\nAnswer B:" + row["rejected"], "Answer A:" + row["rejected"] + "\n\nAnswer B:" + row["chosen"])
	for prompt in (text, swapped):
		for verdict in (" A", " B"):
			print(json.dumps({"prompt": prompt, "completion": verdict}))' > verdicts.jsonl
	"$bin/dpo-tok" -q -m "$story" --max-length 0 verdicts.jsonl | "$bin/dpo-reflogp" -q -m "$story" | "$bin/dpo-cat" | sed '1d;$d' > logps
	python3 -c 'import json, math
p = [json.loads(line)["ref_chosen_logps"][0] for line in open("logps")]
for i, line in enumerate(open("out/pairs.jsonl")):
	a, b, swapped_a, swapped_b = p[4 * i:4 * i + 4]
	assert abs(json.loads(line)["label_prob"] - 1 / (1 + math.exp(-((a - b) + (swapped_b - swapped_a)) / 2))) < 1e-6'
	constitution policy
	[ -s out/policy.dpo ]
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 1" ] # the judge, the reference
	constitution policy
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 1" ]
	echo 'Be kind.' >> principles.txt # other verdicts on the same samples
	cp out/samples.jsonl samples.jsonl
	cp out/pairs.jsonl before.jsonl
	constitution policy
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "4 2" ]
	cmp samples.jsonl out/samples.jsonl
	[ -n "$(cmp before.jsonl out/pairs.jsonl)" ]
	echo 'Be brief.' > other.txt
	touch -d yesterday other.txt
	constitution PRINCIPLES=other.txt
	[ "$(calls dpo-reflogp)" = 5 ]
}

# bos/: the story model with a token in front of every text that is not rendered, and a template that writes it itself.
make_bos() {
	mkdir bos
	cp "$story"/* bos
	python3 -c 'import json
tree = json.load(open("bos/tokenizer.json"))
tree["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>"}}, {"Sequence": {"id": "A"}}],
	"special_tokens": {"<|endoftext|>": {"ids": [639]}}}
json.dump(tree, open("bos/tokenizer.json", "w"))
settings = json.load(open("bos/tokenizer_config.json"))
settings["chat_template"] = "{{ eos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
json.dump(settings, open("bos/tokenizer_config.json", "w"))
for n, line in enumerate(open("heldout.jsonl")):
	prompt = json.loads(line)["prompt"]
	print(json.dumps({"id": n, "prompt": prompt if n == 3 else [{"role": "user", "content": prompt}]}))' > chat.jsonl
	"$pipelines/dpo-chat" -m bos chat.jsonl > prompts.jsonl
}

@test "best-worst, constitution: the pairs of a chat prompt have the ids it was sampled with, BOS once and EOS where there was one" {
	make_bos
	sample() { "$bin/dpo-gen" -q -m bos -n 2 --temperature 0.5 --max-new-tokens "$1"; }
	(head -4 prompts.jsonl | sample 12; tail -2 prompts.jsonl | sample 150) > samples.jsonl # length; eos
	awk '{ sub(/}$/, ",\"reward\":" NR % 2 "}"); print }' samples.jsonl | "$pipelines/best-worst" > best.jsonl
	constitution() { awk -f "$pipelines/json.awk" -v step="$1" -f "$pipelines/constitution.awk" "${@:2}"; }
	echo 'Be kind.' > principles.txt
	constitution pair samples.jsonl > unlabelled.jsonl
	constitution ask principles.txt unlabelled.jsonl > verdicts.jsonl
	sed 's/^{\("id":"[^"]*\( .\)"\).*/{\1,"ref_chosen_logps":[-1\2]}/; s/ A\]/]/; s/ B\]/.5]/' verdicts.jsonl > logps
	constitution label logps unlabelled.jsonl > labelled.jsonl
	for file in best labelled; do
		"$bin/dpo-tok" -q -m bos $file.jsonl | "$bin/dpo-cat" | sed '1d;$d' > $file.ids
	done
	python3 -c 'import json
def read(name): return list(map(json.loads, open(name)))
samples, verdicts, ends = read("samples.jsonl"), read("verdicts.jsonl"), set()
for file in ("best", "labelled"):
	pairs = {row["id"]: row for row in read(file + ".ids")}
	for pair in zip(samples[::2], samples[1::2]):
		if file == "labelled" and pair[0]["completion"] == pair[1]["completion"]:
			continue
		row = pairs.pop(pair[0]["id"])
		assert row["prompt"] == pair[0]["prompt_ids"] and row["prompt"].count(639) == 1, row
		for key, sample in zip(("chosen", "rejected"), pair):
			added = [] if "rendered" in sample or sample["finish_reason"] == "eos" else [639]
			assert row[key] == sample["completion_ids"] + added, (key, row, sample)
			ends.add(sample["finish_reason"])
	assert not pairs
assert ends == {"eos", "length"}, ends
different = [pair for pair in zip(samples[::2], samples[1::2]) if pair[0]["completion"] != pair[1]["completion"]]
assert len(different) > 3
assert len(verdicts) == 4 * len(different)
for (a, b), verdict in zip(different + [pair[::-1] for pair in different], verdicts[::4] + verdicts[2::4]):
	assert verdict["prompt"] == ("Be kind.\n\nQuestion: " + a["prompt"] + "\n\nAnswer A:" + a["completion"] + "\n\nAnswer B:" +
		b["completion"] + "\n\nThe better answer is")'
	run make -s -f "$pipelines/constitution.mk" DPO_BIN="$bin" MODEL=bos PRINCIPLES=principles.txt PROMPTS=prompts.jsonl OUT=out MAX_NEW_TOKENS=40
	[ "$status" -eq 0 ]
	[ "$(grep -c '"rendered":true' out/pairs.jsonl)" -ge 3 ]
}

@test "constitution: every pair has its verdicts, and a judge that decides nothing is no judge; no principles are none" {
	constitution() { awk -f "$pipelines/json.awk" -v step="$1" -f "$pipelines/constitution.awk" "${@:2}"; }
	: > nothing.txt
	printf '{"id":"%s","prompt":"p","chosen":"c","rejected":"r"}\n' 0 1 > pairs.jsonl
	constitution ask nothing.txt pairs.jsonl > verdicts.jsonl
	[ "$(wc -l < verdicts.jsonl)" -eq 8 ]
	for order in 1 2; do for verdict in A B; do for pair in 1 2; do
		echo "{\"id\":\"$pair $order $verdict\",\"ref_chosen_logps\":[-1,-2]}"
	done; done; done > logps
	run constitution label logps pairs.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" == *"begin with the same token"* ]]
	sed -i 's/1 1 B","ref_chosen_logps":\[-1/1 1 B","ref_chosen_logps":[-2/' logps
	constitution label logps pairs.jsonl > labelled
	grep -q '"label_prob":0.622459' labelled # sigmoid(1 / 2)
	sed -i '$d' logps
	run constitution label logps pairs.jsonl
	[ "$status" -eq 3 ]
	[[ "$output" == *"pairs.jsonl:2: no verdicts on this pair"* ]]
}

@test "modpo: one reference for all weights; the second objective is traded for the preference" {
	for file in train heldout; do
		python3 -c 'import json, sys
for line in open(sys.argv[1]):
	row = json.loads(line)
	print(json.dumps(row | {"shorter": (len(row["rejected"]) - len(row["chosen"])) / 20}))' $file.jsonl > new
		mv new $file.jsonl
	done
	recipe modpo.mk COLUMN=shorter WEIGHTS='0 0.9' LEARNING_RATE=1e-3 MAX_STEPS=2 > shown
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 2" ]
	"$bin/dpo-cat" --header out/0.9/policy.dpo | grep -q modpo
	recipe modpo.mk COLUMN=shorter WEIGHTS='0 0.9' LEARNING_RATE=1e-3 MAX_STEPS=2
	[ "$(calls dpo-reflogp) $(calls dpo-train)" = "2 2" ]
	recipe modpo.mk COLUMN=shorter WEIGHTS=0.9 LEARNING_RATE=1e-3 MAX_STEPS=2
	[ "$(wc -l < out/table.tsv) $(calls dpo-train)" = "2 2" ]
	recipe modpo.mk COLUMN=shorter WEIGHTS='0 0.9' LEARNING_RATE=1e-3 MAX_STEPS=2
	for weight in 0 0.9; do
		"$bin/dpo-cat" out/$weight/pairs.dpo | sed '1d;$d' > $weight.jsonl
	done
	! cmp -s 0.jsonl 0.9.jsonl || return 1
	python3 -c 'import json
def share(rows, right): return sum(map(right, rows)) / len(rows)
for line in open("out/table.tsv").readlines()[1:]:
	weight, preference, second = line.split()
	rows = [json.loads(row) for row in open(weight + ".jsonl")]
	d = [row["reward_chosen"] - row["reward_rejected"] for row in rows]
	assert abs(sum(x > 0 for x in d) / len(d) - float(preference)) < 1e-5
	pairs = [x * row["shorter"] for x, row in zip(d, rows) if row["shorter"]]
	assert abs(sum(x > 0 for x in pairs) / len(pairs) - float(second)) < 1e-5
def toward(weight): # how far the policy leans to the second objective
	return sum((row["reward_chosen"] - row["reward_rejected"]) * row["shorter"] for row in map(json.loads, open(weight + ".jsonl")))
assert toward("0") < toward("0.9")'
}

@test "win-rate: any judge of JSON Lines; one that likes a side gives a half; rows must match" {
	for i in 1 2 3 4 5; do
		echo "{\"id\":\"$i\",\"prompt\":\"p\",\"sample\":0,\"completion\":\"a \\\"longer\\\" text $i\"}" >> a.jsonl
		echo "{\"id\":\"$i\",\"prompt\":\"p\",\"sample\":0,\"completion\":\"short\"}" >> b.jsonl
	done
	sed -i '5s/"short"/"a \\"longer\\" text 5"/' b.jsonl
	cat > judge <<-'END'
		#!/usr/bin/env python3
		import json, sys
		for line in sys.stdin:
		    row = json.loads(line)
		    a, b = len(row["a"]), len(row["b"])
		    print(json.dumps({"winner": "a" if a > b else "b" if b > a else "tie"}))
	END
	chmod +x judge
	"$pipelines/win-rate" a.jsonl b.jsonl ./judge > report
	grep -qx "$(printf 'rows\t5')" report
	grep -qx "$(printf 'wins\t4')" report
	grep -qx "$(printf 'ties\t1')" report
	grep -qx "$(printf 'win_rate\t0.9')" report
	sed 's/":/": /g' b.jsonl > spaced.jsonl
	"$pipelines/win-rate" spaced.jsonl a.jsonl ./judge | grep -qx "$(printf 'win_rate\t0.1')"
	head -4 a.jsonl > a4.jsonl
	head -4 b.jsonl > b4.jsonl
	"$pipelines/win-rate" a4.jsonl b4.jsonl sed 's/.*/{"a_wins":0.9}/' | grep -qx "$(printf 'win_rate\t0.5')"
	sed 's/"id":"[2345]"/"id":"2"/' a.jsonl > a=2.jsonl # four samples of one prompt count as one
	sed 's/"id":"[2345]"/"id":"2"/' b.jsonl > b=2.jsonl
	"$pipelines/win-rate" a=2.jsonl b=2.jsonl ./judge > report
	printf '%s\t%s\n' rows 5 prompts 2 wins 4 ties 1 win_rate 0.9375 | cmp - <(head -5 report)
	: > none.jsonl
	run "$pipelines/win-rate" none.jsonl none.jsonl ./judge
	[ "$status" -eq 3 ]
	[ "$output" = "win-rate: none.jsonl and none.jsonl have no rows" ]
	run "$pipelines/win-rate" a.jsonl b.jsonl sed 's/.*/{"a_wins":1.5}/'
	[ "$status" -eq 3 ]
	[ "$output" = 'win-rate: line 1: of the judge: "a_wins" is no probability' ]
	run "$pipelines/win-rate" a.jsonl b4.jsonl ./judge
	[ "$status" -eq 3 ]
	run "$pipelines/win-rate" a.jsonl b.jsonl head -2
	[ "$status" -eq 3 ]
	run "$pipelines/win-rate" a.jsonl b.jsonl sed 's/.*/{"winner":"c"}/'
	[ "$status" -eq 3 ]
	run "$pipelines/win-rate" a.jsonl b.jsonl false
	[ "$status" -ne 0 ]
	tac b.jsonl > other.jsonl
	run "$pipelines/win-rate" a.jsonl other.jsonl ./judge
	[ "$status" -eq 3 ]
}

@test "best-of-n, win-rate, plot: a signal is their end, with its status and no files left" {
	mkdir work fake
	export TMPDIR=$PWD/work
	ends() { # SIGNAL COMMAND...: it runs fake/strike, which sends the signal to its parent
		printf '#!/bin/sh\nkill -%s $PPID\n' $1 > fake/strike
		chmod +x fake/strike
		cp fake/strike fake/gnuplot
		cp fake/strike fake/dpo-gen
		status=0
		DPO_BIN=$PWD/fake PATH="$PWD/fake:$PATH" env --default-signal=$1 "${@:2}" > said 2>&1 || status=$?
		echo "$*: $status"
		[ "$status" -eq $((128 + $(kill -l $1))) ]
		[ -z "$(ls work)" ]
	}
	echo '{"id":"1","prompt":"p","sample":0,"completion":"c"}' > a.jsonl
	echo '{"loss":1,"rewards/margins":0,"step":1}' > log.jsonl
	for signal in HUP INT TERM; do # the shell that runs this may ignore some
		ends $signal "$pipelines/best-of-n" -m x -r y
		ends $signal "$pipelines/win-rate" a.jsonl a.jsonl fake/strike
		ends $signal "$pipelines/plot" -o log.svg log.jsonl
	done
}

@test "a language with a decimal comma changes no number" {
	command -v localedef > /dev/null || skip "no localedef"
	printf 'LC_NUMERIC\ndecimal_point ","\nthousands_sep ""\ngrouping -1\nEND LC_NUMERIC\n' > comma.source
	localedef -c -i comma.source ./comma 2> /dev/null || :
	[ -e comma/LC_NUMERIC ] || skip "localedef made no locale"
	for i in 0 1; do
		echo "{\"id\":\"0\",\"prompt\":\"p\",\"sample\":$i,\"completion\":\"good$i day bad bad\",\"logp\":-1.5,\"ref_logp\":-2.25}" >> samples.jsonl
	done
	printf '#!/bin/sh\ncat "%s/samples.jsonl"\n' "$PWD" > counting/dpo-gen
	"$bin/dpo-tok" -q -m "$story" train.jsonl | "$bin/dpo-cat" > pairs.jsonl
	numbers() {
		"$pipelines/sentiment" samples.jsonl | tee rewarded.jsonl
		sed 's/-10/-9.5/' rewarded.jsonl | "$pipelines/best-worst"
		"$pipelines/flip-labels" -v share=0.4 pairs.jsonl
		"$pipelines/short-answers" -v max=20.5 pairs.jsonl
		"$pipelines/win-rate" samples.jsonl samples.jsonl sed 's/.*/{"a_wins":0.9}/'
		DPO_BIN=$PWD/counting "$pipelines/best-of-n" -m x -r y
		recipe beta-sweep.mk BETAS=0.5 -s
		"$pipelines/compare" out/0.5/after.tsv out/0.5/after.tsv
	}
	numbers > wanted
	rm -r out
	LOCPATH=$PWD LC_ALL=comma numbers > given
	cmp wanted given
}
