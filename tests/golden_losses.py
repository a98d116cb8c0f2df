#!/usr/bin/env python3
"""Run dpo-train on every case of testdata/golden/losses and compare with the peer's first steps.

    golden_losses.py GOLDEN.json BIN STORY [PART/PARTS]       STORY is testdata/story; PART counts from 0

A case of TRL's is either a log that ours must equal, or a refusal, or an exception TRL died of, where ours may do as it
likes. Where an option has no effect on the loss (as ld_alpha
on sft) TRL runs on in silence and dpo-train must refuse with exit 2; that TRL's loss is then the plain one is checked as
well. Prints the largest deviation of every metric; exits 1 on any fault. Needs no package.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

# (how a metric's name begins, absolute tolerance, tolerance relative to TRL's value)
TOLERANCES = [("loss", 1e-5, 1e-5), ("grad_norm", 1e-6, 2e-4), ("rewards/", 5e-5, 1e-5), ("logps/", 5e-4, 1e-5),
              ("logits/", 1e-4, 1e-5), ("entropy", 1e-4, 0), ("mean_token_accuracy", 1e-4, 0)]
# What TRL takes without effect: (loss, option).
SILENT = [("sft", "--ld-alpha"), ("sft", "--f-divergence-type")]


def tolerance(metric, value):
    for start, absolute, relative in TOLERANCES:
        if metric.startswith(start):
            return absolute + relative * abs(value)
    raise SystemExit(f"no tolerance is known for the metric {metric}")


def make_rows(bin, story, extra, to):
    """The pairs of the golden file with their extra numbers and the reference's log-probs."""
    with open(story / "train.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) | numbers for line, numbers in zip(file, extra)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    keep = [f"--keep={name}:f32" for name in extra[0] if name not in ("weight", "margin", "label_prob")]
    tok = subprocess.run([bin / "dpo-tok", "-q", "-m", story, *keep], input=text.encode(), capture_output=True, check=True)
    subprocess.run([bin / "dpo-reflogp", "-q", "-m", story, "-o", to], input=tok.stdout, check=True)


def run(bin, story, rows, arguments):
    """Exit status, log and messages of dpo-train."""
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / "log"
        done = subprocess.run(
            [bin / "dpo-train", "-q", "-j", "1", "-m", story, "--order", "sequential", "--batch-size", "4",
             "--num-train-epochs", "1", "--learning-rate", "1e-4", "--logging-steps", "1", "--log", log,
             "-o", pathlib.Path(scratch) / "policy", *arguments, rows], capture_output=True, text=True)
        lines = log.read_text().splitlines() if log.exists() else []
    return done.returncode, [entry for entry in map(json.loads, lines) if "loss" in entry], done.stderr


def silent(arguments):
    """The loss alone, if it takes none of the options that TRL ignores with it."""
    return any(arguments[1] == loss and option in arguments for loss, option in SILENT)


def compare(worst, ours, theirs):
    """Faults of ours against TRL's log; worst keeps the largest deviation of each metric, in tolerances."""
    faults = [] if len(ours) == len(theirs) else [f"{len(ours)} steps, not {len(theirs)}"]
    for step, (a, b) in enumerate(zip(ours, theirs), 1):
        for metric, value in b.items():
            away, allowed = abs(a.get(metric, float("inf")) - value), tolerance(metric, value)
            worst[metric] = max(worst.get(metric, (0, 0)), (away / allowed, away))
            if not away <= allowed:
                faults.append(f"step {step}: {metric} is {a.get(metric)}, TRL's {value}")
    return faults


def check(case, plain, worst, bin, story, rows):
    """Faults of one case."""
    status, log, messages = run(bin, story, rows, case["arguments"])
    if "died" in case:
        return [] if status in (0, 2) else [messages.strip()]
    if "refused" in case or silent(case["arguments"]):
        faults = [] if status == 2 and messages else [f"exit {status}, not refused"]
        if "log" in case:
            faults += ["TRL's loss is not the plain one" for a, b in zip(case["log"], plain) if a["loss"] != b["loss"]]
        return faults
    return [messages.strip()] if status else compare(worst, log, case["log"])


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    bin, story = map(pathlib.Path, sys.argv[2:4])
    part, parts = map(int, sys.argv[4].split("/")) if len(sys.argv) == 5 else (0, 1)
    with open(sys.argv[1], encoding="utf-8") as file:
        golden = json.load(file)
    plain = {" ".join(case["arguments"]): case.get("log") for case in golden["cases"]}
    worst, bad, cases = {}, 0, golden["cases"][part::parts]
    with tempfile.TemporaryDirectory() as scratch:
        rows = pathlib.Path(scratch) / "rows.ref"
        make_rows(bin, story, golden["rows"], rows)
        for case in cases:
            faults = check(case, plain.get(" ".join(case["arguments"][:2])), worst, bin, story, rows)
            for fault in faults:
                print("FAIL", *case["arguments"], ":", fault)
            bad += bool(faults)
    for metric, (share, away) in worst.items():
        print(f"{metric:22} {away:10.3g}, {share:.2f} of the tolerance")
    print(f"{len(cases)} cases, {bad} bad")
    sys.exit(bad > 0 or not worst)


if __name__ == "__main__":
    main()
