#!/usr/bin/env python3
"""Tokens a second of generation: bin/bench/gen beside transformers' generate(), fp32, greedy, with a KV cache.

    gen_speed.py BENCH [MODEL] [--threads N] [--turns N]

BENCH is bin/bench/gen (make units). Without MODEL both take a GPT-2 124M shape with random weights. Prompts of 32
tokens and 64 more, 1 and 8 prompts at once; caches and the prompts' own pass are in both. They take turns, of a second's runs
or at least one after a first that is not counted, of which the fastest counts; prints the medians, tokens a second, and the ratio,
by wall clock and by CPU time (on a busy machine the second says more).
"""
import argparse
import os
import re
import statistics
import subprocess
import time

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
import transformers

from measuring import environment

PROMPT, TOKENS, PROMPTS = 32, 64, (1, 8)


def load(path):
    if path:
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    torch.manual_seed(1)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()


def theirs_once(model, prompts):
    """Seconds by wall clock and by CPU time."""
    ids = torch.randint(2, model.config.vocab_size, (prompts, PROMPT), generator=torch.Generator().manual_seed(3))
    start = time.monotonic(), time.process_time()
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=TOKENS,
                             max_new_tokens=TOKENS, pad_token_id=0)
    took = time.monotonic() - start[0], time.process_time() - start[1]
    assert out.shape[1] == PROMPT + TOKENS
    return took


def theirs(model, prompts):
    """Tokens a second, the most in a second's runs."""
    until, took = time.monotonic() + 1, []
    while not took or time.monotonic() < until:
        took.append(theirs_once(model, prompts))
    return [prompts * TOKENS / min(seconds) for seconds in zip(*took)]


def ours(arguments):
    """The same, by number of prompts."""
    command = [arguments.bench, str(arguments.threads), "1", *([arguments.model] if arguments.model else ["124M", "fp32"])]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout
    print(text, end="")
    found = re.findall(r"^prompts (\d+) .*with the prompts' ([\d.]+) .*cpu_ms/token ([\d.]+)", text, re.M)
    return {int(n): [float(wall), 1000 / float(cpu)] for n, wall, cpu in found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, turns = load(arguments.model), []
    for prompts in PROMPTS:
        theirs_once(model, prompts)  # what is made once
    for _ in range(arguments.turns):
        us = ours(arguments)
        turns.append({prompts: us[prompts] + theirs(model, prompts) for prompts in PROMPTS})
    for prompts in PROMPTS:
        wall, cpu, their_wall, their_cpu = (statistics.median(each) for each in zip(*(turn[prompts] for turn in turns)))
        print(f"{prompts} prompts: ours {wall:.0f} tokens/s, transformers {their_wall:.0f}: {wall / their_wall:.2f} times; "
              f"by CPU time {cpu:.0f} and {their_cpu:.0f}: {cpu / their_cpu:.2f} times")


if __name__ == "__main__":
    main()
