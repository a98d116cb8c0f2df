#!/usr/bin/env python3
"""Train with TRL's DPOTrainer, as exactly as it goes, and keep what it logged and learned.

    trl_run.py CASE DIR [--adapter DIR] [--micro-batch N] [--attention eager] [--threads N] [--out DIR]

CASE is one of cases.py, DIR the inputs that cases.py made. Everything runs in fp32 on the CPU, in
data order, logging every optimizer step. Written into DIR (or --out): log.jsonl (one line per step,
TRL's names), eval.json (case D), model.safetensors, and run.json with all settings; golden.py makes
of it what testdata/golden/trl keeps. A case with an adapter needs --adapter, the one to start from in peft's
layout; model.safetensors is then the trained adapter. Two options show how far TRL is from itself: --attention eager computes
the attention in other steps, --micro-batch splits a step (metrics that are means over tokens, and a
last batch that is not full, then differ by more than rounding).
"""
import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false",
                  HF_DATASETS_CACHE=tempfile.mkdtemp(prefix="datasets-"))

import datasets
import peft
import torch
import transformers
import trl
from tokenizers import Tokenizer, models

import cases

CLOCKS = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")


def read_rows(path):
    """The rows of a preference file, with only the keys that DPO reads."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [{key: row[key] for key in ("prompt", "chosen", "rejected") if key in row} for row in rows]


class IdTrainer(trl.DPOTrainer):
    """A DPOTrainer for rows that are token ids."""

    def _prepare_dataset(self, dataset, *arguments, **more):
        return dataset.rename_columns({key: f"{key}_ids" for key in ("prompt", "chosen", "rejected")})


def id_tokenizer(model):
    """A tokenizer that is asked for nothing but its padding."""
    vocab = {f"t{i}": i for i in range(json.loads((model / "config.json").read_text())["vocab_size"])}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocab, unk_token="t0")), pad_token="t0", eos_token="t1")


def load_tokenizer(model, rows):
    """The tokenizer of a model directory; refuse it if it does not do what tokenizer.json says."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    literal = Tokenizer.from_file(str(pathlib.Path(model) / "tokenizer.json"))
    for row in rows:
        for text in (row["prompt"], row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]):
            if tokenizer(text)["input_ids"] != literal.encode(text).ids:
                sys.exit(f"transformers and tokenizer.json disagree on {text!r}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def make_trainer(inputs, settings, given, scratch):
    """A DPOTrainer in full precision that keeps the data order and changes nothing else."""
    train = read_rows(inputs / "train.jsonl")
    held_out = read_rows(inputs / "eval.jsonl") if (inputs / "eval.jsonl").exists() else None
    batch = settings["per_device_train_batch_size"]
    micro_batch = given.micro_batch or batch
    config = trl.DPOConfig(
        **settings | {"per_device_train_batch_size": micro_batch,
                      "gradient_accumulation_steps": batch // micro_batch},
        output_dir=scratch, bf16=False, use_cpu=True, gradient_checkpointing=False,
        logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        train_sampling_strategy="sequential", per_device_eval_batch_size=8)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        inputs / "model", dtype=torch.float32, attn_implementation=given.attention)
    if given.adapter:
        model = peft.PeftModel.from_pretrained(model, given.adapter, is_trainable=True)
    ids = isinstance(train[0]["prompt"], list)
    tokenizer = id_tokenizer(inputs / "model") if ids else load_tokenizer(inputs / "model", train)
    return (IdTrainer if ids else trl.DPOTrainer)(
        model=model, args=config, processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(train),
        eval_dataset=datasets.Dataset.from_list(held_out) if held_out else None)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=cases.CASES)
    parser.add_argument("inputs", type=pathlib.Path)
    parser.add_argument("--adapter", type=pathlib.Path)
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
    given = parser.parse_args()
    if bool(given.adapter) != ("lora" in cases.CASES[given.case]):
        parser.error("--adapter belongs to the cases L, M and N")
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    out = given.out or given.inputs
    out.mkdir(parents=True, exist_ok=True)
    settings = cases.CASES[given.case]["settings"]
    versions = {module.__name__: module.__version__ for module in (torch, trl, transformers, *([peft] if given.adapter else []))}

    with tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(given.inputs, settings, given, scratch)
        print(f"rows after dropping: {len(trainer.train_dataset)}")
        trainer.train()
        log = [{key: entry[key] for key in entry if key not in CLOCKS}
               for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
        (out / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
        if given.case == "D":
            (out / "eval.json").write_text(json.dumps(trainer.evaluate(), indent=1) + "\n")
        trainer.model.save_pretrained(out / "trained")
        os.replace(out / "trained" / ("adapter_model.safetensors" if given.adapter else "model.safetensors"),
                   out / "model.safetensors")
    shutil.rmtree(out / "trained")
    (out / "run.json").write_text(json.dumps(
        {"case": given.case, "versions": versions, "settings": settings, "threads": given.threads,
         "micro_batch": given.micro_batch, "attention": given.attention}, indent=1) + "\n")


if __name__ == "__main__":
    main()
