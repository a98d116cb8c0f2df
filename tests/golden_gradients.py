#!/usr/bin/env python3
"""Check gradients and log-probs against what PyTorch gave in float64 (testdata/golden/torch).

    golden_gradients.py pair GOLDEN.json N                  pair N, from 0, for tests/tools/gradients.c
    golden_gradients.py compare GOLDEN.json N OURS.safetensors
    golden_gradients.py stream GOLDEN.json                  all pairs, for dpo-cat -z
    golden_gradients.py logps GOLDEN.json < REFERENCE.jsonl       dpo-cat's output of dpo-reflogp's stream

`compare` prints of each tensor max|a-b| / max|b|, b being PyTorch's, and fails where it is more than 1e-5;
a tensor that is 0 in b must be 0. That binds also what is zero by mathematics, the key third of GPT-2's
attn.c_attn.bias, to 1e-5 of the largest gradient of its tensor. `logps` prints the largest
|a-b| / max(1, |b|) of each pair and fails above 1e-5. Both fail when anything is missing or too many.
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


VERBS = {"pair": (write_pair, 1), "compare": (compare, 2), "stream": (write_stream, 0), "logps": (compare_logps, 0)}


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
