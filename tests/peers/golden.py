#!/usr/bin/env python3
"""Make of a run of trl_run.py the small file that testdata/golden/trl keeps.

    golden.py DIR > CASE.json

The file holds the versions and settings, the log as TRL wrote it, and of every trained tensor its
shape, its L2 norm and 32 sampled elements. A part of a tensor whose gradient is zero by mathematics
is named there ("zero_gradient": [from, to], flat indices) and left out of both: AdamW turns what
rounding leaves of it into full steps, so that no two programs agree on it.
"""
import json
import pathlib
import sys

import tensors


def zero_gradient(name, shape):
    """The part of a tensor that cannot have a gradient, or None. Adding one vector to all keys moves
    every attention score of a query alike, and the softmax does not see that. (Not so in Llama: its
    keys are turned by their positions.)"""
    if name.endswith("attn.c_attn.bias"):
        return [shape[0] // 3, 2 * shape[0] // 3]
    return None


def summary(name, shape, values):
    """What is kept of one tensor."""
    entry = {"shape": shape}
    span = zero_gradient(name, shape)
    if span:
        entry["zero_gradient"] = span
    places = tensors.sample_places(len(values), span)
    return entry | {"norm": float(f"{tensors.norm(values, span):.12g}"),
                    "sample": [float(f"{values[i]:.9g}") for i in places]}


def block(name, lines, brackets):
    """One member of the file, one line an entry, so that a difference can be read."""
    return f'"{name}": {brackets[0]}\n' + ",\n".join(lines) + f"\n{brackets[1]}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    run = json.loads((directory / "run.json").read_text())
    parts = [f'"{key}": {json.dumps(run[key])}' for key in ("case", "versions", "settings")]
    parts.append(block("log", (directory / "log.jsonl").read_text().splitlines(), "[]"))
    parts.append(block("weights", [f"{json.dumps(name)}: {json.dumps(summary(name, shape, values))}"
                                   for name, shape, values
                                   in tensors.read(directory / "model.safetensors")], "{}"))
    print("{\n" + ",\n".join(parts) + "\n}")


if __name__ == "__main__":
    main()
