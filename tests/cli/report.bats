#!/usr/bin/env bats
# pipelines/report: a page that is whole in itself, says what the files say, and in which no text of theirs is markup.

setup_file() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export root bin=${DPO_BIN:-$root/bin}
	cd "$BATS_FILE_TMPDIR"
	head -48 "$root/testdata/story/train.jsonl" > train.jsonl
	head -8 "$root/testdata/story/heldout.jsonl" > heldout.jsonl
	make -s -f "$root/pipelines/dpo.mk" DPO_BIN="$bin" MODEL="$root/testdata/story" TRAIN=train.jsonl HELDOUT=heldout.jsonl OUT=run \
		LEARNING_RATE=1e-4 NUM_TRAIN_EPOCHS=1 LOGGING_STEPS=1 SHOWN=3 GEN="$bin/dpo-gen --max-new-tokens 24" report >&2
}

setup() {
	export DPO_BIN=$bin
	cp -r "$BATS_FILE_TMPDIR/run" "$BATS_TEST_TMPDIR"
	cd "$BATS_TEST_TMPDIR"
	report="$root/pipelines/report"
}

check() { python3 "$root/tests/page_check.py" "$@"; }

@test "the page of a run: curves, held-out numbers, samples, settings, the chain of stages" {
	check run/report.html "Training run run" "sigmoid, 6 steps, 1 epoch" Loss "Reward accuracy" "Implicit reward" Log-probability \
		"Gradient norm" "Learning rate" learning_rate 0.0001 > checked
	grep -qx '6 pictures, .*' checked
	python3 - > texts <<-'END'
		import json
		for name in ("run/before.jsonl", "run/after.jsonl"):
		    rows = [json.loads(line) for line in open(name)]
		    assert len(rows) == 3
		    for row in rows:
		        print(row["prompt"].strip())
		        print(" ".join(row["completion"].split()))
		for name in ("run/before.tsv", "run/after.tsv"):
		    value = dict(line.split("\t") for line in open(name))["eval_loss"]
		    print(f"{float(value):.4g}")
	END
	"$bin/dpo-cat" --header run/policy.dpo run/train.ref | grep -oE '[0-9a-f]{64}' >> texts
	mapfile -t texts < texts
	check run/report.html dpo-tok dpo-reflogp dpo-train "${texts[@]}"
	grep -q 'Content-Security-Policy' run/report.html
}

@test "the same files, the same page; on standard output without -o" {
	"$report" run > one.html
	"$report" -o two.html run
	cmp one.html two.html
	cmp one.html run/report.html
	"$report" -n 1 -t Other run > less.html
	check less.html Other
	[ "$(grep -c 'class="sample"' less.html)" -eq 1 ]
}

@test "hostile text is text: in samples, names of metrics and warnings, the title, the directory's name" {
	python3 - <<-'END'
		import json
		bad = "</p><script>alert(1)</script><img src=x onerror=alert(2)><!-- &lt; \u0000\u001b[31m \u202e"
		def spoil(path, key, value):
		    rows = [json.loads(line) for line in open(path)]
		    rows[0][key] = value
		    open(path, "w").write("".join(json.dumps(row) + "\n" for row in rows))
		spoil("run/before.jsonl", "prompt", bad + " prompt \ud800")
		spoil("run/before.jsonl", "completion", bad + " completion")
		spoil("run/after.jsonl", "completion", "<svg onload=alert(3)>]]>")
		with open("run/log.jsonl", "a") as log:
		    log.write(json.dumps({"warning": "<iframe src=//a.example>", "<b>": "</section>", "step": 6}) + "\n")
		with open("run/after.tsv", "a") as table:
		    table.write("eval_<style>*{}</style>\t1\n")
	END
	mv run '<img src=x onerror=alert(5)>'
	"$report" -o page.html '<img src=x onerror=alert(5)>'
	check page.html '</p><script>alert(1)</script><img src=x onerror=alert(2)><!-- &lt; \u0000\u001b[31m' 'prompt \ud800' completion \
		'<svg onload=alert(3)>]]>' '<iframe src=//a.example>' '<style>*{}</style>' 'Training run <img src=x onerror=alert(5)>'
	"$report" -t '"><script>alert(4)</script>' '<img src=x onerror=alert(5)>' > titled.html
	check titled.html '"><script>alert(4)</script>'
}

@test "the checker sees what must not be" {
	for fault in '<script>1</script>' '<img src="https://a.example/x.png">' '<p id="curves">' '<p onclick="x">' '</div>' '<i>' \
		'<a href="#nowhere">x</a>' '<link rel="x">' '<p style="background:url(x)">x</p>' '<svg viewBox="0 0 1 1" aria-label="x"></svg>'; do
		sed "s|<footer>|$fault<footer>|" run/report.html > bad.html
		[ "$(cmp bad.html run/report.html 2>&1)" ]
		run check bad.html
		echo "$fault: $output"
		[ "$status" -eq 1 ]
	done
	run check run/report.html 'not said'
	[ "$status" -eq 1 ]
}

@test "what is not there is left out; what is damaged, or of another run, is one line and no page" {
	mkdir less
	cp run/policy.dpo run/log.jsonl less
	"$report" less > less.html
	check less.html
	[ -z "$(grep -E 'class="sample"|Held-out|The pairs were checked' less.html)" ]
	refused() { # STATUS MESSAGE
		run "$report" -o refused.html less
		echo "$output"
		[ "$status" -eq "$1" ]
		[[ "$output" == "report: "*"$2"* ]]
		[ "${#lines[@]}" -eq 1 ]
		[ ! -e refused.html ]
		rm -rf less
		cp -r run less
	}
	rm less/log.jsonl; refused 1 'less/log.jsonl: No such file'
	echo 'nonsense' >> less/log.jsonl; refused 3 'less/log.jsonl:7: not a JSON object'
	echo 'eval_loss' >> less/after.tsv; refused 3 'less/after.tsv:'
	head -1 run/after.jsonl > less/after.jsonl; refused 3 'after.jsonl: no completion of row'
	head -c 5000 run/policy.dpo > less/policy.dpo
	cp run/shown.ref less/train.ref; refused 4 'less/train.ref: not the pairs that this policy was trained on'
	rm less/policy.dpo; refused 1 'less/policy.dpo'
	echo x > less/policy.dpo; refused 3 'less/policy.dpo'
	run "$report"
	[ "$status" -eq 2 ]
}
