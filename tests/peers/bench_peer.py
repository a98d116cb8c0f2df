#!/usr/bin/env python3
"""One peer's training steps of DPO: GPT-2 124M with random weights. Called by `bench`, which has several of them take turns.

    bench_peer.py model DIR
    bench_peer.py trl|torch fp32|amp|bf16 PROMPT ANSWER PAIRS THREADS

model  makes DIR, the directory of random weights that the filters train
trl    TRL's DPOTrainer, reference log-probs computed beforehand, 2 pairs at a time, their gradients accumulated to PAIRS
torch  a step by hand: attention by scaled_dot_product_attention, head at the answers' positions alone, fused AdamW
amp    float weights under bf16 autocast; bf16: weights and moments are bf16 too

Each line of its input asks for one step, and is answered by a JSON object: its seconds, and the peak memory so far. It ends with
its input.
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


class Clock:
    """The time of a step that was asked for."""

    def begin(self):
        if not sys.stdin.readline():
            sys.exit()
        self.start = time.perf_counter()

    def end(self):
        seconds = time.perf_counter() - self.start
        print(json.dumps({"seconds": seconds, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)


def new_model(dtype):
    torch.manual_seed(0)
    config = GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="sdpa")
    return GPT2LMHeadModel(config).to(torch.bfloat16 if dtype == "bf16" else torch.float32)


def trl_steps(clock, dtype, prompt, answer, pairs):
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
            for _ in range(pairs)]

    class Timed(TrainerCallback):
        def on_step_begin(self, *_, **__):
            clock.begin()

        def on_step_end(self, *_, **__):
            clock.end()

    with tempfile.TemporaryDirectory() as scratch:
        args = DPOConfig(output_dir=scratch, per_device_train_batch_size=MICRO, gradient_accumulation_steps=pairs // MICRO,
                         max_steps=10**6, max_length=1024, precompute_ref_log_probs=True, bf16=dtype == "amp", use_cpu=True,
                         gradient_checkpointing=False, report_to=[], save_strategy="no", logging_steps=1000, disable_tqdm=True)
        DPOTrainer(model=new_model(dtype), processing_class=tokenizer, train_dataset=Dataset.from_list(rows), callbacks=[Timed()],
                   args=args).train()


def torch_steps(clock, dtype, prompt, answer, pairs):
    model = new_model(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if dtype == "amp" else contextlib.nullcontext
    while True:
        clock.begin()
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
        clock.end()


def main():
    if sys.argv[1] == "model":
        new_model("fp32").save_pretrained(sys.argv[2])
        return
    peer, dtype = sys.argv[1:3]
    prompt, answer, pairs, threads = map(int, sys.argv[3:7])
    torch.set_num_threads(threads)
    (trl_steps if peer == "trl" else torch_steps)(Clock(), dtype, prompt, answer, pairs)


main()
