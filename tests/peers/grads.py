#!/usr/bin/env python3
"""PyTorch's gradient of weighted log-probabilities, for every parameter of a model.

    grads.py make MODEL PAIR.jsonl OUT.safetensors [--double]
    grads.py compare OURS.safetensors THEIRS.safetensors

PAIR.jsonl holds one pair: {"prompt": [...], "chosen": [...], "rejected": [...], "chosen_weights":
[...], "rejected_weights": [...]}, one weight g_t an answer token. `make` writes the gradient of
sum_t g_t logp_t over both answers, each after the prompt, by the parameter names of Hugging Face (a
tied head has one gradient, under the embedding's name). An answer token with nothing before it has
no log-probability and adds nothing. --double computes and writes in float64. `compare` prints
max|a-b| / max|b| of each tensor and exits 1 where it is more than 1e-5, or where a tensor is missing;
a tensor that is 0 in THEIRS must be 0 in OURS. F32, F64, F16 and BF16 are read.
"""
import argparse
import json
import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-5


def load(directory, dtype):
    """The model of a directory, ready to be asked. transformers would make up weights it misses."""
    import transformers
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[kind]:
            sys.exit(f"{directory}: {kind}: {loading[kind]}")
    return model.eval()


def forget_length(model):
    """Undo what a longer sequence before did to rotary frequencies (rope_type "dynamic" keeps them)."""
    for module in model.modules():
        if hasattr(module, "original_inv_freq"):
            module.inv_freq = module.original_inv_freq.clone()
            module.max_seq_len_cached = module.original_max_seq_len


def answer_logits(model, prompt, answer):
    """The logits that predict each answer token but one that has nothing before it."""
    forget_length(model)
    ids = torch.tensor([prompt + answer])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    return logits[max(len(prompt) - 1, 0):-1]


def answer_logps(model, prompt, answer):
    """The log-probability of each answer token but one that has nothing before it."""
    logits = answer_logits(model, prompt, answer)
    return logits.log_softmax(-1).gather(-1, torch.tensor(answer[len(answer) - len(logits):])[:, None])[:, 0]


def objective(pair, logps):
    """sum_t g_t logp_t over the tokens of both answers; `logps` holds both sides' log-probabilities."""
    total = 0
    for side in ("chosen", "rejected"):
        weights, scored = pair[f"{side}_weights"], logps[side]
        if len(weights) != len(pair[side]):
            sys.exit(f"{side}: {len(weights)} weights for {len(pair[side])} tokens")
        total = total + scored @ torch.tensor(weights[len(weights) - len(scored):], dtype=scored.dtype)
    return total


def gradients(model, pair):
    """The objective of a pair, its log-probabilities, and the objective's gradient by parameter name;
    of a parameter it does not reach, zeros."""
    model.zero_grad()
    logps = {side: answer_logps(model, pair["prompt"], pair[side]) for side in ("chosen", "rejected")}
    value = objective(pair, logps)
    value.backward()
    return value.item(), logps, {
        name: torch.zeros_like(p) if p.grad is None else p.grad.contiguous()
        for name, p in model.named_parameters()}


def make(directory, pair, out, dtype):
    """Write the gradients of one pair."""
    with open(pair, encoding="utf-8") as file:
        value, _, found = gradients(load(directory, dtype), json.loads(file.readline()))
    save_file(found, out)
    print(f"objective {value:.17g}")


def compare(ours, theirs):
    """Print the deviation of each tensor; True if all are within the tolerance."""
    ours, theirs = load_file(ours), load_file(theirs)
    well = ours.keys() == theirs.keys()
    for name in sorted(ours.keys() ^ theirs.keys()):
        print(f"FAIL {name} is {'too many' if name in ours else 'missing'}")
    for name in sorted(ours.keys() & theirs.keys()):
        if ours[name].shape != theirs[name].shape:
            print(f"FAIL {name}: shape {list(ours[name].shape)}, not {list(theirs[name].shape)}")
            well = False
            continue
        a, b = ours[name].double(), theirs[name].double()
        away, largest = (a - b).abs().max().item(), b.abs().max().item()
        held = away <= TOLERANCE * largest
        well = well and held
        ratio = away / largest if largest else away
        print(f"{'ok  ' if held else 'FAIL'} {ratio:10.3g} of {TOLERANCE:.0e}  "
              f"max|g| {largest:10.3g}  {name}")
    return well and bool(theirs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("make")
    for name in ("model", "pair", "out"):
        one.add_argument(name)
    one.add_argument("--double", action="store_true")
    two = verbs.add_parser("compare")
    for name in ("ours", "theirs"):
        two.add_argument(name)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.verb == "make":
        make(given.model, given.pair, given.out, torch.float64 if given.double else torch.float32)
    elif not compare(given.ours, given.theirs):
        sys.exit(1)


if __name__ == "__main__":
    main()
