#!/usr/bin/env python3
"""Does an exported directory load in transformers and compute what our scorer computed?

    export_check.py HF_DIR PAIRS.jsonl

PAIRS.jsonl is dpo-cat's output of a dpo-reflogp stream whose model is the one that was exported.
transformers computes in fp32 the log-probability of every answer token from the token ids alone;
each must lie within 1e-5, absolute or relative to the value, of ours. Prints the largest deviation;
exits 1 if it is more, if a pair has another number of log-probs than tokens, if the file has no
pair, or if the tokenizer of the directory does not load.
"""
import json
import math
import os
import pathlib
import sys

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent))

import torch
import transformers

from ids_digest import numbers

TOLERANCE = 1e-5


def logps(model, prompt, answer):
    """The log-probability of each answer token after the prompt and the answer before it; 0 for a
    first token with nothing before it."""
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    if logits.dtype != torch.float32:
        sys.exit(f"logits are {logits.dtype}, not float32")
    found = logits[:-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0].tolist()
    return [0.0] * (not prompt) + found[max(len(prompt) - 1, 0):]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    directory, pairs = sys.argv[1:]
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[kind]:
            sys.exit(f"{directory}: {kind}: {loading[kind]}")
    model.eval()
    worst, tokens, count = (0.0, "nowhere"), 0, 0
    with open(pairs, encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if "prompt" in row]
    for row in rows:
        prompt = numbers(row["prompt"])
        for side in ("chosen", "rejected"):
            answer, ours = numbers(row[side]), numbers(row[f"ref_{side}_logps"])
            theirs = logps(model, prompt, answer)
            if len(ours) != len(theirs):
                sys.exit(f"pair {row['id']}: {len(ours)} log-probs for {len(theirs)} {side} tokens")
            for at, (x, y) in enumerate(zip(ours, theirs)):
                away = abs(x - y) / max(1.0, abs(y))
                if not away <= worst[0]:
                    worst = (away if math.isfinite(away) else math.inf, f"pair {row['id']} {side}[{at}]")
            tokens += len(answer)
        count += 1
    if not count:
        sys.exit(f"{pairs}: no pair")
    print(f"{type(model).__name__}, {type(tokenizer).__name__}: {count} pairs, {tokens} tokens, "
          f"largest deviation {worst[0]:.3g} of {TOLERANCE:.0e} at {worst[1]}")
    sys.exit(0 if worst[0] <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
