#!/usr/bin/env python3
"""One peer's training step of DPO: seconds a pair, GPT-2 124M with random weights. Called by `bench`, one process a figure.

    bench_peer.py model DIR
    bench_peer.py trl|torch fp32|amp|bf16 PROMPT ANSWER PAIRS STEPS THREADS

model  makes DIR, the directory of random weights that the filters train
trl    TRL's DPOTrainer, reference log-probs computed beforehand, 2 pairs at a time, their gradients accumulated to PAIRS
torch  a step by hand: attention by scaled_dot_product_attention, head at the answers' positions alone, fused AdamW
amp    float weights under bf16 autocast; bf16: weights and moments are bf16 too

The first step warms up and is not counted. Prints one JSON object.
"""
import contextlib
import json
import os
import resource
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from transformers import GPT2Config, GPT2LMHeadModel

VOCAB, MICRO = 50257, 2


def new_model(dtype):
    torch.manual_seed(0)
    config = GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="sdpa")
    return GPT2LMHeadModel(config).to(torch.bfloat16 if dtype == "bf16" else torch.float32)


def trl_steps(dtype, prompt, answer, pairs, steps):
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=f"w{VOCAB - 1}", pad_token=f"w{VOCAB - 2}", unk_token="w0")

    def text(n):
        return " ".join(f"w{i}" for i in torch.randint(1, VOCAB - 2, (n,)).tolist())

    rows = [{"prompt": text(prompt), "chosen": " " + text(answer - 1), "rejected": " " + text(answer - 1)}
            for _ in range(pairs * (steps + 1))]
    seconds = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.start = time.perf_counter()

        def on_step_end(self, *_, **__):
            seconds.append(time.perf_counter() - self.start)

    with tempfile.TemporaryDirectory() as scratch:
        args = DPOConfig(output_dir=scratch, per_device_train_batch_size=MICRO, gradient_accumulation_steps=pairs // MICRO,
                         num_train_epochs=1, max_length=1024, precompute_ref_log_probs=True, bf16=dtype == "amp", use_cpu=True,
                         gradient_checkpointing=False, report_to=[], save_strategy="no", logging_steps=1000, disable_tqdm=True)
        DPOTrainer(model=new_model(dtype), processing_class=tokenizer, train_dataset=Dataset.from_list(rows), callbacks=[Clock()],
                   args=args).train()
    return seconds


def torch_steps(dtype, prompt, answer, pairs, steps):
    model = new_model(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if dtype == "amp" else contextlib.nullcontext
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        for _ in range(pairs // MICRO):
            ids = torch.randint(0, VOCAB, (2 * MICRO, prompt + answer))
            ids[MICRO:, :prompt] = ids[:MICRO, :prompt]
            with autocast():
                hidden = model.transformer(input_ids=ids, use_cache=False).last_hidden_state[:, prompt - 1:-1]
                logits = (hidden @ model.lm_head.weight.t()).float()
            logps = torch.gather(logits.log_softmax(-1), 2, ids[:, prompt:, None]).sum((1, 2))
            margin = 0.1 * (logps[:MICRO] - logps[MICRO:] - (logps[:MICRO] - logps[MICRO:]).detach())
            (-torch.nn.functional.logsigmoid(margin).sum() / pairs).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return seconds


def main():
    if sys.argv[1] == "model":
        new_model("fp32").save_pretrained(sys.argv[2])
        return
    peer, dtype = sys.argv[1:3]
    prompt, answer, pairs, steps, threads = map(int, sys.argv[3:8])
    torch.set_num_threads(threads)
    seconds = (trl_steps if peer == "trl" else torch_steps)(dtype, prompt, answer, pairs, steps)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": min(seconds[1:]) / pairs, "rss_mb": rss / 1024}))


main()
