#!/usr/bin/env python3
"""The comparisons with TRL: their settings, and the inputs they run on.

    cases.py CASE ASSETS OUT        make OUT/model and OUT/train.jsonl (D: also OUT/eval.jsonl)
    cases.py CASE --arguments       print the arguments of dpo-tok (first line) and dpo-train

Needs no package, so a test can make the inputs anywhere. ASSETS is the directory that holds models/,
prefs/ and tokenizers/; nothing of it is kept in the repository.

A  the story model on the first 256 story pairs: one epoch, linear schedule
B  80 story pairs, some with long prompts: warm-up and cosine, weight decay, clipping, two epochs,
   a last batch that is not full, a max_length that cuts 56 answers and drops three rows (one prompt
   of exactly max_length tokens), and a gradient norm that is clipped in some steps only
C  a GPT-2 with random weights (make_gpt2.py) on the first 96 PandaLM pairs, answers cut
D  learning: the story model, one epoch over all 1,130 pairs, and its loss on the held-out ones
"""
import json
import pathlib
import shutil
import sys

import make_gpt2

PLAIN = {"beta": 0.1, "learning_rate": 1e-4, "lr_scheduler_type": "linear", "warmup_steps": 0,
         "weight_decay": 0.0, "max_grad_norm": 1.0, "per_device_train_batch_size": 8,
         "num_train_epochs": 1, "max_length": 512}
CASES = {
    "A": {"model": "stories260k", "rows": 256, "settings": PLAIN},
    "B": {"model": "stories260k", "rows": 80,
          "repeat": {7: 4, 10: 6, 18: 9, 28: 7, 29: 5, 44: 12, 61: 2, 79: 3},
          "settings": PLAIN | {"beta": 0.2, "learning_rate": 2e-4, "lr_scheduler_type": "cosine",
                               "warmup_steps": 6, "weight_decay": 0.1, "max_grad_norm": 4.0,
                               "num_train_epochs": 2, "max_length": 120}},
    "C": {"model": "gpt2", "rows": 96, "settings": PLAIN | {"max_length": 192}},
    "D": {"model": "stories260k", "rows": None, "settings": PLAIN},
}
# "repeat": {number of a row, from 0: how many times its prompt is said}
FILES = {"stories260k": ("stories-train.jsonl", "stories-heldout.jsonl"),
         "gpt2": ("pandalm-train.jsonl", "pandalm-heldout.jsonl")}
OPTION = {"per_device_train_batch_size": "batch-size"}


def make_rows(case, source):
    """The lines of a case's training file, made from the lines of the asset."""
    lines = source.read_text(encoding="utf-8").splitlines()[:case["rows"]]
    for number, times in case.get("repeat", {}).items():
        row = json.loads(lines[number])
        row["prompt"] = " ".join([row["prompt"]] * times)
        lines[number] = json.dumps(row, ensure_ascii=False)
    return "".join(line + "\n" for line in lines)


def make_inputs(name, assets, out):
    """Write the model directory and the JSON Lines files of a case into the directory `out`."""
    case, assets, out = CASES[name], pathlib.Path(assets), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if case["model"] == "gpt2":
        make_gpt2.make(assets / "tokenizers" / "gpt2", out / "model")
    else:
        (out / "model").mkdir()
        for file in (assets / "models" / case["model"]).iterdir():
            shutil.copyfile(file, out / "model" / file.name)
    train, heldout = FILES[case["model"]]
    (out / "train.jsonl").write_text(make_rows(case, assets / "prefs" / train), encoding="utf-8")
    if name == "D":
        shutil.copyfile(assets / "prefs" / heldout, out / "eval.jsonl")


def arguments(name):
    """The arguments of dpo-tok and of dpo-train that make the run of a case."""
    settings = dict(CASES[name]["settings"])
    tok = ["--max-length", str(settings.pop("max_length"))]
    train = ["--order", "sequential", "--logging-steps", "1"]
    for key, value in settings.items():
        train += ["--" + OPTION.get(key, key.replace("_", "-")), str(value)]
    return tok, train


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    if sys.argv[2] == "--arguments":
        for line in arguments(sys.argv[1]):
            print(*line)
    elif len(sys.argv) == 4:
        make_inputs(*sys.argv[1:4])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
