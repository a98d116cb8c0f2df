#!/usr/bin/env python3
"""From nothing to the first finished step, process start included: dpo-train against TRL's DPOTrainer, in turn, medians.

    bench_first.py [--rounds 5] [--models DIR,...] [--threads 2] [--warm GIB]

Each model directory is trained in fp32 for one step of one pair, 32 tokens of prompt and two answers of 32, reference log-probs
precomputed (TRL does it in its run; the filters' figure has the whole of dpo-reflogp in it). Without --models, GPT-2 124M with
random weights. TRL's time is until its callback of the first step's end; ours until dpo-train has written that step's line to
its log. Printed too: how much of ours dpo-reflogp is, and the time until the policy is written and dpo-train has ended. With
--warm, so much memory is touched before every run: a virtual machine's host may have taken it back, and whoever touches it first
waits for it. Run it with a Python that has torch, transformers, trl and datasets (README.md here), on a quiet machine.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from loglines import step_times

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("DPO_BIN", HERE / "../../bin")).resolve()

TRL = """
import os, sys
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer

directory, scratch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
vocab = model.config.vocab_size
words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocab)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=f"w{vocab - 1}", pad_token=f"w{vocab - 2}", unk_token="w0")

def text(first, n):
    return " ".join(f"w{1 + (first + 7 * i) % (vocab - 3)}" for i in range(n))

class End(TrainerCallback):
    def on_step_end(self, *_, **__):
        os._exit(0)

row = {"prompt": text(1, 32), "chosen": " " + text(100, 31), "rejected": " " + text(200, 31)}
args = DPOConfig(output_dir=scratch, per_device_train_batch_size=1, max_steps=1, precompute_ref_log_probs=True, bf16=False,
                 use_cpu=True, gradient_checkpointing=False, report_to=[], save_strategy="no", disable_tqdm=True)
DPOTrainer(model=model, processing_class=tokenizer, train_dataset=Dataset.from_list([row]), callbacks=[End()], args=args).train()
sys.exit("no step ended")
"""


def environment():
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "GOMP_"))}
    return {**plain, "HF_HUB_OFFLINE": "1"}


def timed(*command):
    start = time.perf_counter()
    done = subprocess.run(list(map(str, command)), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    return seconds


def pair(work):
    """One random pair whose ids every vocabulary has."""
    pick = random.Random(1)
    columns = [["id", "str"], ["prompt", "i32[]"], ["chosen", "i32[]"], ["rejected", "i32[]"], ["weight", "f32"], ["margin", "f32"],
               ["label_prob", "f32"]]
    row = {"id": "0", "weight": 1, "margin": 0, "label_prob": 1,
           **{key: [pick.randrange(1, 250) for _ in range(32)] for key in ("prompt", "chosen", "rejected")}}
    lines = [{"header": {"format": 1, "kind": "pairs", "columns": columns, "stages": []}}, row, {"end": True}]
    subprocess.run([BIN / "dpo-cat", "-q", "-z", "-o", work / "pair.tok"], input="".join(json.dumps(x) + "\n" for x in lines), text=True,
                   check=True)


def train(model, work, threads):
    """Seconds until the first step's line is in the log, and until the policy is written."""
    log = work / "log"
    with step_times(log) as steps:
        start = time.perf_counter()
        whole = timed(BIN / "dpo-train", "-q", "-j", threads, "-m", model, "--batch-size", 1, "--max-steps", 1, "--log", log, "-o",
                      "/dev/null", work / "pair.ref")
    return steps[0] - start, whole


def ours(model, work, threads):
    """Seconds of dpo-reflogp, until the first step is finished, and until the policy is written."""
    reference = timed(BIN / "dpo-reflogp", "-q", "-j", threads, "-m", model, "-o", work / "pair.ref", work / "pair.tok")
    step, whole = train(model, work, threads)
    return reference, reference + step, reference + whole


def warm(gib):
    """Touch so much memory, in a process of its own, which gives it back."""
    if gib:
        subprocess.run([sys.executable, "-c", f"b = bytearray({gib} << 30); b[::4096] = b'1' * len(b[::4096])"], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        models = [name for name in options.models.split(",") if name]
        if not models:
            models = [work / "gpt2"]
            subprocess.run([sys.executable, HERE / "bench_peer.py", "model", models[0]], env=environment(), check=True,
                           stderr=subprocess.DEVNULL)
        pair(work)
        for model in models:
            mine, theirs = [], []
            for _ in range(options.rounds):
                warm(options.warm)
                mine.append(ours(model, work, options.threads))
                warm(options.warm)
                theirs.append(timed(sys.executable, "-c", TRL, model, work / "trl", options.threads))
            (reference, step, policy), peer = map(statistics.median, zip(*mine)), statistics.median(theirs)
            steps = [one[1] for one in mine]
            print(f"{model}: first step: ours {step:.3f} s ({min(steps):.3f} to {max(steps):.3f}), of it {reference:.3f} dpo-reflogp; "
                  f"TRL {peer:.2f} s ({min(theirs):.2f} to {max(theirs):.2f}), {peer / step:.1f} times sooner; policy written "
                  f"{policy:.3f} s")


main()
