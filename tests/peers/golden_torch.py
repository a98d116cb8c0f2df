#!/usr/bin/env python3
"""Ask PyTorch, in float64, for the log-probs and gradients that testdata/golden/torch keeps.

    golden_torch.py OUT

Writes OUT/NAME.json for each model of make_random.py: versions, and per pair its ids and weights g_t,
the log-probability of every answer token (0 for one with nothing before it), the objective
sum_t g_t logp_t, and its gradient for every parameter as base64 of little-endian float32. A model
that only stores the weights of another in another way has no gradients. Of the models of TRAINED also
three steps of training on all pairs, in fp32, one sequence at a time: settings, losses, gradient
norms, mean logits, and the weights they end in.
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

# One of each family; of what differs from them in the rotary frequencies alone the gradients are enough.
TRAINED = ("gpt2", "llama", "neox", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "olmo2")
STEPS = {"beta": 0.1, "learning_rate": 1e-4, "adam_epsilon": 1e-8, "max_grad_norm": 1.0, "steps": 3}


def kept_tensor(name, gradient):
    """One line: the shape and elements of a tensor."""
    data = tensors.encode("F32", gradient.flatten().tolist())
    return json.dumps(name) + ": " + json.dumps(
        {"shape": list(gradient.shape), "f32": base64.b64encode(data).decode()})


def file_names(model, found):
    """Tensors by their names in files; transformers 5 calls GPT-NeoX's head otherwise in memory."""
    if model.config.model_type != "gpt_neox":
        return found
    return {name.replace("lm_head.", "embed_out."): tensor for name, tensor in found.items()}


def kept_pair(model, name, pair, with_gradients):
    """The member of one pair, one line an entry, so that a difference can be read."""
    value, logps, found = grads.gradients(model, pair)
    found = file_names(model, found)
    entry = {"name": name} | pair | {
        f"{side}_logps": [0.0] * (not pair["prompt"]) + [float(f"{v:.12g}") for v in logps[side].tolist()]
        for side in SIDES}
    lines = [f"{json.dumps(key)}: {json.dumps(content)}" for key, content in entry.items()]
    if with_gradients and name in with_gradients:
        lines.append(f'"objective": {value:.12g}')
        lines.append('"gradients": {\n' + ",\n".join(map(kept_tensor, found, found.values())) + "\n}")
    return "{" + ",\n".join(lines) + "}"


def dpo_loss(model, reference):
    """The mean DPO loss of all pairs (Rafailov et al. 2023, equation 7); `reference` holds sums of log-probs."""
    total = 0
    for name, pair in PAIRS.items():
        chosen, rejected = (grads.answer_logps(model, pair["prompt"], pair[side]).sum() - reference[name, side]
                            for side in SIDES)
        total = total - torch.nn.functional.logsigmoid(STEPS["beta"] * (chosen - rejected))
    return total / len(PAIRS)


@torch.no_grad()
def mean_logits(model, side):
    """The mean over all predicting rows of all pairs, and over the vocabulary, as TRL logs it."""
    return torch.cat([grads.answer_logits(model, pair["prompt"], pair[side]) for pair in PAIRS.values()]).mean().item()


def kept_training(directory):
    """Three steps of AdamW without decay, at a constant rate, the gradient clipped, in fp32."""
    model = grads.load(directory, torch.float32)
    with torch.no_grad():
        reference = {(name, side): grads.answer_logps(model, pair["prompt"], pair[side]).sum()
                     for name, pair in PAIRS.items() for side in SIDES}
    optimizer = torch.optim.AdamW(model.parameters(), lr=STEPS["learning_rate"], betas=(0.9, 0.999),
                                  eps=STEPS["adam_epsilon"], weight_decay=0.0)
    losses, norms, logits = [], [], {f"logits/{side}": [] for side in SIDES}
    for _ in range(STEPS["steps"]):
        for side in SIDES:
            logits[f"logits/{side}"].append(mean_logits(model, side))
        optimizer.zero_grad()
        loss = dpo_loss(model, reference)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), STEPS["max_grad_norm"]).item())
        losses.append(loss.item())
        optimizer.step()
    weights = file_names(model, {name: parameter.detach() for name, parameter in model.named_parameters()})
    return ('"training": {\n' + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in (
        STEPS | {"loss": losses, "grad_norm": norms} | logits).items()) +
        ',\n"weights": {\n' + ",\n".join(map(kept_tensor, weights, weights.values())) + "\n}}")


def golden(name, directory):
    """The text of NAME.json for the model that lies in the directory."""
    model = grads.load(directory, torch.float64)
    versions = {module.__name__: module.__version__ for module in (torch, transformers)}
    with_gradients = () if make_random.MODELS[name][1] != name else \
        ("ordinary",) if name.startswith("rope-") else ("ordinary", "empty prompt") if name in TRAINED[2:] else PAIRS
    pairs = [kept_pair(model, key, pair, with_gradients) for key, pair in PAIRS.items()]
    training = ",\n" + kept_training(directory) if name in TRAINED else ""
    return (f'{{"model": {json.dumps(name)},\n"versions": {json.dumps(versions)},\n'
            f'"pairs": [\n' + ",\n".join(pairs) + "\n]" + training + "}\n")


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
