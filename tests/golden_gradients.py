#!/usr/bin/env python3
"""Check gradients and log-probs against what PyTorch gave in float64 (testdata/golden/torch).

    golden_gradients.py pairs GOLDEN.json                   the numbers, from 0, of the pairs with gradients
    golden_gradients.py pair GOLDEN.json N                  pair N, for tests/tools/gradients.c
    golden_gradients.py compare GOLDEN.json N OURS.safetensors
    golden_gradients.py stream GOLDEN.json                  all pairs, for dpo-cat -z
    golden_gradients.py logps GOLDEN.json < REFERENCE.jsonl       dpo-cat's output of dpo-reflogp's stream
    golden_gradients.py options GOLDEN.json                 dpo-train's options for the three steps
    golden_gradients.py trained GOLDEN.json CONFIG.json LOG.jsonl OURS.safetensors

`compare` prints of each tensor max|a-b| / max|b|, b being PyTorch's, and fails where it is more than 1e-5;
a tensor that is 0 in b must be 0. That binds also what is zero by mathematics, the key third of GPT-2's
attn.c_attn.bias, to 1e-5 of the largest gradient of its tensor. `logps` prints the largest
|a-b| / max(1, |b|) of each pair and fails above 1e-5. `trained` compares three steps of training with PyTorch's
in fp32: each loss and gradient norm within 1e-5 of the value, mean logits within 1e-5, all weights but one in 10,000
(one in a model of fewer) within 1e-6, and all within twice the learning rate, which is how far AdamW carries apart an
element whose gradient is nothing but rounding; elements whose gradient is 0 by mathematics are not counted
(`without_gradient`). All fail when anything is missing or too many.
Needs no package.
"""
import base64
import json
import math
import pathlib
import sys

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent / "peers"))

import tensors

TOLERANCE = 1e-5
SIDES = ("chosen", "rejected")
HEADER = {"format": 1, "kind": "pairs", "stages": [], "columns": [
    ["id", "str"], ["prompt", "i32[]"], ["chosen", "i32[]"], ["rejected", "i32[]"],
    ["weight", "f32"], ["margin", "f32"], ["label_prob", "f32"]]}


def judge(what, away, allowed=TOLERANCE, note=""):
    """Print one comparison; True if it holds (a NaN does not)."""
    held = away <= allowed
    print(f"{'ok  ' if held else 'FAIL'} {away:10.3g} of {allowed:.0e}  {note}{what}")
    return held


def fault(what):
    print("FAIL", what)
    return False


def largest(values):
    """The largest of absolute values; infinity if one is no number."""
    return max((abs(v) if math.isfinite(v) else math.inf for v in values), default=0.0)


def list_pairs(golden):
    """The pairs whose gradients are kept; there must be one."""
    numbers = [number for number, pair in enumerate(golden["pairs"]) if "gradients" in pair]
    print(*numbers)
    return bool(numbers)


def write_pair(golden, number):
    pair = golden["pairs"][int(number)]
    keys = ["prompt", *SIDES, *(f"{side}_weights" for side in SIDES)]
    print(json.dumps({key: pair[key] for key in keys}))
    return True


def write_stream(golden):
    print(json.dumps({"header": HEADER}))
    for pair in golden["pairs"]:
        print(json.dumps({"id": pair["name"], "prompt": pair["prompt"], "chosen": pair["chosen"],
                          "rejected": pair["rejected"], "weight": 1, "margin": 0, "label_prob": 1}))
    print('{"end":true}')
    return True


def compare_tensor(name, shape, ours, kept):
    """One tensor against what is kept of PyTorch's."""
    theirs = tensors.decode("F32", base64.b64decode(kept["f32"], validate=True))
    if shape != kept["shape"] or len(ours) != len(theirs):
        return fault(f"{name}: shape {shape}, not {kept['shape']}")
    scale = largest(theirs)
    away = largest(a - b for a, b in zip(ours, theirs))
    return judge(name, away / scale if scale else away, TOLERANCE if scale else 0.0, f"max|g| {scale:9.3g}  ")


def compare(golden, number, path):
    """Every tensor of the file, and no other."""
    pair = golden["pairs"][int(number)]
    missing = dict(pair["gradients"])
    well = bool(missing)
    for name, shape, ours in tensors.read(path):
        kept = missing.pop(name, None)
        well &= compare_tensor(name, shape, ours, kept) if kept else fault(f"{name} is too many")
    for name in missing:
        well = fault(f"{name} is missing")
    return well


