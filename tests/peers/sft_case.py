#!/usr/bin/env python3
"""The supervised comparison with TRL's SFTTrainer: its rows and settings.

    sft_case.py STORY > train.jsonl     the rows, made of the files of testdata/story
    sft_case.py --arguments             the arguments of dpo-tok (first line) and dpo-train

72 stories as prompt and completion and 8 without a prompt, in batches of 8; max_length cuts some.
Needs no package.
"""
import json
import pathlib
import sys

SETTINGS = {"learning_rate": 2e-4, "lr_scheduler_type": "cosine", "warmup_steps": 2, "weight_decay": 0.1,
            "max_grad_norm": 1.0, "per_device_train_batch_size": 8, "num_train_epochs": 1, "max_length": 80}


def rows(story):
    """Every tenth row is a text without a prompt."""
    story = pathlib.Path(story)
    pairs = (story / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = (story / "text-heldout.jsonl").read_text(encoding="utf-8").splitlines()
    for number in range(80):
        if number % 10 == 9:
            yield json.loads(texts[number // 10])
        else:
            row = json.loads(pairs[number])
            yield {"prompt": row["prompt"], "completion": row["chosen"]}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] != "--arguments":
        for row in rows(sys.argv[1]):
            print(json.dumps(row, ensure_ascii=False))
        return
    settings = dict(SETTINGS)
    print("--max-length", settings.pop("max_length"))
    settings["batch_size"] = settings.pop("per_device_train_batch_size")
    print("--loss-type sft --order sequential --logging-steps 1",
          *(f"--{key.replace('_', '-')} {value}" for key, value in settings.items()))


if __name__ == "__main__":
    main()
