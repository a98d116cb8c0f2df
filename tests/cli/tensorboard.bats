#!/usr/bin/env bats
# pipelines/to-tensorboard: an independent reader (tests/tfevents.py) finds every number of the log under TRL's tags.
# tests/peers/tensorboard_check.py asks TensorBoard itself.

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	convert="$root/pipelines/to-tensorboard"
	cd "$BATS_TEST_TMPDIR"
	cat > log.jsonl <<-'END'
		{"loss":0.6931471824645996,"grad_norm":3.5,"learning_rate":4.55e-05,"rewards/accuracies":0.8625,"logps/chosen":-22.81,"num_tokens":13942,"epoch":0.5,"step":10}
		{"eval_loss":0.5,"eval_rewards/margins":1.25,"epoch":0.5,"step":10}
		{"loss":0.3,"grad_norm":0,"rewards/accuracies":1,"epoch":1,"step":300}
		{"metric_for_best_model":"eval_loss","best_metric":0.5,"best_step":10,"epoch":1,"step":300}
		{"warning":"likelihood_displacement","share":0.64,"pairs":200,"epoch":1,"step":300}
	END
}

@test "every number at its step, under the tags of transformers; warnings as text; time from the step" {
	"$convert" -o runs/one log.jsonl
	python3 "$root/tests/tfevents.py" runs/one/events.out.tfevents.0 > events
	python3 - <<-'END'
		import json, struct
		events = [json.loads(line) for line in open("events")]
		assert events.pop(0) == {"wall_time": 0, "step": 0, "file_version": "brain.Event:2"}
		f32 = lambda x: struct.unpack("<f", struct.pack("<f", x))[0]
		rows = [json.loads(line) for line in open("log.jsonl")]
		for row, event in zip(rows, events, strict=True):
		    assert event.pop("step") == row["step"] == event.pop("wall_time")
		    if "warning" in row:
		        assert event == {"train/warning": "likelihood_displacement: share 0.64, pairs 200"}
		        continue
		    assert event == {("eval/" + k[5:] if k[:5] == "eval_" else "train/" + k): f32(v)
		                     for k, v in row.items() if k != "step" and k != "metric_for_best_model"}
		assert "train/rewards/accuracies" in events[0] and "eval/loss" in events[1]
	END
}

@test "a log that dpo-train wrote; the same bytes each time, from a pipe too; --start moves the time" {
	bin=${DPO_BIN:-$root/bin} model="$root/testdata/story"
	head -16 "$model/train.jsonl" | "$bin/dpo-tok" -q -m "$model" | "$bin/dpo-reflogp" -q -m "$model" -o pairs.ref
	"$bin/dpo-train" -q -m "$model" --learning-rate 1e-4 --logging-steps 1 --eval pairs.ref --log own.jsonl -o policy.dpo pairs.ref
	"$convert" own.jsonl > one
	"$convert" -o . < own.jsonl
	cmp one events.out.tfevents.0
	"$convert" --start 1000000000 own.jsonl > later
	python3 "$root/tests/tfevents.py" one > events
	python3 "$root/tests/tfevents.py" later > events-later
	python3 - <<-'END'
		import json
		rows = [json.loads(line) for line in open("own.jsonl")]
		events, later = ([json.loads(line) for line in open(name)][1:] for name in ("events", "events-later"))
		assert len(rows) == len(events) == len(later) >= 7
		for row, event, shifted in zip(rows, events, later):
		    assert len(event) - 2 == (1 if "warning" in row else sum(key != "step" for key in row))
		    assert shifted["wall_time"] == event["wall_time"] + 1e9
	END
}

@test "the reader sees a flipped bit and a cut; a bad log is one line and no file" {
	"$convert" log.jsonl > whole
	for place in 3 9 40 -3; do
		python3 -c 'import sys
data = bytearray(open("whole", "rb").read())
data[int(sys.argv[1])] ^= 4
open("bad", "wb").write(data)' "$place"
		run python3 "$root/tests/tfevents.py" bad
		[ "$status" -ne 0 ]
	done
	refused() { # MESSAGE: of what comes in
		run "$convert" -o none
		echo "$output"
		[ "$status" -eq 3 ]
		[ "$output" = "to-tensorboard: standard input$1" ]
		[ ! -e none/events.out.tfevents.0 ]
	}
	refused ': empty' < /dev/null
	for bad in '{"loss":0.5}' '{"loss":NaN,"step":1}' '{"loss":1e999,"step":1}' '[1]' '{"loss":0.5,"step":-1}' '{"loss":0.5,"ste' \
		"{\"loss\":1$(printf %0400d 0),\"step\":1}"; do
		{ head -2 log.jsonl; printf '%s\n' "$bad"; } > bad
		refused ':3: not a JSON object with a step and finite numbers' < bad
	done
	printf '{"step":1,"\377":1}\n' > bad
	refused ':1: not UTF-8' < bad
	run "$convert" nowhere
	[ "$status" -eq 1 ]
	[ "$output" = "to-tensorboard: nowhere: No such file or directory" ]
}
