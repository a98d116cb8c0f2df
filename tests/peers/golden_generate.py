#!/usr/bin/env python3
"""Ask transformers for the completions and distributions that testdata/golden/generate keeps.

    golden_generate.py OUT                    OUT/NAME.json for each model of make_random.py but those that
                                              turn by the length
    golden_generate.py OUT NAME MODEL TEXT... OUT/NAME.json of a model directory with a tokenizer, for these prompts

Kept per prompt: its ids (and text), and what generate() gives in fp32, greedy, without and with a
repetition penalty. A prompt where the two likeliest tokens of some step come closer than GAP (logits,
float64) is left out: there rounding would decide. Of the first prompt of a random model, for each of SETTINGS, the exact
probabilities of the next token after transformers' own logits processors, in float64.
"""
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from transformers.generation import logits_process

import grads
import make_random

GAP = 2e-3
PENALTY = 1.3
PROMPTS = [[17, 3, 62, 0, 95, 17, 41, 8, 8, 30], [44], [64, 22, 87, 50, 11, 39], [5, 5, 5, 80], [91, 12],
           [2, 94, 33, 70, 33, 71, 9, 26, 58], [77, 40, 63], [38, 20, 0, 20, 38, 20, 0]]
ENOUGH = 3
SETTINGS = [
    {},
    {"temperature": 0.7, "top_k": 7},
    {"temperature": 1.6, "top_p": 0.8},
    {"temperature": 2.0, "min_p": 0.1},
    {"temperature": 1.5, "top_k": 30, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.4},
]


def processors(setting):
    """Those that generate() would make of the settings, in its order."""
    made = []
    if "repetition_penalty" in setting:
        made.append(logits_process.RepetitionPenaltyLogitsProcessor(setting["repetition_penalty"]))
    if "temperature" in setting:
        made.append(logits_process.TemperatureLogitsWarper(setting["temperature"]))
    if "top_k" in setting:
        made.append(logits_process.TopKLogitsWarper(setting["top_k"]))
    if "top_p" in setting:
        made.append(logits_process.TopPLogitsWarper(setting["top_p"]))
    if "min_p" in setting:
        made.append(logits_process.MinPLogitsWarper(setting["min_p"]))
    return made


def scores(model, ids, setting):
    """The processed logits of the token behind `ids`."""
    tokens = torch.tensor([ids])
    with torch.no_grad():
        found = model(tokens).logits[:, -1].double()
    for processor in processors(setting):
        found = processor(tokens, found)
    return found[0]


def greedy(model, exact, prompt, setting, length):
    """generate()'s ids behind the prompt, each checked to be the likeliest by more than GAP; None if one is not."""
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                         do_sample=False, max_new_tokens=length, pad_token_id=0, **setting)[0].tolist()
    for t in range(len(prompt), len(out)):
        best = scores(exact, out[:t], setting).topk(2)
        if best.indices[0] != out[t] or best.values[0] - best.values[1] < GAP:
            return None
    return out[len(prompt):]


def golden(directory, prompts, length, distributions):
    model, exact = grads.load(directory, torch.float32), grads.load(directory, torch.float64)
    entries = []
    for prompt in prompts:
        found = {"greedy": greedy(model, exact, prompt["prompt_ids"], {}, length),
                 "penalized": greedy(model, exact, prompt["prompt_ids"], {"repetition_penalty": PENALTY}, length)}
        if None not in found.values() and len(entries) < ENOUGH:
            entries.append(prompt | found)
    if len(entries) < ENOUGH:
        sys.exit(f"{directory}: only {len(entries)} prompts are decided by more than {GAP}")
    kept = {"versions": {m.__name__: m.__version__ for m in (torch, transformers)}, "max_new_tokens": length,
            "penalty": PENALTY, "prompts": entries}
    if distributions:
        kept["distributions"] = [
            {"setting": setting, "probabilities": [float(f"{p:.9g}") for p in scores(
                exact, entries[0]["prompt_ids"], setting).softmax(-1).tolist()]} for setting in SETTINGS]
    return kept


def write(path, kept):
    """One line a prompt and a distribution."""
    lines = []
    for key, value in kept.items():
        if isinstance(value, list):
            text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
        else:
            text = json.dumps(value)
        lines.append(f"{json.dumps(key)}: {text}")
    path.write_text("{" + ",\n".join(lines) + "}\n")


def main():
    if len(sys.argv) != 2 and len(sys.argv) < 5:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 2:
        tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[3])
        prompts = [{"prompt": text, "prompt_ids": tokenizer(text)["input_ids"]} for text in sys.argv[4:]]
        kept = golden(sys.argv[3], prompts, 120, False)
        for prompt in kept["prompts"]:
            before = tokenizer.decode(prompt["prompt_ids"])
            prompt["text"] = tokenizer.decode(prompt["prompt_ids"] + prompt["greedy"])[len(before):]
        write(out / f"{sys.argv[2]}.json", kept)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name in sorted(make_random.MODELS.keys() - make_random.BY_LENGTH):
            directory = pathlib.Path(scratch) / name
            make_random.make(name, directory)
            write(out / f"{name}.json", golden(directory, [{"prompt_ids": p} for p in PROMPTS], 20, True))


if __name__ == "__main__":
    main()