def compare_logps(golden):
    """The log-probs of every pair, in order."""
    rows = [row for row in map(json.loads, sys.stdin) if "id" in row]
    well = bool(golden["pairs"])
    if [row["id"] for row in rows] != [pair["name"] for pair in golden["pairs"]]:
        return fault(f"pairs are {[row['id'] for row in rows]}")
    for row, pair in zip(rows, golden["pairs"]):
        for side in SIDES:
            ours, theirs = row[f"ref_{side}_logps"], pair[f"{side}_logps"]
            if not len(ours) == len(theirs) == len(pair[side]):
                well = fault(f"{row['id']}: {len(ours)} {side} log-probs, not {len(pair[side])}")
                continue
            away = largest((a - b) / max(1, abs(b)) for a, b in zip(ours, theirs))
            well &= judge(f"{row['id']}, {side}", away)
    return well


def options(golden):
    """dpo-train's options: PyTorch's settings, all pairs in every step."""
    kept = golden["training"]
    print("--beta", kept["beta"], "--learning-rate", kept["learning_rate"], "--adam-epsilon", kept["adam_epsilon"],
          "--max-grad-norm", kept["max_grad_norm"], "--num-train-epochs", kept["steps"], "--batch-size",
          len(golden["pairs"]), "--lr-scheduler-type constant --order sequential --logging-steps 1")
    return True


def without_gradient(config, name):
    """Whether element i of a tensor has no gradient by mathematics: a bias of keys adds the same to all
    scores of a row where no rotation tells the keys apart."""
    if config["model_type"] == "gpt2" and name.endswith("c_attn.bias"):
        return lambda i: config["n_embd"] <= i < 2 * config["n_embd"]
    if config["model_type"] == "gpt_neox" and name.endswith("query_key_value.bias"):
        head = config["hidden_size"] // config["num_attention_heads"]
        return lambda i: head + int(head * config["rotary_pct"]) <= i % (3 * head) < 2 * head
    return lambda i: False


def compare_steps(kept, log):
    """Loss, gradient norm and mean logits of each step."""
    rows = [json.loads(line) for line in pathlib.Path(log).read_text(encoding="utf-8").splitlines()]
    if len(rows) != kept["steps"]:
        return fault(f"{len(rows)} steps, not {kept['steps']}")
    well = True
    for key in ("loss", "grad_norm", "logits/chosen", "logits/rejected"):
        for number, (row, theirs) in enumerate(zip(rows, kept[key]), 1):
            away = abs(row[key] - theirs)
            well &= judge(f"step {number}, {key}", away if "logits" in key else away / abs(theirs))
    return well


def compare_trained(golden, config, log, path):
    """Losses, gradient norms and the weights after the last step."""
    kept, missing = golden["training"], dict(golden["training"]["weights"])
    config = json.loads(pathlib.Path(config).read_text(encoding="utf-8"))
    well, apart, worst = compare_steps(kept, log), [], 0.0
    for name, shape, ours in tensors.read(path):
        entry = missing.pop(name, None)
        if not entry or entry["shape"] != shape:
            return fault(f"{name} is too many, or of another shape")
        theirs = tensors.decode("F32", base64.b64decode(entry["f32"], validate=True))
        away = [abs(a - b) for a, b in zip(ours, theirs)]
        exempt = without_gradient(config, name)
        worst = max(worst, largest(away))
        apart += [d for i, d in enumerate(away) if not exempt(i)]
    for name in missing:
        well = fault(f"{name} is missing")
    far = sum(not d <= 1e-6 for d in apart)
    well &= judge(f"share of {len(apart)} weights more than 1e-6 away", far / max(len(apart), 1),
                  max(1e-4, 1 / max(len(apart), 1)))
    return judge("the largest distance", worst, 2 * kept["learning_rate"]) and well and bool(apart)


VERBS = {"pairs": (list_pairs, 0), "pair": (write_pair, 1), "compare": (compare, 2), "stream": (write_stream, 0),
         "logps": (compare_logps, 0), "options": (options, 0), "trained": (compare_trained, 3)}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in VERBS:
        sys.exit(__doc__)
    verb, more = VERBS[sys.argv[1]]
    if len(sys.argv) != 3 + more:
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as file:
        golden = json.load(file)
    sys.exit(0 if verb(golden, *sys.argv[3:]) else 1)


if __name__ == "__main__":
    main()
