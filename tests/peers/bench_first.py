#!/usr/bin/env python3
"""From nothing to the first finished step, process start included: dpo-train against TRL's DPOTrainer, in turn, medians.

    bench_first.py [--rounds 5] [--models DIR,...] [--threads 2] [--warm GIB]

Each model directory is trained in fp32 for one step of one pair, 32 tokens of prompt and two answers of 32, from text, by one
tokenizer of whole words; reference log-probs are precomputed, by TRL in its run. Without --models, GPT-2 124M with random weights.
TRL's time is until its callback of the first step's end; ours is dpo-tok, dpo-reflogp, and dpo-train until it has written that
step's line to its log, one after the other. Printed too: how much of ours the first two are, and the time until the policy is
written and dpo-train has ended. With --warm, so much memory is touched before every run: a virtual machine's host may have taken
it back, and whoever touches it first waits for it. Run it with a Python that has torch, transformers, trl and datasets (README.md
here), on a quiet machine.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from measuring import BIN, run, step_times

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = 32

TRL = """
import json, os, sys
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer

directory, row, scratch, threads = *sys.argv[1:4], int(sys.argv[4])
torch.set_num_threads(threads)

class End(TrainerCallback):
    def on_step_end(self, *_, **__):
        os._exit(0)

args = DPOConfig(output_dir=scratch, per_device_train_batch_size=1, max_steps=1, precompute_ref_log_probs=True, bf16=False,
                 use_cpu=True, gradient_checkpointing=False, report_to=[], save_strategy="no", disable_tqdm=True)
DPOTrainer(model=AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32), args=args, callbacks=[End()],
           processing_class=PreTrainedTokenizerFast.from_pretrained(directory),
           train_dataset=Dataset.from_list([json.loads(open(row).read())])).train()
sys.exit("no step ended")
"""


def add_tokenizer(model):
    """A tokenizer whose words are all tokens: BPE that merges nothing, which both sides read (dpo-tok has no WordLevel)."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = json.loads((model / "config.json").read_text())["vocab_size"]
    words = Tokenizer(models.BPE({f"w{i}": i for i in range(vocab)}, [], ignore_merges=True, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=f"w{vocab - 1}", pad_token=f"w{vocab - 2}",
                            unk_token="w0").save_pretrained(model)


def prepare(source, work):
    """The model's configuration and weights, with that tokenizer, in a directory of its own; GPT-2 without a source."""
    model = pathlib.Path(tempfile.mkdtemp(dir=work))
    if not source:
        run(sys.executable, HERE / "bench_peer.py", "model", model)
    for file in pathlib.Path(source).resolve().iterdir() if source else ():
        if file.name == "config.json" or file.name.startswith(("model", "pytorch_model")):
            (model / file.name).symlink_to(file)
    add_tokenizer(model)
    return model


def write_pair(path):
    """One pair of words that every vocabulary has; an answer's last token is EOS."""
    def text(first, n):
        return " ".join(f"w{first + 7 * i % 97}" for i in range(n))

    path.write_text(json.dumps({"prompt": text(1, TOKENS), "chosen": " " + text(100, TOKENS - 1),
                                "rejected": " " + text(150, TOKENS - 1)}) + "\n")


def ours(model, work, threads):
    """Seconds of dpo-tok, with dpo-reflogp too, until the first step is finished, and until the policy is written."""
    def program(name, *arguments):
        return run(BIN / name, "-q", "-j", threads, "-m", model, *arguments)[0]

    log = work / "log"
    tok = program("dpo-tok", "-o", work / "pair.tok", work / "pair.jsonl")
    reference = tok + program("dpo-reflogp", "-o", work / "pair.ref", work / "pair.tok")
    with step_times(log) as steps:
        start = time.perf_counter()
        whole = program("dpo-train", "--batch-size", 1, "--max-steps", 1, "--log", log, "-o", "/dev/null", work / "pair.ref")
    return tok, reference, reference + steps[0] - start, reference + whole


def warm(gib):
    """Touch so much memory, in a process of its own, which gives it back."""
    if gib:
        subprocess.run([sys.executable, "-c", f"b = bytearray({gib} << 30); b[::4096] = b'1' * len(b[::4096])"], check=True)


def compare(options, work, source):
    model, mine, theirs = prepare(source, work), [], []
    for _ in range(options.rounds):
        warm(options.warm)
        mine.append(ours(model, work, options.threads))
        warm(options.warm)
        theirs.append(run(sys.executable, "-c", TRL, model, work / "pair.jsonl", work / "trl", options.threads)[0])
    (tok, reference, step, policy), peer = map(statistics.median, zip(*mine)), statistics.median(theirs)
    steps = [one[2] for one in mine]
    print(f"{source or 'GPT-2 124M'}: first step: ours {step:.3f} s ({min(steps):.3f} to {max(steps):.3f}), {tok:.3f} of it after "
          f"dpo-tok, {reference:.3f} after dpo-reflogp; TRL {peer:.2f} s ({min(theirs):.2f} to {max(theirs):.2f}), "
          f"{peer / step:.1f} times as long; policy written after {policy:.3f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        write_pair(work / "pair.jsonl")
        for source in options.models.split(","):
            compare(options, work, source)


main()
