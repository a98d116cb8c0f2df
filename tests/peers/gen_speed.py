#!/usr/bin/env python3
"""Tokens a second of generation: bin/bench/gen beside transformers' generate(), fp32, greedy, with a KV cache.

    gen_speed.py BENCH [MODEL] [--threads N] [--turns N]

BENCH is bin/bench/gen (make units). Without MODEL both take a GPT-2 124M shape with random weights. Prompts of 32
tokens and 64 more, 1 and 8 prompts at once; the prompts' own pass is in both. They take turns; prints the medians,
tokens a second, and the ratio, by wall clock and by CPU time (on a busy machine the second says more).
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

PROMPT, TOKENS = 32, 64


def load(path):
    if path:
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    torch.manual_seed(1)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()


def theirs(model, prompts):
    """Tokens a second by wall clock and by CPU time."""
    ids = torch.randint(2, model.config.vocab_size, (prompts, PROMPT), generator=torch.Generator().manual_seed(3))
    start = time.monotonic(), time.process_time()
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=TOKENS,
                             max_new_tokens=TOKENS, pad_token_id=0)
    took = time.monotonic() - start[0], time.process_time() - start[1]
    assert out.shape[1] == PROMPT + TOKENS
    return [prompts * TOKENS / seconds for seconds in took]


def ours(arguments):
    """The same, by number of prompts; threads wait as those of the programs do (cmd/cli.c)."""
    command = [arguments.bench, str(arguments.threads), "1", *([arguments.model] if arguments.model else ["124M", "fp32"])]
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "GOMP_"))}
    text = subprocess.run(command, check=True, capture_output=True, text=True,
                          env=plain | {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "250", "OPENBLAS_NUM_THREADS": "1"}).stdout
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
    theirs(model, 1)  # what is made once
    for _ in range(arguments.turns):
        us = ours(arguments)
        turns.append({prompts: us[prompts] + theirs(model, prompts) for prompts in us})
    for prompts in turns[0]:
        wall, cpu, their_wall, their_cpu = (statistics.median(each) for each in zip(*(turn[prompts] for turn in turns)))
        print(f"{prompts} prompts: ours {wall:.0f} tokens/s, transformers {their_wall:.0f}: {wall / their_wall:.2f} times; "
              f"by CPU time {cpu:.0f} and {their_cpu:.0f}: {cpu / their_cpu:.2f} times")


if __name__ == "__main__":
    main()
