#!/usr/bin/env python3
"""Ask PyTorch, in float64, for the log-probs and gradients that testdata/golden/torch keeps.

    golden_torch.py OUT

Writes OUT/NAME.json for each model of make_random.py: versions, and per pair its ids and weights g_t,
the log-probability of every answer token (0 for one with nothing before it), the objective
sum_t g_t logp_t, and its gradient for every parameter as base64 of little-endian float32. A model
that only stores the weights of another in another way has no gradients.
"""
import base64
import json
import pathlib
import sys
import tempfile

import torch
import transformers

import grads
import make_random
import tensors

# The weights are multiples of 1/8, exact in every precision.
PAIRS = {
    "ordinary": {
        "prompt": [17, 3, 62, 0, 95, 17, 41, 8, 8, 30],
        "chosen": [5, 88, 17, 29, 71, 3, 95, 54, 54, 12, 90, 1],
        "rejected": [5, 88, 44, 62, 0, 13, 76, 1],
        "chosen_weights": [1, 0.5, -0.25, 0.125, 2, 1, 1, 0, 0.75, 1.5, 1, 0.625],
        "rejected_weights": [-1, -0.5, -1.25, 0.25, -2, -0.875, -1, -1]},
    "empty prompt": {
        "prompt": [],
        "chosen": [9, 33, 70, 33, 2, 1],
        "rejected": [46, 81, 7, 1],
        "chosen_weights": [3, 1, 0.5, 1, 0.25, 1],
        "rejected_weights": [-3, -1, -0.5, -1.5]},
    "one-token answers": {
        "prompt": [64, 22, 87, 50, 11, 39],
        "chosen": [19],
        "rejected": [58],
        "chosen_weights": [1],
        "rejected_weights": [-0.75]},
}
SIDES = ("chosen", "rejected")


def kept_tensor(name, gradient):
    """One line: the shape and elements of a gradient."""
    data = tensors.encode("F32", gradient.flatten().tolist())
    return json.dumps(name) + ": " + json.dumps(
        {"shape": list(gradient.shape), "f32": base64.b64encode(data).decode()})


def kept_pair(model, name, pair, with_gradients):
    """The member of one pair, one line an entry, so that a difference can be read."""
    value, logps, found = grads.gradients(model, pair)
    entry = {"name": name} | pair | {
        f"{side}_logps": [0.0] * (not pair["prompt"]) + [float(f"{v:.12g}") for v in logps[side].tolist()]
        for side in SIDES}
    lines = [f"{json.dumps(key)}: {json.dumps(content)}" for key, content in entry.items()]
    if with_gradients:
        lines.append(f'"objective": {value:.12g}')
        lines.append('"gradients": {\n' + ",\n".join(map(kept_tensor, found, found.values())) + "\n}")
    return "{" + ",\n".join(lines) + "}"


def golden(name, directory):
    """The text of NAME.json for the model that lies in the directory."""
    model = grads.load(directory, torch.float64)
    versions = {module.__name__: module.__version__ for module in (torch, transformers)}
    with_gradients = make_random.MODELS[name][1] == name
    pairs = [kept_pair(model, key, pair, with_gradients) for key, pair in PAIRS.items()]
    return (f'{{"model": {json.dumps(name)},\n"versions": {json.dumps(versions)},\n'
            f'"pairs": [\n' + ",\n".join(pairs) + "\n]}\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in make_random.MODELS:
            make_random.make(name, pathlib.Path(scratch) / name)
            (out / f"{name}.json").write_text(golden(name, pathlib.Path(scratch) / name))


if __name__ == "__main__":
    main()
