#!/usr/bin/env python3
"""Does an exported directory load in transformers and compute what our scorer computed?

    export_check.py HF_DIR PAIRS.jsonl [--adapter PEFT_DIR [--save DIR]]

PAIRS.jsonl is dpo-cat's output of a dpo-reflogp stream whose model is the one that was exported.
transformers computes in fp32 the log-probability of every answer token from the token ids alone;
each must lie within 1e-5, absolute or relative to the value, of ours. Prints the largest deviation;
exits 1 if it is more, if a pair has another number of log-probs than tokens, if the file has no
pair, or if the tokenizer of the directory does not load. With --adapter the model carries that
adapter in peft, every tensor of which must be found; --save lets peft write it again, for our reader.
"""
import argparse
import json
import math
import os
import pathlib
import sys

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent))

import safetensors
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


def with_adapter(model, directory):
    """The model in peft with the adapter; exits if a tensor of either is not in the other."""
    import peft

    model = peft.PeftModel.from_pretrained(model, directory)
    with safetensors.safe_open(f"{directory}/adapter_model.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}
    loaded = peft.get_peft_model_state_dict(model)
    if stored.keys() != loaded.keys():
        sys.exit(f"{directory}: not in both: {sorted(stored.keys() ^ loaded.keys())}")
    for name, tensor in stored.items():
        if not torch.equal(tensor, loaded[name]):
            sys.exit(f"{directory}: {name} was not loaded")
    return model


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("pairs")
    parser.add_argument("--adapter")
    parser.add_argument("--save")
    given = parser.parse_args()
    directory, pairs = given.directory, given.pairs
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[kind]:
            sys.exit(f"{directory}: {kind}: {loading[kind]}")
    if given.adapter:
        model = with_adapter(model, given.adapter)
    if given.save:
        model.save_pretrained(given.save)
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
